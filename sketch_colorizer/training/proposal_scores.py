"""How good several proposals for one drawing are: the best of them, how different they are, colourful and even."""

import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..color import ciede2000, rgb_to_lab
from ..pipeline_sketch_colorizer import ColorizationPipeline
from .examples import Example
from .hint_curves import score_colors_under_lines
from .intervals import Interval, Statistic, interval, mean_of, ratio_of, resamples, resummed
from .metrics import chroma, closed_regions, unevenness
from .row_store import Rows
from .scoring import PAPER, pixels

ENGINES = ("classes", "flow")
NUM_PROPOSALS = 8


def why_not(pipeline: ColorizationPipeline, example: Example, engine: str) -> str | None:
    """What keeps an engine from working here, such as weights that are not there; None where it works."""
    try:
        pipeline(example.drawing, num_proposals=2, engine=engine)
    except (ImportError, OSError, ValueError) as error:
        return " ".join(str(error).split())
    return None


def proposal_row(
    pipeline: ColorizationPipeline, example: Example, engine: str, *, num_proposals: int = NUM_PROPOSALS, seed: int = 0
) -> dict[str, Any]:
    """Columns of one engine on one drawing; the first proposal, the plain answer, counts in `best` alone."""
    start = time.perf_counter()
    results = pipeline(example.drawing, num_proposals=num_proposals, engine=engine, seed=seed)
    seconds = (time.perf_counter() - start) / num_proposals
    layers = [np.asarray(result.colors) for result in results]
    errors = [score_colors_under_lines(layer, example)["ciede2000"] for layer in layers]
    judged = example.truth.painted & torch.from_numpy(example.line_art.ravel() >= PAPER)
    lab = [rgb_to_lab(pixels(layer), dim=-1) for layer in layers]
    regions = closed_regions(example.line_art)
    row = {
        "first": errors[0],
        "best": min(errors),
        "variants": float(np.mean(errors[1:])),
        "diversity": mean_difference([one[judged] for one in lab]) if judged.any() else float("nan"),
        "chroma": float(np.mean([float(chroma(one[judged]).sum()) for one in lab[1:]])),
        "chroma_true": float(example.truth.chroma[judged].sum()),
        "unevenness": float(np.mean([unevenness(one.view(*regions.shape, 3).numpy(), regions) for one in lab[1:]])),
        "seconds": seconds,
    }
    return {f"{engine}.{name}": figure for name, figure in row.items()}


def mean_difference(layers: Sequence[Tensor]) -> float:
    """Mean CIEDE2000 between the colours (N, 3) Lab of each two proposals, pixel by pixel."""
    pairs = list(combinations(layers, 2))
    return float(np.mean([float(ciede2000(first, second, dim=-1).mean()) for first, second in pairs]))


def proposal_statistics(engine: str, num_proposals: int = NUM_PROPOSALS) -> dict[str, Statistic]:
    """What is reported of an engine."""
    lower = {
        "first": "CIEDE2000 of the first",
        "best": f"CIEDE2000 of the best of {num_proposals}",
        "variants": "CIEDE2000 of a proposal, mean",
        "unevenness": "Lab spread within closed lines",
        "seconds": "seconds per proposal",
    }
    statistics = {name: mean_of(f"{engine}.{name}", better="lower", label=label) for name, label in lower.items()}
    statistics["diversity"] = mean_of(f"{engine}.diversity", better="higher", label="CIEDE2000 between proposals")
    statistics["chroma_ratio"] = ratio_of(
        f"{engine}.chroma", f"{engine}.chroma_true", better="one", label="chroma ratio of proposals"
    )
    return statistics


def compare_engines(
    rows: Rows, first: str, second: str, *, num_proposals: int = NUM_PROPOSALS, samples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Paired differences of two engines on the same pictures, the first less the second."""
    shared = [row for row in rows.values() if f"{first}.best" in row and f"{second}.best" in row]
    draws = resamples(len(shared), samples=samples, seed=seed)
    statistics = [proposal_statistics(engine, num_proposals) for engine in (first, second)]
    return {
        name: interval(resummed(statistics[0][name], shared, draws) - resummed(statistics[1][name], shared, draws))
        for name in statistics[0]
    }


def better_engine(differences: dict[str, Interval], first: str, second: str) -> tuple[str, str]:
    """The engine to prefer, and the sentence that says why.

    The best of all proposals decides where its interval is clear of zero; else the more different proposals, where
    those are clear; else the faster engine.
    """
    best, diversity, seconds = (differences[name] for name in ("best", "diversity", "seconds"))
    if _clear(best):
        winner = first if best.value < 0 else second
        reason = f"the best of its proposals is nearer to the true picture by {_figure(best)} CIEDE2000"
    elif _clear(diversity):
        winner = first if diversity.value > 0 else second
        reason = (
            f"the best proposals of both are equally near to the true picture (difference {_signed(best)}), "
            f"and its proposals differ more from each other, by {_figure(diversity)} CIEDE2000"
        )
    else:
        winner = first if seconds.value < 0 else second
        reason = (
            f"neither the best proposals (difference {_signed(best)}) nor their variety (difference "
            f"{_signed(diversity)}) differ clearly, and it is faster, by {_figure(seconds)} seconds per proposal"
        )
    return winner, f"The better engine is `{winner}`: {reason}."


def _clear(difference: Interval) -> bool:
    return difference.low > 0 or difference.high < 0


def _figure(difference: Interval) -> str:
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return f"{abs(difference.value):.2f} ({low:.2f} to {high:.2f})"


def _signed(difference: Interval) -> str:
    return f"{difference.value:+.2f}, {difference.low:+.2f} to {difference.high:+.2f}"
