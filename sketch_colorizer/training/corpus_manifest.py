"""The manifest of a corpus: for every input what became of it, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .corpus_atomic import replacing_table
from .corpus_decisions import OUTCOMES, Candidates, Decisions
from .corpus_drafts import DRAFT_SCHEMA
from .corpus_release import Place, Shard
from .corpus_statistics import Census

_FROM_DRAFT = ("source", "path", "detail", "pair", "sha256", "phash", "fingerprint", "photograph_score", "psnr")
_NUMBERS = ("input_bytes", "stored_bytes", "width", "height")
MANIFEST_SCHEMA = pa.schema(
    [
        ("outcome", pa.string()),  # a split, or the reason for rejection
        *(DRAFT_SCHEMA.field(name) for name in (*_FROM_DRAFT, *_NUMBERS)),
        ("twin_of", pa.string()),  # source and path of the twin that stayed
        ("shard", pa.string()),
        ("row", pa.int32()),
    ]
)
_CENSUS_COLUMNS = ("category", "license", "author")


def write_manifest(
    path: Path,
    drafts: Sequence[Path],
    candidates: Candidates,
    decisions: Decisions,
    shards: Sequence[Shard],
    place: Place,
) -> Census:
    """Write one line for every input, in the order of the plan, and count what is in them."""
    names = _names_of(np.unique(decisions.winner[decisions.winner >= 0]), candidates, drafts)
    bounds = np.searchsorted(candidates.draft, np.arange(len(drafts) + 1))
    census = Census()
    with replacing_table(path, MANIFEST_SCHEMA, compression="zstd") as writer:
        for index, draft in enumerate(drafts):
            table = pq.read_table(draft, columns=[*_FROM_DRAFT, *_NUMBERS, *_CENSUS_COLUMNS, "reason"])
            outcome = np.array(table["reason"].to_pylist(), object)
            extra: dict[str, list[Any]] = {name: [None] * len(table) for name in ("twin_of", "shard", "row")}
            for member in range(bounds[index], bounds[index + 1]):
                row = candidates.row[member]
                outcome[row] = OUTCOMES[decisions.outcome[member]]
                if place.shard[member] >= 0:
                    extra["shard"][row] = shards[place.shard[member]].name
                    extra["row"][row] = int(place.row[member])
                else:
                    extra["twin_of"][row] = names[int(decisions.winner[member])]
            columns = {name: table[name] for name in (*_FROM_DRAFT, *_NUMBERS)} | extra | {"outcome": outcome.tolist()}
            part = pa.Table.from_pydict({name: columns[name] for name in MANIFEST_SCHEMA.names}, MANIFEST_SCHEMA)
            if len(part):
                writer.write_table(part)
            census.add(part, table)
    return census


def _names_of(members: np.ndarray, candidates: Candidates, drafts: Sequence[Path]) -> dict[int, str]:
    """Source and path of some candidates."""
    names = {}
    for draft in np.unique(candidates.draft[members]):
        table = pq.read_table(drafts[draft], columns=["source", "path"])
        for member in members[candidates.draft[members] == draft]:
            row = table.slice(int(candidates.row[member]), 1).to_pylist()[0]
            names[int(member)] = f"{row['source']}/{row['path']}"
    return names
