"""Units of work: pieces of a source of some hundred pictures each, planned in advance and read by whoever works."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from .corpus_archives import DAMAGE, Archive, BadArchiveError, is_plain, open_archive
from .corpus_metadata import FIELDS, Input, Pairing, gather_inputs, read_sidecar
from .corpus_sources import (
    MAX_FILE_BYTES,
    FileEntry,
    Source,
    SourceChangedError,
    is_remote,
    kind_of,
    list_source,
    local_copy,
    read_file,
)

_PARQUET_DAMAGE = (pa.ArrowException, OSError, ValueError, EOFError)
_READ_ROWS = 32
_MANY_ARCHIVES = 64  # from here on they are listed by those who read them


class Unit(NamedTuple):
    """A piece of a source: some files, some members of an archive, or some row groups of a Parquet file."""

    source: str
    kind: str  # "files", "archive", "parquet"
    location: str = ""  # of the archive or Parquet file
    stamp: str = ""
    prefix: str = ""  # what stands before the names of its pictures
    inputs: tuple[Input, ...] | None = None  # None: all that there are
    row_groups: tuple[int, int] | None = None
    pairing: Pairing = Pairing()

    @property
    def identity(self) -> str:
        """Names the unit by all that its pictures are made from, so that a changed source gives another unit."""
        parts = (*self[:5], self.inputs, self.row_groups)
        pairing = (
            (self.pairing.pattern and vars(self.pairing.pattern), self.pairing.rows) if self.inputs is None else ""
        )
        return hashlib.sha256(repr((parts, pairing)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Sample(NamedTuple):
    """A picture's bytes and all that came with it, or why there are none."""

    name: str
    data: bytes | None
    size: int
    reason: str | None = None
    detail: str = ""
    line_art: bytes | None = None
    line_art_problem: str | None = None
    metadata: dict[str, str] | None = None


def plan_units(source: Source, *, pairing: Pairing, unit_size: int) -> list[Unit]:
    """Cut a source into units. A picture more or less changes the unit that it is in and no other."""
    entries = list_source(source)
    loose = [entry for entry in entries if entry.kind in ("picture", "sidecar", "metadata")]
    inputs = gather_inputs(loose, pairing, lambda entry: read_file(str(entry.key), entry.stamp))
    units = []
    many = sum(entry.kind == "archive" for entry in entries) >= _MANY_ARCHIVES
    single = kind_of(source.location) in ("archive", "parquet") and len(entries) == 1  # the source is that file
    for entry in entries:
        if entry.kind not in ("archive", "parquet"):
            continue
        if entry.reason:
            inputs.append(_refused(entry, entry.reason, entry.detail))
            continue
        prefix = "" if single else f"{entry.name}/"
        if entry.kind == "archive" and many:
            units.append(Unit(source.name, entry.kind, str(entry.key), entry.stamp, prefix, pairing=pairing))
            continue
        try:
            units += _plan_container(source.name, entry, prefix, pairing, unit_size)
        except BadArchiveError as error:
            inputs.append(_refused(entry, "bad_archive", str(error)))
    units += [Unit(source.name, "files", inputs=chunk) for chunk in _chunks(inputs, unit_size)]
    return units


def _plan_container(source: str, entry: FileEntry, prefix: str, pairing: Pairing, unit_size: int) -> list[Unit]:
    whole = Unit(source, entry.kind, str(entry.key), entry.stamp, prefix, pairing=pairing)
    if is_remote(whole.location):
        return [whole]
    if entry.kind == "parquet":
        return [
            whole._replace(row_groups=span, pairing=Pairing()) for span in _row_group_spans(whole.location, unit_size)
        ]
    if not is_plain(whole.location):
        return [whole]
    with open_archive(whole.location) as archive:
        inputs = _inputs_of(archive, pairing)
    return [whole._replace(inputs=chunk, pairing=Pairing()) for chunk in _chunks(inputs, unit_size)]


def _inputs_of(archive: Archive, pairing: Pairing) -> list[Input]:
    try:
        return gather_inputs(archive.members, pairing, archive.read)
    except DAMAGE as error:
        raise BadArchiveError(str(error)) from None


def _refused(entry: FileEntry, reason: str, detail: str) -> Input:
    return Input(entry.name, entry.key, entry.size, entry.stamp, reason, detail)


def _row_group_spans(path: str, unit_size: int) -> list[tuple[int, int]]:
    try:
        metadata = pq.read_metadata(path)
    except _PARQUET_DAMAGE as error:
        raise BadArchiveError(" ".join(str(error).split())[:200]) from None
    spans, start, rows = [], 0, 0
    for index in range(metadata.num_row_groups):
        rows += metadata.row_group(index).num_rows
        if rows >= unit_size or index == metadata.num_row_groups - 1:
            spans.append((start, index + 1))
            start, rows = index + 1, 0
    return spans


def _chunks(inputs: Iterable[Input], size: int) -> Iterator[tuple[Input, ...]]:
    """Cut where a hash of the name says so, so that cuts stay where they are when inputs come or go elsewhere."""
    chunk: list[Input] = []
    for entry in inputs:
        chunk.append(entry)
        due = zlib.crc32(entry.name.encode()) % size == 0
        if (due and len(chunk) >= size / 4) or len(chunk) >= 2 * size:
            yield tuple(chunk)
            chunk = []
    if chunk:
        yield tuple(chunk)


def read_unit(unit: Unit) -> Iterator[Sample]:
    """The pictures of a unit in order. Raises SourceChangedError where an archive is not what it was when planned."""
    if unit.kind == "files":
        yield from _read_inputs(unit.inputs or (), lambda key, stamp: read_file(str(key), stamp))
        return
    with local_copy(unit.location, unit.stamp) as path:
        try:
            yield from _read_archive(unit, path) if unit.kind == "archive" else _read_parquet(unit, path)
        except BadArchiveError as error:
            yield Sample(unit.prefix.rstrip("/") or unit.source, None, 0, "bad_archive", str(error))


def _read_archive(unit: Unit, path: str) -> Iterator[Sample]:
    with open_archive(path) as archive:
        inputs = _inputs_of(archive, unit.pairing) if unit.inputs is None else unit.inputs
        members = {member.key: member for member in archive.members}
        for sample in _read_inputs(inputs, lambda key, stamp: archive.read(members[key])):
            yield sample._replace(name=unit.prefix + sample.name)


def _read_inputs(inputs: Iterable[Input], read: Callable[[str | int, str], bytes]) -> Iterator[Sample]:
    for entry in inputs:
        if entry.reason:
            yield Sample(entry.name, None, entry.size, entry.reason, entry.detail)
            continue
        data, reason, detail = _try_to_read(entry, read)
        if reason:
            yield Sample(entry.name, None, entry.size, reason, detail)
            continue
        line_art, problem = None, entry.line_art_problem
        if entry.line_art:
            line_art, *failure = _try_to_read(entry._replace(key=entry.line_art[0], stamp=entry.line_art[1]), read)
            problem = None if line_art is not None else ": ".join(failure)
        metadata = dict(entry.metadata)
        if entry.sidecar:
            sidecar, *_ = _try_to_read(entry._replace(key=entry.sidecar[0], stamp=entry.sidecar[1]), read)
            metadata = read_sidecar(sidecar or b"") | metadata
        yield Sample(entry.name, data, len(data), None, "", line_art, problem, metadata)


def _try_to_read(entry: Input, read: Callable[[str | int, str], bytes]) -> tuple[bytes | None, str, str]:
    """Bytes, or None with the reason and a detail. Trouble on a network is no property of a picture, and is raised."""
    try:
        data = read(entry.key, entry.stamp)
    except (FileNotFoundError, SourceChangedError) as error:
        return None, "changed", str(error)
    except PermissionError as error:
        return None, "not_allowed", str(error.strerror)
    except DAMAGE as error:
        if is_remote(str(entry.key)):
            raise
        return None, "damaged", " ".join(str(error).split())[:200]
    if len(data) > MAX_FILE_BYTES:
        return None, "too_many_bytes", f"more than {MAX_FILE_BYTES // 2**20} MB"
    return data, "", ""


def _read_parquet(unit: Unit, path: str) -> Iterator[Sample]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "image" not in names:
                raise BadArchiveError(f"no column named image; there are {', '.join(names[:20])}")
            start, stop = unit.row_groups or (0, file.num_row_groups)
            columns = [name for name in ("image", "line_art", "path", *FIELDS) if name in names]
            number = sum(file.metadata.row_group(index).num_rows for index in range(start))
            for batch in file.iter_batches(_READ_ROWS, row_groups=list(range(start, stop)), columns=columns):
                for row in batch.to_pylist():
                    yield _row_to_sample(row, f"{unit.prefix}row-{number:08d}")
                    number += 1
    except _PARQUET_DAMAGE as error:
        raise BadArchiveError(" ".join(str(error).split())[:200]) from None


def _row_to_sample(row: dict[str, Any], name: str) -> Sample:
    data, path = _image_bytes(row["image"])
    line_art, _ = _image_bytes(row.get("line_art"))
    metadata = {field: row[field] for field in FIELDS if isinstance(row.get(field), str) and row[field]}
    name = row["path"] if isinstance(row.get("path"), str) and row["path"] else path or name
    if data is None:
        return Sample(name, None, 0, "empty", "no bytes in the column image", metadata=metadata)
    return Sample(name, data, len(data), line_art=line_art, metadata=metadata)


def _image_bytes(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and name of an image column: binary, or the struct that `datasets` writes."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return (value if isinstance(value, bytes) else None), None
