"""docs/experiments.md and its plots, from experiments.json alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .claims import DIGITS, LABELS, PAIRS
from .examples import GROUPS as MEANINGS
from .experiment_figures import GROUPS, METRICS
from .plots import save_plot
from .scoring import STATISTICS

_INK, _DOT, _OTHER = "#222222", "#d1495b", "#2e86ab"
_PLOTTED = ("ciede2000", "auc_balanced", "auc_rare", "chroma_ratio", "colorfulness_ratio", "histogram_distance")
_ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1"}
_CURVES = ("ciede2000", "auc", "auc_balanced", "chroma_ratio")
Results = Mapping[str, Any]


def write_experiments(
    results: Results, directory: str | Path, *, name: str = "experiments", sheet: bool = False
) -> Path:
    """Write NAME.md and its plots; `sheet` says that NAME-examples.webp lies beside them. Returns the page's path."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    figures = {"figures": _plot_systems(results)}
    if results["groups"]["all"]["pairs"]:
        figures["differences"] = _plot_pairs(results)
    if results["temperatures"]:
        figures["temperatures"] = _plot_temperatures(results)
    for kind, figure in figures.items():
        save_plot(figure, directory / f"{name}-{kind}.png", dpi=80)
    page = directory / f"{name}.md"
    page.write_text(markdown(results, name=name, images=list(figures), sheet=sheet))
    return page


def markdown(results: Results, *, name: str = "experiments", images: Sequence[str] = (), sheet: bool = False) -> str:
    """The page: what was asked and found, then every figure."""
    parts = ["# The poster's claims, measured", *_preamble(results), "## What was found", _claims(results)]
    parts += [f"![{LABELS_OF_PLOTS[image]}]({name}-{image}.png)" for image in images if image != "temperatures"]
    if sheet:
        parts += ["## To look at", f"![Drawings of this project, coloured by each system]({name}-examples.webp)"]
    if results["temperatures"]:
        parts += ["## The temperature of the annealed mean", *_temperatures(results)]
        parts += [f"![{LABELS_OF_PLOTS['temperatures']}]({name}-temperatures.png)"]
    parts += ["## The systems", _systems(results)]
    for group in GROUPS:
        if group in results["groups"]:
            count = results["groups"][group]["num_pictures"]
            parts += [f"## Figures: {group}, {MEANINGS[group]} ({count} pictures)", _figures(results, group)]
    return "\n\n".join(parts) + "\n"


LABELS_OF_PLOTS = {
    "figures": "Figures of every system, with intervals",
    "differences": "Paired differences, with intervals",
    "temperatures": "Figures over the temperature",
}


def _preamble(results: Results) -> list[str]:
    budget, data = results["budget"], results["data"]
    steps = f"{budget['max_steps']:,} steps of {budget['batch_size']} samples of {budget['image_size']} pixels"
    seeds = len(budget["seeds"])
    caution = (
        "With one seed the intervals say how far the figures hold for other pictures, and nothing about the luck of "
        "another training."
        if seeds == 1
        else f"The intervals are over pictures and over the {seeds} seeds."
    )
    count = "one seed" if seeds == 1 else f"{seeds} seeds"
    parts = [
        f"Budget `{budget['name']}`: every system was trained for {steps}, with the same samples in the same order, "
        f"and {count}. That is a short training: what is undecided or refuted here may come out otherwise with a "
        f"longer one. Measured on {data['num_pictures']} pictures of {data['name']} / {data['split']}, on the finished "
        "picture where the true one is painted (L < 97 or C > 5; [evaluation.md](evaluation.md) explains the metrics). "
        "Pictures are made as the poster made them: per pixel, without regions or guidance, temperature 0.38.",
        "A claim is **confirmed** where the paired 95 % bootstrap intervals leave out zero on its side in at least "
        "one metric and on the other side in none, **refuted** the other way round, **both ways** where metrics "
        "contradict each other, and **undecided** where every interval holds zero. Of twenty intervals one may be "
        f"wrong by chance. {caution}",
        f"Repeat it: `python scripts/run_experiments.py --data CORPUS --budget {budget['name']}`; what the systems are "
        "stands in `scripts/experiments.yaml`.",
    ]
    return [*parts, f"**{budget['note']}**"] if budget.get("note") else parts


def _claims(results: Results) -> str:
    """A row for each claim with its verdict on all pictures, on real and on extracted lines; below, the figures."""
    by_group = {group: {c["claim"]: c for c in claims} for group, claims in results["claims"].items()}
    apart = [group for group in ("real", "extracted") if group in by_group]
    rows, reasons = [["", "claim", "verdict", *(f"{group} lines alone" for group in apart)]], []
    for number, (words, claim) in enumerate(by_group["all"].items(), start=1):
        others = [by_group[group].get(words, {}).get("verdict", "–") for group in apart]
        rows.append([str(number), words, f"**{claim['verdict']}**", *others])
        reasons.append(f"{number}. {claim['sentence']}")
    brackets = "In brackets: the difference and its interval. Letters are the systems below."
    return "\n\n".join((_table(rows), brackets, "\n".join(reasons)))


def _temperatures(results: Results) -> list[str]:
    """For each system that has a curve, where each metric is best."""
    lines = []
    for name, curve in results["temperatures"].items():
        best = {
            "ciede2000": min(curve, key=lambda point: point["ciede2000"]),
            "auc": max(curve, key=lambda point: point["auc"]),
            "auc_balanced": max(curve, key=lambda point: point["auc_balanced"]),
            "chroma_ratio": min(curve, key=lambda point: abs(np.log(max(point["chroma_ratio"], 1e-6)))),
        }
        found = ", ".join(
            f"{LABELS[metric]} at {point['temperature']:g} ({_number(point[metric], metric)})"
            for metric, point in best.items()
        )
        lines.append(f"- {name} ({results['systems'][name]['title']}) is best in {found}.")
    return ["\n".join(lines)]


def _systems(results: Results) -> str:
    rows = [["system", "what it is", "million parameters", "steps", "minutes", "held-out loss"]]
    for name, about in results["systems"].items():
        runs = about["runs"]
        losses = [run["held_out_loss"] for run in runs if run["held_out_loss"] is not None]
        rows.append(
            [
                f"{name} · {about['title']}",
                about["about"],
                f"{about['parameters'] / 1e6:.2f}",
                str(runs[0]["steps"]),
                f"{np.mean([run['seconds'] for run in runs]) / 60:.0f}",
                f"{np.mean(losses):.3f}" if losses else "–",
            ]
        )
    note = "Losses of different kinds do not compare, nor does the NLL over different bins (RGB and LCH)."
    return f"{_table(rows)}\n\n{note}"


def _figures(results: Results, group: str) -> str:
    metrics = {m: STATISTICS[view][m].better for m, view in METRICS.items()}
    rows = [["system", *(f"{LABELS[m]} {_ARROWS[better]}" for m, better in metrics.items())]]
    for name, figures in results["groups"][group]["systems"].items():
        cells = [_interval(figures.get(metric), metric) for metric in metrics]
        rows.append([f"{name} · {results['systems'][name]['title']}", *cells])
    return _table(rows)


# --------------------------------------------------------------------------------------------------------------------
# Plots


def _plot_systems(results: Results) -> Figure:
    """Six metrics, a dot with its interval for each system."""
    systems = results["groups"]["all"]["systems"]
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(systems)), layout="constrained")
    labels = [f"{name} · {results['systems'][name]['title']}" for name in systems]
    for axis, metric in zip(figure.subplots(2, 3, sharey=True).flat, _PLOTTED, strict=True):
        _dots(axis, [figures.get(metric) for figures in systems.values()], labels)
        if STATISTICS[METRICS[metric]][metric].better == "one":
            axis.axvline(1, color=_INK, linewidth=0.8, linestyle=":")
        axis.set_title(f"{LABELS[metric]} {_ARROWS[STATISTICS[METRICS[metric]][metric].better]}", fontsize=10)
    return figure


def _plot_pairs(results: Results) -> Figure:
    """Six metrics, the paired difference of each pair that a claim compares."""
    pairs = results["groups"]["all"]["pairs"]
    figure = Figure(figsize=(11, 1.6 + 0.5 * max(1, len(pairs))), layout="constrained")
    labels = [f"{first} less {second}" for first, second in PAIRS if f"{first}-{second}" in pairs]
    entries = [pairs[f"{first}-{second}"] for first, second in PAIRS if f"{first}-{second}" in pairs]
    for axis, metric in zip(figure.subplots(2, 3, sharey=True).flat, _PLOTTED, strict=True):
        _dots(axis, [entry.get(metric, {}).get("difference") for entry in entries], labels)
        axis.axvline(0, color=_INK, linewidth=0.8, linestyle=":")
        axis.set_title(f"{LABELS[metric]} {_ARROWS[STATISTICS[METRICS[metric]][metric].better]}", fontsize=10)
    return figure


def _dots(axis: Any, entries: Sequence[Mapping[str, float] | None], labels: Sequence[str]) -> None:
    for row, entry in enumerate(entries):
        if entry and entry["value"] is not None and entry["low"] is not None:
            axis.plot([entry["low"], entry["high"]], [row, row], color=_OTHER, linewidth=2)
            axis.plot([entry["value"]], [row], "o", color=_DOT, markersize=5)
    axis.set_yticks(range(len(labels)), labels, fontsize=9)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)


def _plot_temperatures(results: Results) -> Figure:
    """Each metric over the temperature, a line for each system."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axis, metric in zip(figure.subplots(1, len(_CURVES)), _CURVES, strict=True):
        for (name, curve), color in zip(results["temperatures"].items(), (_DOT, _OTHER, _INK), strict=False):
            axis.plot([p["temperature"] for p in curve], [p[metric] for p in curve], "o-", color=color, label=name)
        if metric == "chroma_ratio":
            axis.axhline(1, color=_INK, linewidth=0.8, linestyle=":")
        axis.axvline(0.38, color="#aaaaaa", linewidth=0.8)
        axis.set(xlabel="temperature", title=LABELS[metric])
    figure.axes[0].legend(frameon=False)
    return figure


# --------------------------------------------------------------------------------------------------------------------
# Text


def _number(value: float, metric: str) -> str:
    return f"{value:.{DIGITS.get(metric, 3)}f}"


def _interval(entry: Mapping[str, float | None] | None, metric: str) -> str:
    if not entry or entry["value"] is None:
        return "–"
    if entry["low"] is None:
        return _number(entry["value"], metric)
    low, high = (_number(entry[key], metric) for key in ("low", "high"))
    return f"{_number(entry['value'], metric)} ({low} to {high})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *body))
