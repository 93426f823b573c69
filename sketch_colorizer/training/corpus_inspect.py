"""Looking into a corpus folder: its figures in tables, its colours as a histogram, its pictures on a contact sheet."""

import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from .corpus import STATISTICS_FILE
from .corpus_card import HUES
from .corpus_plots import contact_sheet
from .corpus_records import REASONS
from .corpus_release import HISTOGRAM_FILE, ColorHistogram, read_color_histogram
from .corpus_statistics import UNKNOWN, describe_colors

_BAR = 40
_SAMPLE = 300  # pictures whose colours stand for those of a corpus without a histogram
_NAMED = ("license", "source", "category", "author")


def find_shards(folder: Path) -> dict[str, list[Path]]:
    """The Parquet shards of each split. Raises ValueError where there are none."""
    shards: dict[str, list[Path]] = {}
    for place in (folder, folder / "data"):
        for path in sorted(place.glob("*-of-*.parquet")):
            shards.setdefault(path.name.split("-")[0], []).append(path)
    if not shards:
        raise ValueError(f"{folder} is no corpus: there is no data/train-*.parquet in it")
    return shards


def print_figures(folder: Path, console: Console, *, rows: int = 15) -> None:
    """Counts, rejections, licences, sources and colours, as tables."""
    shards = find_shards(folder)
    statistics = _read_statistics(folder)
    columns = [name for name in (*_NAMED, "line_art.bytes") if _has(shards, name)]
    counts, names = Counter(), {name: Counter() for name in _NAMED if name in columns}
    drawn = Counter()
    for split, paths in shards.items():
        for path in paths:
            table = pq.read_table(path, columns=[*names, *(["line_art"] if "line_art.bytes" in columns else [])])
            counts[split] += len(table)
            for name, counter in names.items():
                counter.update(value or UNKNOWN for value in table[name].to_pylist())
            if "line_art" in table.column_names:
                drawn[split] += len(table) - table["line_art"].null_count
    pictures = Table("split", "pictures", "with real line art")
    for split in counts:
        pictures.add_row(split, f"{counts[split]:,}", f"{drawn[split]:,}")
    console.print(pictures)
    if statistics:
        _print_counts(console, "rejected", statistics["rejected"], rows, explain=REASONS)
        _print_storage(console, statistics)
    for name, counter in names.items():
        _print_counts(console, name, dict(counter.most_common()), rows)
    _print_colors(console, describe_colors(*colors_of(folder)))


def colors_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The colour histogram of the training pictures: the stored one, or that of a sample where none is stored."""
    if (folder / HISTOGRAM_FILE).exists():
        return read_color_histogram(folder)
    histogram = ColorHistogram()
    for picture, _ in sample_records(folder, _SAMPLE, split="train"):
        histogram.add(picture)
    return histogram.counts, histogram.sums


def sample_records(folder: Path, number: int, *, split: str | None = None) -> list[tuple[bytes, str]]:
    """Evenly spaced pictures (their bytes) with source and path."""
    shards = find_shards(folder)
    paths = [path for name in sorted(shards) for path in shards[name] if split in (None, name) or split not in shards]
    sizes = [pq.read_metadata(path).num_rows for path in paths]
    chosen = np.unique(np.linspace(0, sum(sizes) - 1, min(number, sum(sizes))).astype(int))
    records, start = [], 0
    for path, size in zip(paths, sizes, strict=True):
        rows = chosen[(chosen >= start) & (chosen < start + size)] - start
        start += size
        for row in _take(path, rows):
            records.append((row["image"]["bytes"], f"{row.get('source') or ''} {row.get('path') or ''}".strip()))
    return records


def write_sheet(folder: Path, path: Path, *, number: int = 64) -> int:
    """A contact sheet (PNG) of evenly spaced pictures; returns how many are on it."""
    pictures = [(Image.open(io.BytesIO(data)), name) for data, name in sample_records(folder, number)]
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures).save(path, "PNG")
    return len(pictures)


def _take(path: Path, rows: np.ndarray) -> list[dict[str, Any]]:
    """Some rows of a shard, of which only the row groups that hold them are read."""
    taken, start = [], 0
    with pq.ParquetFile(path) as file:
        columns = [name for name in ("image", "source", "path") if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            wanted = rows[(rows >= start) & (rows < stop)] - start
            if len(wanted):
                taken += file.read_row_group(group, columns=columns).take(pa.array(wanted)).to_pylist()
            start = stop
    return taken


def _has(shards: Mapping[str, list[Path]], column: str) -> bool:
    return column.split(".")[0] in pq.read_schema(next(iter(shards.values()))[0]).names


def _read_statistics(folder: Path) -> dict[str, Any] | None:
    path = folder / STATISTICS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _print_counts(
    console: Console, title: str, counts: Mapping[str, int], rows: int, *, explain: Mapping[str, str] | None = None
) -> None:
    if not counts:
        return
    table = Table(title, "pictures" if explain is None else "inputs", *(["meaning"] if explain else []))
    shown = list(counts.items())[:rows]
    for name, count in shown:
        table.add_row(name, f"{count:,}", *([explain.get(name, "")] if explain else []))
    rest = len(counts) - len(shown)
    if rest:
        table.add_row(f"({rest} more)", f"{sum(counts.values()) - sum(count for _, count in shown):,}")
    console.print(table)


def _print_storage(console: Console, statistics: Mapping[str, Any]) -> None:
    stored, loss = statistics["stored_bytes"], statistics["psnr"]
    kilobytes, most = stored["mean"] / 1000, stored["p95"] / 1000
    line = f"{stored['total'] / 1e6:,.1f} MB, {kilobytes:.1f} KB a picture (95 % below {most:.1f})"
    if loss["pictures"]:
        line += f"; encoding costs a median PSNR of {loss['median']:.1f} dB"
    console.print(line, highlight=False)


def _print_colors(console: Console, colors: Mapping[str, Any]) -> None:
    """Hues and lightness as bars."""
    console.print(
        f"painted: {colors['painted']:.1%} of the training pixels; grey, white or black: {colors['grey']:.1%}; "
        f"mean chroma of the painted ones: {colors['chroma']:.1f}",
        highlight=False,
    )
    steps = [f"L {10 * step}-{10 * step + 10}" for step in range(len(colors["lightness"]))]
    for names, shares in ((HUES, colors["hues"]), (steps, colors["lightness"])):
        top = max(max(shares), 1e-9)
        for name, share in zip(names, shares, strict=True):
            console.print(f"{name:>16} {share:6.1%} {'█' * round(_BAR * share / top)}", highlight=False, markup=False)
