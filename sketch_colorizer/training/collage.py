"""Collages: other pictures of the corpus laid small over a sample, as the many small things of a whole scene."""

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Generator, Tensor

MOST_PARTS = 6
PART_SIZES = (0.2, 0.6)  # longest side of a part, in sides of the sample


def cut_out(picture: np.ndarray) -> np.ndarray:
    """Mask (H, W) of what a picture (H, W, 3) of 0..255 shows: all but the white paper that reaches its edges."""
    paper = np.pad((picture > 247).all(-1), 1, constant_values=True)
    labels, _ = ndimage.label(paper)
    return (labels != labels[0, 0])[1:-1, 1:-1]


def lay_over(
    rgb: Tensor,
    line_art: Tensor | None,
    part: Image.Image,
    part_line_art: Image.Image | None,
    window: tuple[slice, slice],
    generator: Generator,
) -> None:
    """Lay a part of random size, mirrored or not, at a random place of the window over a sample, in place.

    Args:
        rgb: the sample (3, S, S) in 0..1.
        line_art: its lines (1, S, S) in 0..1, or None.
        part: an RGB picture; the white paper around what it shows is left out.
        part_line_art: its lines, "L", of the same size; needed where the sample has lines.
        window: rows and columns of the sample that may be painted; what would lie outside is cut off.
    """
    smallest, largest = PART_SIZES
    share = smallest * (largest / smallest) ** float(torch.rand((), generator=generator))
    factor = share * rgb.shape[-1] / max(part.size)
    size = tuple(max(1, round(length * factor)) for length in part.size)
    mirror = bool(torch.rand((), generator=generator) < 0.5)

    def prepare(source: Image.Image) -> np.ndarray:
        pixels = np.asarray(source.resize(size, Image.Resampling.LANCZOS))
        return pixels[:, ::-1] if mirror else pixels

    picture = prepare(part)
    pairs = [(rgb, picture)]
    if line_art is not None:
        pairs.append((line_art, prepare(part_line_art)[..., None]))
    target, source = [], []
    for span, length in zip(window, picture.shape, strict=False):
        middle = span.start + int(torch.randint(span.stop - span.start, (), generator=generator))
        start = middle - length // 2
        first, last = max(start, span.start), min(start + length, span.stop)
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    mask = torch.from_numpy(cut_out(picture)[tuple(source)])
    for canvas, pixels in pairs:
        values = torch.from_numpy(pixels[tuple(source)].astype(np.float32) / 255).movedim(-1, 0)
        region = canvas[:, target[0], target[1]]
        region.copy_(torch.where(mask, values, region))
