"""Simulated users: they know the finished picture and paint dots in its colours, at random or where they are asked."""

import hashlib
import math
from collections.abc import Sequence

import cv2
import numpy as np

from .examples import Example
from .scoring import PAPER

Hint = tuple[int, int, str, float]  # x, y, "#rrggbb", radius: as the pipeline takes it
DOT_RADIUS = 1 / 128  # of the longest side, at least one pixel
_SAME_COLOR = 12.0  # Lab distance up to which a pixel of the dot has the colour that was clicked on


def picture_generator(seed: int, *key: str) -> np.random.Generator:
    """A generator that depends on the seed and on the picture, not on the order or number of pictures."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def random_hints(example: Example, n: int, generator: np.random.Generator) -> list[Hint]:
    """Dots at n different pixels, uniform over the painted paper of a picture; fewer where there are fewer pixels.

    The first k of n are those of a user who stops after k.
    """
    places = np.flatnonzero(example.truth.painted.numpy() & (example.line_art.ravel() >= PAPER))
    chosen = generator.permutation(places)[:n]
    width = example.line_art.shape[1]
    return [hint_at(example, int(place % width), int(place // width)) for place in chosen]


def hint_at(example: Example, x: int, y: int) -> Hint:
    """A dot in the true colour at a pixel: the mean of what the dot covers and is alike, as models are trained on."""
    radius = max(1.0, max(example.line_art.shape) * DOT_RADIUS)
    index = dot_pixels(example.line_art, (x, y, "", radius))
    lab = example.truth.lab.view(*example.line_art.shape, 3)
    covered = lab.reshape(-1, 3)[index]
    alike = ((covered - lab[y, x]).square().sum(1) < _SAME_COLOR**2).numpy()
    red, green, blue = example.truth.picture.reshape(-1, 3)[index[alike]].mean(0).round().astype(int)
    return x, y, f"#{red:02x}{green:02x}{blue:02x}", radius


def dot_pixels(line_art: np.ndarray, hint: Hint) -> np.ndarray:
    """The paper pixels of a dot on the same side of every line as its centre, and the centre: (M,) of y * width + x."""
    x, y, _, radius = hint
    width, reach = line_art.shape[1], math.ceil(radius)
    top, left = max(0, y - reach), max(0, x - reach)
    paper = (line_art[top : y + reach + 1, left : x + reach + 1] >= PAPER).astype(np.uint8)
    paper[y - top, x - left] = 1
    pieces = cv2.connectedComponents(paper, connectivity=4)[1]
    rows, columns = np.nonzero(pieces == pieces[y - top, x - left])
    rows, columns = rows + top, columns + left
    near = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return rows[near] * width + columns[near]


def marked_pixels(line_art: np.ndarray, hints: Sequence[Hint]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that hints cover, (M,) of y * width + x, and the colour that each was given last, (M, 3) uint8."""
    colors = {}
    for hint in hints:
        color = tuple(bytes.fromhex(hint[2][1:]))
        colors |= dict.fromkeys(dot_pixels(line_art, hint).tolist(), color)
    return np.array(list(colors), np.int64), np.array(list(colors.values()), np.uint8).reshape(-1, 3)
