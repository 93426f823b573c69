"""What hints say about the rest of a drawing: a colour chosen once is likelier elsewhere too, nearby above all."""

import cv2
import numpy as np
import torch
from torch import Tensor

from .color import rgb_to_lab
from .color_notation import pack_colors, unpack_colors
from .quantizer import keep_paper
from .user_hints import MarkedPixels

MAX_COLORS = 64  # the most painted ones
MANY = 20  # more colours than these say no more about the rest
GRID = 128  # cells along the drawing's longest side on which distances are measured
RANGE = 0.3  # of the drawing's diagonal, over which a hint's influence falls to 1/e
SPREAD = 10.0  # Lab distance over which a class has a hint's colour
SAME = 5.0  # Lab distance within which two hints have one colour
NOVELTY = 0.5  # how readily a region has a colour that no hint has; like the others tuned on held-out pictures


def hint_odds(marks: MarkedPixels, labels: np.ndarray, bin_colors: Tensor) -> Tensor:
    """By how much each class (Q, 3) Lab becomes likelier in each region of `labels` (H, W): (N, Q), at least 1.

    Close to a hint the classes of its colour gain the factor 1 + n^2 / NOVELTY, and less with the distance, where n is
    the number of colours that were chosen: a first dab says little about the rest, while a user who has chosen ten
    colours has hardly an eleventh. A region is as far away as its nearest cell.
    """
    height, width = labels.shape
    step = max(height, width) / GRID if max(height, width) > GRID else 1.0
    shape = max(1, round(height / step)), max(1, round(width / step))
    cells = labels[_centres(shape[0], height)][:, _centres(shape[1], width)]
    colors, nearness = _nearness(marks, shape)
    flat = nearness.reshape(len(colors), -1)
    order = np.argsort(cells, axis=None, kind="stable")
    regions, first = np.unique(cells.ravel()[order], return_index=True)
    by_region = np.empty((len(colors), int(labels.max()) + 1), np.float32)
    by_region[:, regions] = np.maximum.reduceat(flat[:, order], first, axis=1)
    between = np.setdiff1d(np.arange(by_region.shape[1]), regions)  # specks that no cell's centre meets
    if len(between):
        numbers, pixels = np.unique(labels, return_index=True)
        y, x = np.divmod(pixels[np.isin(numbers, between)], width)
        by_region[:, between] = nearness[:, y * shape[0] // height, x * shape[1] // width]
    return _odds(torch.from_numpy(by_region.T.copy()), colors, bin_colors)


def _centres(cells: int, pixels: int) -> np.ndarray:
    """The pixel in the middle of each cell along a side."""
    return (2 * np.arange(cells) + 1) * pixels // (2 * cells)


def hint_odds_of_cells(marks: MarkedPixels, shape: tuple[int, int], bin_colors: Tensor) -> Tensor:
    """The same for the cells of a coarse grid over the drawing: (h, w, Q)."""
    colors, nearness = _nearness(marks, shape)
    return _odds(torch.from_numpy(nearness).movedim(0, -1), colors, bin_colors)


def weigh(scores: Tensor, odds: Tensor, bin_colors: Tensor) -> Tensor:
    """Scores (.., Q) -> log-probabilities with the odds; how likely paper is does not change, as in what is painted."""
    before = scores.log_softmax(-1)
    return keep_paper(before, before + odds.log(), bin_colors)


def _nearness(marks: MarkedPixels, shape: tuple[int, int]) -> tuple[Tensor, np.ndarray]:
    """The colours (C, 3) Lab, and how near each cell of a grid is to each: (C, h, w), 1 on the marks themselves."""
    colors, color = _distinct_colors(marks.colors)
    y, x = np.divmod(marks.index, marks.shape[1])
    cell = y * shape[0] // marks.shape[0] * shape[1] + x * shape[1] // marks.shape[1]
    marked = np.zeros((len(colors), shape[0] * shape[1]), bool)
    kept = color >= 0
    marked[color[kept], cell[kept]] = True
    step = max(marks.shape[0] / shape[0], marks.shape[1] / shape[1])
    nearness = np.empty((len(colors), *shape), np.float32)
    for number in range(len(colors)):
        unmarked = (~marked[number]).astype(np.uint8).reshape(shape)
        distance = cv2.distanceTransform(unmarked, cv2.DIST_L2, cv2.DIST_MASK_5) * step
        nearness[number] = np.exp(-distance / (RANGE * np.hypot(*marks.shape)))
    return colors, nearness


def _distinct_colors(colors: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Colours uint8 (M, 3) -> those that differ, the most painted first, (C, 3) Lab, and the number of each pixel's.

    A pixel has the number -1 where its colour is like none of the `MAX_COLORS` that are kept.
    """
    packed, which, counts = np.unique(pack_colors(colors), return_inverse=True, return_counts=True)
    rgb = torch.from_numpy(unpack_colors(packed))
    lab, number, kept = rgb_to_lab(rgb.float() / 255, dim=-1), np.full(len(packed), -1, np.int8), []
    for one in np.argsort(-counts, kind="stable"):
        if number[one] < 0:
            number[((lab - lab[one]).norm(dim=-1) < SAME).numpy() & (number < 0)] = len(kept)
            kept.append(one)
        if len(kept) == MAX_COLORS:
            break
    return lab[kept], number[which]


def _odds(nearness: Tensor, colors: Tensor, bin_colors: Tensor) -> Tensor:
    """(.., C) and (C, 3) -> (.., Q): of several hints the strongest counts."""
    kernel = (-(torch.cdist(bin_colors.float().cpu(), colors) ** 2) / (2 * SPREAD**2)).exp()
    strongest = nearness.new_zeros(*nearness.shape[:-1], len(bin_colors))
    for share, alike in zip(nearness.unbind(-1), kernel.unbind(-1), strict=True):
        torch.maximum(strongest, share[..., None] * alike, out=strongest)
    return 1 + strongest * min(len(colors), MANY) ** 2 / NOVELTY
