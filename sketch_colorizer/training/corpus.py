"""Building a corpus: sources to drafts, one pass over all of them, and shards that `load_dataset` opens as they are."""

import errno
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .corpus_atomic import replacing, sweep, write_json
from .corpus_card import PLOT_FILE, render_card
from .corpus_decisions import SPLITS, Decisions, SplitSettings, decide, read_candidates, read_kept
from .corpus_drafts import DraftSettings, draft_path, write_draft
from .corpus_engines import EngineSettings, WorkerDied, run_tasks
from .corpus_manifest import write_manifest
from .corpus_metadata import Pairing
from .corpus_pictures import CODECS
from .corpus_plots import plot_colors
from .corpus_release import (
    BUILD_FILE,
    HISTOGRAM_FILE,
    MANIFEST_FILE,
    complete,
    is_complete,
    merge_histograms,
    plan_shards,
    put_in_place,
    staged,
    write_shard,
)
from .corpus_sources import Source
from .corpus_units import Unit, plan_units
from .folder_lock import only_worker

CARD_FILE, STATISTICS_FILE = "README.md", "statistics.json"
DEFAULT_TITLE = "Illustrations for colouring line drawings"
WORK_FOLDER = ".build"
_KEPT_FILE = "kept.npy"
Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


@dataclass(frozen=True)
class CorpusSettings:
    """What decides a corpus, apart from its sources. Raises ValueError for what cannot be."""

    drafts: DraftSettings = field(default_factory=DraftSettings)
    splits: SplitSettings = field(default_factory=SplitSettings)
    pairs: str | None = None
    title: str | None = None
    shard_bytes: int = 400_000_000
    unit_size: int = 128  # pictures in a unit of work

    def __post_init__(self) -> None:
        if self.shard_bytes < 1 or self.unit_size < 1:
            raise ValueError("shards and units of work must hold at least one picture")


def build_corpus(
    sources: Sequence[Source],
    output: str | Path,
    settings: CorpusSettings | None = None,
    *,
    engine: EngineSettings | None = None,
    keep_work: bool = False,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Build a corpus folder and return its statistics; where it is built already, nothing is done.

    Killed at any moment and called again, it goes on from what is finished and ends with the same bytes. What stood in
    the folder before stays whole until the new corpus is complete. An earlier corpus in the folder decides which of two
    twins stays, so that additions displace nobody.

    Args:
        keep_work: keep the drafts, so that pictures can be added later without reading the old ones again; about as
            large as the corpus.
        progress: called with the step, how much is done, and of how much.

    Raises ValueError for settings, sources or a folder that cannot be, and where a unit of work failed; OSError with
    errno ENOSPC where the disk is full.
    """
    settings, engine = settings or CorpusSettings(), engine or EngineSettings()
    engine.check()
    folder = Path(output)
    with _locked_work_folder(folder) as work:
        units = _plan(sources, settings, progress)
        names = [settings.drafts.identity_of(unit) for unit in units]
        identity = _digest(repr(settings).encode(), *(name.encode() for name in names))
        if _built_identity(folder) != identity:
            run = partial(_run, engine=engine, progress=progress)
            _write_drafts(dict(zip(names, units, strict=True)), settings.drafts, work, run)
            release = _write_release(dict(zip(names, units, strict=True)), settings, identity, work, folder, run)
            put_in_place(release, folder)
        _clean(work, names if keep_work else [])
    return json.loads((folder / STATISTICS_FILE).read_text(encoding="utf-8"))


@contextmanager
def _locked_work_folder(folder: Path) -> Iterator[Path]:
    """The folder for unfinished work inside a corpus folder, for one build at a time."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the corpus")
    ours = any((folder / name).exists() for name in (WORK_FOLDER, BUILD_FILE))
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise ValueError(f"{folder} holds other files; name a new or empty folder, or that of an earlier corpus")
    work = folder / WORK_FOLDER
    with only_worker(work, f"another build is at work in {folder}; wait for it, or stop it"):
        sweep(work)
        yield work


def _plan(sources: Sequence[Source], settings: CorpusSettings, progress: Progress) -> list[Unit]:
    pairing = Pairing.parse(settings.pairs)
    units: list[Unit] = []
    for number, source in enumerate(sources):
        progress("listing", number, len(sources))
        units += plan_units(source, pairing=pairing, unit_size=settings.unit_size)
    return units


def _run(
    step: str, function: Callable[[Any], Any], tasks: list[Any], *, engine: EngineSettings, progress: Progress
) -> list[Any]:
    """Receipts of all tasks. Raises OSError at once for a full disk, ValueError at the end where others failed."""
    receipts, problems = [], []
    progress(step, 0, len(tasks))
    for number, receipt in enumerate(run_tasks(function, tasks, engine), start=1):
        if isinstance(receipt, WorkerDied):
            problems.append("a worker was killed over the same work again and again: is there too little memory?")
        elif receipt.disk_full:
            done = f"{number - 1} of {len(tasks)} parts of this step are done and kept"
            raise OSError(errno.ENOSPC, f"the disk is full; {done}: make room and run the same command again")
        elif receipt.error:
            problems.append(receipt.error)
        receipts.append(receipt)
        progress(step, number, len(tasks))
    if problems:
        shown = "; ".join(dict.fromkeys(problems[:5]))
        raise ValueError(
            f"{len(problems)} of {len(tasks)} units failed, the others are kept: {shown}. Run the same command again"
        )
    return receipts


def _write_drafts(units: dict[str, Unit], settings: DraftSettings, work: Path, run: Callable[..., Any]) -> None:
    missing = [unit for name, unit in units.items() if not draft_path(work, name).exists()]
    run("pictures", partial(write_draft, settings=settings, work=work), missing)


def _write_release(
    units: dict[str, Unit], settings: CorpusSettings, identity: str, work: Path, folder: Path, run: Callable[..., Any]
) -> Path:
    """Decide over all records and write the finished corpus beside the old one; returns where it waits."""
    drafts = [draft_path(work, name) for name in units]
    kept_before = _freeze_kept(folder, work)
    candidates = read_candidates(drafts, settings.splits, work / "fingerprints.bin")
    decisions = decide(candidates, settings.splits, kept_before=kept_before)
    if not (decisions.outcome == SPLITS.index("train")).any():
        raise ValueError(f"no picture is left for training: {_explain(drafts, decisions)}")
    release = work / f"release-{_digest(identity.encode(), decisions.outcome.tobytes(), decisions.winner.tobytes())}"
    for other in work.glob("release-*"):
        if other != release:
            shutil.rmtree(other)
    if not is_complete(release):
        order = np.argsort(np.argsort([_position(unit) for unit in units.values()]))
        shards, place = plan_shards(candidates, decisions, drafts, order, shard_bytes=settings.shard_bytes)
        receipts = run("shards", partial(write_shard, release=release), shards)
        census = write_manifest(staged(release, MANIFEST_FILE), drafts, candidates, decisions, shards, place)
        histogram = merge_histograms(shards, release)
        histogram.write(staged(release, HISTOGRAM_FILE))
        _describe(release, settings, identity, census.summarize(histogram), sum(receipt.size for receipt in receipts))
        _write(staged(release, PLOT_FILE), plot_colors(histogram.counts, histogram.sums))
        complete(release)
    return release


def _describe(
    release: Path, settings: CorpusSettings, identity: str, statistics: dict[str, Any], shard_bytes: int
) -> None:
    """Write statistics, card and build file."""
    records, splits = settings.drafts.records, settings.splits
    described = {
        "size": records.size,
        "codec": records.codec,
        "quality": records.quality or CODECS[records.codec],
        "min_size": records.min_size,
        "max_photograph_score": records.max_photograph_score,
        "split_by": splits.by,
        "validation_share": splits.validation_share,
        "hold_out": list(splits.hold_out),
        "drop_twins": splits.drop_twins,
    }
    card = render_card(statistics, described, title=settings.title or DEFAULT_TITLE, shard_bytes=shard_bytes)
    _write(staged(release, CARD_FILE), str(card).encode())
    write_json(staged(release, STATISTICS_FILE), statistics)
    write_json(staged(release, BUILD_FILE), {"identity": identity, "settings": described})


def _freeze_kept(folder: Path, work: Path) -> np.ndarray | None:
    """What the corpus that stood here when work began had kept; remembered until the new one is in place."""
    frozen = work / _KEPT_FILE
    if not frozen.exists():
        if not (folder / MANIFEST_FILE).exists():
            return None
        with replacing(frozen) as file:
            np.save(file, read_kept(folder / MANIFEST_FILE))
    return np.load(frozen)


def _position(unit: Unit) -> str:
    """Sorts units as if at random, so that every shard holds pictures of many sources; additions change no order."""
    first = unit.inputs[0].name if unit.inputs else ""
    return _digest(repr((unit.source, unit.kind, unit.prefix, first, unit.row_groups)).encode())


def _explain(drafts: Sequence[Path], decisions: Decisions) -> str:
    reasons = Counter(
        reason for path in drafts for reason in pq.read_table(path, columns=["reason"])["reason"].to_pylist()
    )
    held_out = int((decisions.outcome == SPLITS.index("validation")).sum())
    reasons[None] = held_out
    named = {name or "held out for validation": count for name, count in reasons.most_common() if count}
    return ", ".join(f"{name}: {count}" for name, count in named.items())


def _built_identity(folder: Path) -> str | None:
    path = folder / BUILD_FILE
    return json.loads(path.read_text(encoding="utf-8")).get("identity") if path.exists() else None


def _clean(work: Path, names: Sequence[str]) -> None:
    """Remove the work folder, or all of it but the drafts of these names."""
    if not names:
        shutil.rmtree(work)
        return
    wanted = {draft_path(work, name) for name in names}
    for entry in work.iterdir():
        if entry.name.startswith("release-"):
            shutil.rmtree(entry)
        elif entry.is_file() and entry.name != "lock":
            entry.unlink()
    for draft in (work / "drafts").rglob("*.parquet"):
        if draft not in wanted:
            draft.unlink()


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
