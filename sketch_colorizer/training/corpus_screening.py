"""What a picture must show to be of use for learning colours: rules that look at its pixels and at nothing else."""

from typing import NamedTuple

import cv2
import numpy as np

SIDE = 256  # rules look at a copy of at most this size
GREY_LIMIT = 5.0  # |a|, |b| of Lab
_BLANK_SHARE, _BLANK_DISTANCE = 0.005, 5.0
_STROKE = 9  # what is thinner than this, in pixels of the copy, counts as a line
_PAINTED_SHARE, _PAINTED_DISTANCE = 0.003, 8.0
_INK_SPREAD = 12.0  # sRGB levels by which one ink on one paper may stray from the line between the two
_LIGHT_PAPER = 150
# Logistic regression on 12 photographs in 140 crops and the 8157 illustrations of the reference corpus.
_PHOTO_BIAS, _PHOTO_FLAT, _PHOTO_WHITE, _PHOTO_LIGHTNESS = 8.770, -5.803, -2.623, -0.1146


class Finding(NamedTuple):
    """A reason for rejection, and the figure behind it."""

    reason: str
    detail: str


def screen(rgb: np.ndarray) -> Finding | None:
    """Why an RGB picture (H, W, 3) uint8 has no colours to learn from: blank, line art only, or grey."""
    small = reduce(rgb)
    lab = _lab(small)
    varied = (np.linalg.norm(lab - _median(lab), axis=-1) > _BLANK_DISTANCE).mean()
    if varied < _BLANK_SHARE:
        return Finding("blank", f"{varied:.2%} of the pixels differ from the commonest colour")
    painted, spread = _painted_share(small), _ink_spread(small)
    if painted < _PAINTED_SHARE and spread <= _INK_SPREAD:
        return Finding("line_art_only", f"{painted:.2%} of the pixels are painted")
    colorfulness = _largest_ab(lab)
    if colorfulness <= GREY_LIMIT:
        return Finding("greyscale", f"|a| and |b| reach {colorfulness:.1f}")
    paper = _paper(small)
    if paper.min() >= _LIGHT_PAPER:
        balanced = np.percentile(np.abs(_lab(small / paper * 255)[..., 1:]).max(-1), 99.5)
        if balanced <= GREY_LIMIT:
            return Finding("greyscale", f"grey on tinted paper: |a| and |b| reach {balanced:.1f} beside it")
    return None


def photograph_score(rgb: np.ndarray) -> float:
    """How much an RGB picture (H, W, 3) looks like a photograph, 0..1: dark, no paper, no two pixels alike.

    Painted illustrations share much of that. docs/CORPUS.md says how many are lost at which limit.
    """
    small = reduce(rgb).astype(np.int16)
    step_x = np.abs(np.diff(small, axis=1)).max(-1)[:-1]
    step_y = np.abs(np.diff(small, axis=0)).max(-1)[:, :-1]
    flat = (np.maximum(step_x, step_y) <= 2).mean() if step_x.size and step_y.size else 1.0
    lab = _lab(small)
    white = ((lab[..., 0] > 95) & (np.abs(lab[..., 1:]).max(-1) < 6)).mean()
    score = _PHOTO_BIAS + _PHOTO_FLAT * flat + _PHOTO_WHITE * white + _PHOTO_LIGHTNESS * lab[..., 0].mean()
    return float(1 / (1 + np.exp(-score)))


def reduce(rgb: np.ndarray) -> np.ndarray:
    """A copy of at most 256 pixels a side, or the picture itself."""
    scale = SIDE / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = tuple(max(1, round(length * scale)) for length in rgb.shape[1::-1])
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.clip(rgb.astype(np.float32) / 255, 0, 1), cv2.COLOR_RGB2LAB)


def _median(pixels: np.ndarray) -> np.ndarray:
    return np.median(pixels.reshape(-1, pixels.shape[-1]), axis=0)


def _largest_ab(lab: np.ndarray) -> float:
    return float(np.abs(lab[..., 1:]).max())


def _painted_share(rgb: np.ndarray) -> float:
    """Share of the pixels that are neither paper nor part of a thin dark stroke; uneven light on paper is forgiven."""
    closed = _lab(cv2.morphologyEx(rgb, cv2.MORPH_CLOSE, np.ones((_STROKE, _STROKE), np.uint8)))
    difference = (closed - _median(closed)) * np.float32([0.5, 1, 1])
    return float((np.linalg.norm(difference, axis=-1) > _PAINTED_DISTANCE).mean())


def _paper(rgb: np.ndarray) -> np.ndarray:
    """The commonest colour of the lighter half, (3,)."""
    light = rgb.sum(-1, dtype=np.int32)
    return np.maximum(np.median(rgb[light >= np.median(light)], axis=0), 1)


def _ink_spread(rgb: np.ndarray) -> float:
    """Distance that (nearly) all pixels keep from the straight line in sRGB through the paper and one ink."""
    pixels = rgb.reshape(-1, 3) - _paper(rgb)
    _, vectors = np.linalg.eigh(pixels.T @ pixels)
    ink = vectors[:, -1]
    return float(np.percentile(np.linalg.norm(pixels - (pixels @ ink)[:, None] * ink, axis=1), 99))
