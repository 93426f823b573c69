"""Writes README's figures from docs/benchmarks.json and docs/evaluation.json, between two markers.

    python scripts/update_readme.py            # write them
    python scripts/update_readme.py --check    # end with 1 where README does not show what the files say

docs/benchmarks.json is what scripts/benchmark_colorize.py writes; docs/evaluation.json is the results.json of
`sketch-colorizer evaluate` for the embedded model.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START, END = "<!-- figures:start -->", "<!-- figures:end -->"
GROUPS = {"real": "the artists' own lines", "extracted": "extracted lines"}
METRICS = {  # metric -> heading, digits
    "auc_balanced": ("class-balanced AuC ↑", 3),
    "ciede2000": ("CIEDE2000 ↓", 1),
    "chroma_ratio": ("chroma ratio → 1", 2),
    "colorfulness_ratio": ("colourfulness ratio → 1", 2),
    "histogram_distance": ("histogram distance ↓", 2),
}
SYSTEMS = {  # filled in from the evaluation's facts
    "careful": "this model, `--temperature {temperature:g} --guidance {guidance:g}`",
    "regression": "regression in the same network",
    "base": "a larger network ({millions:.0f} M parameters, not shipped)",
    "white": "leave it white",
    "mean": "one mean colour",
}
CASES = {
    "512x512": "a drawing of 512x512, from file to written PNG",
    "3840x2160": "the same, 3840x2160",
    "3840x2160 psd": "the same to a PSD with its layers",
    "3840x2160 ora": "the same to an OpenRaster file",
    "8000x6000": "the same, 8000x6000",
    "cold": "`sketch-colorizer colorize` of one file, from nothing",
}


def main() -> None:
    """Update README, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 where README is out of date")
    arguments = parser.parse_args()
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = with_figures(old, figures(read("evaluation"), read("benchmarks")))
    if arguments.check and new != old:
        sys.exit("README.md is out of date: run python scripts/update_readme.py")
    if new != old:
        readme.write_text(new)
        print("README.md updated")


def read(name: str) -> dict[str, Any]:
    """One of the two files of figures."""
    path = ROOT / "docs" / f"{name}.json"
    if not path.is_file():
        sys.exit(f"{path} does not exist; the docstring of {Path(__file__).name} says what writes it")
    return json.loads(path.read_text())


def with_figures(text: str, block: str) -> str:
    """The text with `block` between the markers; ValueError where they are not there once and in order."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"README.md needs one {START} and, after it, one {END}")
    before, rest = text.split(START)
    return f"{before}{START}\n{block}\n{END}{rest.split(END)[1]}"


def figures(evaluation: dict[str, Any], benchmarks: dict[str, Any]) -> str:
    """Both tables as Markdown."""
    return "\n\n".join((quality(evaluation), speed(benchmarks)))


def quality(evaluation: dict[str, Any]) -> str:
    """How good: every system on both kinds of line art, headline figures with intervals."""
    data, view = evaluation["data"], evaluation["headline"]
    lines = [
        f"Measured on {data['num_pictures']} pictures that no model was trained on, where they are painted; in "
        "brackets 95 % intervals over pictures.",
        "",
        "| drawings | colours by | " + " | ".join(heading for heading, _ in METRICS.values()) + " |",
        "|---|---|" + "---:|" * len(METRICS),
    ]
    for group, description in GROUPS.items():
        for name, entry in evaluation["systems"].items():
            label = "**this model**" if name == evaluation["model"] else describe(name, evaluation["facts"][name])
            cells = [interval(entry["groups"][group][view][metric], digits) for metric, (_, digits) in METRICS.items()]
            lines.append(f"| {description} | {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(name: str, facts: dict[str, Any]) -> str:
    """What a system is, in words."""
    return SYSTEMS.get(name, name).format(**facts, millions=facts.get("parameters", 0) / 1e6)


def interval(figure: dict[str, float], digits: int) -> str:
    """A figure with its interval."""
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f}–{figure['high']:.{digits}f})"


def speed(benchmarks: dict[str, Any]) -> str:
    """How fast: medians and peak memory, and what the network does of it."""
    machine, cases = benchmarks["machine"], benchmarks["cases"]
    lines = ["| what | median | peak memory |", "|---|---:|---:|"]
    for case, description in CASES.items():
        if case in cases:
            lines.append(f"| {description} | {cases[case]['seconds']:.2f} s | {cases[case]['peak_gb']:.2f} GB |")
    notes = [f"On {machine['threads']} threads ({machine['processor']}), torch {machine['torch']}, no GPU."]
    if "cold" in cases:
        alone, share = cases["cold"]["seconds_import_torch"], cases["cold"]["share_torch_modules"]
        notes.append(
            f"Of the cold start, importing torch takes {alone:.2f} s; all parts of it that are loaded, {share:.0%}."
        )
    if "network" in cases:
        network = cases["network"]
        notes.append(
            f"The network ({network['parameters'] / 1e6:.2f} M parameters) does {network['gflop']:.1f} GFLOP, "
            f"at {network['share_of_matrix_rate']:.0%} of the fp32 matrix rate measured on the same machine."
        )
    return "\n".join([*lines, "", " ".join(notes)])


if __name__ == "__main__":
    main()
