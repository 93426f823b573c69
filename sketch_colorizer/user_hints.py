"""The hints of a user: dots in a list or strokes on a transparent layer, read into marked pixels of the drawing."""

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from .color import rgb_to_lab
from .color_notation import parse_color
from .hints import encode_hints
from .picture_files import open_picture
from .regions import PAPER, segment_regions

DOT_RADIUS = 1 / 128  # of the longest side, for a dot that says none: a few pixels for the network
HINT_FORMS = "a list of (x, y, colour[, radius]), or a picture with transparency (a path, a PIL image, or RGBA uint8)"


class MarkedPixels(NamedTuple):
    """The hinted pixels of a drawing and their colours."""

    shape: tuple[int, int]  # height and width of the drawing
    index: np.ndarray  # (M,) int64, y * width + x, rising
    colors: np.ndarray  # (M, 3) uint8 sRGB
    drawn: np.ndarray | None = None  # (M,) bool, those that were drawn at random, where not all are the user's

    def joined(self, later: "MarkedPixels") -> "MarkedPixels":
        """Both; where they overlap, the later ones."""
        earlier = ~np.isin(self.index, later.index)
        return _marks(
            self.shape,
            np.concatenate([self.index[earlier], later.index]),
            np.concatenate([self.colors[earlier], later.colors]),
            np.concatenate([self._is_drawn[earlier], later._is_drawn]),
        )

    def chosen(self) -> "MarkedPixels | None":
        """The user's, None where there are none: all are obeyed, but only these say what the user wants elsewhere."""
        kept = ~self._is_drawn
        return MarkedPixels(self.shape, self.index[kept], self.colors[kept]) if kept.any() else None

    @property
    def _is_drawn(self) -> np.ndarray:
        return np.zeros(len(self.index), bool) if self.drawn is None else self.drawn

    def resized(self, shape: tuple[int, int]) -> "MarkedPixels":
        """The same marks on a grid of another size: nearest, so that no colours mix, and none of them vanishes."""
        return _resize(self, shape) if shape != self.shape else self


def read_hints(hints: Any, line_art: np.ndarray, labels: np.ndarray | None = None) -> MarkedPixels:
    """Hints in any accepted form as marked pixels of a drawing: line art uint8 (H, W), and its regions if known.

    A dot of a list stays within the region that holds its centre; where dots overlap the last one counts. Of a picture
    those pixels count that are at least half as opaque as its most opaque one; it is stretched to the drawing's size.
    Raises ValueError, in one line, for hints of another form, outside the drawing, or without a readable colour.
    """
    if isinstance(hints, MarkedPixels):
        return hints
    if isinstance(hints, (str, os.PathLike)):
        hints = open_picture(hints)
    if isinstance(hints, (Image.Image, np.ndarray)):
        return _read_layer(hints, line_art.shape)
    if not isinstance(hints, Sequence):
        raise ValueError(f"hints must be {HINT_FORMS}; got {type(hints).__name__}")
    if len(hints) > line_art.size:
        raise ValueError(f"there are more hints ({len(hints)}) than pixels ({line_art.size})")
    dots = [_check_dot(number, hint, line_art.shape) for number, hint in enumerate(hints, start=1)]
    if not dots:
        return MarkedPixels(line_art.shape, np.zeros(0, np.int64), np.zeros((0, 3), np.uint8))
    return _read_dots(dots, segment_regions(line_art) if labels is None else labels)


def hint_tensor(marks: MarkedPixels, shape: tuple[int, int]) -> torch.Tensor:
    """`hint_values` (4, h, w) of a copy of the drawing that is `shape` large."""
    marks = marks.resized(shape)
    rgb, mask = torch.zeros(shape[0] * shape[1], 3), torch.zeros(1, *shape)
    index = torch.from_numpy(marks.index)
    rgb[index] = torch.from_numpy(marks.colors).float() / 255
    mask.view(-1)[index] = 1
    return encode_hints(rgb_to_lab(rgb, dim=-1).T.reshape(3, *shape), mask)


def vote_by_region(marks: MarkedPixels, labels: np.ndarray, line_art: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which marked pixels speak for their region, and for which one: two arrays (V,), indices into `marks` and labels.

    All on paper do. Those on ink do where their stroke lies on ink altogether; else a stroke that covers the half of
    a line that belongs to the neighbour would speak for the neighbour.
    """
    on_paper = line_art.ravel()[marks.index] >= PAPER
    speaks = on_paper.copy()
    if not on_paper.all():
        stroke = _strokes(marks)
        has_paper = np.zeros(stroke.max() + 1, bool)
        has_paper[stroke[on_paper]] = True
        speaks |= ~has_paper[stroke]
    voters = np.flatnonzero(speaks)
    return voters, labels.ravel()[marks.index[voters]]


def _strokes(marks: MarkedPixels) -> np.ndarray:
    """The number of the connected stroke of each marked pixel, (M,)."""
    y, x = np.divmod(marks.index, marks.shape[1])
    y, x = y - y.min(), x - x.min()
    mask = np.zeros((y.max() + 1, x.max() + 1), np.uint8)
    mask[y, x] = 1
    return cv2.connectedComponents(mask, connectivity=8)[1][y, x]


def _check_dot(number: int, hint: Any, shape: tuple[int, int]) -> tuple[float, float, tuple[int, int, int], float]:
    height, width = shape
    if isinstance(hint, str) or not isinstance(hint, Sequence) or len(hint) not in (3, 4):
        raise ValueError(f"hint {number} must be (x, y, colour) or (x, y, colour, radius), got {hint!r}")
    x, y, radius = _number(number, "x", hint[0]), _number(number, "y", hint[1]), max(shape) * DOT_RADIUS
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(
            f"hint {number} at ({x:g}, {y:g}) is outside the picture of {width}x{height} pixels; "
            f"x goes from 0 to {width - 1}, y from 0 to {height - 1}"
        )
    if len(hint) == 4 and hint[3] is not None:
        radius = _number(number, "radius", hint[3])
        if not 0 <= radius <= max(shape):
            raise ValueError(f"hint {number}: its radius must be 0..{max(shape)} pixels, got {radius:g}")
    try:
        return x, y, parse_color(hint[2]), radius
    except ValueError as error:
        raise ValueError(f"hint {number}: {error}") from None


def _number(hint: int, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"hint {hint}: {name} must be a finite number, got {value!r}")
    return number


def _read_dots(dots: list[tuple[float, float, tuple[int, int, int], float]], labels: np.ndarray) -> MarkedPixels:
    height, width = labels.shape
    index, colors = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.uint8)]
    for x, y, color, radius in dots:
        column, row, reach = int(x), int(y), math.ceil(radius)
        rows = np.arange(max(0, row - reach), min(height, row + reach + 1))
        columns = np.arange(max(0, column - reach), min(width, column + reach + 1))
        near = (rows[:, None] - row) ** 2 + (columns - column) ** 2 <= radius**2
        near &= labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == labels[row, column]
        down, right = np.nonzero(near)
        index.append(rows[down] * width + columns[right])
        colors.append(np.full((len(down), 3), color, np.uint8))
    return _marks(labels.shape, np.concatenate(index), np.concatenate(colors))


def _read_layer(layer: Image.Image | np.ndarray, shape: tuple[int, int]) -> MarkedPixels:
    pixels = _to_rgba(layer)
    alpha = pixels[..., 3]
    peak = int(alpha.max(initial=0))
    if peak and int(alpha.min()) == 255:
        raise ValueError("the hints are opaque everywhere, so they mark no place; save the strokes on transparency")
    rows, columns = np.nonzero(alpha >= max(1, peak / 2))
    index = rows * alpha.shape[1] + columns
    return MarkedPixels(alpha.shape, index, pixels.reshape(-1, 4)[index, :3]).resized(shape)


def _to_rgba(layer: Image.Image | np.ndarray) -> np.ndarray:
    if isinstance(layer, np.ndarray):
        if layer.dtype != np.uint8 or layer.ndim != 3 or layer.shape[2] != 4 or layer.size == 0:
            raise ValueError(f"a layer of hints must be RGBA, uint8 (H, W, 4), got {layer.dtype} {layer.shape}")
        return layer
    if not layer.has_transparency_data:
        raise ValueError(f"hints need transparency that says where they are, got a picture of mode {layer.mode}")
    if min(layer.size) < 1:
        raise ValueError(f"the hints have no pixels: their size is {layer.width}x{layer.height}")
    return np.asarray(ImageOps.exif_transpose(layer).convert("RGBA"))


def _marks(
    shape: tuple[int, int], index: np.ndarray, colors: np.ndarray, drawn: np.ndarray | None = None
) -> MarkedPixels:
    """Sorted, and of several marks of one pixel the last."""
    order = np.argsort(index, kind="stable")
    is_last = np.append(index[order][1:] != index[order][:-1], True)[: len(index)]
    kept = order[is_last]
    return MarkedPixels(shape, index[kept], colors[kept], None if drawn is None else drawn[kept])


def _resize(marks: MarkedPixels, shape: tuple[int, int]) -> MarkedPixels:
    if shape[0] > marks.shape[0] or shape[1] > marks.shape[1]:  # each mark becomes a rectangle
        number = np.zeros(marks.shape, np.int32)
        number.ravel()[marks.index] = np.arange(1, len(marks.index) + 1)
        larger = tuple(map(max, zip(shape, marks.shape, strict=True)))
        number = cv2.resize(number, larger[::-1], interpolation=cv2.INTER_NEAREST_EXACT).ravel()
        index = np.flatnonzero(number)
        marks = MarkedPixels(larger, index, marks.colors[number[index] - 1])
    y, x = np.divmod(marks.index, marks.shape[1])
    return _marks(shape, y * shape[0] // marks.shape[0] * shape[1] + x * shape[1] // marks.shape[1], marks.colors)
