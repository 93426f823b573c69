"""Plots of control over colours as PNG: hints, proposals, calibration."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import save_plot

INK = "#222222"
USER_STYLES = {  # colour, marker, label
    "random": ("#2e86ab", "o", "hints at random places"),
    "suggestions": ("#d1495b", "s", "hints where it suggests them"),
    "gmic": ("#7f7f7f", "^", "G'MIC, hints at random places"),
}
ENGINE_COLORS = {"classes": "#2e86ab", "flow": "#d1495b"}
_CURVES = {
    "ciede2000": "CIEDE2000 (lower is better)",
    "flats": "CIEDE2000, lines left out",
    "psnr": "PSNR in dB (higher is better)",
}
_BARS = {  # figure: title, what is good
    "first": ("the first alone", "CIEDE2000 (low is good)"),
    "best": ("best of {n}", "CIEDE2000 (low is good)"),
    "diversity": ("between proposals", "CIEDE2000 (high: varied)"),
    "chroma_ratio": ("chroma, proposed to true", "1 is natural"),
    "unevenness": ("within closed lines", "Lab spread (low: even)"),
    "seconds": ("time", "seconds per proposal"),
}


def draw_control_plots(results: dict[str, Any], directory: Path) -> list[str]:
    """Write control_hints.png, control_proposals.png and control_calibration.png; returns the names written."""
    drawn = {
        "control_hints.png": _hints(results),
        "control_proposals.png": _proposals(results["proposals"]),
        "control_calibration.png": _calibration(results["calibration"]),
    }
    for name, figure in drawn.items():
        if figure is not None:
            save_plot(figure, directory / name)
    return [name for name, figure in drawn.items() if figure is not None]


def _hints(results: dict[str, Any]) -> Figure:
    """Differences and PSNR over the number of hints, real and extracted line art apart, with 95 % intervals."""
    counts, curves = results["counts"], results["curves"]
    groups = [group for group in ("real", "extracted") if group in curves] or ["all"]
    figure = Figure(figsize=(5 * len(groups), 10), layout="constrained")
    axes = figure.subplots(len(_CURVES), len(groups), sharex=True, sharey="row", squeeze=False)
    for column, group in enumerate(groups):
        for row, metric in enumerate(_CURVES):
            for user, entry in curves[group]["users"].items():
                _curve(axes[row, column], user, [entry[f"{metric}.{count}"] for count in counts])
        axes[0, column].set_title(f"{group} line art, n = {curves[group]['num_pictures']}", fontsize=11)
        axes[-1, column].set_xlabel("hints")
        axes[-1, column].set_xticks(range(len(counts)), counts)
    for row, (metric, label) in enumerate(_CURVES.items()):
        axes[row, 0].set_ylabel(label)
        if metric != "psnr":
            axes[row, 0].set_ylim(bottom=0)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _curve(axis: Axes, user: str, entries: list[dict[str, float]]) -> None:
    color, marker, label = USER_STYLES[user]
    value, low, high = (np.array([entry[part] for entry in entries], float) for part in ("value", "low", "high"))
    places = np.arange(len(entries))
    axis.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    axis.plot(places, value, color=color, marker=marker, markersize=5, label=label)
    axis.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)


def _proposals(proposals: dict[str, Any]) -> Figure | None:
    """A bar for each engine, and its interval, for what proposals are judged by."""
    engines = proposals["engines"]
    if not engines:
        return None
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    for axis, (name, (title, unit)) in zip(figure.subplots(2, 3).flat, _BARS.items(), strict=True):
        for place, (engine, entry) in enumerate(engines.items()):
            value, low, high = (entry[name][part] for part in ("value", "low", "high"))
            error = None if low is None else [[max(0, value - low)], [max(0, high - value)]]
            axis.bar(place, value, 0.6, yerr=error, color=ENGINE_COLORS[engine], ecolor=INK, capsize=4)
        if name == "chroma_ratio":
            axis.axhline(1, color=INK, linewidth=0.8, linestyle=":")
        axis.set_xticks(range(len(engines)), engines)
        axis.set_xlim(-0.7, len(engines) - 0.3)
        axis.set_title(title.format(n=proposals["num_proposals"]), fontsize=11)
        axis.set_ylabel(unit, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _calibration(calibration: dict[str, Any]) -> Figure | None:
    """Reliability before and after the temperature, and the error by uncertainty."""
    if not calibration:
        return None
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    reliability, risk = figure.subplots(1, 2)
    reliability.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="perfect")
    drawn = [("raw", "#7f7f7f", "as the network says it")]
    if calibration["temperature"] != 1:
        drawn.append(("calibrated", "#d1495b", f"temperature {calibration['temperature']:g}"))
    for name, color, label in drawn:
        count, confidence, hits = np.array(calibration[name]["sums"])
        filled = count > 0.001 * count.sum()
        ece = calibration[name]["ece"]["value"]
        x, y = confidence[filled] / count[filled], hits[filled] / count[filled]
        reliability.plot(x, y, color=color, linewidth=1, label=f"{label}: ECE {ece:.3f}")
        reliability.scatter(x, y, s=12 + 160 * count[filled] / count.sum(), color=color, zorder=3)
    reliability.set(xlabel="probability of the likeliest class", ylabel="how often it is the true one")
    reliability.set(xlim=(0, 1), ylim=(0, 1), title="probabilities (size: share of pixels)")
    reliability.legend(frameon=False, fontsize=9)
    entry = calibration["by_uncertainty"]
    risk.plot(entry["uncertainty"], entry["ciede2000"], color="#2e86ab", linewidth=1)
    sizes = 12 + 300 * np.array(entry["share"])
    risk.scatter(entry["uncertainty"], entry["ciede2000"], s=sizes, color="#2e86ab", zorder=3)
    risk.set(xlabel="uncertainty", ylabel="mean CIEDE2000", title="error where it is uncertain (size: share of pixels)")
    risk.set_xlim(0, 1)
    risk.set_ylim(bottom=0)
    for axis in (reliability, risk):
        axis.title.set_fontsize(11)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
