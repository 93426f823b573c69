"""The figures of a corpus: counts, licences, rejections, storage, and what colours there are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from .corpus_decisions import SPLITS
from .corpus_release import ColorHistogram

UNKNOWN = "unknown"
NUM_HUES, NUM_LIGHTNESSES = 12, 10
_LISTED = 1000  # names of a column that are written out; the rest is counted together
_PAINTED_LIGHTNESS, _PAINTED_CHROMA = 97.0, 5.0
_HUE_CHROMA = 10.0  # below this a colour counts as having no hue
_NAMED = ("source", "category", "license", "author")


@dataclass
class Census:
    """Counts that grow with every part of the manifest."""

    outcomes: Counter = field(default_factory=Counter)
    pairs: Counter = field(default_factory=Counter)
    with_line_art: Counter = field(default_factory=Counter)
    names: dict[str, Counter] = field(default_factory=lambda: {name: Counter() for name in _NAMED})
    input_bytes: int = 0
    stored: list[np.ndarray] = field(default_factory=list)
    losses: list[np.ndarray] = field(default_factory=list)
    sides: list[np.ndarray] = field(default_factory=list)

    def add(self, manifest: pa.Table, draft: pa.Table) -> None:
        """Count a part of the manifest, and the same rows of the draft that it comes from."""
        self.outcomes.update(manifest["outcome"].to_pylist())
        self.input_bytes += sum(manifest["input_bytes"].to_pylist())
        self.pairs.update(_pair_outcome(pair) for pair in manifest["pair"].to_pylist() if pair)
        kept = np.flatnonzero(np.isin(np.array(manifest["outcome"].to_pylist(), object), SPLITS))
        manifest, draft = manifest.take(kept), draft.take(kept)
        for split, pair in zip(manifest["outcome"].to_pylist(), manifest["pair"].to_pylist(), strict=True):
            self.with_line_art[split] += pair == "kept"
        for name, counter in self.names.items():
            counter.update(value or UNKNOWN for value in draft[name].to_pylist())
        self.stored.append(manifest["stored_bytes"].to_numpy())
        self.losses.append(manifest["psnr"].drop_null().to_numpy())
        self.sides.append(np.maximum(manifest["width"].to_numpy(), manifest["height"].to_numpy()))

    def summarize(self, histogram: ColorHistogram) -> dict[str, Any]:
        """All figures, ready for JSON; the keys are those that the card asks for."""
        stored, losses, sides = (np.concatenate(parts or [np.empty(0)]) for parts in self._columns())
        pictures = {split: self.outcomes[split] for split in SPLITS}
        number = sum(pictures.values())
        rejected = {name: count for name, count in self.outcomes.most_common() if name not in SPLITS}
        return {
            "inputs": self.outcomes.total(),
            "input_bytes": self.input_bytes,
            "pictures": pictures,
            "with_line_art": {split: self.with_line_art[split] for split in SPLITS},
            "rejected": rejected,
            "pairs": dict(self.pairs.most_common()),
            "stored_bytes": {"total": int(stored.sum()), **_spread(stored)},
            "longest_side": _spread(sides),
            "psnr": {"pictures": len(losses), **_spread(losses)},
            "names": {name: _shorten(counter) for name, counter in self.names.items()},
            "largest": {name: _largest(counter, number) for name, counter in self.names.items()},
            "colors": describe_colors(histogram.counts, histogram.sums),
        }

    def _columns(self) -> Sequence[list[np.ndarray]]:
        return self.stored, self.losses, self.sides


def describe_colors(counts: np.ndarray, sums: np.ndarray) -> dict[str, Any]:
    """Shares of a colour histogram: paint, grey, hues from 0 degrees (a > 0) upwards, lightness from 0 to 100."""
    lab, weights = cell_colors(counts, sums)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    painted = (lab[:, 0] < _PAINTED_LIGHTNESS) | (chroma > _PAINTED_CHROMA)
    colored = chroma > _HUE_CHROMA
    total = max(float(weights.sum()), 1.0)
    hues = np.bincount((hue[colored] / 360 * NUM_HUES).astype(int) % NUM_HUES, weights[colored], NUM_HUES)
    steps = np.clip(lab[:, 0] / 100 * NUM_LIGHTNESSES, 0, NUM_LIGHTNESSES - 1).astype(int)
    return {
        "pixels": int(counts.sum()),
        "painted": float(weights[painted].sum() / total),
        "grey": float(weights[~colored].sum() / total),
        "chroma": float((weights * chroma)[painted].sum() / max(weights[painted].sum(), 1.0)),
        "hues": (hues / max(hues.sum(), 1.0)).tolist(),
        "lightness": (np.bincount(steps, weights, NUM_LIGHTNESSES) / total).tolist(),
    }


def cell_colors(counts: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean Lab colour (C, 3) and number of pixels (C,) of the cells of a histogram that hold any."""
    seen = counts > 0
    rgb = sums[seen] / counts[seen, None] / 255
    return cv2.cvtColor(rgb[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0], counts[seen].astype(np.float64)


def _pair_outcome(pair: str) -> str:
    return pair.split(":")[0]


def _spread(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(("mean", "p5", "median", "p95"))
    p5, median, p95 = np.percentile(values, (5, 50, 95))
    return {name: round(float(value), 2) for name, value in
            {"mean": values.mean(), "p5": p5, "median": median, "p95": p95}.items()}  # fmt: skip


def _shorten(counter: Counter) -> dict[str, int]:
    listed = dict(sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:_LISTED])
    rest = counter.total() - sum(listed.values())
    return listed | ({"others": rest} if rest else {})


def _largest(counter: Mapping[str, int], number: int) -> dict[str, Any] | None:
    """Who has most, for what it says of a corpus that one hand made half of it."""
    known = {name: count for name, count in counter.items() if name != UNKNOWN}
    if not known:
        return None
    name = min(known, key=lambda name: (-known[name], name))
    return {"name": name, "share": known[name] / number}
