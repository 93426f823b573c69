"""What a user's hints do to the regions they lie in: exact colours, a split where several meet, a smooth falloff."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from .color_notation import pack_colors
from .regions import region_boxes
from .user_hints import MarkedPixels, vote_by_region

MAX_COLORS = 16  # of one region that spread; further ones stay where they are painted
GRID = 128  # cells along the longest side of a region on which distances are measured
INK_PRICE = 60.0  # steps that it costs to cross a cell full of ink, so that a split runs along lines
COLOR_PRICE = 1.5  # steps for each unit of Lab by which the network tells two neighbouring cells apart
OUTSIDE_PRICE = 30.0  # of a step that leaves the region, so that each of its pieces is reached
REACH = 2.0  # times the region's size: the distance at which a hint and the network count alike in the soft style
_STRIP = 256  # rows at a time
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))


class _HintedRegion(NamedTuple):
    """A region that holds hints."""

    region: int
    colors: np.ndarray  # (k, 3) uint8, the most painted first
    seeds: list[np.ndarray]  # of each colour the positions of its marks in the flat picture
    box: tuple[slice, slice]  # rows and columns of the region


def settle_regions(
    labels: np.ndarray, region_colors: np.ndarray, marks: MarkedPixels, line_art: np.ndarray, guide: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Regions in their hints' colours: labels (H, W) and colours uint8 (N, 3) -> the same, where some are split.

    A region with hints of several colours is split: each pixel takes the colour that is nearest within the region;
    ink, and borders in `guide` (h, w, 3), the network's Lab colours, lengthen the way.
    """
    region_colors, split_labels, count = [region_colors.copy()], labels, len(region_colors)
    for hinted in _hinted_regions(marks, labels, line_art):
        region_colors[0][hinted.region] = hinted.colors[0]
        if len(hinted.colors) > 1:
            split_labels = labels.copy() if split_labels is labels else split_labels
            numbers = np.array([hinted.region, *range(count, count + len(hinted.colors) - 1)], np.int32)
            for rows, is_region, distances in _strips(hinted, labels, line_art, guide):
                target = split_labels[rows, hinted.box[1]]
                target[is_region] = numbers[distances.argmin(0)[is_region]]
            region_colors.append(hinted.colors[1:])
            count += len(hinted.colors) - 1
    return split_labels, np.concatenate(region_colors)


def blend_hints(
    colors: np.ndarray, labels: np.ndarray, marks: MarkedPixels, line_art: np.ndarray, guide: np.ndarray
) -> None:
    """Soft colours (H, W, 3) drawn towards the hints of their region, less and less with the distance; in place."""
    for hinted in _hinted_regions(marks, labels, line_art):
        for rows, is_region, distances in _strips(hinted, labels, line_art, guide):
            pixels = colors[rows, hinted.box[1]]
            distances = distances[:, is_region]
            nearness = 1 / np.maximum(distances, 0.05) ** 4
            mixed = (nearness / nearness.sum(0)).T @ hinted.colors.astype(np.float32)
            strength = 1 / (1 + (distances.min(0) / REACH) ** 2)[:, None]
            pixels[is_region] = np.rint(pixels[is_region] * (1 - strength) + mixed * strength)


def paint_marks(colors: np.ndarray, marks: MarkedPixels) -> None:
    """Each marked pixel of (H, W, 3) in exactly its colour, in place."""
    colors.reshape(-1, 3)[marks.index] = marks.colors


def _hinted_regions(marks: MarkedPixels, labels: np.ndarray, line_art: np.ndarray) -> list[_HintedRegion]:
    voters, regions = vote_by_region(marks, labels, line_art)
    if len(voters) == 0:
        return []
    boxes = region_boxes(labels)
    packed = pack_colors(marks.colors[voters])
    pairs, pair, counts = np.unique(regions.astype(np.int64) << 24 | packed, return_inverse=True, return_counts=True)
    order = np.lexsort((-counts, pairs >> 24))
    members = np.split(np.argsort(pair, kind="stable"), np.cumsum(counts)[:-1])
    found = []
    for group in np.split(order, np.flatnonzero(np.diff(pairs[order] >> 24)) + 1):
        region, kept = int(pairs[group[0]] >> 24), group[:MAX_COLORS]
        colors = np.stack([pairs[kept] >> 16 & 255, pairs[kept] >> 8 & 255, pairs[kept] & 255], 1).astype(np.uint8)
        seeds = [marks.index[voters[members[one]]] for one in kept]
        found.append(_HintedRegion(region, colors, seeds, boxes[region]))
    return found


def _strips(
    hinted: _HintedRegion, labels: np.ndarray, line_art: np.ndarray, guide: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Rows of the region's box, which pixels there are the region, and their distances to each colour (k, rows, W').

    Distances are in units of the region's own size, the root of its area.
    """
    rows, columns = hinted.box
    height, width = rows.stop - rows.start, columns.stop - columns.start
    factor = max(1, -(-max(height, width) // GRID))
    distances = _distances(hinted, labels, line_art, guide, factor)
    to_grid = np.float32([[1 / factor, 0, 0.5 / factor - 0.5], [0, 1 / factor, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for top in range(0, height, _STRIP):
        size = width, min(_STRIP, height - top)
        to_grid[1, 2] = (top + 0.5) / factor - 0.5
        strip = slice(rows.start + top, rows.start + top + size[1])
        enlarged = [
            cv2.warpAffine(one, to_grid, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for one in distances
        ]
        yield strip, labels[strip, columns] == hinted.region, np.stack(enlarged)


def _distances(
    hinted: _HintedRegion, labels: np.ndarray, line_art: np.ndarray, guide: np.ndarray, factor: int
) -> np.ndarray:  # (k, h', w') float32
    """The length of the shortest way from each cell of a grid over the region's box to each colour's marks."""
    rows, columns = hinted.box
    inside = _cells((labels[hinted.box] == hinted.region).astype(np.float32), factor) > 0
    ink = 1 - _cells(line_art[hinted.box].astype(np.float32), factor) / 255
    price = np.where(inside, 1 + INK_PRICE * ink, OUTSIDE_PRICE)
    y, x = rows.start + factor * np.arange(len(ink)), columns.start + factor * np.arange(ink.shape[1])
    predicted = guide[y * guide.shape[0] // labels.shape[0]][:, x * guide.shape[1] // labels.shape[1]]
    graph = _graph(price, predicted)
    size = np.sqrt(max(1, inside.sum()))
    distances = np.empty((len(hinted.colors), *ink.shape), np.float32)
    for one, seeds in zip(distances, hinted.seeds, strict=True):
        y, x = np.divmod(seeds, labels.shape[1])
        cells = np.unique((y - rows.start) // factor * ink.shape[1] + (x - columns.start) // factor)
        one.ravel()[:] = dijkstra(graph, directed=False, indices=cells, min_only=True) / size
    return distances


def _cells(values: np.ndarray, factor: int) -> np.ndarray:
    """The mean over each square of factor x factor pixels; squares at the right and the bottom are filled up."""
    bottom, right = (-side % factor for side in values.shape)
    padded = cv2.copyMakeBorder(values, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = padded.shape[1] // factor, padded.shape[0] // factor
    return cv2.resize(padded, size, interpolation=cv2.INTER_AREA)


def _graph(price: np.ndarray, predicted: np.ndarray) -> sp.csr_array:
    """Cells as nodes, each with its eight neighbours; a way costs the mean price times its length."""
    height, width = price.shape
    node = np.arange(price.size).reshape(price.shape)
    first, second, weight = [], [], []
    for down, right in _NEIGHBORS:
        here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        there = slice(down, height), slice(max(0, right), width + min(0, right))
        step = np.hypot(down, right)
        difference = np.linalg.norm(predicted[here] - predicted[there], axis=-1)
        weight.append((step * (price[here] + price[there]) / 2 + COLOR_PRICE * difference).ravel())
        first.append(node[here].ravel())
        second.append(node[there].ravel())
    edges = np.concatenate(weight), (np.concatenate(first), np.concatenate(second))
    return sp.coo_array(edges, shape=(price.size, price.size)).tocsr()
