"""Reports of an evaluation: the table on screen, a Markdown report, a page with plots and sheets for one minute."""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .examples import GROUPS
from .plots import draw_plots
from .scoring import HEADLINE_VIEW, STATISTICS
from .sheets import draw_sheets
from .summary import figure_text

HEADLINE = [  # what stands in the first table: (view, metric)
    *((HEADLINE_VIEW, metric) for metric in ("ciede2000", "auc", "auc_balanced", "chroma_ratio", "colorfulness_ratio")),
    *((HEADLINE_VIEW, metric) for metric in ("hue_error", "histogram_distance")),
    ("likelihood_painted", "nll"),
]
_DIGITS = {"ciede2000": 2, "ciede2000_median": 2, "ciede2000_p95": 2, "hue_error": 1, "psnr": 2, "chroma_ratio": 2}
_DIGITS |= {"colorfulness_ratio": 2, "nll": 2, "line_error": 1, "line_error_max": 1, "unevenness": 2, "fid": 1}
_VIEWS = {
    "picture_painted": "the picture, where the truth is painted (L < 97 or C > 5)",
    "picture_whole": "the whole picture, white paper included",
    "colors_painted": "the colours without lines, where the truth is painted and the drawing has no line",
    "drawing": "lines and regions",
    "likelihood_painted": "the predicted distribution, painted cells",
    "likelihood_whole": "the predicted distribution, all cells",
}
_SHORT_LABELS = {
    "ciede2000": "dE00",
    "auc_balanced": "AuC bal",
    "chroma_ratio": "chroma",
    "colorfulness_ratio": "colour",
}
_SHORT_LABELS |= {"hue_error": "hue", "histogram_distance": "hist", "nll": "NLL"}
_ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1"}


def print_report(results: dict[str, Any], console: Console | None = None) -> None:
    """The headline figures of every group, and the differences to the other systems, on screen."""
    console = console or Console()
    console.print(_preamble(results), highlight=False)
    for group in _groups(results):
        table = Table(title=_title(results, group), title_justify="left", box=SIMPLE_HEAD, padding=0)
        header, *rows = headline_rows(results, group, labels=_SHORT_LABELS, figure=_short_figure)
        table.add_column(header[0], overflow="fold", min_width=6)
        for cell in header[1:]:
            table.add_column(cell, justify="right", min_width=6)
        for row in rows:
            table.add_row(*row, style="bold" if row[0] == results["model"] else None)
        console.print(table)
    for line in comparison_lines(results):
        console.print(line, highlight=False)
    for metric, reason in results["skipped"].items():
        console.print(f"{metric}: skipped, {reason}", highlight=False)


def write_report(evaluation: Any, directory: str | Path) -> Path:
    """Write report.md, index.html, plots and sheets of an `Evaluation` into a folder; returns the page's path."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    results = evaluation.results
    images = draw_plots(results, evaluation.scores, directory) + draw_sheets(evaluation.paintings, directory)
    (directory / "report.md").write_text(markdown(results, images))
    page = directory / "index.html"
    page.write_text(_page(results, images))
    return page


def headline_rows(
    results: dict[str, Any],
    group: str,
    *,
    labels: Mapping[str, str] | None = None,
    figure: Callable[[dict | None, int], str] | None = None,
) -> list[list[str]]:
    """The headline table of one group as text: a header, then a row for each system, figures with their intervals."""
    figure, labels = figure or figure_text, labels or {}
    chosen = [(view, metric) for view, metric in HEADLINE if _anyone_has(results, group, view, metric)]
    rows = [["system", *(f"{labels.get(m, STATISTICS[v][m].label)} {_arrow(v, m)}" for v, m in chosen)]]
    for name, entry in results["systems"].items():
        figures = entry["groups"][group]
        rows.append([name, *(figure(figures.get(v, {}).get(m), _DIGITS.get(m, 3)) for v, m in chosen)])
    return rows


def comparison_lines(results: dict[str, Any], group: str = "all") -> list[str]:
    """One line for each other system: by how much the model differs, and whether that is settled."""
    lines = []
    for name, entry in results["comparisons"].items():
        figures = entry["groups"][group][HEADLINE_VIEW]
        parts = []
        for metric in ("ciede2000", "auc_balanced", "chroma_ratio", "histogram_distance"):
            parts.append(f"{STATISTICS[HEADLINE_VIEW][metric].label} {_verdict(figures[metric]['difference'], metric)}")
        lines.append(f"{results['model']} against {name} ({group}, paired): " + "; ".join(parts))
    if against := results.get("real_against_redrawn"):
        ratio = against[HEADLINE_VIEW]["ciede2000"]["ratio"]
        lines.append(f"real line art against extracted lines of the same pictures: CIEDE2000 x {figure_text(ratio, 3)}")
    return lines


def markdown(results: dict[str, Any], images: Sequence[str] = ()) -> str:
    """The whole report as Markdown."""
    parts = [f"# Evaluation of {results['model']}", _preamble(results)]
    for group in _groups(results):
        parts += [f"## {_title(results, group)}", _markdown_table(headline_rows(results, group))]
    parts += ["## Compared, paired by picture", "\n".join(f"- {line}" for line in comparison_lines(results))]
    parts += [f"- {metric}: skipped, {reason}" for metric, reason in results["skipped"].items()]
    parts += [f"![{Path(image).stem}]({image})" for image in images]
    for group in _groups(results):
        parts += [f"## Everything: {_title(results, group)}"]
        for view, description in _VIEWS.items():
            if rows := _detail_rows(results, group, view):
                parts += [f"### {description}", _markdown_table(rows)]
    return "\n\n".join(parts) + "\n"


def _page(results: dict[str, Any], images: Sequence[str]) -> str:
    """The page: headline tables first, then the sheets, then the plots."""
    body = [f"<h1>Evaluation of {html.escape(results['model'])}</h1><p>{html.escape(_preamble(results))}</p>"]
    for group in _groups(results):
        body.append(f"<h2>{html.escape(_title(results, group))}</h2>" + _html_table(headline_rows(results, group)))
    body.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in comparison_lines(results)) + "</ul>")
    sheets_first = sorted(images, key=lambda image: not image.startswith("sheet"))
    body += [f'<h2>{html.escape(Path(i).stem.replace("_", " "))}</h2><img src="{i}">' for i in sheets_first]
    body.append(
        '<p>All views and metrics: <a href="report.md">report.md</a>, <a href="results.json">results.json</a></p>'
    )
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}"
        "td:first-child,th:first-child{text-align:left}img{max-width:100%}h2{margin-top:1.6em;font-size:1.1em}"
    )
    head = f'<meta charset="utf-8"><title>Evaluation</title><style>{style}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _preamble(results: dict[str, Any]) -> str:
    data, bootstrap = results["data"], results["bootstrap"]
    facts = results["facts"][results["model"]]
    decoding = f", style {facts['style']}" + (f", temperature {facts['temperature']}" if facts["temperature"] else "")
    return (
        f"{data['num_pictures']} pictures of {data['name']} / {data['split']}{decoding}. The first tables judge "
        "the finished picture where the true one is painted (L < 97 or C > 5). In brackets: 95 % bootstrap intervals "
        f"over pictures ({bootstrap['samples']} samples). Extracted lines: {data['extractor']}, default settings. "
        f"Mean colour from: {data['mean_color_from']}."
    )


def _groups(results: dict[str, Any]) -> list[str]:
    present = results["systems"][results["model"]]["groups"]
    return [group for group in GROUPS if group in present]


def _title(results: dict[str, Any], group: str) -> str:
    count = results["systems"][results["model"]]["groups"][group]["num_pictures"]
    return f"{group}: {GROUPS[group]} ({count} pictures)"


def _anyone_has(results: dict[str, Any], group: str, view: str, metric: str) -> bool:
    return any(metric in entry["groups"][group].get(view, {}) for entry in results["systems"].values())


def _detail_rows(results: dict[str, Any], group: str, view: str) -> list[list[str]]:
    """A row for each metric of a view, a column for each system that has the view."""
    systems = {n: e["groups"][group][view] for n, e in results["systems"].items() if view in e["groups"][group]}
    metrics = dict.fromkeys(metric for figures in systems.values() for metric in figures)
    rows = []
    for metric in metrics:
        entries = [figures.get(metric) for figures in systems.values()]
        if any(isinstance(entry, dict) for entry in entries):
            label = STATISTICS[view][metric].label if metric in STATISTICS[view] else metric.replace("_", " ")
            rows.append(
                [f"{label} {_arrow(view, metric)}", *(figure_text(entry, _DIGITS.get(metric, 3)) for entry in entries)]
            )
    return [["metric", *systems], *rows] if rows else []


def _short_figure(entry: dict[str, float | None] | None, digits: int) -> str:
    """A figure over half the width of its interval, for narrow screens."""
    if not entry or entry["value"] is None:
        return "–"
    text = f"{entry['value']:.{digits}f}"
    return text if entry.get("low") is None else f"{text}\n±{(entry['high'] - entry['low']) / 2:.{digits}f}"


def _verdict(difference: dict[str, float | None], metric: str) -> str:
    """A difference with its interval, and in a word what follows from it."""
    if difference["value"] is None or difference["low"] is None:
        return "–"
    sign = "+" if difference["value"] >= 0 else ""
    text = sign + figure_text(difference, _DIGITS.get(metric, 3))
    better = STATISTICS[HEADLINE_VIEW][metric].better
    if better == "one":
        return text
    if difference["low"] <= 0 <= difference["high"]:
        return f"{text} undecided"
    return f"{text} {'better' if (difference['value'] > 0) == (better == 'higher') else 'worse'}"


def _arrow(view: str, metric: str) -> str:
    return _ARROWS[STATISTICS[view][metric].better] if metric in STATISTICS[view] else ""


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = ([html.escape(cell) for cell in row] for row in rows)
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return "<table>" + "".join(lines) + "</table>"
