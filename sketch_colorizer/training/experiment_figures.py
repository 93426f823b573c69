"""From the scores of all runs to docs/experiments.json: figures, paired differences, filters, temperatures, verdicts.

Intervals come from a bootstrap over pictures and, where a system was trained with several seeds, over seeds: each
sample draws both, alike for every system.
"""

import datetime
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from .claims import COLOR_METRICS, PAIRS, outcome, verdicts
from .evaluation import RESULTS_FILE, read_earlier
from .examples import MEMBERS
from .experiments import DONE, Plan, Run
from .intervals import interval, resamples, resummed
from .scoring import HEADLINE_VIEW, STATISTICS
from .summary import storable

SCHEMA = 1
METRICS = {**dict.fromkeys(COLOR_METRICS, HEADLINE_VIEW), "nll": "likelihood_painted"}  # metric -> its view
GROUPS = ("all", "real", "extracted")


def gather(
    plan: Plan, *, temperatures: Mapping[str, list[dict]] | None = None, samples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Everything that the report says, from the runs that are done; only seeds that all of their systems have count."""
    done = [run for run in plan.runs() if run.is_done]
    if not done:
        raise ValueError(f"no run under {plan.folder} is done yet; train first")
    names = [name for name in plan.settings["systems"] if any(run.system == name for run in done)]
    seeds = [s for s in plan.limits["seeds"] if all(Run(plan, name, s).is_done for name in names)]
    if not seeds:
        raise ValueError(f"the systems {', '.join(names)} have no seed in common yet; train the missing runs")
    runs = {name: [Run(plan, name, s) for s in seeds] for name in names}
    first = json.loads((runs[names[0]][0].folder / "evaluation" / RESULTS_FILE).read_text())
    data = first["data"]
    read = {
        name: [read_earlier(run.folder / "evaluation", data["fingerprint"]) for run in of_system]
        for name, of_system in runs.items()
    }
    scores = {name: [rows for rows, _ in of_system] for name, of_system in read.items()}
    systems = {name: _about(plan, runs[name], read[name][0][1]) for name in names}
    groups = _groups(scores, systems, samples=samples, seed=seed)
    results = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {package: version(package) for package in ("sketch-colorizer", "torch")},
        "budget": {
            "name": plan.budget,
            **plan.limits["recipe"],
            "seeds": seeds,
            "note": plan.limits.get("note", ""),
        },
        "data": {key: data[key] for key in ("name", "split", "fingerprint", "num_pictures", "extractor")},
        "bootstrap": {"samples": samples, "seed": seed, "level": 0.95},
        "decoding": plan.settings["decoding"],
        "systems": systems,
        "groups": groups,
        "temperatures": dict(temperatures or {}),
    }
    results = storable(results)
    return results | {"claims": {group: verdicts(results, group) for group in groups}}


def _about(plan: Plan, runs: list[Run], facts: dict[str, Any]) -> dict[str, Any]:
    """What a system is, and what its runs took."""
    entry = plan.settings["systems"][runs[0].system]
    done = [json.loads((run.folder / DONE).read_text()) for run in runs]
    about = {
        "title": entry["title"],
        "about": entry["about"],
        "settings": {**entry.get("recipe", {}), **entry["config"]},
        "parameters": facts["parameters"],
        "color_space": facts["color_space"],
        "runs": [{key: run[key] for key in ("steps", "seconds", "held_out_loss")} for run in done],
    }
    filters = [run["filters"] for run in done if "filters" in run]
    return {**about, "filters": filters} if filters else about


def _groups(
    scores: dict[str, list[dict]], systems: dict[str, Any], *, samples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Figures and pairs of each group of pictures."""
    one = next(iter(scores.values()))[0]
    seed_draws = resamples(len(next(iter(scores.values()))), samples=samples, seed=seed + 1).T
    seed_draws /= seed_draws.sum(0)  # (seeds, 1 + samples)
    groups = {}
    for group in GROUPS:
        keys = sorted(key for key in one if key.partition(":")[0] in MEMBERS[group])
        if not keys:
            continue
        draws = resamples(len(keys), samples=samples, seed=seed)
        values = {name: _values(of_system, keys, draws, seed_draws) for name, of_system in scores.items()}
        figures = {
            "num_pictures": len(keys),
            "systems": {name: {m: vars(interval(v)) for m, v in of.items()} for name, of in values.items()},
            "pairs": {
                f"{a}-{b}": _pair(values[a], values[b], systems[a]["color_space"] == systems[b]["color_space"])
                for a, b in PAIRS
                if a in values and b in values
            },
        }
        groups[group] = figures
    return groups


def _values(runs: list[dict], keys: list[str], draws: np.ndarray, seed_draws: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric that a system has, resampled over pictures and averaged over the seeds of each draw."""
    values = {}
    for metric, view in METRICS.items():
        statistic = STATISTICS[view][metric]
        if all(column in rows[key] for rows in runs for key in keys for column in statistic.columns):
            of_seeds = np.stack([resummed(statistic, [rows[key] for key in keys], draws) for rows in runs])
            values[metric] = (of_seeds * seed_draws).sum(0)
    return values


def _pair(first: dict[str, np.ndarray], second: dict[str, np.ndarray], same_bins: bool) -> dict[str, Any]:
    """Paired differences, first less second; likelihoods only where both predict the same bins."""
    pair = {}
    for metric in first:
        if metric not in second or (metric == "nll" and not same_bins):
            continue
        better = STATISTICS[METRICS[metric]][metric].better
        entry: dict[str, Any] = {"difference": vars(interval(first[metric] - second[metric]))}
        if better == "one":
            with np.errstate(divide="ignore", invalid="ignore"):
                distances = [np.abs(np.log(values[metric])) for values in (first, second)]
                entry["nearer"] = vars(interval(distances[0] - distances[1]))
        pair[metric] = {**entry, "outcome": outcome(better, entry["difference"], entry.get("nearer"))}
    return pair
