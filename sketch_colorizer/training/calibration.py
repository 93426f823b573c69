"""Whether probabilities mean what they say: the reliability of regions' distributions, and a temperature to mend it.

Judged is what users are shown: the distribution of a pixel is that of its region, the truth its true colour's class.
"""

from typing import Any

import numpy as np
import torch
from datasets import Dataset as Table
from torch import Tensor
from torch.nn import functional as F

from ..color import ciede2000, rgb_to_lab
from ..pipeline_sketch_colorizer import ColorizationPipeline
from .evaluation import side_by_side
from .examples import Example, in_hash_order, read_examples
from .intervals import Statistic, ratio_of
from .metrics import CALIBRATION_BINS, calibration_error, calibration_sums
from .scoring import PAPER, pixels

TEMPERATURES = np.geomspace(0.25, 4, 49)  # candidates, 1 among them
UNCERTAINTY_BINS = 10


def calibration_row(pipeline: ColorizationPipeline, example: Example) -> dict[str, Any]:
    """Columns of one drawing: reliability as the model says it ("raw") and after its temperature ("calibrated")."""
    result = pipeline(example.drawing)
    counts, log_probs = region_truths(pipeline, result, example)
    temperature = temperature_of(pipeline)
    row = {}
    for name, scores in (("raw", log_probs), ("calibrated", log_probs / temperature)):
        row[f"{name}.sums"] = reliability_sums(scores, counts).ravel().tolist()
        row[f"{name}.nll"] = float(-(counts * F.log_softmax(scores, dim=-1)).sum())
    return row | {"pixels": float(counts.sum())} | _uncertainty_columns(result, example)


def temperature_of(pipeline: ColorizationPipeline) -> float:
    """What the processor divides scores by before it shows them as probabilities; 1 where it does not."""
    return getattr(pipeline.processor, "calibration_temperature", 1.0)


def region_truths(pipeline: ColorizationPipeline, result: Any, example: Example) -> tuple[Tensor, Tensor]:
    """Of each region how many of its paper pixels truly are of each class, and its scores: (N, Q) both."""
    known, quantizer = result.distributions, pipeline.model.quantizer
    paper = torch.from_numpy(example.line_art.ravel() >= PAPER)
    true_colors = example.truth.lab[paper].T[None, :, :, None].to(quantizer.bin_colors)
    bins = quantizer.encode(true_colors)[0][0, 0, :, 0].cpu()
    regions, scores = torch.from_numpy(known.labels.ravel()).long()[paper], known.scores.float()
    counts = torch.bincount(regions * scores.shape[1] + bins, minlength=scores.numel())
    return counts.view_as(scores).float(), scores


def reliability_sums(scores: Tensor, counts: Tensor) -> np.ndarray:
    """`calibration_sums` over the pixels of regions, (3, 15), from scores and true classes (N, Q)."""
    confidence, best = F.softmax(scores, dim=-1).max(-1)
    size, hits = counts.sum(-1), counts.gather(1, best[:, None])[:, 0]
    right, wrong = (confidence.repeat_interleave(count.long()) for count in (hits, size - hits))
    return (calibration_sums(right, torch.ones_like(right)) + calibration_sums(wrong, torch.zeros_like(wrong))).numpy()


def _uncertainty_columns(result: Any, example: Example) -> dict[str, list[float]]:
    """Pixels, uncertainty and CIEDE2000 summed in ten bins of uncertainty, over painted paper."""
    judged = (example.truth.painted & torch.from_numpy(example.line_art.ravel() >= PAPER)).numpy()
    uncertainty = result.uncertainty.ravel()[judged].astype(float)
    lab = rgb_to_lab(pixels(np.asarray(result.colors)), dim=-1)
    error = ciede2000(lab, example.truth.lab, dim=-1).numpy()[judged]
    bins = np.minimum((uncertainty * UNCERTAINTY_BINS).astype(int), UNCERTAINTY_BINS - 1)
    columns = {"pixels": None, "uncertainty": uncertainty, "error": error}
    return {
        f"uncertainty.{name}": np.bincount(bins, weights=weights, minlength=UNCERTAINTY_BINS).astype(float).tolist()
        for name, weights in columns.items()
    }


def reliability_statistics(name: str) -> dict[str, Statistic]:
    """Calibration error and negative log-likelihood of the "raw" or the "calibrated" distribution."""
    return {
        "ece": Statistic(
            (f"{name}.sums",),
            lambda sums, pictures: calibration_error(sums.reshape(-1, 3, CALIBRATION_BINS)),
            "lower",
            "calibration error",
        ),
        "nll": ratio_of(f"{name}.nll", "pixels", better="lower", label="NLL (nats)"),
    }


def fit_temperature(
    pipeline: ColorizationPipeline,
    table: Table,
    *,
    limit: int | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> tuple[float, dict[str, float]]:
    """The temperature of least negative log-likelihood (Guo et al. 2017, sec. 4.2), and the figures before and after.

    Give rows that were held out of training (`divide(load_corpus(data, "train"))[1]`), not those to be reported on.
    Raises ValueError for a model without a distribution.
    """
    if not hasattr(pipeline.model, "quantizer"):
        raise ValueError("only a classification model has probabilities; this one predicts colours directly")
    table = in_hash_order(table, limit)

    def work(index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [_by_temperature(pipeline, example) for example in read_examples(table[index], redrawn=False)]

    found = side_by_side(work, len(table), label="calibrating", workers=workers, show_progress=show_progress)
    parts = [part for parts in found for part in parts]
    likelihood, sums = (np.sum([part[i] for part in parts], axis=0) for i in range(2))
    nll = likelihood / sums[0, 0].sum()
    best, plain = int(nll.argmin()), int(np.abs(TEMPERATURES - 1).argmin())
    temperature = 1.0 if best == plain else round(float(TEMPERATURES[best]), 3)
    figures = {"num_pictures": len(table), "nll_before": nll[plain], "nll_after": nll[best]}
    figures |= {"ece_before": calibration_error(sums[plain]), "ece_after": calibration_error(sums[best])}
    return temperature, {name: float(figure) for name, figure in figures.items()}


def _by_temperature(pipeline: ColorizationPipeline, example: Example) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood (T,) and reliability sums (T, 3, 15) of one drawing at every candidate."""
    counts, scores = region_truths(pipeline, pipeline(example.drawing), example)
    likelihood, sums = [], []
    for temperature in TEMPERATURES:
        likelihood.append(float(-(counts * F.log_softmax(scores / temperature, dim=-1)).sum()))
        sums.append(reliability_sums(scores / temperature, counts))
    return np.array(likelihood), np.stack(sums)
