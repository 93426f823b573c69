"""Proof of the corpus builder on real pictures: a corpus written out as files, twins planted, built anew, compared.

    python scripts/rebuild_corpus.py ../shared/corpus --output docs/corpus_rebuild.json

The figures are in docs/CORPUS.md. With --pictures 200 it takes seconds; interrupted, it goes on in the same --work.
"""

import io
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer
from PIL import Image, ImageOps

from sketch_colorizer.training.corpus_decisions import SplitSettings
from sketch_colorizer.training.corpus_inspect import find_shards

COLUMNS = ("image", "line_art", "source", "category", "license", "author", "path")
TWINS = ("duplicate", "near_duplicate")
MIN_SIDE = 192  # what `corpus build` takes at least


def _saved(format_: str, suffix: str, **options: Any) -> Callable[[Image.Image], tuple[bytes, str]]:
    def save(picture: Image.Image) -> tuple[bytes, str]:
        return _bytes(picture, format_, **options), suffix

    return save


def _resized(factor: float) -> Callable[[Image.Image], tuple[bytes, str]]:
    def save(picture: Image.Image) -> tuple[bytes, str]:
        size = tuple(max(1, round(length * factor)) for length in picture.size)
        return _bytes(picture.resize(size, Image.Resampling.BICUBIC), "PNG"), "png"

    return save


def _brighter(picture: Image.Image) -> tuple[bytes, str]:
    return _bytes(picture.point(lambda value: min(255, int(value * 0.98 + 5))), "PNG"), "png"


def _turned(picture: Image.Image) -> tuple[bytes, str]:
    """Stored on its side, with the note that a camera or scanner would leave."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _bytes(picture.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif), "png"


def _transparent(picture: Image.Image) -> tuple[bytes, str]:
    """White paper made transparent, as exports of drawing programs are."""
    pixels = np.asarray(picture.convert("RGBA")).copy()
    pixels[(pixels[..., :3] == 255).all(-1), 3] = 0
    return _bytes(Image.fromarray(pixels), "PNG"), "png"


def _cropped(picture: Image.Image) -> tuple[bytes, str]:
    return _bytes(ImageOps.crop(picture, 2), "PNG"), "png"


def _bytes(picture: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


WAYS: dict[str, Callable[[Image.Image], tuple[bytes, str]]] = {
    "the same bytes": _saved("PNG", "png", compress_level=1),
    "another PNG": _saved("PNG", "png", compress_level=9, optimize=True),
    "JPEG, quality 60": _saved("JPEG", "jpg", quality=60),
    "WebP, quality 50": _saved("WEBP", "webp", quality=50),
    "AVIF 4:2:0, quality 50": _saved("AVIF", "avif", quality=50, subsampling="4:2:0", speed=8),
    "GIF, 256 colours": lambda picture: (_bytes(picture.quantize(256), "GIF"), "gif"),
    "four fifths of the size": _resized(0.8),
    "twice the size": _resized(2.0),
    "a little brighter": _brighter,
    "turned by its metadata": _turned,
    "transparent paper": _transparent,
}
UNSEEN: dict[str, Callable[[Image.Image], tuple[bytes, str]]] = {  # planted and counted, but not promised
    "2 pixels cut off all around": _cropped,
    "mirrored": lambda picture: (_bytes(ImageOps.mirror(picture), "PNG"), "png"),
}


def main(
    source: Annotated[Path, typer.Argument(help="A corpus folder.")],
    *,
    pictures: Annotated[int | None, typer.Option(help="So many, evenly chosen.", show_default="all")] = None,
    twins: Annotated[int, typer.Option(help="One in so many gets a twin.")] = 10,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the figures here (JSON).")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Keep files and corpus here.", show_default="a temporary one")
    ] = None,
    options: Annotated[str, typer.Option(help="More options of `corpus build`.")] = "",
) -> None:
    """Write out, plant, build, compare. Exit status 1 where a picture is lost or a promised twin stays."""
    with TemporaryDirectory(prefix="sketch-colorizer-") as scratch:
        folder = work or Path(scratch)
        figures = rebuild(source, folder, pictures=pictures, one_in=twins, options=options.split())
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    typer.echo(text)
    if output:
        output.write_text(text)
    if figures["lost"] or any(row["found"] < row["planted"] for row in figures["twins"].values()):
        raise typer.Exit(1)


def rebuild(source: Path, folder: Path, *, pictures: int | None, one_in: int, options: list[str]) -> dict[str, Any]:
    """Do all of it in a folder; returns the figures."""
    place = folder / "files"
    if not (folder / "planted.json").exists():
        planted = write_files(source, place, pictures=pictures, one_in=one_in)
        (folder / "planted.json").write_text(json.dumps(planted))
    planted = json.loads((folder / "planted.json").read_text())
    command = [sys.executable, "-m", "sketch_colorizer.training.corpus_cli", "build", f"files={place}"]
    start = time.monotonic()
    subprocess.run([*command, "-o", folder / "corpus", "--pairs", "originals/*.png=lines/*.png", *options], check=True)
    minutes = round((time.monotonic() - start) / 60, 1)
    return compare(folder / "corpus", planted) | {"minutes": minutes}


def write_files(source: Path, place: Path, *, pictures: int | None, one_in: int) -> dict[str, list[str]]:
    """A picture a file, with its line art and a metadata table; returns for each planted twin [way, original]."""
    ways = {**WAYS, **UNSEEN}
    planted, rows = {}, []
    for name in ("originals", "lines", "twins"):
        (place / name).mkdir(parents=True, exist_ok=True)
    for index, row in enumerate(_rows(source, pictures)):
        name = f"{index:05d}.png"
        with Image.open(io.BytesIO(row["image"]["bytes"])) as stored:
            picture = stored.convert("RGB")
        (place / "originals" / name).write_bytes(_bytes(picture, "PNG", compress_level=1))
        if row["line_art"]:
            with Image.open(io.BytesIO(row["line_art"]["bytes"])) as stored:
                (place / "lines" / name).write_bytes(_bytes(stored.convert("L"), "PNG", compress_level=1))
        known = {key: row[key] for key in COLUMNS[2:6] if row[key]}
        rows.append({"file_name": f"originals/{name}", **known})
        if index % one_in == 0:
            way = list(ways)[index // one_in % len(ways)]
            if way == "four fifths of the size" and max(picture.size) * 0.8 < MIN_SIDE:
                way = "JPEG, quality 60"
            data, suffix = ways[way](picture)
            twin = f"twins/{index:05d}.{suffix}"
            (place / twin).write_bytes(data)
            planted[twin] = [way, f"originals/{name}"]
    (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return planted


def _rows(source: Path, number: int | None) -> Iterator[dict[str, Any]]:
    paths = [path for _, shards in sorted(find_shards(source).items()) for path in shards]
    total = sum(pq.read_metadata(path).num_rows for path in paths)
    wanted = set(np.linspace(0, total - 1, min(number or total, total)).astype(int).tolist())
    position = 0
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(64, columns=list(COLUMNS)):
            if wanted & set(range(position, position + len(batch))):
                rows = batch.to_pylist()
                yield from (row for at, row in enumerate(rows, start=position) if at in wanted)
            position += len(batch)


def compare(corpus: Path, planted: dict[str, list[str]]) -> dict[str, Any]:
    """What became of originals and twins. A twin is found where at most one of the two is in the corpus."""
    rows = {row["path"]: row for row in pq.read_table(corpus / "manifest.parquet").to_pylist()}
    originals = [row for path, row in rows.items() if path.startswith("originals/")]
    kept = {path for path, row in rows.items() if row["shard"]}
    family = {path: original for path, (_, original) in planted.items()}
    splits = SplitSettings()
    ways: dict[str, Counter] = {}
    for path, (way, original) in planted.items():
        sides = {splits.holds_out(rows[name]["sha256"], "files") for name in (path, original)}
        found = not {path, original} <= kept
        ways.setdefault(way, Counter()).update(planted=1, found=int(found), across_splits=int(len(sides) == 2))
        ways[way]["found_across_splits"] += int(found and len(sides) == 2)
    own = [row for row in originals if row["outcome"] in TWINS and not _is_planted(row, family)]
    return {
        "pictures": len(originals),
        "planted": len(planted),
        "inputs": len(rows),
        "records": len(kept),
        "lost": {row["path"]: row["outcome"] for row in originals if not row["shard"] and row["outcome"] not in TWINS},
        "twins_among_the_originals": {row["path"]: row["twin_of"] for row in own},
        "pairs": dict(Counter((row["pair"] or "").split(":")[0] for row in originals if row["pair"]).most_common()),
        "twins": {way: dict(ways[way]) for way in WAYS if way in ways},
        "not_promised": {way: dict(ways[way]) for way in UNSEEN if way in ways},
        "stored_bytes": sum(row["stored_bytes"] for row in rows.values() if row["shard"]),
    }


def _is_planted(row: dict[str, Any], family: dict[str, str]) -> bool:
    """Whether an original was dropped for its own planted twin, which then stands for it."""
    return family.get(row["twin_of"].removeprefix("files/")) == row["path"]


if __name__ == "__main__":
    typer.run(main)
