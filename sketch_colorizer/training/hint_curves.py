"""How a picture gets better with each hint: curves for users who click at random and users who follow suggestions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..compositing import composite
from ..pipeline_sketch_colorizer import ColorizationPipeline
from .examples import Example
from .intervals import Statistic, mean_of
from .metrics import psnr
from .obedience import obedience_columns
from .scoring import PAPER, Layer
from .simulated_users import Hint, hint_at, picture_generator, random_hints

COUNTS = (0, 1, 2, 5, 10, 20, 50)
USERS = {
    "random": "clicks at random on what is painted",
    "suggestions": "follows `suggest_hints`, and clicks at random when it has no more to suggest",
}
GOAL_HINTS, GOAL_SHARE = 10, 0.6  # CIEDE2000 with so many hints, as a share of that without any
SHARES = (0.8, 0.6)  # of the CIEDE2000 without hints, to which strokes are counted
METRICS = {"ciede2000": "lower", "psnr": "higher", "flats": "lower"}  # which way is good
Painter = Callable[[Example, list[Hint]], np.ndarray]  # -> the colour layer (H, W, 3) uint8


def curve_row(
    pipeline: ColorizationPipeline, example: Example, *, counts: Sequence[int] = COUNTS, seed: int = 0
) -> dict[str, Any]:
    """Columns "user.count.figure" for both users, and how the hints of the random one are obeyed."""
    generator = picture_generator(seed, example.key)
    clicks = random_hints(example, max(counts), generator)
    plain = pipeline(example.drawing)
    row = {}
    for count in counts:
        result = plain if count == 0 else pipeline(example.drawing, hints=clicks[:count])
        colors = np.asarray(result.colors)
        row |= _columns(f"random.{count}", score_colors_under_lines(colors, example))
        if count:
            obeyed = obedience_columns(colors, example.line_art, clicks[:count])
            row |= _columns(f"random.{count}", obeyed)
    if plain.distributions is not None:
        row |= _following_columns(pipeline, example, plain, clicks, counts)
    return row


def _following_columns(
    pipeline: ColorizationPipeline, example: Example, plain: Any, clicks: list[Hint], counts: Sequence[int]
) -> dict[str, Any]:
    """The user who asks each finished picture for the places of the next hints."""
    row, hints, result, suggested = {}, [], plain, 0
    for count in counts:
        if count > len(hints):
            places = result.suggest_hints(count - len(hints))
            hints += [hint_at(example, place.x, place.y) for place in places]
            suggested += len(places)
            hints += clicks[: count - len(hints)]
            result = pipeline(example.drawing, hints=hints)
        row |= _columns(f"suggestions.{count}", score_colors_under_lines(np.asarray(result.colors), example))
        row[f"suggestions.{count}.suggested"] = suggested
    return row


def rival_row(paint: Painter, example: Example, *, counts: Sequence[int] = COUNTS, seed: int = 0) -> dict[str, Any]:
    """The same figures "count.figure" for another program that is given the random user's hints."""
    clicks = random_hints(example, max(counts), picture_generator(seed, example.key))
    row = {}
    for count in counts:
        row |= _columns(str(count), score_colors_under_lines(paint(example, clicks[:count]), example))
    return row


def score_colors_under_lines(colors: np.ndarray, example: Example) -> dict[str, float]:
    """CIEDE2000 and PSNR of a colour layer under the drawing's lines, where the true picture is painted.

    "flats" is the CIEDE2000 of the colour layer alone where there is no line, which is all that hints can change.
    """
    layer, painted = Layer(composite(colors, example.line_art), example.truth), example.truth.painted
    paper = painted & torch.from_numpy(example.line_art.ravel() >= PAPER)
    return {
        "ciede2000": float(layer.difference[painted].mean()),
        "psnr": psnr(layer.rgb[painted], example.truth.rgb[painted]),
        "flats": float(Layer(colors, example.truth).difference[paper].mean()),
    }


def _columns(prefix: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": figure for name, figure in figures.items()}


def curve_statistics(user: str, counts: Sequence[int] = COUNTS) -> dict[str, Statistic]:
    """The figures of a user's curve, "ciede2000.10" and the like, and what is read off the whole curve."""
    statistics = {}
    for count in counts:
        for metric, better in METRICS.items():
            statistics[f"{metric}.{count}"] = mean_of(f"{user}.{count}.{metric}", better=better, label=f"{count} hints")
    curve = tuple(f"{user}.{count}.ciede2000" for count in counts)
    for share in SHARES:
        statistics[f"strokes_to.{share:g}"] = Statistic(
            curve, _strokes_finisher(counts, share), "lower", f"strokes to {share:.0%} of the CIEDE2000 without"
        )
    if GOAL_HINTS in counts:
        for metric in ("ciede2000", "flats"):
            columns = f"{user}.{GOAL_HINTS}.{metric}", f"{user}.{counts[0]}.{metric}"
            statistics[f"goal_share.{metric}"] = Statistic(columns, _share, "lower", "share of that without hints")
    return statistics


def _share(goal: np.ndarray, none: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    return goal / none


def _strokes_finisher(counts: Sequence[int], share: float) -> Callable[..., np.ndarray]:
    def finish(*sums_and_pictures: np.ndarray) -> np.ndarray:
        curves = np.stack(sums_and_pictures[:-1], axis=-1)
        return np.array([strokes_to(counts, curve, share * curve[0]) for curve in np.atleast_2d(curves)])

    return finish


def strokes_to(counts: Sequence[int], curve: np.ndarray, target: float) -> float:
    """After how many strokes a curve first is as low as `target`, linear between counts; nan where it never is."""
    reached = np.flatnonzero(curve <= target)
    if not len(reached):
        return float("nan")
    after = int(reached[0])
    if after == 0:
        return float(counts[0])
    passed = (curve[after - 1] - target) / (curve[after - 1] - curve[after])
    return float(counts[after - 1] + passed * (counts[after] - counts[after - 1]))
