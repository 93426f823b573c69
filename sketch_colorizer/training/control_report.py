"""The report on control over colours as Markdown: what the figures say, in sentences made by rule, then the figures."""

from collections.abc import Sequence
from typing import Any

from .hint_curves import GOAL_HINTS, GOAL_SHARE, SHARES, USERS
from .obedience import FOREIGN, OBEYED, TAKEN
from .proposal_scores import proposal_statistics
from .summary import figure_text

Entry = dict[str, float | None]
RIVAL_NAME = "G'MIC"
_TITLES = {"real": "real line art", "extracted": "extracted lines", "all": "real and extracted together"}
_COMMAND = "python scripts/measure_control.py --data CORPUS"


def control_markdown(results: dict[str, Any], images: Sequence[str] = ()) -> str:
    """The whole report."""
    shown = {name: f"![{name}]({name})" for name in images}
    parts = ["# Control over colours", _preamble(results), "## In short", _bullets(findings(results))]
    parts += ["## Hints", shown.get("control_hints.png", "")]
    for group, entry in results["curves"].items():
        parts += [f"### {_TITLES[group]} (pictures: {entry['num_pictures']})", _table(curve_rows(entry, results))]
    parts += ["## Obedience", _obedience_text(), _table(obedience_rows(results["obedience"]))]
    parts += ["## Proposals", shown.get("control_proposals.png", ""), *_proposal_parts(results["proposals"])]
    if results["calibration"]:
        parts += ["## Calibration", shown.get("control_calibration.png", ""), _calibration_text(results["calibration"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def findings(results: dict[str, Any]) -> list[str]:
    """The sentences that the figures warrant."""
    lines = []
    group = "all" if "all" in results["curves"] else next(iter(results["curves"]))
    entry = results["curves"][group]
    if "goal_share.ciede2000" in entry["users"]["random"]:
        lines.append(_goal_sentence(entry["users"]))
    if "suggestions" in entry["users"]:
        lines += _suggestion_sentences(entry, results["counts"])
    if "gmic" in entry["users"]:
        lines.append(_rival_sentence(entry, results))
    else:
        lines.append(f"{RIVAL_NAME}: not compared, {results['rival']['skipped']}.")
    lines += _obedience_sentences(results["obedience"])
    if "reason" in results["proposals"]:
        lines.append(results["proposals"]["reason"])
    lines += [f"The engine `{e}` was not measured: {why}" for e, why in results["proposals"]["skipped"].items()]
    if results["calibration"]:
        lines.append(_calibration_sentence(results["calibration"]))
    return lines


def _preamble(results: dict[str, Any]) -> str:
    data, bootstrap = results["data"], results["bootstrap"]
    return (
        f"Made by `{_COMMAND}`: model {results['model']}, {data['num_pictures']} pictures of {data['name']} / "
        f"{data['split']} ({data['num_proposal_pictures']} of them for the proposals), chosen by a hash. Judged is the "
        "finished picture where the true one is painted (L < 97 or C > 5); `flats` are its colours alone where the "
        "drawing has no line, which is all that hints can change. In brackets: 95 % bootstrap intervals over "
        f"pictures ({bootstrap['samples']} samples). A simulated user knows the true picture and paints dots of "
        f"1/128 of its longest side in its colours. One {'; the other '.join(USERS.values())}. {RIVAL_NAME} gets the "
        "hints of the first, and leaves a picture white without any."
    )


def _goal_sentence(users: dict[str, dict[str, Entry]]) -> str:
    parts = []
    for metric, where in (("ciede2000", "of the picture"), ("flats", "of the colours where there is no line")):
        for user, places in (("random", "random"), ("suggestions", "suggested")):
            share = users.get(user, {}).get(f"goal_share.{metric}")
            if share is not None and share["value"] is not None:
                met = "met" if share["value"] <= GOAL_SHARE else "missed"
                parts.append(f"{where} {_percent(share)} at {places} places ({met})")
    return (
        f"With {GOAL_HINTS} hints CIEDE2000 is at this share of that without (goal: at most {GOAL_SHARE:.0%}): "
        f"{'; '.join(parts)}."
    )


def _suggestion_sentences(entry: dict[str, Any], counts: Sequence[int]) -> list[str]:
    lines, users = [], entry["users"]
    for share in SHARES:
        random, following = (users[user][f"strokes_to.{share:g}"] for user in ("random", "suggestions"))
        lines.append(
            f"To bring CIEDE2000 down to {share:.0%} of that without hints, users who follow suggestions need "
            f"{_strokes(following, counts)} strokes, users who click at random {_strokes(random, counts)}."
        )
    differences = entry["differences"]["suggestions"]
    lines.append(_verdicts("Suggested places against random ones", differences, counts, sign=-1))
    return lines


def _rival_sentence(entry: dict[str, Any], results: dict[str, Any]) -> str:
    name = f"Against {RIVAL_NAME} {results['rival']['version']} with the same hints"
    return _verdicts(name, entry["differences"]["gmic"], results["counts"], sign=1)


def _verdicts(subject: str, differences: dict[str, Entry], counts: Sequence[int], *, sign: int) -> str:
    """For which numbers of hints the difference is settled, and how; `sign` 1: below zero is better."""
    verdicts: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for count in counts:
        low, high = (differences[f"ciede2000.{count}"][end] for end in ("low", "high"))
        if low is None or low == high == 0:  # nothing to compare: no hint, the same picture
            continue
        settled = high < 0 or low > 0
        verdicts["undecided" if not settled else "better" if sign * high < 0 else "worse"].append(str(count))
    said = [f"{verdict} with {', '.join(which)}" for verdict, which in verdicts.items() if which]
    return f"{subject}, by the paired difference of CIEDE2000: {'; '.join(said)} hints."


def _obedience_sentences(obedience: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    if (probe := obedience.get("probe")) is not None:
        lines.append(
            f"A hint in a colour that the model would not choose is within CIEDE2000 {OBEYED:g} on "
            f"{_percent(probe['within'])} of its own pixels (exactly its colour on {_percent(probe['exact'])}) and on "
            f"{_percent(probe['reach'])} of its region; {_percent(probe['leak_rate'])} of the paper outside takes its "
            "colour."
        )
    return lines


def _calibration_sentence(calibration: dict[str, Any]) -> str:
    before, after = (calibration[name]["ece"] for name in ("raw", "calibrated"))
    if calibration["temperature"] == 1:
        return (
            f"Probabilities are as the network says them (temperature 1): calibration error {figure_text(before, 3)}."
        )
    return (
        f"Calibration error {figure_text(before, 3)} as the network says it, {figure_text(after, 3)} with the "
        f"temperature {calibration['temperature']:g}, which was fitted on held-out training pictures."
    )


def curve_rows(entry: dict[str, Any], results: dict[str, Any]) -> list[list[str]]:
    """A row for each number of hints: the figures of each user."""
    names = {"random": "random", "suggestions": "suggested", "gmic": RIVAL_NAME}
    users = entry["users"]
    columns = {"ciede2000": "dE00 {} ↓", "flats": "dE00 of flats {} ↓", "psnr": "PSNR {} ↑"}
    rows = [["hints", *(title.format(names[user]) for title in columns.values() for user in users)]]
    for count in results["counts"]:
        cells = [figure_text(users[u][f"{m}.{count}"], 2) for m in columns for u in users]
        rows.append([str(count), *cells])
    return rows


def obedience_rows(obedience: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A row for each number of hints, and one for the hint in a foreign colour."""
    rows = [["hints", f"within {OBEYED:g} ↑", "exact ↑", "mean dE00 ↓", "max dE00 ↓", "region reached ↑", "leak ↓"]]
    for name, entry in obedience.items():
        shown = "1, foreign colour" if name == "probe" else name
        cells = [_percent(entry["within"]), _percent(entry["exact"]), figure_text(entry["difference"], 2)]
        cells += [figure_text(entry["largest"], 1), _percent(entry.get("reach")), _percent(entry.get("leak_rate"))]
        rows.append([shown, *cells])
    return rows


def _obedience_text() -> str:
    return (
        "Of the pixels that hints cover, on paper and on the hint's side of every line: how far the colour layer is "
        "from the hint (of hints that overlap, the last). The foreign colour is one that is far from what the model "
        "would paint. Its region is the paper that lines enclose (4-connected, no gap bridged) and that is one region "
        f"for the painter too. Leak: of the paper outside that was farther than CIEDE2000 {FOREIGN:g} from the hint's "
        f"colour without the hint, the share that is within {TAKEN:g} of it with it."
    )


def _proposal_parts(proposals: dict[str, Any]) -> list[str]:
    rows = [["", *(f"`{engine}`" for engine in proposals["engines"])]]
    if "differences" in proposals:
        rows[0].append("difference, paired")
    arrows = {"higher": " ↑", "lower": " ↓", "one": " → 1"}
    for name, statistic in proposal_statistics("", proposals["num_proposals"]).items():
        entries = [entry[name] for entry in proposals["engines"].values()]
        if "differences" in proposals:
            entries.append(proposals["differences"][name])
        rows.append([statistic.label + arrows[statistic.better], *(figure_text(entry, 2) for entry in entries)])
    text = (
        "The first proposal of `classes` is the plain answer, that of `flow` a draw like the others; chroma, "
        "unevenness and the mean are of the others. Time is wall clock on one thread, other pictures running beside."
    )
    return [text, _table(rows)] if proposals["engines"] else []


def _calibration_text(calibration: dict[str, Any]) -> str:
    shown = {"raw": "as the network says it"}
    if calibration["temperature"] != 1:
        shown["calibrated"] = f"temperature {calibration['temperature']:g}"
    rows = [["", *shown.values()]]
    for name, label in (("ece", "calibration error ↓"), ("nll", "NLL (nats) ↓")):
        rows.append([label, *(figure_text(calibration[which][name], 3) for which in shown)])
    text = (
        "The distribution of a pixel is that of its region, as uncertainty and colour suggestions show it; judged on "
        "all paper pixels."
    )
    return f"{text}\n\n{_table(rows)}"


def _strokes(entry: Entry, counts: Sequence[int]) -> str:
    if entry["value"] is None:
        return f"more than {max(counts)}"
    return figure_text(entry, 1)


def _percent(entry: Entry | None) -> str:
    if not entry or entry["value"] is None:
        return "–"
    digits = 2 if 0 < entry["value"] < 0.01 else 1
    text = f"{100 * entry['value']:.{digits}f} %"
    if entry.get("low") is None or entry["low"] == entry["high"]:
        return text
    return f"{text} ({100 * entry['low']:.{digits}f} to {100 * entry['high']:.{digits}f})"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))
