"""Benchmark of building a corpus, and the figures of docs/CORPUS.md that follow from it.

    python scripts/benchmark_corpus.py measure ../shared/corpus     # 5 minutes; writes docs/corpus_measurements.json
    python scripts/benchmark_corpus.py document                     # writes the figures into docs/CORPUS.md

Run `measure` on an idle machine. The source is any corpus folder; pictures are put together four by four, so that small
ones too make 512-pixel pictures, with four times the detail that one enlarged picture would have.
"""

import io
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from sketch_colorizer.training.corpus_drafts import DraftSettings, write_draft
from sketch_colorizer.training.corpus_engines import EngineSettings, run_tasks
from sketch_colorizer.training.corpus_fingerprints import find_twins, fingerprint, perceptual_hash
from sketch_colorizer.training.corpus_inspect import sample_records
from sketch_colorizer.training.corpus_metadata import Pairing
from sketch_colorizer.training.corpus_pictures import CODECS, decode, encode, open_header, psnr
from sketch_colorizer.training.corpus_records import RecordSettings, make_record
from sketch_colorizer.training.corpus_release import ColorHistogram
from sketch_colorizer.training.corpus_screening import photograph_score, screen
from sketch_colorizer.training.corpus_sources import Source
from sketch_colorizer.training.corpus_units import plan_units

ROOT = Path(__file__).parents[1]
MEASUREMENTS, DOCUMENT = ROOT / "docs" / "corpus_measurements.json", ROOT / "docs" / "CORPUS.md"
SIZE = 512
POSTER_BYTES_PER_PAIR = 300e9 / 600_000
DRAFT_BYTES = 1000  # of a record beside its picture: hashes, fingerprint, names
EXAMPLES = (  # pictures, nodes, cores of a node
    (600_000, 1, 2),
    (600_000, 1, 32),
    (100_000_000, 20, 64),
    (100_000_000, 100, 64),
)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def measure(
    source: Annotated[Path, typer.Argument(help="A corpus folder.")],
    *,
    pictures: Annotated[int, typer.Option(help="For the scaling; a tenth of them for the stages.")] = 240,
    output: Annotated[Path, typer.Option("--output", "-o")] = MEASUREMENTS,
) -> None:
    """Time the stages, the scaling and the pass over all pictures; measure sizes and losses."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    inputs = list(mosaics(source, pictures))
    result = {
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "pictures": len(inputs),
        "stages": time_stages(inputs[: max(4, pictures // 10)]),
        "storage": measure_storage(inputs[: max(4, pictures // 4)]),
        "scaling": time_scaling(inputs),
        "twins": time_twins(source),
    }
    output.write_text(json.dumps(result, indent=1) + "\n")
    typer.echo(json.dumps(result, indent=1))


@app.command()
def document(
    measurements: Annotated[Path, typer.Argument()] = MEASUREMENTS,
    *,
    page: Annotated[Path, typer.Option()] = DOCUMENT,
) -> None:
    """Write the figures between the marks <!-- name --> and <!-- /name --> of the page."""
    figures = json.loads(measurements.read_text())
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


def mosaics(folder: Path, number: int) -> Iterator[bytes]:
    """JPEG files of 1024 pixels, as they come from the web: four pictures side by side, enlarged twice."""
    records = [picture for picture, _ in sample_records(folder, 4 * number)]
    for start in range(0, 4 * number, 4):
        sheet = Image.new("RGB", (SIZE, SIZE), "white")
        for corner in range(4):
            picture = decode(open_header(records[(start + corner) % len(records)], max_pixels=10**8), side=SIZE // 2)
            sheet.paste(picture, (corner % 2 * SIZE // 2, corner // 2 * SIZE // 2))
        buffer = io.BytesIO()
        sheet.resize((2 * SIZE, 2 * SIZE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
        yield buffer.getvalue()


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


def measure_storage(inputs: list[bytes]) -> dict[str, dict[str, float]]:
    """Kilobytes a picture and PSNR in dB of both codecs."""
    result = {}
    for codec, quality in CODECS.items():
        sizes, losses = [], []
        for data in inputs:
            picture = decode(open_header(data, max_pixels=10**8), side=SIZE)
            stored = encode(picture, codec=codec, quality=quality)
            again = decode(open_header(stored, max_pixels=10**8), side=SIZE)
            sizes.append(len(stored) / 1000)
            losses.append(psnr(np.asarray(again), np.asarray(picture)))
        result[codec] = {
            "quality": quality,
            "kilobytes": round(statistics.mean(sizes), 2),
            "kilobytes_p95": round(float(np.percentile(sizes, 95)), 2),
            "psnr": round(statistics.median(losses), 2),
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
    """The Markdown of each marked place."""
    parts = {"speed": _speed(figures), "storage": _storage(figures["storage"]), "examples": _examples(figures)}
    return {name: "\n".join([*lines, ""]) for name, lines in parts.items()}


def _speed(figures: dict[str, Any]) -> list[str]:
    machine, rates = figures["machine"], figures["scaling"]["pictures_per_second"]
    stages = dict(figures["stages"])
    whole = stages.pop("whole record")
    return [
        f"Measured on {machine['processor']}, {machine['cores']} cores (load {machine['load_before']} before), with",
        f"{figures['pictures']} pictures of 1024 pixels, stored at {SIZE}.",
        "",
        "| stage | CPU ms a picture | share of a record |",
        "|---|---:|---:|",
        *(f"| {name} | {value:.1f} | {value / whole:.0%} |" for name, value in stages.items()),
        f"| **a whole record** | **{whole:.1f}** | |",
        "",
        f"One worker makes {rates['1']:.2f} pictures a second, two make {rates['2']:.2f}:"
        f" {figures['scaling']['speedup']:.2f} times as many.",
    ]


def _storage(codecs: dict[str, dict[str, float]]) -> list[str]:
    lines = ["| codec | KB a picture | 95 % below | PSNR (median) |", "|---|---:|---:|---:|"]
    for codec, row in codecs.items():
        name = f"{codec.upper()} at quality {row['quality']}"
        lines.append(f"| {name} | {row['kilobytes']:.1f} | {row['kilobytes_p95']:.1f} | {row['psnr']:.1f} dB |")
    return lines


def _examples(figures: dict[str, Any]) -> list[str]:
    """Hours and bytes of large corpora, from what one core does here and how two of them get on together."""
    size, rate = figures["storage"]["avif"]["kilobytes"] * 1000, figures["scaling"]["pictures_per_second"]["1"]
    efficiency = figures["scaling"]["speedup"] / 2
    second_step = 1000 / figures["stages"]["colour histogram (second step)"]
    (small, low), (large, high) = [(int(number), row["microseconds"]) for number, row in figures["twins"].items()][-2:]
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
