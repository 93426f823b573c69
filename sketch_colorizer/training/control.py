"""Measures control over colours: hints, suggestions, obedience, proposals and calibration, through the pipeline alone.

The result is one dict, written as control.json; `control_report` makes sentences, tables and plots of it.
"""

import datetime
import json
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..pipeline_sketch_colorizer import ColorizationPipeline
from .calibration import UNCERTAINTY_BINS, calibration_row, reliability_statistics, temperature_of
from .data import load_corpus
from .examples import EXTRACTOR, MEMBERS, Example, fingerprint, in_hash_order, read_examples
from .hint_curves import COUNTS, USERS, curve_row, curve_statistics
from .intervals import Statistic, interval, resamples, resummed
from .metrics import CALIBRATION_BINS
from .obedience import SPREAD_STATISTICS, largest_difference, obedience_statistics, probe_row
from .proposal_scores import (
    ENGINES,
    NUM_PROPOSALS,
    better_engine,
    compare_engines,
    proposal_row,
    proposal_statistics,
    why_not,
)
from .row_store import Rows, RowStore, measure_rows, state_of
from .simulated_users import picture_generator
from .summary import storable

SCHEMA = 1
GROUPS = ("real", "extracted", "all")
RIVAL = "gmic"


class _Pipelines(threading.local):
    """A pipeline for each thread: what a scheduler of proposals remembers between its steps is not to be shared."""

    def __init__(self, model: str | None) -> None:
        self.own = ColorizationPipeline.from_pretrained(model)


def measure_control(
    model: str | None,
    *,
    data: str,
    split: str = "validation",
    limit: int | None = 40,
    num_proposal_pictures: int | None = 16,
    num_proposals: int = NUM_PROPOSALS,
    counts: Sequence[int] = COUNTS,
    rival: Path | None = None,
    work: Path = Path("runs/control"),
    samples: int = 2000,
    seed: int = 0,
    workers: int | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Measure a model (folder, Hub id, or None for the embedded one) and return all figures with 95 % intervals.

    Args:
        data: a corpus folder (Parquet shards) or a data set on the Hub.
        limit: pictures, chosen by a hash of their paths; None is the whole split. Proposals take many passes of the
            network and so have a number of their own.
        rival: the file that `scripts/compare_gmic.py` wrote; used where it has the same pictures and the same hints.
        work: where the rows of single pictures are kept; the same command goes on there after a break, and starts
            again where code, weights or settings have changed.
    """
    for name, number in (("limit", limit), ("num_proposal_pictures", num_proposal_pictures)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if num_proposals < 2:
        raise ValueError(f"proposals are compared with each other: at least 2, got {num_proposals}")
    pipelines = _Pipelines(model)
    table = in_hash_order(load_corpus(data, split), limit)
    few = in_hash_order(table, num_proposal_pictures)
    place = Path(work) / state_of(model, tuple(counts), num_proposals, seed)
    progress = {"workers": workers, "show_progress": show_progress}

    parts: dict[str, Callable[[Example], dict[str, Any]]] = {
        "curves": lambda example: curve_row(pipelines.own, example, counts=counts, seed=seed),
        "probes": lambda example: probe_row(pipelines.own, example, picture_generator(seed, "probe", example.key)),
    }
    if hasattr(pipelines.own.model, "quantizer"):
        parts["calibration"] = lambda example: calibration_row(pipelines.own, example)
    rows = {
        part: measure_rows(table, measure, RowStore(place / f"{part}.jsonl"), label=part, **progress)
        for part, measure in parts.items()
    }
    first, skipped = next(read_examples(few[0], redrawn=False)), {}
    proposals: dict[str, Rows] = {}
    for engine in ENGINES:
        if (reason := why_not(pipelines.own, first, engine)) is not None:
            skipped[engine] = reason
            continue

        def propose(example: Example, engine: str = engine) -> dict[str, Any]:
            return proposal_row(pipelines.own, example, engine, num_proposals=num_proposals, seed=seed)

        store = RowStore(place / f"proposals_{engine}.jsonl")
        proposals[engine] = measure_rows(few, propose, store, label=f"proposals: {engine}", **progress)
    drawn = {"samples": samples, "seed": seed}
    rival_rows, rival_facts = read_rival(rival, list(rows["curves"]), counts, seed)
    return storable(
        {
            "schema": SCHEMA,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "model": "embedded" if model is None else Path(model).name,
            "versions": {package: version(package) for package in ("sketch-colorizer", "torch")},
            "data": {
                "name": Path(data).name if Path(data).is_dir() else data,
                "split": split,
                "fingerprint": fingerprint(table),
                "num_pictures": len(rows["curves"]),
                "num_proposal_pictures": len(few),
                "extractor": EXTRACTOR,
            },
            "bootstrap": drawn | {"level": 0.95},
            "counts": list(counts),
            "rival": rival_facts,
            "curves": summarize_curves(rows["curves"], rival_rows, counts, **drawn),
            "obedience": summarize_obedience(rows["curves"], rows["probes"], counts, **drawn),
            "proposals": summarize_proposals(proposals, skipped, num_proposals, **drawn),
            "calibration": summarize_calibration(rows.get("calibration", {}), pipelines.own, **drawn),
        }
    )


def read_rival(path: Path | None, keys: list[str], counts: Sequence[int], seed: int) -> tuple[Rows, dict[str, Any]]:
    """The rival's rows where they were measured on these pictures with these hints, and what is known of it."""
    if path is None or not path.is_file():
        return {}, {"skipped": "it was not measured"}
    entry = json.loads(path.read_text())
    rows = {key: row for key, row in entry["rows"].items() if key in keys}
    if entry["seed"] != seed or not set(counts) <= set(entry["counts"]) or len(rows) < len(keys):
        return {}, {"skipped": f"{path.name} has other pictures or hints; run scripts/compare_gmic.py again"}
    return rows, {"version": entry["version"]}


def grouped(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """The rows of each group that has any."""
    groups = {g: [row for key, row in rows.items() if key.partition(":")[0] in MEMBERS[g]] for g in GROUPS}
    return {group: members for group, members in groups.items() if members}


def figures(rows: list[dict], statistics: dict[str, Statistic], draws: np.ndarray) -> dict[str, dict]:
    """Every statistic that the rows have the columns for, with its interval."""
    return {
        name: vars(interval(resummed(statistic, rows, draws)))
        for name, statistic in statistics.items()
        if all(column in row for row in rows for column in statistic.columns)
    }


def summarize_curves(rows: Rows, rival_rows: Rows, counts: Sequence[int], *, samples: int, seed: int) -> dict[str, Any]:
    """The curve of each user and of the rival in each group, and the paired differences to the random user's."""
    merged = {
        key: row | {f"{RIVAL}.{name}": figure for name, figure in rival_rows.get(key, {}).items()}
        for key, row in rows.items()
    }
    curves: dict[str, Any] = {}
    for group, members in grouped(merged).items():
        draws = resamples(len(members), samples=samples, seed=seed)
        users = [user for user in (*USERS, RIVAL) if all(f"{user}.{counts[0]}.ciede2000" in row for row in members)]
        curves[group] = {
            "num_pictures": len(members),
            "users": {user: figures(members, curve_statistics(user, counts), draws) for user in users},
            "differences": {
                user: _differences(members, "random", user, counts, draws) for user in users if user != "random"
            },
        }
        if "suggestions" in users:
            suggested = [sum(row[f"suggestions.{count}.suggested"] for row in members) for count in counts]
            given = [max(1, count * len(members)) for count in counts]
            shares = [part / whole for part, whole in zip(suggested, given, strict=True)]
            curves[group]["suggested_share"] = dict(zip(map(str, counts), shares, strict=True))
    return curves


def _differences(
    rows: list[dict[str, Any]], first: str, second: str, counts: Sequence[int], draws: np.ndarray
) -> dict[str, dict]:
    """First less second, on the same pictures, for each figure of the curves."""
    values = [
        {name: resummed(statistic, rows, draws) for name, statistic in curve_statistics(user, counts).items()}
        for user in (first, second)
    ]
    return {name: vars(interval(values[0][name] - values[1][name])) for name in values[0]}


def summarize_obedience(
    curves: Rows, probes: Rows, counts: Sequence[int], *, samples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """How hints in true colours are obeyed, by their number, and what one hint in a foreign colour does."""
    summary = {}
    for count in filter(None, counts):
        prefix, members = f"random.{count}", list(curves.values())
        draws = resamples(len(members), samples=samples, seed=seed)
        summary[str(count)] = figures(members, obedience_statistics(prefix), draws)
        summary[str(count)]["largest"] = {"value": largest_difference(members, prefix)}
    members = [row for row in probes.values() if row]
    if members:
        draws = resamples(len(members), samples=samples, seed=seed)
        summary["probe"] = figures(members, obedience_statistics("probe") | SPREAD_STATISTICS, draws)
        summary["probe"] |= {"largest": {"value": largest_difference(members, "probe")}, "num_pictures": len(members)}
    return summary


def summarize_proposals(
    proposals: dict[str, Rows], skipped: dict[str, str], num_proposals: int, *, samples: int, seed: int
) -> dict[str, Any]:
    """The figures of each engine, and, where there are two, which is better and why."""
    summary: dict[str, Any] = {"num_proposals": num_proposals, "engines": {}, "skipped": skipped}
    for engine, rows in proposals.items():
        members = list(rows.values())
        draws = resamples(len(members), samples=samples, seed=seed)
        summary["engines"][engine] = figures(members, proposal_statistics(engine, num_proposals), draws)
    if len(proposals) == 2:
        (first, rows), (second, other) = proposals.items()
        both = {key: row | other[key] for key, row in rows.items()}
        differences = compare_engines(both, first, second, num_proposals=num_proposals, samples=samples, seed=seed)
        summary["differences"] = {name: vars(difference) for name, difference in differences.items()}
        summary["better"], summary["reason"] = better_engine(differences, first, second)
    elif proposals:
        summary["better"] = next(iter(proposals))
        summary["reason"] = f"Only the engine `{summary['better']}` works with this model."
    return summary


def summarize_calibration(rows: Rows, pipeline: ColorizationPipeline, *, samples: int, seed: int) -> dict[str, Any]:
    """Reliability before and after the temperature, and how wrong the colours are where uncertainty is high."""
    if not rows:
        return {}
    members = list(rows.values())
    draws = resamples(len(members), samples=samples, seed=seed)
    summary: dict[str, Any] = {"temperature": temperature_of(pipeline)}
    for name in ("raw", "calibrated"):
        sums = np.sum([row[f"{name}.sums"] for row in members], axis=0).reshape(3, CALIBRATION_BINS)
        summary[name] = figures(members, reliability_statistics(name), draws) | {"sums": sums.tolist()}
    parts = ("pixels", "uncertainty", "error")
    sums = {part: np.sum([row[f"uncertainty.{part}"] for row in members], axis=0) for part in parts}
    filled = sums["pixels"] > 0
    summary["by_uncertainty"] = {
        "bins": UNCERTAINTY_BINS,
        "share": (sums["pixels"] / sums["pixels"].sum())[filled].tolist(),
        "uncertainty": (sums["uncertainty"][filled] / sums["pixels"][filled]).tolist(),
        "ciede2000": (sums["error"][filled] / sums["pixels"][filled]).tolist(),
    }
    return summary
