"""Whether a drawing's colours depend on the size at which it comes: the same drawings, small and large, compared."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import torch
from datasets import Dataset as Table
from PIL import Image
from torch import Tensor

from ..color import ciede2000, rgb_to_lab
from ..pipeline_sketch_colorizer import ColorizationPipeline
from .evaluation import side_by_side
from .examples import in_hash_order, read_examples
from .scoring import PAPER, pixels

SIZES = (256, 576, 1024, 3000)  # longest sides


def measure_size_shift(
    pipeline: ColorizationPipeline,
    drawings: Sequence[Image.Image],
    *,
    sizes: Sequence[int] = SIZES,
    style: str | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Mean CIEDE2000 between the colours of each drawing at each pair of sizes, over the drawings.

    Drawings are scaled by Lanczos to each longest side; their colour layers are reduced to the smallest size and
    compared where there is no line. Raises ValueError for fewer than two sizes, and where there is no drawing.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f"a shift needs at least two different sizes, got {list(sizes)}")
    if not drawings:
        raise ValueError("there is no drawing to measure a shift on")

    def work(index: int) -> list[float]:
        small = scaled(drawings[index], min(sizes))
        paper = torch.from_numpy(np.asarray(small).ravel() >= PAPER)
        layers = [_reduced_colors(pipeline, scaled(drawings[index], size), small.size, style)[paper] for size in sizes]
        return [float(ciede2000(first, second, dim=-1).mean()) for first, second in combinations(layers, 2)]

    shifts = np.array(
        list(side_by_side(work, len(drawings), label="scaling", workers=workers, show_progress=show_progress))
    )
    pairs = [f"{first}/{second}" for first, second in combinations(sizes, 2)]
    return {
        "num_drawings": len(drawings),
        "mean": dict(zip(pairs, shifts.mean(axis=0).tolist(), strict=True)),
        "largest": dict(zip(pairs, shifts.max(axis=0).tolist(), strict=True)),
    }


def drawings_of(table: Table, limit: int | None = None) -> list[Image.Image]:
    """The drawings (mode L) of a split's first `limit` pictures by hash: real line art, or else extracted lines."""
    return [next(read_examples(row, redrawn=False)).drawing for row in in_hash_order(table, limit)]


def scaled(drawing: Image.Image, longest: int) -> Image.Image:
    """The drawing with this longest side."""
    factor = longest / max(drawing.size)
    return drawing.resize([max(1, round(side * factor)) for side in drawing.size], Image.Resampling.LANCZOS)


def _reduced_colors(
    pipeline: ColorizationPipeline, drawing: Image.Image, size: tuple[int, int], style: str | None
) -> Tensor:
    """The colour layer of a drawing at the size (width, height) of its smallest copy: (H*W, 3) Lab."""
    colors = np.asarray(pipeline(drawing, style=style).colors)
    return rgb_to_lab(pixels(cv2.resize(colors, size, interpolation=cv2.INTER_AREA)), dim=-1)
