"""Drafts: what becomes of one unit of work, a Parquet file with one row for every input, record or rejection."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from .corpus_atomic import is_disk_full, replacing_table
from .corpus_fingerprints import FINGERPRINT_BYTES
from .corpus_records import Record, RecordSettings, make_record
from .corpus_units import Sample, Unit, read_unit

DRAFT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("path", pa.string()),
        ("category", pa.string()),
        ("license", pa.string()),
        ("author", pa.string()),
        ("reason", pa.string()),  # null: it is a record
        ("detail", pa.string()),
        ("pair", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.string()),
        ("fingerprint", pa.binary(FINGERPRINT_BYTES)),
        ("photograph_score", pa.float32()),
        ("psnr", pa.float32()),
        ("input_bytes", pa.int64()),
        ("pixels", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("stored_bytes", pa.int64()),
        ("image", pa.binary()),
        ("line_art", pa.binary()),
    ]
)
_VERSION = 1  # to be raised when the same input gives another record
_ROWS = 32  # in a row group: what is in memory at once


@dataclass(frozen=True)
class DraftSettings:
    """How units become drafts: what decides a record, and what is known of all pictures that say nothing themselves."""

    records: RecordSettings
    license: str | None = None
    author: str | None = None
    category: str | None = None

    def identity_of(self, unit: Unit) -> str:
        """The name of a unit's draft: by all that decides its contents, the encoder too."""
        parts = (unit.identity, self, _VERSION, PIL.__version__, cv2.__version__)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class Receipt(NamedTuple):
    """What a worker reports of a unit."""

    draft: str
    inputs: int = 0
    error: str | None = None
    disk_full: bool = False


def draft_path(work: Path, identity: str) -> Path:
    return work / "drafts" / identity[:2] / f"{identity}.parquet"


def write_draft(unit: Unit, settings: DraftSettings, work: Path) -> Receipt:
    """Make a unit's draft; what goes wrong with the whole unit is in the receipt, and leaves no draft."""
    identity = settings.identity_of(unit)
    path = draft_path(work, identity)
    try:
        if not path.exists():
            with replacing_table(path, DRAFT_SCHEMA, compression="none") as writer:
                rows = _rows(unit, settings)
                while batch := list(islice(rows, _ROWS)):
                    writer.write_table(pa.Table.from_pylist(batch, DRAFT_SCHEMA))
        return Receipt(identity, pq.read_metadata(path).num_rows)
    except Exception as error:  # a unit that fails must not take the others with it
        reason = " ".join(str(error).split())[:300]
        return Receipt(identity, error=f"{type(error).__name__}: {reason}", disk_full=is_disk_full(error))


def _rows(unit: Unit, settings: DraftSettings) -> Iterator[dict[str, Any]]:
    known = {"source": unit.source, "category": settings.category, "license": settings.license}
    known["author"] = settings.author
    for sample in read_unit(unit):
        row = known | (sample.metadata or {}) | {"path": sample.name, "input_bytes": sample.size}
        yield row | _outcome(sample, settings.records)


def _outcome(sample: Sample, settings: RecordSettings) -> dict[str, Any]:
    if sample.data is None:
        return {"reason": sample.reason, "detail": sample.detail}
    result = make_record(sample.data, settings, line_art=sample.line_art)
    if not isinstance(result, Record):
        return result._asdict()
    size = len(result.image) + len(result.line_art or b"")
    return result._asdict() | {"pair": result.pair or sample.line_art_problem, "stored_bytes": size}
