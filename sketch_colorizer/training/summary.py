"""From the scores of single pictures to the figures of a split: statistics in every group, and paired comparisons."""

import math
from typing import Any

import numpy as np

from .examples import MEMBERS
from .intervals import interval, resamples, resummed
from .perceptual import frechet_distance
from .scoring import LIKELIHOOD_VIEWS, STATISTICS

Scores = dict[str, dict[str, dict[str, Any]]]  # system -> "group:path" -> row of scores
_Values = dict[tuple[str, str], np.ndarray]  # (view, metric) -> the figure and its bootstrap samples


def summarize(scores: Scores, *, model: str, samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All figures of all systems with 95 % intervals, and the differences of `model` from each other system, paired.

    Every system must have been scored on the same pictures; each group is resampled alike for all systems.
    """
    keys = sorted(scores[model])
    for name, rows in scores.items():
        if sorted(rows) != keys:
            raise ValueError(
                f"{name} was scored on other pictures than {model}; evaluate both on the same data and limit"
            )
    systems = {name: {"groups": {}} for name in scores}
    comparisons = {name: {"groups": {}} for name in scores if name != model}
    drawn_values: dict[str, _Values] = {}
    for group, members in MEMBERS.items():
        chosen = [key for key in keys if key.partition(":")[0] in members]
        if not chosen:
            continue
        draws = resamples(len(chosen), samples=samples, seed=seed)
        values = {name: _values([rows[key] for key in chosen], draws) for name, rows in scores.items()}
        drawn_values[group] = values[model]
        for name, rows in scores.items():
            systems[name]["groups"][group] = _figures([rows[key] for key in chosen], values[name])
        for name in comparisons:
            comparisons[name]["groups"][group] = _compare(values[model], values[name])
    summary = {"systems": systems, "comparisons": comparisons}
    if "real" in drawn_values and "redrawn" in drawn_values:
        summary["real_against_redrawn"] = _compare(drawn_values["real"], drawn_values["redrawn"])
    return summary


def _values(rows: list[dict], draws: np.ndarray) -> _Values:
    """Each statistic that these rows have the columns for, resummed for each draw."""
    return {
        (view, metric): resummed(statistic, rows, draws)
        for view, statistics in STATISTICS.items()
        for metric, statistic in statistics.items()
        if all(column in row for row in rows for column in statistic.columns)
    }


def _figures(rows: list[dict], values: _Values) -> dict[str, Any]:
    """One group of one system: views of metrics with intervals, and the figures that have no interval."""
    figures: dict[str, Any] = {"num_pictures": len(rows)}
    for (view, metric), drawn in values.items():
        figures.setdefault(view, {})[metric] = vars(interval(drawn))
    line_errors = [row["drawing.line_error"] for row in rows if not math.isnan(row["drawing.line_error"])]
    figures["drawing"]["line_error_max"] = {"value": max(line_errors, default=None)}
    if "likelihood_whole" in figures:
        calibration = np.sum([row["likelihood_whole.calibration"] for row in rows], axis=0)
        figures["likelihood_whole"]["calibration"] = calibration.reshape(3, -1).tolist()
    if len(rows) > 1 and all("picture_whole.features" in row for row in rows):
        features = np.array([row["picture_whole.features"] for row in rows])
        true_features = np.array([row["picture_whole.features_true"] for row in rows])
        figures["picture_whole"]["fid"] = {"value": frechet_distance(features, true_features)}
    return figures


def _compare(first: _Values, second: _Values) -> dict[str, Any]:
    """Paired differences and ratios, first to second; likelihoods, over different bins, are not comparable."""
    compared: dict[str, Any] = {}
    for view, metric in first:
        if view in LIKELIHOOD_VIEWS or (view, metric) not in second:
            continue
        pair = first[view, metric], second[view, metric]
        with np.errstate(divide="ignore", invalid="ignore"):
            figures = {"difference": vars(interval(pair[0] - pair[1])), "ratio": vars(interval(pair[0] / pair[1]))}
        compared.setdefault(view, {})[metric] = figures
    return compared


def storable(entry: Any) -> Any:
    """The same entry for JSON: numbers of six significant digits, None for nan and infinity."""
    if isinstance(entry, dict):
        return {key: storable(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [storable(value) for value in entry]
    if isinstance(entry, float):
        return float(f"{entry:.6g}") if math.isfinite(entry) else None
    return entry


def figure_text(entry: dict[str, float | None] | None, digits: int) -> str:
    """A figure and its interval as text, a dash where there is none."""
    if not entry or entry["value"] is None:
        return "–"
    text = f"{entry['value']:.{digits}f}"
    if entry.get("low") is None or entry["low"] == entry["high"]:
        return text
    return f"{text} ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"
