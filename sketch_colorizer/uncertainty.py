"""What the model does not know about a drawing: uncertainty, likely colours, and where a hint would settle most."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from .color import ciede2000, lab_to_rgb, rgb_to_lab
from .color_notation import format_color
from .quantizer import PAPER_DISTANCE, WHITE_LAB, guide, is_paper, keep_paper
from .regions import PAPER, region_boxes, segment_regions

SAME_GUESS = 22.0  # Lab distance within which classes are shades of one guess
TWIN_LIKENESS, TWIN_DISTANCE = 0.996, 8.0  # of two regions' distributions, and in Lab of their colours
LEANING = 2.0  # guidance (see `decode_classes`) of the colours that proposals draw from
MAX_GUESSES = 50
MAX_SUGGESTIONS = 1000


class ColorGuess(NamedTuple):
    """A colour that a place may have."""

    color: str  # "#rrggbb"
    probability: float


class HintSuggestion(NamedTuple):
    """A place where a hint would settle much."""

    x: int
    y: int
    gain: float  # by how much the picture's mean CIEDE2000 is expected to fall
    colors: list[ColorGuess]


@dataclass
class RegionDistributions:
    """The distributions over colours of a drawing's regions, and what follows from them, when it is asked for.

    Args:
        line_art: (H, W) uint8, 255 = paper.
        scores: (N, Q) of the classes, log-probabilities or logits.
        bin_colors: (Q, 3) Lab.
        region_colors: (N, 3) uint8, as painted.
        settled: (N,) bool, whether a hint of the user settles a region.
        palette: (P, 3) uint8 and (N, P) scores, where only these colours may be painted.
        temperature: what the scores are divided by before they count as probabilities, so that these are calibrated.
        bin_weights: (Q,) by which painting multiplies the probabilities, see `decode_classes`.
        groups: (N,) the groups of regions that share a colour (`group_alike`), where any do.
    """

    line_art: np.ndarray
    scores: Tensor
    bin_colors: Tensor
    region_colors: np.ndarray
    settled: np.ndarray
    palette: tuple[np.ndarray, Tensor] | None = None
    temperature: float = 1.0
    bin_weights: Tensor | None = None
    groups: np.ndarray | None = None

    @cached_property
    def labels(self) -> np.ndarray:
        return segment_regions(self.line_art)

    @cached_property
    def probabilities(self) -> Tensor:  # (N, Q)
        return (self.scores / self.temperature).softmax(-1)

    @cached_property
    def leanings(self) -> Tensor:  # (N, Q)
        """The probabilities of colours as painting leans to them: rare ones, and what sets a region apart, count more.

        Paper is as likely as before. Without this, most draws from a network that is unsure are shades of grey.
        """
        log_probs = self.probabilities.clamp(min=1e-12).log()
        paint_mass = self.probabilities[:, ~is_paper(self.bin_colors)].sum(-1, keepdim=True)
        areas = torch.from_numpy(np.bincount(self.labels.ravel(), minlength=len(log_probs)))
        leaning = guide(log_probs, LEANING, areas, paint_mass)
        if self.bin_weights is not None:
            leaning = leaning + self.bin_weights.log()
        return keep_paper(log_probs, leaning, self.bin_colors).softmax(-1)

    @cached_property
    def uncertainty(self) -> np.ndarray:
        """(H, W) float32: 0 = certain, or settled by a hint, 1 = every class alike."""
        entropy = -(self.probabilities * self.probabilities.clamp(min=1e-12).log()).sum(-1)
        entropy = (entropy / np.log(self.probabilities.shape[-1])).clamp(0, 1).numpy()
        return np.where(self.settled, 0, entropy).astype(np.float32)[self.labels]

    @cached_property
    def gains(self) -> np.ndarray:
        """(N,) how much of the picture's mean CIEDE2000 is expected to lie in each region as it is painted."""
        painted = rgb_to_lab(torch.from_numpy(self.region_colors).float() / 255, dim=-1)
        parts = [ciede2000(part[:, None], self.bin_colors, dim=-1) for part in painted.split(64)]
        errors = torch.cat(parts)
        expected = (self.probabilities * errors).sum(-1).numpy()
        areas = np.bincount(self.labels.ravel(), minlength=len(self.settled))
        return np.where(self.settled, 0, expected * areas / self.labels.size)

    def suggest_colors(self, x: int, y: int, n: int) -> list[ColorGuess]:
        """The n likeliest colours of the region at a pixel, likeliest first; shades of one colour are one guess."""
        _check_count("colours", n, MAX_GUESSES)
        height, width = self.line_art.shape
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"({x}, {y}) is outside the picture of {width}x{height} pixels")
        return self._guesses(int(self.labels[int(y), int(x)]), n)

    def suggest_hints(self, n: int) -> list[HintSuggestion]:
        """The n regions, or as many as there are, in which a hint would settle most, each with a point well inside."""
        _check_count("hints", n, MAX_SUGGESTIONS)
        return [
            HintSuggestion(*self.inner_point(region)[:2], float(self.gains[region]), self._guesses(region, 5))
            for region in self.best_regions(n)
        ]

    def best_regions(self, n: int) -> np.ndarray:
        """The at most n regions in which a hint would settle most, the best first."""
        order = np.argsort(-self.gains, kind="stable")[:n]
        return order[self.gains[order] > 0]

    def options(self, region: int, n: int, *, leaning: bool = False) -> tuple[np.ndarray, Tensor]:
        """The at most n likeliest colours of a region that differ, uint8 (n, 3), and their log-probabilities (n,).

        With `leaning` by the `leanings`, where no palette says what may be painted.
        """
        if self.palette is not None:
            log_probs, order = self.palette[1][region].log_softmax(-1).sort(descending=True, stable=True)
            return self.palette[0][order.numpy()[:n]], log_probs[:n]
        probabilities = self.leanings if leaning else self.probabilities
        colors, masses = merge_classes(probabilities[region], self.bin_colors, n)
        return (lab_to_rgb(colors, dim=-1) * 255).round().to(torch.uint8).numpy(), masses.log()

    def twins(self, region: int) -> np.ndarray:
        """The regions that the model cannot tell from this one, itself included: a sleeve's other half, stripes."""
        if self.groups is not None:
            return np.flatnonzero((self.groups == self.groups[region]) & ~self.settled)
        likeness = self.probabilities.sqrt() @ self.probabilities[region].sqrt()  # Bhattacharyya
        painted = rgb_to_lab(torch.from_numpy(self.region_colors).float() / 255, dim=-1)
        alike = (likeness > TWIN_LIKENESS) & ((painted - painted[region]).norm(dim=-1) < TWIN_DISTANCE)
        alike[region] = True
        return np.flatnonzero(alike.numpy() & ~self.settled)

    def inner_point(self, region: int) -> tuple[int, int, float]:
        """The pixel of a region that is farthest from its border and from ink: x, y, and how far."""
        box = self._boxes[region]
        inside = self.labels[box] == region
        on_paper = inside & (self.line_art[box] >= PAPER)
        mask = np.pad((on_paper if on_paper.any() else inside).astype(np.uint8), 1)
        distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
        y, x = np.unravel_index(distance.argmax(), distance.shape)
        return int(x) - 1 + box[1].start, int(y) - 1 + box[0].start, float(distance[y, x])

    @cached_property
    def _boxes(self) -> list[tuple[slice, slice]]:
        return region_boxes(self.labels)

    def _guesses(self, region: int, n: int) -> list[ColorGuess]:
        colors, log_probs = self.options(region, n)
        return [ColorGuess(format_color(rgb), float(p)) for rgb, p in zip(colors, log_probs.exp(), strict=True)]


def _check_count(what: str, count: int, limit: int) -> None:
    if not isinstance(count, (int, np.integer)) or not 1 <= count <= limit:
        raise ValueError(f"the number of {what} must be 1..{limit}, got {count!r}")


def merge_classes(probabilities: Tensor, bin_colors: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """A distribution (Q,) as at most n colours that differ: Lab (n, 3) and their masses (n,), largest first.

    Greedy: the class around which most mass lies with all that mass, then the rest again. White paper stays a colour of
    its own.
    """
    near = torch.cdist(bin_colors, bin_colors) < SAME_GUESS
    paper = is_paper(bin_colors)
    near = near & (paper[:, None] == paper[None])
    left = probabilities.clone()
    colors, masses = [], []
    for _ in range(n):
        around = near.to(left) @ left
        members = near[around.argmax()]
        mass = left[members].sum()
        if mass <= 1e-6:
            break
        colors.append((left[members, None] * bin_colors[members]).sum(0) / mass)
        masses.append(mass)
        left = left.masked_fill(members, 0)
    white = bin_colors.new_tensor(WHITE_LAB)
    colors = [torch.where((color - white).norm() < PAPER_DISTANCE, white, color) for color in colors]
    order = torch.stack(masses).argsort(descending=True, stable=True)
    return torch.stack(colors)[order], torch.stack(masses)[order]
