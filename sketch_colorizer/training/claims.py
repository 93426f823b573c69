"""The poster's claims, each tied to the figures that decide it, and the verdict that follows from their intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIRMED, REFUTED, UNDECIDED, MIXED = "confirmed", "refuted", "undecided at this budget", "both ways"
NATURAL = 0.9  # a chroma ratio below this is called desaturated
NEARLY_EQUAL = 0.9  # a correlation of filters from here on is called nearly equal

COLOR_METRICS = ("ciede2000", "auc", "auc_balanced", "auc_rare", "chroma_ratio", "colorfulness_ratio", "hue_error")
COLOR_METRICS += ("histogram_distance",)
LABELS = {
    "ciede2000": "CIEDE2000",
    "auc": "AuC",
    "auc_balanced": "class-balanced AuC",
    "auc_rare": "AuC of rare colours",
    "chroma_ratio": "chroma ratio",
    "colorfulness_ratio": "colourfulness ratio",
    "hue_error": "hue error",
    "histogram_distance": "histogram distance",
    "nll": "NLL",
}
DIGITS = {"ciede2000": 2, "hue_error": 1}
Figures = Mapping[str, Any]  # one group of experiments.json: `systems` and `pairs`


@dataclass(frozen=True)
class Claim:
    """Words that can be true or false, and how the figures of one group decide them: a verdict and a sentence."""

    words: str
    judge: Callable[[Figures], tuple[str, str] | None]  # None where the systems were not trained


def is_better(
    first: str, second: str, metrics: Sequence[str] = COLOR_METRICS, *, price: Sequence[str] = ()
) -> Callable:
    """First is nearer to the truth than second, judged by all of `metrics`; `price` is told and not judged."""

    def judge(figures: Figures) -> tuple[str, str] | None:
        pair = figures["pairs"].get(f"{first}-{second}")
        if pair is None:
            return None
        judged = {
            word: [m for m in metrics if m in pair and pair[m]["outcome"] == word] for word in ("better", "worse")
        }
        sentence = f"{first} against {second}: {_listing(pair, metrics)}"
        sentence += f" Otherwise: {_listing(pair, price)}" if price else ""
        if judged["better"] and judged["worse"]:
            return MIXED, sentence
        return CONFIRMED if judged["better"] else REFUTED if judged["worse"] else UNDECIDED, sentence

    return judge


def lifts(metric: str, first: str, second: str, *, price: Sequence[str] = ()) -> Callable:
    """The figure of first is larger than that of second, whether or not that is good."""

    def judge(figures: Figures) -> tuple[str, str] | None:
        pair = figures["pairs"].get(f"{first}-{second}")
        if pair is None:
            return None
        difference = pair[metric]["difference"]
        before, after = (figures["systems"][name][metric]["value"] for name in (second, first))
        sentence = f"The {LABELS[metric]} is {_number(before, metric)} in {second}, {_number(after, metric)} in {first}"
        sentence += f" ({_difference(difference, metric)}). What else changed: {_listing(pair, price)}"
        return _decide(difference["low"] > 0, difference["high"] < 0), sentence

    return judge


def is_desaturated(system: str) -> Callable:
    """The chroma ratio of a system lies below what counts as natural."""

    def judge(figures: Figures) -> tuple[str, str] | None:
        entry = figures["systems"].get(system)
        if entry is None:
            return None
        ratio = entry["chroma_ratio"]
        sentence = (
            f"The chroma ratio of {system} is {_interval(ratio, 'chroma_ratio')}; below {NATURAL} is desaturated."
        )
        return _decide(ratio["high"] < NATURAL, ratio["low"] > NATURAL), sentence

    return judge


def has_equal_filters(system: str) -> Callable:
    """The filters of a regression's last layer for R, G and B are nearly the same, in every pair and for every seed."""

    def judge(figures: Figures) -> tuple[str, str] | None:
        runs = figures["systems"].get(system, {}).get("filters")
        if not runs:
            return None
        learnt = [r for run in runs for r in run["learnt"]]
        ends = [r for run in runs for r in run["end"]]
        sentence = (
            f"Correlation of {system}'s last filters between R-G, R-B and G-B: what training added {_list(learnt)}; "
            f"with the random start in it {_list(ends)}. From {NEARLY_EQUAL} on they count as nearly equal."
        )
        verdict = _decide(min(learnt) >= NEARLY_EQUAL, max(learnt) < NEARLY_EQUAL)
        return (MIXED if verdict == UNDECIDED else verdict), sentence

    return judge


_PRICE = ("ciede2000", "auc", "auc_balanced", "hue_error")
CLAIMS = (
    Claim("Regression plays safe: its colours are desaturated.", is_desaturated("a")),
    Claim("The last filters of regression are nearly the same for R, G and B.", has_equal_filters("a")),
    Claim("Classification beats regression (both in RGB, nothing rebalanced).", is_better("b", "a")),
    Claim("The poster's best classification beats regression.", is_better("d", "a")),
    Claim(
        "Rebalancing helps on rare colours.",
        is_better("c", "b", ("auc_rare", "auc_balanced"), price=("ciede2000", "auc", "hue_error")),
    ),
    Claim("LCH is better than RGB.", is_better("d", "c")),
    Claim("Even the poster's best model is desaturated.", is_desaturated("d")),
    Claim("The loss matrix lifts chroma (poster's network).", lifts("chroma_ratio", "e", "d", price=_PRICE)),
    Claim("The loss matrix lifts chroma (our network).", lifts("chroma_ratio", "g", "f", price=_PRICE)),
    Claim("A better network helps.", is_better("f", "d", (*COLOR_METRICS, "nll"))),
    Claim("A better network helps, with the loss matrix too.", is_better("g", "e", (*COLOR_METRICS, "nll"))),
    Claim("An output at full size beats one at a quarter of the size.", is_better("h", "d")),
    Claim("Soft labels beat one-hot labels.", is_better("d", "i", (*COLOR_METRICS, "nll"))),
)
PAIRS = (
    ("b", "a"),
    ("d", "a"),
    ("c", "b"),
    ("d", "c"),
    ("e", "d"),
    ("g", "f"),
    ("f", "d"),
    ("g", "e"),
    ("h", "d"),
    ("d", "i"),
)


def verdicts(results: Mapping[str, Any], group: str) -> list[dict[str, str]]:
    """Every claim whose systems were trained, with its verdict in one group and the sentence that says why."""
    filters = {name: {"filters": about.get("filters")} for name, about in results["systems"].items()}
    figures, found = results["groups"][group], []
    figures = {**figures, "systems": {name: {**of, **filters[name]} for name, of in figures["systems"].items()}}
    for claim in CLAIMS:
        judged = claim.judge(figures)
        if judged is not None:
            found.append({"claim": claim.words, "verdict": judged[0], "sentence": judged[1]})
    return found


def outcome(better: str, difference: Mapping[str, float], nearer: Mapping[str, float] | None) -> str:
    """ "better", "worse" or "undecided", from the interval of a difference; `nearer` is that of the distances to 1."""
    if better == "one":
        better, difference = "lower", nearer
    if difference["low"] is None or not (difference["low"] > 0 or difference["high"] < 0):
        return "undecided"
    return "better" if (difference["value"] > 0) == (better == "higher") else "worse"


def _decide(confirmed: bool, refuted: bool) -> str:
    return CONFIRMED if confirmed else REFUTED if refuted else UNDECIDED


def _listing(pair: Figures, metrics: Sequence[str]) -> str:
    """What got better, what got worse, and what the intervals leave open, in words."""
    parts = []
    for word in ("better", "worse", "undecided"):
        named = [
            f"{LABELS[m]} ({_difference(pair[m]['difference'], m)})"
            for m in metrics
            if m in pair and pair[m]["outcome"] == word
        ]
        if named:
            parts.append(f"{word} in {', '.join(named)}" if word != "undecided" else f"undecided in {', '.join(named)}")
    return "; ".join(parts) + "."


def _number(value: float, metric: str, *, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.{DIGITS.get(metric, 3)}f}".replace("-", "−")


def _interval(entry: Mapping[str, float], metric: str) -> str:
    return f"{_number(entry['value'], metric)} ({_number(entry['low'], metric)} to {_number(entry['high'], metric)})"


def _difference(entry: Mapping[str, float | None], metric: str) -> str:
    if entry["value"] is None or entry["low"] is None:
        return "no figure"
    value, low, high = (_number(entry[key], metric, sign=True) for key in ("value", "low", "high"))
    return f"{value}, {low} to {high}"


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.2f}".replace("-", "−") for number in numbers)
