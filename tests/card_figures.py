"""Figures such as an evaluation and a training would write, invented, for tests of the model card."""

import itertools
from typing import Any

METRICS = ("auc_balanced", "ciede2000", "chroma_ratio", "colorfulness_ratio")


def invented_evaluation(*, kind: str = "classification") -> dict[str, Any]:
    """A results.json of the model "tiny" beside a regression model and both baselines; no figure is there twice."""
    numbers = itertools.count(1)

    def interval() -> dict[str, float]:
        value = 0.5 + 0.0131 * next(numbers)
        return {"value": value, "low": value - 0.0077, "high": value + 0.0059}

    def group() -> dict[str, Any]:
        figures = {"picture_painted": {metric: interval() for metric in METRICS}, "num_pictures": 200 + next(numbers)}
        return figures | {"drawing": {"black_lost": interval()}}

    def compared() -> dict[str, Any]:
        return {"picture_painted": {metric: {"difference": interval(), "ratio": interval()} for metric in METRICS}}

    groups, others = ("real", "extracted", "all"), ("mean-seeker", "white", "mean")
    classifies = kind == "classification"
    facts = {
        "kind": kind,
        "parameters": 2345678,
        "style": "flat",
        "temperature": 0.41 if classifies else None,
        "guidance": 1.7 if classifies else None,
        "sharing": 0.035 if classifies else None,
        "working_size": 272,
        "color_space": "lch" if classifies else None,
        "num_bins": 513 if classifies else None,
    }
    return {
        "schema": 1,
        "created": "2031-02-03T04:05:06+00:00",
        "model": "tiny",
        "versions": {"sketch-colorizer": "9.8.7", "torch": "2.98.1", "transformers": "5.97.2"},
        "data": {"name": "corpus", "split": "validation", "fingerprint": "c0ffee0123456789", "num_pictures": 633},
        "bootstrap": {"samples": 2000, "seed": 0, "level": 0.95},
        "headline": "picture_painted",
        "facts": {
            "tiny": facts,
            "mean-seeker": {"kind": "regression", "temperature": None},
            "white": {"kind": "baseline"},
            "mean": {"kind": "baseline"},
        },
        "systems": {name: {"groups": {key: group() for key in groups}} for name in ("tiny", *others)},
        "comparisons": {name: {"groups": {key: compared() for key in groups}} for name in others},
    }


def invented_training() -> dict[str, Any]:
    """What scripts/summarize_training.py writes about two runs."""
    runs = [
        {
            "name": "small",
            "image_size": 96,
            "collage_share": 0.0,
            "steps": 4321,
            "echo": 1,
            "samples": 69136,
            "seconds": 3456.0,
        },
        {
            "name": "large",
            "image_size": 224,
            "collage_share": 0.35,
            "steps": 987,
            "echo": 3,
            "samples": 15792,
            "seconds": 7654.0,
        },
    ]
    return {
        "num_pictures": 7123,
        "num_line_art": 2876,
        "machines": [
            {"hardware": "a pocket calculator", "watts": 37.0, "seconds": 3456.0},
            {"hardware": "an abacus", "watts": 12.0, "seconds": 7654.0},
        ],
        "seconds": 11110.0,
        "kilowatt_hours": 0.061,
        "runs": runs,
    }
