"""The closed regions of a line drawing with the gaps in its outlines bridged, and what is pooled over them.

How a gap is told from an open passage: the paper is cut wherever it narrows (the watershed of the distance to the
nearest ink, which is trapped-ball segmentation, Zhang 2009, for all radii at once); then the cuts that no outline
speaks for are undone. A cut stands where its two sides also share a long line of ink, of which the opening is a small
part, and where both are wide compared with the opening. So a pear with a gap is closed, and hatching, hair and bow
ties are not cut up.
"""

from typing import NamedTuple

import cv2
import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

WORKING_PIXELS = 2_500_000  # larger drawings are segmented at a whole fraction of their size
CUT_STRENGTH = 12.0  # (shared ink / opening) * (width of the narrower side / width of the opening) of a cut that stands
MIN_NECK = 1.5  # a basin must be this many times wider, and a pixel, than the opening that parts it from the rest
DOT_SIZE = 0.012  # of the longest side; ink specks up to this extent are texture, no outline
TEXTURE_REACH = 2.5  # pixels; a crowd of closed cells no wider than four pixels is texture too
TEXTURE_CROWD = 16
TEXTURE_SHARE = 0.75
WIDE_GAP = 0.01  # half width, of the longest side, from which an opening needs more support the wider it is
MAX_REGIONS = 4096
PAPER = 192  # grey from which a pixel shows colour and counts in a mean
POOLED_CHANNELS = 32  # at a time, so that they are transposed within the cache
_SQUARE = np.ones((3, 3), np.uint8)
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class _Graph(NamedTuple):
    """Regions and the borders between them."""

    pairs: np.ndarray  # (2, E) the two regions of each border
    inked: np.ndarray  # (E,) pixels of the border that run under ink
    opening: np.ndarray  # (E,) pixels of the border that cross bare paper
    neck: np.ndarray  # (E,) greatest distance to ink on the opening, its half width
    reach: np.ndarray  # (N,) greatest distance to ink in the region, its half width
    area: np.ndarray  # (N,) paper pixels


def segment_regions(line_art: np.ndarray, *, max_gap: float = 0.06, min_size: float = 0.006) -> np.ndarray:
    """The regions of a drawing: uint8 (H, W), 255 = paper -> int32 (H, W), labels 0..N-1, each of them used.

    Openings up to `max_gap` of the longest side can be bridged (at least 3 pixels); regions below a square of side
    `min_size` of the longest side, or half as thin, join a neighbour. Every pixel has a label: those under ink take
    the nearest region's, so that two colours meet in the middle of the line. The same drawing gives the same labels.
    """
    line_art = _check_line_art(line_art)
    if not 0 <= max_gap <= 1 or not 0 <= min_size <= 1:
        raise ValueError(f"max_gap and min_size are shares of the longest side, 0..1, got {max_gap} and {min_size}")
    factor = int(np.ceil(np.sqrt(line_art.size / WORKING_PIXELS)))
    if factor == 1:
        return _segment(ink_mask(line_art), max_gap, min_size)
    ink = ink_mask(cv2.blur(line_art, (3, 3)))  # the grain of a large scan would add up in the cells
    labels = _segment(_shrink_ink(ink, factor), max_gap, min_size)
    return _carry_up(labels, ink, factor)


def ink_mask(line_art: np.ndarray) -> np.ndarray:
    """Which pixels are ink, uint8 (H, W) of 0 and 1: darker than the paper around them and than its noise.

    A faint pencil line counts where it stands alone; beside a dark line a pixel must reach a share of that line's
    darkness, so that soft edges do not make lines thick.
    """
    height, width = line_art.shape
    cell = max(8, max(line_art.shape) // 128)
    cells = cv2.resize(line_art, (-(-width // cell), -(-height // cell)), interpolation=cv2.INTER_AREA)
    paper = cv2.morphologyEx(cells, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    paper = np.maximum(paper, paper.max() // 2)  # the inside of a large black area is no paper
    darkness = cv2.subtract(cv2.resize(paper, (width, height)), line_art)
    step = max(1, min(line_art.shape) // 256)
    noise = int(np.median(darkness[::step, ::step]))
    floor = min(18 + 3 * noise, 64)
    threshold = np.clip(0.4 * np.arange(256), floor, 64).astype(np.uint8)  # by the darkest neighbour
    return cv2.compare(darkness, cv2.LUT(cv2.dilate(darkness, np.ones((5, 5), np.uint8)), threshold), cv2.CMP_GT) & 1


def _segment(ink: np.ndarray, max_gap: float, min_size: float) -> np.ndarray:
    """Labels of a drawing that is given as a mask of ink and small enough to be handled as it is."""
    side = min(max(ink.shape), 3 * min(ink.shape))  # a long strip counts as a drawing of three times its width
    ink = _without_dots(ink, DOT_SIZE * side)
    if not ink.any():  # blank paper is one region
        return np.zeros(ink.shape, np.int32)
    ink = _tight(ink)
    distance = cv2.distanceTransform(1 - ink, cv2.DIST_L2, 5)
    labels = _basins(distance, (max(max_gap * side, 3) + 1) / 2)
    labels = _under_ink(_join_shallow(labels, distance))
    if labels.max() == 0:
        return labels
    graph = _graph(labels, ink, distance)
    group, graph = _undo_weak_cuts(graph, WIDE_GAP * side)
    joined, graph = _join_texture(graph, TEXTURE_REACH)
    group = joined[group]
    joined, _ = _absorb_small(graph, max(12, (min_size * side) ** 2), max(1.5, min_size * side / 2))
    return joined[group].astype(np.int32)[labels]


def _without_dots(ink: np.ndarray, size: float) -> np.ndarray:
    """Ink without the isolated specks that are no larger than `size`: stipple and dirt bound no region."""
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    stays = boxes[:, cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1].max(axis=1) > size
    stays[0] = False
    return stays.astype(np.uint8)[pieces]


def _tight(ink: np.ndarray) -> np.ndarray:
    """Ink whose diagonal steps are filled, so that paper seen as 8-connected does not slip through a thin line."""
    tight = ink.copy()
    tight[1:, :-1] |= ink[:-1, :-1] & ink[1:, 1:]
    tight[1:, 1:] |= ink[:-1, 1:] & ink[1:, :-1]
    return tight


def _basins(distance: np.ndarray, radius: float) -> np.ndarray:
    """The paper cut at each narrowing of half width <= `radius`: int32 (H, W), 0 = ink.

    Each pixel follows the steepest ascent of `distance` to a summit, or to a part of the paper wider than `radius`.
    """
    height, width = distance.shape
    # Twelve bits of level and four of a code that differs within any 3x3 pixels and so tells which of them is highest.
    code = (np.arange(height, dtype=np.uint16) % 3 * 3)[:, None] + np.arange(width, dtype=np.uint16) % 3
    key = np.minimum(distance * (4095 / radius), 4095).astype(np.uint16) << 4 | code
    own_and_best = (code << 4 | cv2.dilate(key, _SQUARE) & 15).astype(np.uint8)
    count, labels = cv2.connectedComponents(cv2.compare(distance, radius, cv2.CMP_GT), connectivity=8)
    flat = labels.ravel()
    narrow = np.flatnonzero((flat == 0) & (distance.ravel() > 0))
    summit = np.arange(distance.size, dtype=np.int32)
    summit[narrow] += _ascents(width)[own_and_best.ravel()[narrow]]
    summit = _roots(summit)[narrow]
    tops = narrow[summit == narrow]
    flat[tops] = np.arange(count, count + len(tops))
    flat[narrow] = flat[summit]
    return labels


def _ascents(width: int) -> np.ndarray:
    """By 16 * (the code of a pixel) + (the code of its highest neighbour): how far away that is in the flat image."""
    (own_y, own_x), (best_y, best_x) = np.divmod(np.arange(9)[:, None], 3), np.divmod(np.arange(16), 3)
    return (((best_y - own_y + 1) % 3 - 1) * width + (best_x - own_x + 1) % 3 - 1).astype(np.int32).ravel()


def _join_shallow(labels: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Join basins across narrowings that are none: each to the neighbour behind its widest opening, 0 stays ink.

    What stays apart is MIN_NECK times wider than the openings around it. Basins of one or two pixels become ink.
    """
    flat, height = labels.ravel(), distance.ravel()
    first, second = _border_pixels(labels)
    on_paper = (height[first] > 0) & (height[second] > 0)
    first, second = first[on_paper], second[on_paper]
    neck = np.maximum(height[first], height[second])
    first, second = flat[first], flat[second]
    top = _highest(labels, distance)
    total = np.arange(len(top), dtype=np.int32)
    while True:
        is_swapped = (top[first] > top[second]) | ((top[first] == top[second]) & (first > second))
        low, high = np.where(is_swapped, second, first), np.where(is_swapped, first, second)
        widest = np.zeros(len(top), np.float32)
        np.maximum.at(widest, low, neck)
        joins = (neck == widest[low]) & (top[low] < MIN_NECK * neck + 1)
        if not joins.any():
            break
        target = np.arange(len(top), dtype=np.int32)
        target[low[joins]] = high[joins]
        group = _trees(target)
        total, low_top = group[total], top
        top = np.zeros(int(group.max()) + 1, np.float32)
        np.maximum.at(top, group, low_top)
        first, second = group[first], group[second]
        differ = first != second
        first, second, neck = first[differ], second[differ], neck[differ]
    joined = total[labels]
    size = np.bincount(joined.ravel())
    stays = size > 2
    stays[total[0]] = False
    return (np.cumsum(stays) * stays).astype(np.int32)[joined]


def _highest(labels: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The greatest distance in each region."""
    peaks = np.flatnonzero((distance >= cv2.dilate(distance, _SQUARE)).ravel())
    top = np.zeros(int(labels.max()) + 1, np.float32)
    np.maximum.at(top, labels.ravel()[peaks], distance.ravel()[peaks])
    return top


def _roots(target: np.ndarray) -> np.ndarray:
    """The root above each node of a forest in which node i hangs from target[i], and a root from itself."""
    while True:
        higher = target[target]
        if np.array_equal(higher, target):
            return target
        target = higher


def _trees(target: np.ndarray) -> np.ndarray:
    """The number of the tree of each node of such a forest."""
    is_root = target == np.arange(len(target))
    return (np.cumsum(is_root) - 1).astype(np.int32)[_roots(target)]


def _border_pixels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the pixels left of or above a border, and of those behind it."""
    flat, width = labels.ravel(), labels.shape[1]
    across = np.flatnonzero(flat[1:] != flat[:-1])
    across = across[(across + 1) % width > 0]
    down = np.flatnonzero(flat[width:] != flat[:-width])
    return np.concatenate([across, down]), np.concatenate([across + 1, down + width])


def _under_ink(labels: np.ndarray) -> np.ndarray:
    """Labels 1..N with 0 for ink -> labels 0..N-1, where ink has the label of the nearest region."""
    if labels.max() < 2:
        return np.zeros_like(labels)
    is_known = labels > 0
    _, nearest = cv2.distanceTransformWithLabels(
        (~is_known).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    return np.concatenate([np.zeros(1, np.int32), labels[is_known] - 1])[nearest]


def _graph(labels: np.ndarray, ink: np.ndarray, distance: np.ndarray) -> _Graph:
    """The regions and borders of a label image."""
    flat, height = labels.ravel(), distance.ravel()
    first, second = _border_pixels(labels)
    is_inked = (ink.ravel()[first] | ink.ravel()[second]).astype(np.float64)
    neck = np.maximum(height[first], height[second]) * (1 - is_inked)
    reach = _highest(labels, distance)
    area = np.bincount(flat, minlength=len(reach)) - np.bincount(labels[ink > 0], minlength=len(reach))
    pairs = np.stack([flat[first], flat[second]])
    return _contract(_Graph(pairs, is_inked, 1 - is_inked, neck, reach, area), np.arange(len(reach)))


def _contract(graph: _Graph, group: np.ndarray) -> _Graph:
    """The graph in which region i has become part of region group[i]."""
    count = int(group.max()) + 1
    low, high = np.sort(group[graph.pairs], axis=0).astype(np.int64)
    is_border = low != high
    keys, edge = np.unique(low[is_border] * count + high[is_border], return_inverse=True)
    neck, reach = np.zeros(len(keys)), np.zeros(count)
    np.maximum.at(neck, edge, graph.neck[is_border])
    np.maximum.at(reach, group, graph.reach)
    inked, opening = (np.bincount(edge, part[is_border], len(keys)) for part in (graph.inked, graph.opening))
    return _Graph(np.stack([keys // count, keys % count]), inked, opening, neck, reach, np.bincount(group, graph.area))


def _undo_weak_cuts(graph: _Graph, wide: float) -> tuple[np.ndarray, _Graph]:
    """Join regions across openings that no outline speaks for, the weakest first, one neighbour at a time."""
    total = np.arange(len(graph.area))
    for strength in (CUT_STRENGTH / 6, CUT_STRENGTH / 3, CUT_STRENGTH / 1.5, CUT_STRENGTH):
        while True:
            first, second = graph.pairs
            is_swapped = graph.reach[first] > graph.reach[second]
            narrow, other = np.where(is_swapped, second, first), np.where(is_swapped, first, second)
            ratio = graph.reach[narrow] / np.maximum(graph.neck, 1e-6)
            support = graph.inked / np.maximum(graph.opening, 1e-6) * ratio / np.maximum(graph.neck / wide, 1)
            weak = np.flatnonzero((graph.opening > 0) & (support < strength))
            if len(weak) == 0:
                break
            weak = weak[np.argsort(-support[weak], kind="stable")]
            target = np.arange(len(graph.area))
            target[narrow[weak]] = other[weak]  # the last one, the weakest, wins
            group = _trees(target)
            total, graph = group[total], _contract(graph, group)
    return total, graph


def _join_texture(graph: _Graph, reach: float) -> tuple[np.ndarray, _Graph]:
    """Join crowds of neighbouring cells that reach no further than `reach`: tiles, scales, curls, cross-hatching.

    The inner cells of a crowd have most of their border with such cells, so that small things in a scene stay apart.
    """
    count = len(graph.area)
    length = graph.inked + graph.opening
    is_cell = graph.reach <= reach
    both = is_cell[graph.pairs].all(axis=0)
    border, shared = (
        np.bincount(graph.pairs[:, by].ravel(), np.tile(length[by], 2), count) for by in (length > 0, both)
    )
    is_inner = is_cell & (shared >= TEXTURE_SHARE * border)
    crowd = _components(count, graph.pairs[:, is_inner[graph.pairs].all(axis=0)])
    in_crowd = (np.bincount(crowd) >= TEXTURE_CROWD)[crowd]
    group = _components(count, graph.pairs[:, both & in_crowd[graph.pairs].any(axis=0)])
    return group, _contract(graph, group)


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    """The number of the connected component of each of `count` nodes."""
    links = sp.coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(count, count))
    return connected_components(links, directed=False)[1]


def _absorb_small(graph: _Graph, area: float, reach: float) -> tuple[np.ndarray, _Graph]:
    """Join regions smaller or thinner than this to the neighbour with which they share the longest border."""
    total = np.arange(len(graph.area))
    while True:
        is_small = (graph.area < area) | (graph.reach < reach)
        is_small[np.argsort(graph.area, kind="stable")[:-MAX_REGIONS]] = True
        source, target = np.concatenate([graph.pairs, graph.pairs[::-1]], axis=1)
        border = np.tile(graph.inked + 4 * graph.opening, 2)
        allowed = is_small[source] & (
            ~is_small[target] | (graph.area[target] * len(total) + target > graph.area[source] * len(total) + source)
        )
        source, target, border = source[allowed], target[allowed], border[allowed]
        if len(source) == 0:
            return total, graph
        order = np.lexsort((border, ~is_small[target]))
        goes_to = np.arange(len(graph.area))
        goes_to[source[order]] = target[order]
        group = _trees(goes_to)
        total, graph = group[total], _contract(graph, group)


def _shrink_ink(ink: np.ndarray, factor: int) -> np.ndarray:
    """The mask at 1/factor of its size, rounded up; a cell with any ink is ink, so that lines stay closed."""
    bottom, right = (-side % factor for side in ink.shape)
    padded = cv2.copyMakeBorder(ink, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    spread = cv2.dilate(padded, np.ones((factor, factor), np.uint8), anchor=(0, 0))
    return np.ascontiguousarray(spread[::factor, ::factor])


def _carry_up(labels: np.ndarray, ink: np.ndarray, factor: int, *, strip: int = 64) -> np.ndarray:
    """Labels of a shrunk drawing at its full size: sure where a cell is all paper, grown from there along the lines."""
    numbers = (labels + 1).astype(np.uint16)
    sure = np.where(_shrink_ink(ink, factor) > 0, 0, numbers).astype(np.uint16)
    full = np.empty(ink.shape, np.int32)
    halo = 3  # cells; the growth reaches 2 * factor + 1 pixels
    for top in range(0, len(labels), strip):
        first = max(0, top - halo)
        cells = slice(first, top + strip + halo)
        here = slice(top * factor, (top + strip) * factor)
        paper = 1 - ink[first * factor : (top + strip + halo) * factor]
        grown = _grow(_repeat(sure[cells], factor, paper.shape), paper, factor)
        cv2.copyTo(_repeat(numbers[cells], factor, paper.shape), cv2.compare(grown, 0, cv2.CMP_EQ), grown)
        np.subtract(grown[(top - first) * factor :][: strip * factor], 1, out=full[here], dtype=np.int32)
    return full


def _grow(marks: np.ndarray, paper: np.ndarray, factor: int) -> np.ndarray:
    """Grow uint16 marks into unmarked pixels: first over the paper of a cell, then into the ink from both sides."""
    for over in [paper] * (factor + 1) + [None] * factor:
        is_free = cv2.compare(marks, 0, cv2.CMP_EQ)
        cv2.copyTo(cv2.dilate(marks, _CROSS), is_free if over is None else is_free & -over, marks)
    return marks


def _repeat(cells: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """Each cell as a square of factor x factor pixels, cut to `shape`."""
    size = cells.shape[1] * factor, cells.shape[0] * factor
    return np.ascontiguousarray(cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST)[: shape[0], : shape[1]])


def pool_by_region(values: Tensor, labels: np.ndarray, line_art: np.ndarray) -> Tensor:
    """Mean of `values` (C, h, w) over each region of `labels` (H, W) -> (N, C), weighted by paper pixels.

    The coarse grid covers the whole picture: pixel (y, x) lies in the cell (y * h // H, x * w // W). A region without
    a paper pixel uses all its pixels.
    """
    counts = count_by_cell(labels, line_art, values.shape[-2:]).T.tocsr()
    weights = (counts / counts.sum(axis=1)[:, None]).tocsr().astype(np.float32)
    pooled = np.empty((len(values), weights.shape[0]), np.float32)
    for first in range(0, len(values), POOLED_CHANNELS):
        channels = values[first : first + POOLED_CHANNELS].detach().float().cpu().flatten(1).numpy()
        pooled[first : first + POOLED_CHANNELS] = (weights @ cv2.transpose(channels)).T
    return torch.from_numpy(pooled.T.copy()).to(values)


def count_by_cell(labels: np.ndarray, line_art: np.ndarray, grid: tuple[int, int]) -> sp.csr_array:
    """How many paper pixels of each region lie in each cell of a grid over the picture: (h * w, N).

    All pixels are counted for a region without paper. Counts runs of equal pixels within a row of a cell, not pixels.
    """
    (height, width), (rows, columns) = labels.shape, grid
    is_paper = line_art >= PAPER
    begins = np.empty(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    begins[:, 1:] |= is_paper[:, 1:] != is_paper[:, :-1]
    starts = -(-np.arange(columns) * width // columns)  # the first pixel of each cell
    begins[:, starts[starts < width]] = True
    at = np.flatnonzero(begins)
    length = np.diff(at, append=labels.size)
    row = at // width
    cell = (np.arange(height) * rows // height * columns)[row]
    cell += (np.arange(width) * columns // width)[at - row * width]
    region, on_paper = labels.ravel()[at], is_paper.ravel()[at]
    has_paper = np.zeros(int(region.max()) + 1, bool)
    has_paper[region[on_paper]] = True
    counted = np.flatnonzero(on_paper | ~has_paper[region])
    index = cell[counted].astype(np.int32), region[counted]
    return sp.coo_array((length[counted].astype(np.float32), index), shape=(rows * columns, len(has_paper))).tocsr()


def touching_regions(labels: np.ndarray, count: int) -> list[np.ndarray]:
    """The numbers of the regions that each of `count` regions touches, in order."""
    first, second = _border_pixels(labels)
    low, high = np.sort([labels.ravel()[first], labels.ravel()[second]], axis=0).astype(np.int64)
    pairs = np.unique(low * count + high)
    low, high = np.concatenate([pairs // count, pairs % count]), np.concatenate([pairs % count, pairs // count])
    order = np.lexsort((high, low))
    return np.split(high[order], np.searchsorted(low[order], np.arange(1, count)))


def region_boxes(labels: np.ndarray) -> list[tuple[slice, slice]]:
    """The rows and columns that each region of `labels` (H, W) spans."""
    from scipy.ndimage import find_objects  # slow to import, and a plain colouring needs no boxes

    return find_objects(labels + 1)


def flat_colors(region_colors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each region in its colour: uint8 (N, 3), labels (H, W) -> uint8 (H, W, 3)."""
    packed = np.zeros((len(region_colors), 4), np.uint8)
    packed[:, :3] = region_colors
    colors = np.empty((*labels.shape, 3), np.uint8)
    for top in range(0, len(labels), 64):
        rows = labels[top : top + 64]
        quads = packed.view(np.uint32)[:, 0][rows].view(np.uint8).reshape(*rows.shape, 4)
        cv2.cvtColor(quads, cv2.COLOR_RGBA2RGB, dst=colors[top : top + 64])
    return colors


def _check_line_art(line_art: np.ndarray) -> np.ndarray:
    if line_art.ndim != 2 or line_art.dtype != np.uint8 or line_art.size == 0:
        raise ValueError(
            f"line_art must be uint8 of shape (H, W) with at least one pixel, 255 = paper, got {line_art.dtype} of "
            f"shape {line_art.shape}; np.asarray(image.convert('L')) gives that"
        )
    return np.ascontiguousarray(line_art)
