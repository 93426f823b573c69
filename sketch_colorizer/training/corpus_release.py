"""The finished corpus: Parquet shards in the layout of `datasets`, written beside the old ones, then put in place."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file, save

from .corpus_atomic import is_disk_full, replacing, replacing_table
from .corpus_decisions import SPLITS, Candidates, Decisions

BUILD_FILE, MANIFEST_FILE, HISTOGRAM_FILE = "build.json", "manifest.parquet", "color_histogram.safetensors"
COLUMNS = (
    *("image", "line_art", "source", "category", "license", "author", "path"),
    *("sha256", "phash", "width", "height"),
)
LEVELS = 32  # cells of the colour histogram per channel of sRGB
_COMPLETE, _NEW = "COMPLETE", ".new"
_ROWS = 100  # in a row group: what a streaming reader fetches at once
_PICTURES = ("image", "line_art")
_NUMBERS = ("width", "height")


def record_schema() -> pa.Schema:
    """The columns of a corpus, with what tells `datasets` that two of them are pictures."""
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = (
        dict.fromkeys(COLUMNS, pa.string()) | dict.fromkeys(_PICTURES, picture) | dict.fromkeys(_NUMBERS, pa.int32())
    )
    features: dict[str, Any] = {name: {"dtype": "string", "_type": "Value"} for name in COLUMNS}
    features |= {name: {"_type": "Image"} for name in _PICTURES}
    features |= {name: {"dtype": "int32", "_type": "Value"} for name in _NUMBERS}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(types.items()), metadata=metadata)


class Shard(NamedTuple):
    """A file of the finished corpus: which rows of which drafts it holds, in order."""

    name: str
    split: str
    parts: tuple[tuple[Path, np.ndarray], ...]


class ShardReceipt(NamedTuple):
    """What a worker reports of a shard."""

    name: str
    rows: int = 0
    size: int = 0
    error: str | None = None
    disk_full: bool = False


class Place(NamedTuple):
    """Where a candidate ended: the shard and the row in it."""

    shard: np.ndarray  # (N,) index into the shards, -1 for what was dropped
    row: np.ndarray


def plan_shards(
    candidates: Candidates, decisions: Decisions, drafts: Sequence[Path], order: np.ndarray, *, shard_bytes: int
) -> tuple[list[Shard], Place]:
    """Cut each split into shards of about equal bytes; `order` (D,) is the position of each draft in the corpus."""
    place = Place(np.full(len(candidates), -1, np.int32), np.zeros(len(candidates), np.int32))
    shards: list[Shard] = []
    for code, split in enumerate(SPLITS):
        members = np.flatnonzero(decisions.outcome == code)
        members = members[np.lexsort((candidates.row[members], order[candidates.draft[members]]))]
        sizes = candidates.stored_bytes[members]
        total = max(int(sizes.sum()), 1)
        number = -(-total // shard_bytes)
        index = (np.cumsum(sizes) - sizes) * number // total
        cuts = [rows for rows in np.split(members, np.flatnonzero(np.diff(index)) + 1) if len(rows)]
        for position, rows in enumerate(cuts):
            place.shard[rows], place.row[rows] = len(shards), np.arange(len(rows))
            name = f"data/{split}-{position:05d}-of-{len(cuts):05d}.parquet"
            shards.append(Shard(name, split, tuple(_parts(candidates, rows, drafts))))
    return shards, place


def _parts(candidates: Candidates, rows: np.ndarray, drafts: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    draft = candidates.draft[rows]
    for part in np.split(rows, np.flatnonzero(np.diff(draft)) + 1):
        yield drafts[candidates.draft[part[0]]], candidates.row[part]


def write_shard(shard: Shard, release: Path) -> ShardReceipt:
    """Write a shard, and the colour histogram of one that is trained on. What goes wrong is in the receipt."""
    path = staged(release, shard.name)
    try:
        if not path.exists():
            histogram = ColorHistogram() if shard.split == "train" else None
            options = {"write_page_index": True, "use_content_defined_chunking": True}
            with replacing_table(path, record_schema(), **options) as writer:
                for table in _tables(shard.parts):
                    for picture in table["image"].to_pylist() if histogram else ():
                        histogram.add(picture["bytes"])
                    writer.write_table(table)
                if histogram:  # inside: there is no shard without its histogram
                    histogram.write(_histogram_path(release, shard))
        return ShardReceipt(shard.name, pq.read_metadata(path).num_rows, path.stat().st_size)
    except Exception as error:  # a shard that fails must not take the others with it
        reason = " ".join(str(error).split())[:300]
        return ShardReceipt(shard.name, error=f"{type(error).__name__}: {reason}", disk_full=is_disk_full(error))


def _tables(parts: Sequence[tuple[Path, np.ndarray]]) -> Iterator[pa.Table]:
    """The rows of a shard, a row group at a time."""
    schema, waiting = record_schema(), []
    for record in _records(parts):
        waiting.append(record)
        if len(waiting) == _ROWS:
            yield pa.Table.from_pylist(waiting, schema)
            waiting = []
    if waiting:
        yield pa.Table.from_pylist(waiting, schema)


def _records(parts: Sequence[tuple[Path, np.ndarray]]) -> Iterator[dict[str, Any]]:
    for path, rows in parts:
        with pq.ParquetFile(path) as draft:
            start = 0
            for group in range(draft.num_row_groups):
                stop = start + draft.metadata.row_group(group).num_rows
                wanted = rows[(rows >= start) & (rows < stop)]
                if len(wanted):
                    table = draft.read_row_group(group, columns=list(COLUMNS))
                    for record in table.take(wanted - start).to_pylist():
                        pictures = {name: record[name] and {"bytes": record[name], "path": None} for name in _PICTURES}
                        yield record | pictures
                start = stop


class ColorHistogram:
    """Joint sRGB histogram of stored pictures: how many pixels each of 32^3 cells holds, and the sum of their colours.

    Cell (r * 32 + g) * 32 + b, with levels of 8. Histograms add up. `ColorQuantizer.fit` takes counts and sums.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(LEVELS**3, np.int64)
        self.sums = np.zeros((LEVELS**3, 3), np.int64)

    def add(self, data: bytes) -> None:
        """Count all pixels of an encoded picture."""
        with Image.open(io.BytesIO(data)) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        level = pixels.astype(np.int32) * LEVELS >> 8
        cell = (level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2]
        self.counts += np.bincount(cell, minlength=LEVELS**3)
        for channel in range(3):
            sums = np.bincount(cell, weights=pixels[:, channel], minlength=LEVELS**3)
            self.sums[:, channel] += sums.astype(np.int64)

    def write(self, path: Path) -> None:
        with replacing(path) as file:
            file.write(save({"counts": self.counts, "sums": self.sums}))

    @classmethod
    def read(cls, path: Path) -> "ColorHistogram":
        histogram, content = cls(), load_file(path)
        histogram.counts, histogram.sums = content["counts"], content["sums"]
        return histogram

    def __iadd__(self, other: "ColorHistogram") -> "ColorHistogram":
        self.counts += other.counts
        self.sums += other.sums
        return self


def read_color_histogram(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Counts (32768,) and summed sRGB 0..255 (32768, 3) of all training pixels. FileNotFoundError without them."""
    histogram = ColorHistogram.read(Path(folder) / HISTOGRAM_FILE)
    return histogram.counts, histogram.sums


def merge_histograms(shards: Sequence[Shard], release: Path) -> ColorHistogram:
    """The histogram of the training split, from those of its shards."""
    total = ColorHistogram()
    for shard in shards:
        if shard.split == "train":
            total += ColorHistogram.read(_histogram_path(release, shard))
    return total


def _histogram_path(release: Path, shard: Shard) -> Path:
    return release / "histograms" / f"{Path(shard.name).stem}.safetensors"


def staged(release: Path, name: str) -> Path:
    """Where a file of the corpus waits; under another name, so that nobody takes it for a part of the old corpus."""
    return release / f"{name}{_NEW}"


def is_complete(release: Path) -> bool:
    return (release / _COMPLETE).exists()


def complete(release: Path) -> None:
    """Say that all of a release is written, so that nothing remains but to put it in place."""
    names = sorted(str(path.relative_to(release)).removesuffix(_NEW) for path in release.rglob(f"*{_NEW}"))
    with replacing(release / _COMPLETE) as file:
        file.write("\n".join(names).encode())


def put_in_place(release: Path, folder: Path) -> None:
    """Move a complete release into the corpus by renaming; killed in between, it can be called again."""
    names = (release / _COMPLETE).read_text().split("\n")
    if staged(release, BUILD_FILE).exists():
        (folder / BUILD_FILE).unlink(missing_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    for name in [name for name in names if name != BUILD_FILE]:
        if staged(release, name).exists():
            staged(release, name).replace(folder / name)
    for stale in (folder / "data").glob("*.parquet"):
        if f"data/{stale.name}" not in names:
            stale.unlink()
    if staged(release, BUILD_FILE).exists():
        staged(release, BUILD_FILE).replace(folder / BUILD_FILE)
