"""A heap of made-up pictures for the tests of the corpus: small, colourful, all different, and some that are broken."""

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from sketch_colorizer.training.corpus import CorpusSettings
from sketch_colorizer.training.corpus_decisions import SplitSettings
from sketch_colorizer.training.corpus_drafts import DraftSettings
from sketch_colorizer.training.corpus_records import RecordSettings

SMALL = RecordSettings(size=64, codec="webp", min_size=48)


def settings(**changes: Any) -> CorpusSettings:
    """Settings that are quick, with many units and shards even for a few pictures."""
    splits = SplitSettings(validation_share=0.3)
    return CorpusSettings(
        **({"drafts": DraftSettings(SMALL), "splits": splits, "unit_size": 4, "shard_bytes": 4000} | changes)
    )


def paint(seed: int, width: int = 80, height: int = 64, *, supersample: int = 1) -> Image.Image:
    """A coloured picture with dark outlines."""
    picture, _ = paint_pair(seed, width, height, supersample=supersample)
    return picture


def paint_pair(
    seed: int, width: int = 80, height: int = 64, *, supersample: int = 1
) -> tuple[Image.Image, Image.Image]:
    """A coloured picture and its line drawing."""
    generator = np.random.default_rng(seed)
    size = (width * supersample, height * supersample)
    color, lines = Image.new("RGB", size, "white"), Image.new("L", size, 255)
    for _ in range(5):
        x, y = generator.uniform(0, 0.6, 2)
        w, h = generator.uniform(0.25, 0.5, 2)
        box = (x * size[0], y * size[1], (x + w) * size[0], (y + h) * size[1])
        fill = tuple(int(value) for value in generator.integers(0, 256, 3))
        ImageDraw.Draw(color).ellipse(box, fill=fill, outline=(10, 10, 10), width=2 * supersample)
        ImageDraw.Draw(lines).ellipse(box, fill=255, outline=0, width=2 * supersample)
    return color, lines


def encoded(picture: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """A PNG whose header announces far more pixels than there are bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def heap(folder: Path, number: int = 12) -> Path:
    """A folder with subfolders, pairs, twins and broken files; the same one each time, but for its times."""
    for seed in range(number):
        place = folder / ("one", "two/deep")[seed % 2] / f"{seed:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(paint(seed)))
    for seed in (100, 101):
        color, lines = paint_pair(seed)
        (folder / f"{seed}.png").write_bytes(encoded(color))
        (folder / f"{seed}_lines.png").write_bytes(encoded(lines))
    (folder / "again.png").write_bytes(encoded(paint(0)))
    (folder / "twin.jpg").write_bytes(encoded(paint(1).resize((60, 48), Image.Resampling.LANCZOS), "JPEG", quality=70))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes(encoded(paint(2))[:300])
    (folder / "bomb.png").write_bytes(bomb())
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Name and hash of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
