"""Whether hints are obeyed: their colour where they are painted, all over their region, and nowhere else."""

import math
from typing import Any

import numpy as np

from ..color import ciede2000, rgb_to_lab
from ..pipeline_sketch_colorizer import ColorizationPipeline
from ..regions import segment_regions
from .examples import Example
from .intervals import Statistic, ratio_of
from .metrics import closed_regions
from .scoring import PAPER, pixels
from .simulated_users import DOT_RADIUS, Hint, marked_pixels

OBEYED = 3.0  # CIEDE2000 up to which a pixel has the hint's colour
TAKEN = 5.0  # CIEDE2000 up to which a pixel elsewhere has taken the hint's colour ..
FOREIGN = 10.0  # .. if it was farther from it than this without the hint
PROBES = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#bfef45", "#f032e6")


def obedience_columns(colors: np.ndarray, line_art: np.ndarray, hints: list[Hint]) -> dict[str, float]:
    """How far the colour layer (H, W, 3) uint8 is from the hints at the pixels that they cover."""
    index, wanted = marked_pixels(line_art, hints)
    painted = colors.reshape(-1, 3)[index]
    difference = _difference(painted, wanted)
    return {
        "pixels": len(index),
        "within": int((difference <= OBEYED).sum()),
        "exact": int((painted == wanted).all(1).sum()),
        "difference": float(difference.sum()),
        "largest": float(difference.max(initial=0)),
    }


def obedience_statistics(prefix: str) -> dict[str, Statistic]:
    """What is reported of `obedience_columns`, over all hinted pixels of the pictures."""
    count = f"{prefix}.pixels"
    return {
        "within": ratio_of(f"{prefix}.within", count, better="higher", label=f"within {OBEYED:g}"),
        "exact": ratio_of(f"{prefix}.exact", count, better="higher", label="exactly the colour"),
        "difference": ratio_of(f"{prefix}.difference", count, better="lower", label="mean CIEDE2000"),
    }


def probe_row(pipeline: ColorizationPipeline, example: Example, generator: np.random.Generator) -> dict[str, Any]:
    """One dot in a colour that the picture does not have there, and everything that it does to the picture.

    `leaked` of `outside`: paper pixels outside the hint's closed region (4-connected paper, no gap bridged) that were
    farther than FOREIGN from the hint's colour without it and are within TAKEN of it with it. `reached` of `region`:
    paper pixels that lines enclose together with the hint and that are one region for the painter as well.
    """
    line_art = example.line_art
    regions = closed_regions(line_art)
    places = np.flatnonzero((regions.ravel() > 0) & (line_art.ravel() >= PAPER))
    if len(places) == 0:
        return {}
    plain = np.asarray(pipeline(example.drawing).colors).reshape(-1, 3)
    y, x = divmod(int(generator.choice(places)), line_art.shape[1])
    hint = (x, y, _probe_color(plain[y * line_art.shape[1] + x], generator), max(line_art.shape) * DOT_RADIUS)
    colors = np.asarray(pipeline(example.drawing, hints=[hint]).colors)
    columns = obedience_columns(colors, line_art, [hint])
    columns |= _spread_columns(plain, colors.reshape(-1, 3), regions, line_art, hint)
    return {f"probe.{name}": value for name, value in columns.items()}


def _probe_color(plain: np.ndarray, generator: np.random.Generator) -> str:
    """The first of the shuffled probes that is clearly another colour than what is there, (3,) uint8."""
    probes = [PROBES[i] for i in generator.permutation(len(PROBES))]
    distances = [float(_difference(plain[None], _rgb(probe))[0]) for probe in probes]
    return next(probe for probe, distance in zip(probes, distances, strict=True) if distance > 2 * FOREIGN)


def _spread_columns(
    plain: np.ndarray, hinted: np.ndarray, regions: np.ndarray, line_art: np.ndarray, hint: Hint
) -> dict[str, int | float]:
    """The leak and the reach of one hint, from the colour layers without and with it, (H*W, 3) uint8 both."""
    x, y, color, _ = hint
    paper, labels = line_art.ravel() >= PAPER, segment_regions(line_art)
    inside = (regions == regions[y, x]).ravel()
    before, after = _difference(plain, _rgb(color)), _difference(hinted, _rgb(color))
    outside = paper & ~inside & (before > FOREIGN)
    region = paper & inside & (labels == labels[y, x]).ravel()
    moved = _difference(plain[outside], hinted[outside])
    return {
        "outside": int(outside.sum()),
        "leaked": int((after[outside] <= TAKEN).sum()),
        "moved": float(moved.sum()),
        "region": int(region.sum()),
        "reached": int((after[region] <= OBEYED).sum()),
    }


SPREAD_STATISTICS: dict[str, Statistic] = {
    "leak_rate": ratio_of("probe.leaked", "probe.outside", better="lower", label="leak rate"),
    "reach": ratio_of("probe.reached", "probe.region", better="higher", label="share of its region reached"),
    "moved": ratio_of("probe.moved", "probe.outside", better="lower", label="CIEDE2000 moved elsewhere"),
}


def largest_difference(rows: list[dict[str, Any]], prefix: str) -> float:
    """The largest CIEDE2000 of any hinted pixel of any picture; nan without any."""
    return max((row[f"{prefix}.largest"] for row in rows if f"{prefix}.largest" in row), default=math.nan)


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 between colours (N, 3) uint8 and (N or 1, 3) uint8."""
    lab, other = (rgb_to_lab(pixels(colors), dim=-1) for colors in (first, second))
    return ciede2000(lab, other.expand_as(lab), dim=-1).numpy()


def _rgb(color: str) -> np.ndarray:  # (1, 3) uint8
    return np.frombuffer(bytes.fromhex(color[1:]), np.uint8)[None]
