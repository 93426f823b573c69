"""The one pass over the whole corpus: who is a twin of whom and who stays, who is trained on and who is held out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from .corpus_fingerprints import FINGERPRINT_BYTES, find_twins

SPLITS = ("train", "validation")
TRAIN, VALIDATION, DUPLICATE, NEAR_DUPLICATE = range(4)
OUTCOMES = (*SPLITS, "duplicate", "near_duplicate")
_COLUMNS = ["reason", "sha256", "fingerprint", "pair", "license", "pixels", "stored_bytes", "source"]


@dataclass(frozen=True)
class SplitSettings:
    """Who is held out for validation: pictures by their hash, or whole sources; and whether twins are dropped."""

    by: str = "hash"
    validation_share: float = 0.05
    hold_out: tuple[str, ...] = ()  # sources that are always held out
    drop_twins: bool = True

    def __post_init__(self) -> None:
        if self.by not in ("hash", "source"):
            raise ValueError(f"splits are made by hash or by source, got {self.by!r}")
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"the share of validation must be at least 0 and below 1, got {self.validation_share}")

    def holds_out(self, sha256: str, source: str) -> bool:
        """Whether a picture is for validation; depends on it and its source alone, so additions never move it."""
        if source in self.hold_out:
            return True
        digest = sha256 if self.by == "hash" else hashlib.sha256(source.encode()).hexdigest()
        return int(digest[:12], 16) < self.validation_share * 16**12


@dataclass
class Candidates:
    """All records of the drafts in the order of the plan, as columns; 40 bytes a picture, and 384 on disk."""

    draft: np.ndarray  # index of the draft
    row: np.ndarray
    sha256: np.ndarray  # (N,) of 32 bytes
    look: np.ndarray  # hash of the fingerprint
    has_lines: np.ndarray
    has_license: np.ndarray
    pixels: np.ndarray
    stored_bytes: np.ndarray
    held_out: np.ndarray
    fingerprints: np.ndarray  # (N, 384), on disk

    def __len__(self) -> int:
        return len(self.draft)


@dataclass
class Decisions:
    """For every candidate an index into OUTCOMES, and for those that are dropped the candidate that stays instead."""

    outcome: np.ndarray
    winner: np.ndarray  # -1 for those that stay


def read_candidates(drafts: Sequence[Path], settings: SplitSettings, scratch: Path) -> Candidates:
    """Collect what decides from the drafts; `scratch` is a file that may grow to 384 bytes a picture."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Candidates.__annotations__ if name != "fingerprints"}
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with scratch.open("wb") as file:
        for index, path in enumerate(drafts):
            table = pq.read_table(path, columns=_COLUMNS)
            rows = np.flatnonzero(table["reason"].is_null().to_numpy())
            kept = table.take(rows).to_pydict()
            file.write(b"".join(kept["fingerprint"]))
            digests = [bytes.fromhex(digest) for digest in kept["sha256"]]
            looks = [hashlib.blake2b(look, digest_size=8).digest() for look in kept["fingerprint"]]
            pairs = zip(kept["sha256"], kept["source"], strict=True)
            columns["draft"].append(np.full(len(rows), index, np.int32))
            columns["row"].append(rows.astype(np.int32))
            columns["sha256"].append(np.array(digests, "S32"))
            columns["look"].append(np.frombuffer(b"".join(looks), np.uint64))
            columns["has_lines"].append(np.array([pair == "kept" for pair in kept["pair"]], bool))
            columns["has_license"].append(np.array([bool(name) for name in kept["license"]], bool))
            columns["pixels"].append(np.array(kept["pixels"], np.int64))
            columns["stored_bytes"].append(np.array(kept["stored_bytes"], np.int64))
            columns["held_out"].append(np.array([settings.holds_out(*pair) for pair in pairs], bool))
    joined = {name: np.concatenate(parts) if parts else np.empty(0, np.int32) for name, parts in columns.items()}
    shape = (len(joined["draft"]), FINGERPRINT_BYTES)
    fingerprints = np.memmap(scratch, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)
    return Candidates(**joined, fingerprints=fingerprints)


def decide(candidates: Candidates, settings: SplitSettings, *, kept_before: np.ndarray | None = None) -> Decisions:
    """Drop all but one of each set of twins, and split the rest; the order in which workers finished plays no part.

    Of twins stays the one that an earlier build kept (`kept_before`: its sha256), else one with real line art, else
    one with a licence, else the one with most pixels, else the first of the plan. Nobody who stays has a twin that
    stays, in either split.
    """
    outcome = np.where(candidates.held_out, VALIDATION, TRAIN).astype(np.int8)
    winner = np.full(len(candidates), -1, np.int64)
    if not settings.drop_twins or not len(candidates):
        return Decisions(outcome, winner)
    rank = _rank(candidates, kept_before)
    alive = np.arange(len(candidates))
    for keys, code in ((candidates.sha256, DUPLICATE), (candidates.look, NEAR_DUPLICATE)):
        losers, winners = _all_but_first(keys[alive], rank[alive])
        outcome[alive[losers]] = code
        winner[alive[losers]] = alive[winners]
        alive = np.delete(alive, losers)
    fingerprints = candidates.fingerprints if len(alive) == len(candidates) else candidates.fingerprints[alive]
    pairs = [alive[found] for found in find_twins(fingerprints) if len(found)]
    if pairs:
        losers, winners = _independent(np.concatenate(pairs), rank)
        outcome[losers] = NEAR_DUPLICATE
        winner[losers] = winners
    return Decisions(outcome, _follow(winner))


def _rank(candidates: Candidates, kept_before: np.ndarray | None) -> np.ndarray:
    """Position of each candidate in the order of preference, (N,)."""
    before = np.isin(candidates.sha256, np.empty(0, "S32") if kept_before is None else kept_before)
    preference = (-candidates.pixels, ~candidates.has_license, ~candidates.has_lines, ~before)
    order = np.lexsort(preference)  # by the last first; stable, so that ties stay in the order of the plan
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _all_but_first(keys: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each set of equal keys, all but the one of lowest rank, and that one beside each of them."""
    order = np.lexsort((rank, keys))
    same = np.concatenate(([False], keys[order][1:] == keys[order][:-1]))
    first = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))]
    return order[same], first[same]


def _independent(pairs: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go through the twins in order of rank; whoever has a twin that stays is dropped. Losers, and why: winners."""
    both = np.concatenate((pairs, pairs[:, ::-1]))
    both = both[np.lexsort((rank[both[:, 1]], rank[both[:, 0]]))]
    _, starts = np.unique(rank[both[:, 0]], return_index=True)
    staying: set[int] = set()
    losers, winners = [], []
    for start, stop in zip(starts, [*starts[1:], len(both)], strict=True):
        stays = next((int(twin) for twin in both[start:stop, 1] if int(twin) in staying), None)
        if stays is None:
            staying.add(int(both[start, 0]))
        else:
            losers.append(int(both[start, 0]))
            winners.append(stays)
    return np.array(losers, np.int64), np.array(winners, np.int64)


def _follow(winner: np.ndarray) -> np.ndarray:
    """Name the one that really stays, where the winner over one twin lost to another."""
    while True:
        step = np.where(winner >= 0, winner[winner], -1)
        if not (step >= 0).any():
            return winner
        winner = np.where(step >= 0, step, winner)


def read_kept(manifest: Path) -> np.ndarray:
    """The sha256 of all that an earlier build kept, (N,) of 32 bytes."""
    table = pq.read_table(manifest, columns=["sha256"], filters=[("outcome", "in", SPLITS)])
    return np.array([bytes.fromhex(digest) for digest in table["sha256"].to_pylist()], "S32")
