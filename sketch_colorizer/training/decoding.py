"""Chooses how class distributions become colours, on pictures that are neither trained on nor reported on."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from datasets import Dataset as Table
from torch import Tensor

from ..pipeline_sketch_colorizer import ColorizationPipeline
from .evaluation import side_by_side
from .examples import balance_cells, in_hash_order, read_examples
from .intervals import resamples, resummed
from .scoring import HEADLINE_VIEW, STATISTICS, Layer, score_colors

TEMPERATURES = (0.0, 0.1, 0.2, 0.3, 0.38, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)
NATURAL_CHROMA = (0.9, 1.1)  # chroma ratios that count as neither faded nor gaudy
REPORTED = ("ciede2000", "auc", "auc_balanced", "chroma_ratio", "colorfulness_ratio", "hue_error", "histogram_distance")
SETTINGS = ("guidance", "rebalancing", "temperature")
Point = dict[str, float]


def select_decoding(
    pipeline: ColorizationPipeline,
    table: Table,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    rebalancings: Sequence[float] | None = None,
    guidances: Sequence[float] | None = None,
    style: str | None = None,
    limit: int | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> tuple[Point, list[Point]]:
    """The best point of a grid over temperature, rebalancing after training, and guidance.

    Best is the highest class-balanced AuC among the points of natural chroma; where there is none, the chroma ratio
    nearest to 1. Returned with the figures of all points; each has the keys of SETTINGS and REPORTED.
    Give rows that were held out of training (`divide(load_corpus(data, "train"))[1]`). The network runs once for each
    drawing; what is done for each point is what the user's picture goes through.

    Args:
        rebalancings: values of the config's `decode_rebalancing`; None is the model's own.
        guidances: values of the processor's `guidance`; None is its own.
        limit: use only this many pictures, chosen by a hash.

    Raises ValueError for a model without a distribution, an empty or impossible grid, or rows with nothing painted.
    """
    if not hasattr(pipeline.model, "quantizer"):
        raise ValueError("only a classification model is decoded; this one predicts colours directly")
    rebalancings = [pipeline.model.config.decode_rebalancing] if rebalancings is None else rebalancings
    guidances = [pipeline.processor.guidance] if guidances is None else guidances
    grid = list(product(guidances, rebalancings, temperatures))
    if not grid or min(temperatures) < 0 or not all(0 <= value <= 1 for value in rebalancings):
        raise ValueError(
            f"temperatures >= 0 and rebalancings in 0..1, please; got {list(temperatures)}, {list(rebalancings)}"
        )
    table = in_hash_order(table, limit)
    weights = balance_cells(table)[HEADLINE_VIEW]

    def work(index: int) -> list[list[dict[str, Any]]]:
        return _decode_row(pipeline, table[index], grid, style, weights)

    found = side_by_side(work, len(table), label="decoding", workers=workers, show_progress=show_progress)
    rows = [row for rows in found for row in rows]
    if not rows:
        raise ValueError("no picture of these rows is painted; nothing to choose by")
    curve = [_figures(point, [row[i] for row in rows]) for i, point in enumerate(grid)]
    return best_point(curve), curve


def best_point(curve: Sequence[Point]) -> Point:
    """Of natural chroma the highest class-balanced AuC; where no chroma is natural, the one nearest to it."""
    low, high = NATURAL_CHROMA
    natural = [point for point in curve if low <= point["chroma_ratio"] <= high]
    if natural:
        return max(natural, key=lambda point: point["auc_balanced"])
    return min(curve, key=lambda point: abs(math.log(max(point["chroma_ratio"], 1e-6))))


@torch.inference_mode()
def _decode_row(
    pipeline: ColorizationPipeline,
    row: dict[str, Any],
    grid: Sequence[tuple[float, ...]],
    style: str | None,
    weights: Tensor,
) -> list[list[dict[str, Any]]]:
    """The scores of each drawing of a corpus row at each point of the grid, from one forward pass."""
    processor, model = pipeline.processor, pipeline.model
    drawings = []
    for example in read_examples(row, redrawn=False):
        painted = example.truth.painted
        if not painted.any():
            continue
        line_art = processor.clean(example.drawing)
        inputs = {key: values.to(model.device) for key, values in processor(line_art, do_clean=False).items()}
        outputs = model(**inputs)
        scores = []
        for guidance, rebalancing, temperature in grid:
            outputs.bin_weights = model.quantizer.rebalance(rebalancing)
            [result] = processor.post_process_colorization(
                outputs, line_art, do_clean=False, style=style, temperature=temperature, guidance=guidance
            )
            layer = Layer(np.asarray(result.image), example.truth)
            scores.append({f"{HEADLINE_VIEW}.{k}": v for k, v in score_colors(layer, painted, weights).items()})
        drawings.append(scores)
    return drawings


def _figures(point: tuple[float, ...], rows: list[dict[str, Any]]) -> Point:
    """The figures of all drawings at one point of the grid."""
    whole, statistics = resamples(len(rows), samples=0), STATISTICS[HEADLINE_VIEW]
    figures = {name: float(resummed(statistics[name], rows, whole)[0]) for name in REPORTED}
    return {**{name: float(value) for name, value in zip(SETTINGS, point, strict=True)}, **figures}
