"""Rows of figures, one for each drawing, kept on disk as they are measured, so that a broken measurement goes on."""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset as Table

from ..model_files import EMBEDDED_WEIGHTS
from .evaluation import side_by_side
from .examples import Example, read_examples

PACKAGE = Path(__file__).parents[1]
Rows = dict[str, dict[str, Any]]  # the key of an example -> its figures


class RowStore:
    """The rows of one measurement in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = path, threading.Lock()
        self.rows: Rows = {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            entry = _parse(line)
            self.rows |= {} if entry is None else {entry["key"]: entry["row"]}

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep one row, at once; several threads may."""
        with self._lock:
            self.rows[key] = row
            with self._path.open("a") as file:
                file.write(json.dumps({"key": key, "row": row}) + "\n")


def measure_rows(
    table: Table,
    measure: Callable[[Example], dict[str, Any]],
    store: RowStore,
    *,
    label: str,
    workers: int | None = None,
    show_progress: bool = True,
) -> Rows:
    """measure(example) of every painted drawing of the table, several at once, where the store does not have it yet."""

    def work(index: int) -> list[str]:
        keys = []
        for example in read_examples(table[index], redrawn=False):
            if example.truth.painted.any():
                if example.key not in store.rows:
                    store.add(example.key, measure(example))
                keys.append(example.key)
        return keys

    found = side_by_side(work, len(table), label=label, workers=workers, show_progress=show_progress)
    return {key: store.rows[key] for keys in found for key in keys}


def state_of(model: str | None, *settings: Any) -> str:
    """A hash of the package's code, a model's files and settings: rows of another state are not to be mixed in."""
    digest = hashlib.sha256(repr((model, settings)).encode())
    folder = EMBEDDED_WEIGHTS if model is None else Path(model)
    weights = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    for file in [*sorted(PACKAGE.rglob("*.py")), *sorted(weights)]:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _parse(line: str) -> dict[str, Any] | None:
    """One line of the file; None for the last one of a run that was cut off."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
