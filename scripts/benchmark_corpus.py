"""Benchmark of building a corpus, and the figures of docs/CORPUS.md that follow from it.

    python scripts/benchmark_corpus.py speed ../shared/corpus       # 3 minutes, on an idle machine
    python scripts/benchmark_corpus.py storage ../shared/corpus     # 3 minutes, on any machine
    python scripts/benchmark_corpus.py document                     # writes the figures into docs/CORPUS.md

The first two write their part of docs/corpus_measurements.json; docs/corpus_rebuild.json comes from
scripts/rebuild_corpus.py. The source is any corpus folder. Where its pictures are small, four of them side by side make
a 512-pixel picture, which has the detail of real ones: nothing is enlarged to measure storage.
"""

import io
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from PIL import Image

from sketch_colorizer.training.corpus_drafts import DraftSettings, write_draft
from sketch_colorizer.training.corpus_engines import EngineSettings, run_tasks
from sketch_colorizer.training.corpus_fingerprints import find_twins, fingerprint, perceptual_hash
from sketch_colorizer.training.corpus_inspect import find_shards, sample_records
from sketch_colorizer.training.corpus_metadata import Pairing
from sketch_colorizer.training.corpus_pictures import CODECS, decode, encode, open_header, psnr
from sketch_colorizer.training.corpus_records import RecordSettings, make_record
from sketch_colorizer.training.corpus_release import ColorHistogram
from sketch_colorizer.training.corpus_screening import photograph_score, screen
from sketch_colorizer.training.corpus_sources import Source
from sketch_colorizer.training.corpus_units import plan_units

ROOT = Path(__file__).parents[1]
MEASUREMENTS, REBUILD = ROOT / "docs" / "corpus_measurements.json", ROOT / "docs" / "corpus_rebuild.json"
DOCUMENT = ROOT / "docs" / "CORPUS.md"
SIZE = 512
PAINTED = ("storybook", "portrait", "scene", "game-art", "character", "creature")  # categories of painted art
GRAIN = 2.0  # standard deviation of the noise that stands for a scan's, in sRGB levels
POSTER_BYTES_PER_PAIR = 300e9 / 600_000
DRAFT_BYTES = 1000  # of a record beside its picture: hashes, fingerprint, names
EXAMPLES = (  # pictures, nodes, cores of a node
    (600_000, 1, 2),
    (600_000, 1, 32),
    (100_000_000, 20, 64),
    (100_000_000, 100, 64),
)
Measurements = Annotated[Path, typer.Option("--output", "-o", help="Its part of this file is replaced.")]
Folder = Annotated[Path, typer.Argument(help="A corpus folder.")]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def speed(
    source: Folder,
    *,
    pictures: Annotated[int, typer.Option(help="For the scaling; a tenth of them for the stages.")] = 240,
    output: Measurements = MEASUREMENTS,
) -> None:
    """Time the stages, one and two workers, and the pass over all pictures. Needs an idle machine."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    machine = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
    }
    inputs = [photographed(sheet) for sheet in sheets(source, pictures)]
    result = {
        "machine": machine,
        "pictures": len(inputs),
        "stages": time_stages(inputs[: max(4, pictures // 10)]),
        "scaling": time_scaling(inputs),
        "twins": time_twins(source),
    }
    _store(output, "speed", result)


@app.command()
def storage(
    source: Folder,
    *,
    pictures: Annotated[int, typer.Option(help="Of each kind; evenly chosen.")] = 100,
    output: Measurements = MEASUREMENTS,
) -> None:
    """Measure bytes and loss of painted art: single pictures as they are, four to a 512-pixel sheet, with grain."""
    generator = np.random.default_rng(0)
    single = [decode(open_header(data, max_pixels=10**8), side=SIZE) for data in painted(source, pictures)]
    composed = list(sheets(source, pictures, categories=PAINTED))
    kinds = {
        "painted, as they are": single,
        f"painted, four to a sheet of {SIZE} pixels": composed,
        "the same sheets with a scan's grain": [_with_grain(sheet, generator) for sheet in composed],
    }
    _store(output, "storage", {name: measure_storage(found) for name, found in kinds.items()})


@app.command()
def document(
    measurements: Annotated[Path, typer.Argument()] = MEASUREMENTS,
    *,
    rebuilt: Annotated[Path, typer.Option()] = REBUILD,
    page: Annotated[Path, typer.Option()] = DOCUMENT,
) -> None:
    """Write the figures between the marks <!-- name --> and <!-- /name --> of the page."""
    figures = json.loads(measurements.read_text())
    if rebuilt.exists():
        figures["rebuild"] = json.loads(rebuilt.read_text())
    text = page.read_text()
    for name, lines in tables(figures).items():
        text, number = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match, lines=lines: match[1] + lines + match[2],
            text,
            flags=re.DOTALL,
        )
        if number != 1:
            raise typer.BadParameter(f"{page} needs the marks <!-- {name} --> and <!-- /{name} --> once")
    page.write_text(text)


def _store(path: Path, name: str, result: dict[str, Any]) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {name: result}, indent=1) + "\n")
    typer.echo(json.dumps(result, indent=1))


def painted(folder: Path, number: int, categories: Sequence[str] = PAINTED) -> list[bytes]:
    """Evenly chosen pictures (their bytes) of some categories."""
    paths = [path for _, shards in sorted(find_shards(folder).items()) for path in shards]
    tables = [pq.read_table(path, columns=["category", "image"]) for path in paths]
    found = [
        image["bytes"]
        for table in tables
        for category, image in zip(table["category"].to_pylist(), table["image"].to_pylist(), strict=True)
        if (category or "").split(":")[0] in categories
    ]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(number, len(found))).astype(int))
    return [found[index] for index in chosen]


def sheets(folder: Path, number: int, *, categories: Sequence[str] | None = None) -> Iterator[Image.Image]:
    """Pictures of 512 pixels: four of 256 pixels and alike in shape side by side, none enlarged, no margin between."""
    if categories:
        records = painted(folder, 4 * number, categories)
    else:
        records = [data for data, _ in sample_records(folder, 4 * number)]
    pictures = [decode(open_header(data, max_pixels=10**8), side=SIZE // 2) for data in records]
    pictures.sort(key=lambda picture: picture.width / picture.height)
    for start in range(0, len(pictures) - 3, 4):
        group = pictures[start : start + 4]
        width, height = (min(picture.size[axis] for picture in group) for axis in (0, 1))
        sheet = Image.new("RGB", (2 * width, 2 * height))
        for corner, picture in enumerate(group):
            left, top = (picture.width - width) // 2, (picture.height - height) // 2
            part = picture.crop((left, top, left + width, top + height))
            sheet.paste(part, (corner % 2 * width, corner // 2 * height))
        yield sheet


def photographed(sheet: Image.Image) -> bytes:
    """A JPEG of twice the size, as pictures come from the web."""
    buffer = io.BytesIO()
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _with_grain(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    noise = generator.normal(0, GRAIN, pixels.shape[:2])[..., None]
    return Image.fromarray(np.clip(pixels + noise, 0, 255).round().astype(np.uint8))


def time_stages(inputs: list[bytes]) -> dict[str, float]:
    """Median CPU milliseconds a picture, stage by stage."""
    spent: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = function()
        spent.setdefault(name, []).append(1000 * (time.process_time() - start))
        return result

    settings, histogram = RecordSettings(size=SIZE), ColorHistogram()
    for data in inputs:
        picture = timed("decode and resize", lambda data=data: decode(open_header(data, max_pixels=10**8), side=SIZE))
        rgb = np.asarray(picture)
        timed("screen", lambda rgb=rgb: (screen(rgb), photograph_score(rgb)))
        timed("hash", lambda picture=picture: (perceptual_hash(picture), fingerprint(picture)))
        stored = timed("encode", lambda picture=picture: encode(picture, codec="avif", quality=CODECS["avif"]))
        timed("whole record", lambda data=data: make_record(data, settings))
        timed("colour histogram (second step)", lambda stored=stored: histogram.add(stored))
    return {name: round(statistics.median(values), 2) for name, values in spent.items()}


def measure_storage(pictures: list[Image.Image]) -> dict[str, Any]:
    """Kilobytes a picture and a megapixel, and PSNR in dB against the picture itself, of both codecs."""
    result: dict[str, Any] = {
        "pictures": len(pictures),
        "longest_side": round(statistics.median(max(picture.size) for picture in pictures)),
    }
    megapixels = sum(picture.width * picture.height for picture in pictures) / 1e6
    for codec, quality in CODECS.items():
        sizes, losses = [], []
        for picture in pictures:
            stored = encode(picture, codec=codec, quality=quality)
            again = decode(open_header(stored, max_pixels=10**8), side=max(picture.size))
            sizes.append(len(stored) / 1000)
            losses.append(psnr(np.asarray(again), np.asarray(picture)))
        result[codec] = {
            "quality": quality,
            "kilobytes": round(statistics.mean(sizes), 2),
            "kilobytes_p95": round(float(np.percentile(sizes, 95)), 2),
            "kilobytes_a_megapixel": round(sum(sizes) / megapixels, 1),
            "psnr": round(statistics.median(losses), 2),
            "psnr_p5": round(float(np.percentile(losses, 5)), 2),
        }
    return result


def time_scaling(inputs: list[bytes]) -> dict[str, Any]:
    """Pictures a second of the first step with one and with two workers, start of the workers included."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "pictures"
        place.mkdir()
        for index, data in enumerate(inputs):
            (place / f"{index:05d}.jpg").write_bytes(data)
        units = plan_units(Source("benchmark", str(place)), pairing=Pairing(), unit_size=8)
        rates = {}
        for workers in (1, 2):
            work = partial(
                write_draft, settings=DraftSettings(RecordSettings(size=SIZE)), work=Path(folder) / str(workers)
            )
            start = time.perf_counter()
            receipts = list(run_tasks(work, units, EngineSettings("pool", workers=workers)))
            rates[str(workers)] = round(sum(receipt.inputs for receipt in receipts) / (time.perf_counter() - start), 3)
    return {"pictures_per_second": rates, "speedup": round(rates["2"] / rates["1"], 3)}


def time_twins(folder: Path) -> dict[str, dict[str, float]]:
    """Microseconds a picture of the search for twins, for growing corpora made of mixed fingerprints."""
    pictures = [decode(open_header(data, max_pixels=10**8), side=64) for data, _ in sample_records(folder, 2000)]
    looks = np.stack([np.frombuffer(fingerprint(picture), np.uint8) for picture in pictures]).astype(np.float32)
    generator = np.random.default_rng(0)
    result = {}
    for number in (10_000, 40_000, 160_000):
        first, second = generator.integers(0, len(looks), (2, number))
        share = generator.uniform(0.5, 1, (number, 1)).astype(np.float32)
        mixed = (share * looks[first] + (1 - share) * looks[second]).astype(np.uint8)
        start = time.process_time()
        found = sum(len(pairs) for pairs in find_twins(mixed))
        microseconds = 1e6 * (time.process_time() - start) / number
        result[str(number)] = {"microseconds": round(microseconds, 1), "pairs": found}
    return result


def tables(figures: dict[str, Any]) -> dict[str, str]:
    """The Markdown of each marked place whose figures are there."""
    parts: dict[str, list[str]] = {}
    if "speed" in figures:
        parts["speed"] = _speed(figures["speed"])
    if "storage" in figures:
        parts["storage"] = _storage(figures["storage"])
    if "speed" in figures and "storage" in figures:
        parts["examples"] = _examples(figures["speed"], figures["storage"])
    if "rebuild" in figures:
        parts["rebuild"] = _rebuild(figures["rebuild"])
    return {name: "\n".join([*lines, ""]) for name, lines in parts.items()}


def _speed(figures: dict[str, Any]) -> list[str]:
    machine, rates = figures["machine"], figures["scaling"]["pictures_per_second"]
    stages = dict(figures["stages"])
    whole = stages.pop("whole record")
    return [
        f"Measured on {machine['processor']}, {machine['cores']} cores (load {machine['load_before']} before), with",
        f"{figures['pictures']} JPEGs of 1024 pixels, stored at {SIZE}.",
        "",
        "| stage | CPU ms a picture | share of a record |",
        "|---|---:|---:|",
        *(f"| {name} | {value:.1f} | {value / whole:.0%} |" for name, value in stages.items()),
        f"| **a whole record** | **{whole:.1f}** | |",
        "",
        f"One worker makes {rates['1']:.2f} pictures a second, two make {rates['2']:.2f}:"
        f" {figures['scaling']['speedup']:.2f} times as many (starting the workers included).",
    ]


def _storage(kinds: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "| pictures | codec | KB a picture | 95 % below | KB a megapixel | PSNR, median | 95 % above |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for kind, figures in kinds.items():
        for codec in CODECS:
            row = figures[codec]
            cells = (
                f"{figures['pictures']} {kind}",
                f"{codec.upper()}, quality {row['quality']}",
                f"{row['kilobytes']:.1f}",
                f"{row['kilobytes_p95']:.1f}",
                f"{row['kilobytes_a_megapixel']:.0f}",
                f"{row['psnr']:.1f} dB",
                f"{row['psnr_p5']:.1f} dB",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _examples(speed: dict[str, Any], storage: dict[str, Any]) -> list[str]:
    """Hours and bytes of large corpora, from what one core does here and how two of them get on together."""
    size = max(kind["avif"]["kilobytes"] for kind in storage.values()) * 1000
    rate, efficiency = speed["scaling"]["pictures_per_second"]["1"], speed["scaling"]["speedup"] / 2
    second_step = 1000 / speed["stages"]["colour histogram (second step)"]
    (small, low), (large, high) = [(int(number), row["microseconds"]) for number, row in speed["twins"].items()][-2:]
    growth = max(float(np.log(high / low) / np.log(large / small)), 0)
    lines = [
        "| pictures | machines | records | pass over all (1 core) | shards | stored | poster's pairs | disk needed |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for number, nodes, cores in EXAMPLES:
        workers = nodes * cores * efficiency
        cells = (
            f"{number / 1e6:g} M",
            f"{nodes} x {cores} cores",
            _duration(number / (rate * workers)),
            _duration(number * high * (number / large) ** growth / 1e6),
            _duration(number / (second_step * workers)),
            _bytes(number * size),
            _bytes(number * POSTER_BYTES_PER_PAIR),
            _bytes(number * 2 * (size + DRAFT_BYTES)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"Stored bytes are those of the largest kind above, {size / 1000:.1f} KB a picture."]


def _rebuild(figures: dict[str, Any]) -> list[str]:
    own, lost = figures["twins_among_the_originals"], figures["lost"]
    lines = [
        f"{figures['pictures']:,} pictures of the reference corpus were written out as files, and",
        f"{figures['planted']:,} reworked copies of some of them put beside. Building gave {figures['records']:,}",
        f"records. {len(lost)} originals were rejected by a rule; {len(own)} are twins of other originals.",
        "",
        "| copy | planted | found | of these, would have been in the other split |",
        "|---|---:|---:|---:|",
    ]
    for ways, note in ((figures["twins"], ""), (figures["not_promised"], " (not promised)")):
        for way, row in ways.items():
            cells = (way + note, row["planted"], row["found"], row["found_across_splits"])
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds > 5400 else f"{seconds / 60:,.0f} min"


def _bytes(size: float) -> str:
    return f"{size / 1e12:,.1f} TB" if size >= 1e12 else f"{size / 1e9:,.0f} GB"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    app()
