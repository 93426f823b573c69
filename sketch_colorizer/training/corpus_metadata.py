"""What is known of a picture beside its pixels: metadata tables, sidecar files, and which line drawing is its own."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .corpus_pairs import NamePattern
from .corpus_sources import FileEntry

FIELDS = ("source", "category", "license", "author")
_LINE_ART_COLUMNS = ("line_art_file_name", "line_art")
Rows = Mapping[str, Mapping[str, str]]  # file name -> what a table says of it


class Input(NamedTuple):
    """A picture of a source, with what belongs to it, before anything of it is read."""

    name: str
    key: str | int
    size: int
    stamp: str
    reason: str | None = None
    detail: str = ""
    line_art: tuple[str | int, str] | None = None  # key and stamp
    line_art_problem: str | None = None
    sidecar: tuple[str | int, str] | None = None
    metadata: tuple[tuple[str, str], ...] = ()


class Pairing(NamedTuple):
    """What `--pairs` says: a pattern of names, or a table that is read beside the sources' own."""

    pattern: NamePattern | None = None
    rows: Rows | None = None

    @classmethod
    def parse(cls, argument: str | None) -> "Pairing":
        """From a metadata file's path or a pattern. Raises ValueError for what is neither."""
        if argument is None:
            return cls()
        path = Path(argument)
        if path.suffix.lower() in (".csv", ".jsonl"):
            if not path.is_file():
                raise ValueError(f"there is no metadata file {argument}")
            rows = read_table(path.read_bytes(), path.name)
            if not any(_line_art_of(row) for row in rows.values()):
                raise ValueError(f"{argument} names no line art: it needs the columns file_name and line_art_file_name")
            return cls(rows=rows)
        return cls(pattern=NamePattern(argument))


def gather_inputs(entries: Iterable[FileEntry], pairing: Pairing, read: Callable[[FileEntry], bytes]) -> list[Input]:
    """The pictures among the files of a folder or an archive, each with its line art, its table row and its sidecar.

    Raises ValueError for a metadata table that cannot be understood.
    """
    entries = list(entries)
    rows = dict(pairing.rows or {}) | _own_rows(entries, read)
    pictures = {entry.name: entry for entry in entries if entry.kind == "picture"}
    partners = pairing.pattern.match(pictures) if pairing.pattern else {}
    partners |= {name: line_art for name, row in rows.items() if name in pictures and (line_art := _line_art_of(row))}
    sidecars = {_stem(entry.name): entry for entry in entries if entry.kind == "sidecar"}
    drawings = {name for name in partners.values() if name in pictures}
    inputs = []
    for name, entry in pictures.items():
        if name in drawings and name not in partners:
            continue
        partner = pictures.get(partners[name]) if name in partners else None
        sidecar = sidecars.get(_stem(name)) or sidecars.get(_group(name))
        inputs.append(
            Input(
                name=name,
                key=entry.key,
                size=entry.size,
                stamp=entry.stamp,
                reason=entry.reason,
                detail=entry.detail,
                line_art=(partner.key, partner.stamp) if partner and not partner.reason else None,
                line_art_problem=_problem(partners.get(name), partner),
                sidecar=(sidecar.key, sidecar.stamp) if sidecar and not sidecar.reason else None,
                metadata=tuple((field, rows[name][field]) for field in FIELDS if rows.get(name, {}).get(field)),
            )
        )
    return inputs


def read_table(data: bytes, name: str) -> dict[str, dict[str, str]]:
    """A metadata table (CSV with a header, or one JSON object a line) by file name. Raises ValueError with the line."""
    rows: dict[str, dict[str, str]] = {}
    try:
        text = data.decode("utf-8-sig")
        if name.lower().endswith(".csv"):
            found = list(csv.DictReader(io.StringIO(text)))
        else:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise ValueError(f"the metadata file {name} cannot be read: {error}") from None
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise ValueError(f"the metadata file {name} needs a column file_name; row {number} has none")
        rows[row["file_name"]] = {key: str(value) for key, value in row.items() if key and value not in (None, "")}
    return rows


def read_sidecar(data: bytes) -> dict[str, str]:
    """The known fields of a JSON file beside a picture; nothing where it is something else."""
    try:
        content = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {field: content[field] for field in FIELDS if isinstance(content.get(field), str) and content[field]}


def _own_rows(entries: list[FileEntry], read: Callable[[FileEntry], bytes]) -> dict[str, dict[str, str]]:
    """The rows of the metadata tables among the files; names in a table are relative to the table."""
    rows = {}
    for entry in entries:
        if entry.kind != "metadata" or entry.reason:
            continue
        folder = PurePosixPath(entry.name).parent
        for name, row in read_table(read(entry), entry.name).items():
            line_art = {column: str(folder / row[column]) for column in _LINE_ART_COLUMNS if column in row}
            rows[str(folder / name)] = row | line_art
    return rows


def _line_art_of(row: Mapping[str, str]) -> str | None:
    return next((row[column] for column in _LINE_ART_COLUMNS if row.get(column)), None)


def _problem(wanted: str | None, partner: FileEntry | None) -> str | None:
    if wanted is None or (partner and not partner.reason):
        return None
    return f"{partner.reason}: {wanted}" if partner else f"missing: {wanted}"


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _group(name: str) -> str:
    """What WebDataset takes for the name of a sample: all up to the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.split('.', 1)[0]}"
