"""Plots of an evaluation as PNG: headline figures, accuracy over distance, differences by picture, calibration."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .scoring import HEADLINE_VIEW, STATISTICS

_BARS = ("ciede2000", "auc_balanced", "chroma_ratio", "colorfulness_ratio", "hue_error", "histogram_distance")
_INK, _PALETTE = "#222222", ("#d1495b", "#2e86ab", "#edae49", "#66a182", "#8d6a9f", "#7f7f7f", "#c17c3a")


def draw_plots(results: dict[str, Any], scores: dict[str, dict[str, dict]], directory: Path) -> list[str]:
    """Write the plots; returns their file names."""
    figures = {
        "headline.png": _headline(results),
        "accuracy.png": _accuracy(results, scores),
        "differences.png": _differences(results, scores),
        "calibration.png": _calibration(results),
    }
    for name, figure in figures.items():
        if figure is not None:
            save_plot(figure, directory / name)
    return [name for name, figure in figures.items() if figure is not None]


def save_plot(figure: Figure, path: Path, *, dpi: int = 110) -> None:
    """A plot as a PNG of at most 256 colours: a third of the bytes, and no difference that can be seen."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256).save(path, optimize=True)


def _colors(results: dict[str, Any]) -> dict[str, str]:
    """One colour for each system, the model's first, baselines grey."""
    others = [name for name in results["systems"] if name not in ("white", "mean")]
    colors = {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(others)}
    return colors | {"white": "#c8c8c8", "mean": "#8f8375"}


def _headline(results: dict[str, Any]) -> Figure:
    """Six metrics, a bar for each system and group, with intervals."""
    colors = _colors(results)
    groups = [g for g in ("real", "extracted") if g in results["systems"][results["model"]]["groups"]]
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    for axis, metric in zip(figure.subplots(2, 3).flat, _BARS, strict=True):
        width = 0.8 / len(results["systems"])
        for i, (name, entry) in enumerate(results["systems"].items()):
            shown = [entry["groups"][group][HEADLINE_VIEW][metric] for group in groups]
            values = np.array([[e["value"], e["low"], e["high"]] for e in shown], dtype=float)
            errors = np.clip([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0, None)
            places = np.arange(len(groups)) + i * width
            axis.bar(places, values[:, 0], width, yerr=errors, color=colors[name], ecolor=_INK, label=name, capsize=2)
        if STATISTICS[HEADLINE_VIEW][metric].better == "one":
            axis.axhline(1, color=_INK, linewidth=0.8, linestyle=":")
        axis.set_xticks(np.arange(len(groups)) + 0.4 - width / 2, groups)
        axis.set_title(f"{STATISTICS[HEADLINE_VIEW][metric].label}", fontsize=10)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _accuracy(results: dict[str, Any], scores: dict[str, dict[str, dict]]) -> Figure:
    """Share of painted pixels within a Lab distance, for each system; the area under it is AuC."""
    colors, figure = _colors(results), Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name, rows in scores.items():
        curves = np.array(
            [row[f"{HEADLINE_VIEW}.curve"] for key, row in rows.items() if not key.startswith("redrawn:")]
        )
        curves = curves[~np.isnan(curves).any(axis=1)]
        if len(curves):
            axis.plot(np.arange(curves.shape[1]), curves.mean(axis=0), color=colors[name], label=name)
    axis.set(xlabel="Lab distance", ylabel="share of painted pixels within it", xlim=(0, 100), ylim=(0, 1))
    axis.legend(frameon=False)
    return figure


def _differences(results: dict[str, Any], scores: dict[str, dict[str, dict]]) -> Figure:
    """CIEDE2000 of the model less that of each other system, picture by picture, sorted; below 0 it is nearer."""
    colors, figure = _colors(results), Figure(figsize=(6, 4), layout="constrained")
    axis, model = figure.subplots(), results["model"]
    keys = [key for key in scores[model] if not key.startswith("redrawn:")]
    own = np.array([scores[model][key][f"{HEADLINE_VIEW}.ciede2000"] for key in keys])
    for name in results["comparisons"]:
        other = np.array([scores[name][key][f"{HEADLINE_VIEW}.ciede2000"] for key in keys])
        axis.plot(np.linspace(0, 1, len(keys)), np.sort(own - other), color=colors[name], label=f"against {name}")
    axis.axhline(0, color=_INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel="share of pictures", ylabel=f"CIEDE2000 of {model} less the other's")
    axis.legend(frameon=False)
    return figure


def _calibration(results: dict[str, Any]) -> Figure | None:
    """Accuracy over confidence for the systems that predict a distribution, on all cells.

    The painted cells alone would show confidence in white paper as if it were always wrong.
    """
    colors, figure = _colors(results), Figure(figsize=(4.4, 4), layout="constrained")
    axis, drawn = figure.subplots(), False
    for name, entry in results["systems"].items():
        sums = entry["groups"]["all"].get("likelihood_whole", {}).get("calibration")
        if sums is not None:
            count, confidence, hits = np.array(sums)
            filled = count > 0
            axis.plot(
                confidence[filled] / count[filled], hits[filled] / count[filled], "o-", color=colors[name], label=name
            )
            drawn = True
    if not drawn:
        return None
    axis.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel="confidence of the likeliest bin", ylabel="how often it is the true one", xlim=(0, 1), ylim=(0, 1))
    axis.legend(frameon=False)
    return figure
