"""The network's coarse prediction painted over a drawing's regions, flat or soft, with its user's hints and palette."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .color import lab_to_rgb
from .compositing import enlarge_colors
from .drawing import is_blank
from .hint_evidence import hint_odds, hint_odds_of_cells, weigh
from .hint_spreading import blend_hints, paint_marks, settle_regions
from .palette import MIXTURE, Palette, balance, color_scores, palette_scores
from .quantizer import decode_classes, keep_paper
from .regions import flat_colors, pool_by_region
from .shared_colors import group_alike, share
from .uncertainty import RegionDistributions
from .user_hints import MarkedPixels, vote_by_region


class Page(NamedTuple):
    """One drawing and what the network made of it."""

    line_art: np.ndarray  # (H, W) uint8, 255 = paper
    labels: np.ndarray  # (H, W) int32, its regions
    grid: Tensor  # (Q, h, w) scores of the classes, or (3, h, w) Lab
    predicted: Tensor  # (3, h, w) Lab
    marks: MarkedPixels | None


class _Decision(NamedTuple):
    """What is decided for each region that has no hint of its own."""

    known: Tensor  # (N, Q) scores, or (N, 3) Lab
    colors: np.ndarray  # (N, 3) uint8
    groups: np.ndarray | None  # (N,) of regions that share a colour
    scores: Tensor | None = None  # (N, P) of the palette's colours
    bonus: Tensor | None = None  # (P,) that the scores hold already


@dataclass
class Painter:
    """How pages are painted.

    Args:
        to_rgb: Lab (.., 3) -> uint8 sRGB (.., 3), in which white is paper.
        bin_colors: (Q, 3) Lab, where the pages hold scores of classes; None where they hold colours.
        bin_weights: (Q,) see `decode_classes`, as are temperature, paper_threshold and guidance.
        hinted_temperature, hinted_guidance: what stands in their place for a page with hints of its user.
        palette: the colours to which everything that is painted is restricted; paper stays white.
        sharing: how unlike the distributions of regions may be that share a colour in the flat style (`group_alike`).
        calibration_temperature: see `RegionDistributions`; what is painted does not depend on it.
    """

    to_rgb: Callable[[Tensor], np.ndarray]
    bin_colors: Tensor | None
    bin_weights: Tensor | None
    temperature: float
    hinted_temperature: float
    paper_threshold: float | None
    guidance: float
    hinted_guidance: float
    palette: Palette | None
    sharing: float = 0.0
    calibration_temperature: float = 1.0

    def paint(self, page: Page, style: str) -> tuple[np.ndarray, RegionDistributions | None]:
        """The colours, uint8 (H, W, 3), in the style "flat" or "soft", and what the model knew of each region."""
        decision = self._decide(page, self.sharing if style == "flat" else 0.0)
        colors = self._flat(page, decision) if style == "flat" else self._soft(page, decision)
        if page.marks is not None:
            paint_marks(colors, page.marks)
        return colors, self._distributions(page, decision)

    def know(self, page: Page) -> RegionDistributions | None:
        """What the model knows of each region; None where it has no classes."""
        return self._distributions(page, self._decide(page, self.sharing))

    def _decide(self, page: Page, sharing: float) -> _Decision:
        pooled = pool_by_region(page.grid, page.labels, page.line_art)
        areas = torch.from_numpy(np.bincount(page.labels.ravel(), minlength=len(pooled)))
        chosen = self._evidence(page)
        odds = None if chosen is None else hint_odds(chosen, page.labels, self.bin_colors)
        known = pooled if odds is None else weigh(pooled, odds, self.bin_colors)
        groups = None
        if self.bin_colors is not None and sharing > 0:
            groups = group_alike(pooled, page.labels, self.bin_colors, sharing, self.paper_threshold)
            pooled = self._shared(pooled, groups, areas)
            odds = None if odds is None else share(odds.log(), groups, areas).exp()
        colors = self._decode(page, pooled, odds, areas=areas)
        if groups is not None:  # what is left of a difference is rounding
            colors = colors[np.unique(groups, return_index=True)[1]][groups]
        if self.palette is None:
            return _Decision(known, colors, groups)
        painted = (colors < 255).any(-1)
        scores = self._palette_scores(pooled if odds is None else weigh(pooled, odds, self.bin_colors))
        chosen = torch.from_numpy(painted)
        bonus = balance(scores[chosen], areas[chosen].sqrt(), self.palette)
        colors[painted] = self.palette.rgb[(scores + bonus).argmax(-1).numpy()[painted]]
        return _Decision(known, colors, groups, scores + bonus, bonus)

    def _shared(self, pooled: Tensor, groups: np.ndarray, areas: Tensor) -> Tensor:
        """Log-probabilities whose paint is the group's, while how likely paper is stays each region's own."""
        log_probs = pooled.log_softmax(-1)
        shared = share(log_probs, groups, areas)
        return shared if self.paper_threshold is None else keep_paper(log_probs, shared, self.bin_colors)

    def _evidence(self, page: Page) -> MarkedPixels | None:
        """The hints that say something about the rest of the drawing: those that the user chose."""
        return None if page.marks is None or self.bin_colors is None else page.marks.chosen()

    def _distributions(self, page: Page, decision: _Decision) -> RegionDistributions | None:
        if self.bin_colors is None:
            return None
        settled = np.zeros(len(decision.colors), bool)
        if page.marks is not None:
            settled[vote_by_region(page.marks, page.labels, page.line_art)[1]] = True
        palette = None if self.palette is None else (self.palette.rgb, decision.scores)
        return RegionDistributions(
            page.line_art,
            decision.known,
            self.bin_colors,
            decision.colors,
            settled,
            palette,
            self.calibration_temperature,
            self.bin_weights,
            decision.groups,
        )

    def _flat(self, page: Page, decision: _Decision) -> np.ndarray:  # (H, W, 3)
        """One colour for each region, its hint's where it has one."""
        if page.marks is None:
            return flat_colors(decision.colors, page.labels)
        labels, colors = settle_regions(page.labels, decision.colors, page.marks, page.line_art, _guide(page))
        return flat_colors(colors, labels)

    def _soft(self, page: Page, decision: _Decision) -> np.ndarray:  # (H, W, 3)
        """The colour of each cell of the coarse grid, enlarged along the lines and drawn towards the hints."""
        values, chosen = page.grid.movedim(0, -1), self._evidence(page)
        odds = None if chosen is None else hint_odds_of_cells(chosen, values.shape[:2], self.bin_colors)
        cells = self._decode(page, values, odds)
        if self.palette is not None:
            values = values if odds is None else weigh(values, odds, self.bin_colors)
            painted = (cells < 255).any(-1)
            scores = self._palette_scores(values[torch.from_numpy(painted)]) + decision.bonus
            mixture = (scores / MIXTURE).softmax(-1) @ self.palette.lab
            cells[painted] = (lab_to_rgb(mixture, dim=-1) * 255).round().to(torch.uint8).numpy()
        colors = enlarge_colors(cells, page.labels, page.line_art)
        if page.marks is not None:
            blend_hints(colors, page.labels, page.marks, page.line_art, _guide(page))
        return colors

    def _decode(self, page: Page, values: Tensor, odds: Tensor | None, *, areas: Tensor | None = None) -> np.ndarray:
        """Scores (.., Q), or Lab (.., 3) -> uint8 sRGB (.., 3). A page without a line has no colours but its hints'.

        A region's mean score serves: it differs from the mean log-probability by a number that no softmax sees. The
        hints' odds weight colours in place of the bin weights: these lift rare colours so that any are painted at all,
        and with hints that is the user's to say. What is paper is the network's.
        """
        if is_blank(page.line_art):
            return np.full((*values.shape[:-1], 3), 255, np.uint8)
        if self.bin_colors is None:
            return self.to_rgb(values)
        lab = decode_classes(
            values,
            self.bin_colors,
            self.bin_weights if odds is None else odds * (self.bin_weights > 0),
            temperature=self.temperature if odds is None else self.hinted_temperature,
            paper_threshold=self.paper_threshold,
            guidance=self.guidance if odds is None else self.hinted_guidance,
            areas=areas,
            dim=-1,
        )
        return self.to_rgb(lab)

    def _palette_scores(self, values: Tensor) -> Tensor:
        """How well each of the palette's colours fits, (.., P)."""
        if self.bin_colors is None:
            return color_scores(values, self.palette)
        return palette_scores(values, self.bin_colors, self.palette)


def _guide(page: Page) -> np.ndarray:
    return page.predicted.movedim(0, -1).numpy()
