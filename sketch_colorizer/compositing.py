"""Colour enlarged along the regions of a drawing, and the drawing's own lines laid over it."""

import cv2
import numpy as np

from .regions import count_by_cell

_STRIP = 256  # rows that are worked on at a time, so that temporary arrays stay small


def enlarge_colors(colors: np.ndarray, labels: np.ndarray, line_art: np.ndarray) -> np.ndarray:
    """Colours of a coarse grid over the picture, uint8 (h, w, 3), at the size of `labels`: uint8 (H, W, 3).

    A cell of the grid colours only pixels of the region that has most of its paper, so nothing bleeds across a line;
    inside a region the colour runs smoothly (the grid is doubled again and again, which is Chaikin's corner cutting and
    converges to quadratic B-splines). A region to which no cell near a pixel belongs takes its mean colour there.
    """
    _check_shapes(colors, line_art, labels.shape, same_size=False)
    cell_labels, colors, region_colors = _sort_cells(colors, labels, line_art)
    while 2 * colors.shape[0] < labels.shape[0] and 2 * colors.shape[1] < labels.shape[1]:
        finer = _sample(labels, (2 * colors.shape[0], 2 * colors.shape[1]))
        cell_labels, colors = finer, _interpolate(colors, cell_labels, finer, region_colors)
    return _interpolate(colors, cell_labels, labels, region_colors)


def composite(colors: np.ndarray, line_art: np.ndarray) -> np.ndarray:
    """Lines over colour: uint8 (H, W, 3) times uint8 (H, W) / 255. Black stays black, paper changes nothing."""
    _check_shapes(colors, line_art, line_art.shape, same_size=True)
    image = np.empty_like(colors)
    for top in range(0, len(colors), _STRIP):
        rows = slice(top, top + _STRIP)
        cv2.multiply(colors[rows], cv2.cvtColor(line_art[rows], cv2.COLOR_GRAY2RGB), dst=image[rows], scale=1 / 255)
    return image


def _sort_cells(
    colors: np.ndarray, labels: np.ndarray, line_art: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The region that has most of each cell's paper (h, w), -1 for none; cleaner colours; the regions' mean colours.

    The network's colour of a cell that lies on a line is a mixture. It is replaced by the mean over the neighbouring
    cells of its region, in which a cell counts by the fourth power of the share that is the region's paper.
    """
    height, width = colors.shape[:2]
    counts = count_by_cell(labels, line_art, (height, width)).tocoo()
    cell, region, count = counts.row, counts.col, counts.data
    rows, columns = (
        np.bincount(np.arange(side) * cells // side, minlength=cells)
        for cells, side in zip((height, width), labels.shape, strict=True)
    )
    purity = count / np.outer(rows, columns).ravel()[cell]
    mine = np.full(height * width, -1, np.int32)
    share = np.zeros(height * width, np.float32)
    order = np.argsort(count, kind="stable")  # of several regions in a cell the last one, the largest, stays
    mine[cell[order]], share[cell[order]] = region[order], purity[order]

    flat = colors.reshape(-1, 3).astype(np.float32)
    weight = count * purity**2
    sums = [np.bincount(region, weight * channel[cell]) for channel in flat.T]
    region_colors = np.stack(sums, axis=1) / np.bincount(region, weight)[:, None]

    mixed = np.flatnonzero((share > 0) & (share < 1))
    row, column = np.divmod(mixed, width)
    total = np.zeros((len(mixed), 4), np.float32)  # red, green, blue, weight
    for step_y, step_x in np.ndindex(3, 3):
        near = np.clip(row + step_y - 1, 0, height - 1) * width + np.clip(column + step_x - 1, 0, width - 1)
        vote = (mine[near] == mine[mixed]) * share[near] ** 4 / ((1 + abs(step_y - 1)) * (1 + abs(step_x - 1)))
        total[:, :3] += vote[:, None] * flat[near]
        total[:, 3] += vote
    flat[mixed] = total[:, :3] / total[:, 3:]
    return mine.reshape(height, width), np.rint(flat).astype(np.uint8).reshape(colors.shape), region_colors


def _sample(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The labels in the middle of each cell of a grid over the picture."""
    rows, columns = (
        (2 * np.arange(cells) + 1) * side // (2 * cells) for cells, side in zip(shape, labels.shape, strict=True)
    )
    return labels.take(rows, axis=0).take(columns, axis=1)


def _interpolate(
    colors: np.ndarray, cell_labels: np.ndarray, labels: np.ndarray, region_colors: np.ndarray
) -> np.ndarray:  # uint8 (H, W, 3)
    """Bilinear enlargement in which a pixel heeds only the cells of its own region (normalised convolution)."""
    (height, width), (rows, columns) = labels.shape, cell_labels.shape
    out = cv2.resize(colors, (width, height), interpolation=cv2.INTER_LINEAR)
    even, region_of_cell = _even(cell_labels), cell_labels.ravel()
    (low_y, part_y), (low_x, part_x) = _positions(rows, height), _positions(columns, width)
    colors_and_one = cv2.merge([*cv2.split(colors), np.ones_like(colors[..., 0])]).view(np.uint32).ravel()
    for top in range(0, height, _STRIP):
        strip = slice(top, top + _STRIP)
        uneven = even.take(low_y[strip] + 1, axis=0).take(low_x + 1, axis=1) != labels[strip]
        y, x = np.divmod(np.flatnonzero(uneven) + top * width, width)
        own = labels[y, x]
        total = np.zeros((len(y), 4), np.float32)  # red, green, blue, weight
        for down, right in np.ndindex(2, 2):
            cell = (np.clip(low_y + down, 0, rows - 1) * columns)[y] + np.clip(low_x + right, 0, columns - 1)[x]
            weight = np.abs(1 - down - part_y)[y] * np.abs(1 - right - part_x)[x]
            weight *= region_of_cell[cell] == own
            total += weight[:, None] * colors_and_one[cell].view(np.uint8).reshape(-1, 4)
        has_none = np.flatnonzero(total[:, 3] < 1e-3)
        total[has_none, :3], total[has_none, 3] = region_colors[own[has_none]], 1
        out[y, x] = np.rint(total[:, :3] / total[:, 3:])
    return out


def _even(cell_labels: np.ndarray) -> np.ndarray:
    """The region that four neighbouring cells share, -1 where there are several: (h + 1, w + 1), corners of cells."""
    padded = cv2.copyMakeBorder(cell_labels, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    corner = padded[:-1, :-1]
    is_even = (corner == padded[:-1, 1:]) & (corner == padded[1:, :-1]) & (corner == padded[1:, 1:])
    return np.where(is_even, corner, -1)


def _positions(cells: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of a side, the cell whose centre comes before it (from -1) and how far the next one's is, 0..1."""
    at = (np.arange(side) + 0.5) * cells / side - 0.5
    low = np.floor(at).astype(np.intp)
    return low, (at - low).astype(np.float32)


def _check_shapes(colors: np.ndarray, line_art: np.ndarray, shape: tuple[int, ...], *, same_size: bool) -> None:
    is_image = colors.ndim == 3 and colors.shape[2] == 3 and colors.size > 0 and colors.dtype == np.uint8
    if not is_image or line_art.dtype != np.uint8 or line_art.ndim != 2 or line_art.shape != shape:
        raise ValueError(
            "colors must be uint8 (.., .., 3), line_art uint8 (H, W), and labels, where there are any, (H, W); got "
            f"{colors.dtype} {colors.shape}, {line_art.dtype} {line_art.shape} and {shape}"
        )
    if same_size and colors.shape[:2] != shape:
        raise ValueError(
            f"the colours must have the drawing's size {shape}, got {colors.shape[:2]}; enlarge them first"
        )
