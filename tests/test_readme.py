"""README's figures are those of the measurements beside it, and the tool that writes them does only that."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def update_readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("update_readme", ROOT / "scripts" / "update_readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _evaluation() -> dict:
    metrics = ("auc_balanced", "ciede2000", "chroma_ratio", "colorfulness_ratio", "histogram_distance")
    view = {metric: {"value": 0.5 + i / 10, "low": 0.4, "high": 0.9} for i, metric in enumerate(metrics)}
    groups = {group: {"picture_painted": view} for group in ("real", "extracted")}
    facts = {"net": {}, "white": {}, "mean": {}, "careful": {"temperature": 1.0, "guidance": 1.5}}
    return {
        "model": "net",
        "headline": "picture_painted",
        "data": {"num_pictures": 636},
        "facts": facts,
        "systems": {name: {"groups": groups} for name in facts},
    }


def _benchmarks() -> dict:
    case = {"seconds": 0.1234, "peak_gb": 0.567}
    network = {"parameters": 4_731_456, "gflop": 3.21, "share_of_matrix_rate": 0.456}
    cold = {**case, "seconds_import_torch": 2.5, "share_torch_modules": 0.45}
    cases = {"512x512": case, "cold": cold, "network": network}
    return {"machine": {"threads": 2, "processor": "CPU", "torch": "2.13"}, "cases": cases}


def test_figures_stand_in_the_block(update_readme):
    block = update_readme.figures(_evaluation(), _benchmarks())
    for expected in (
        "636 pictures",
        "0.500 (0.400–0.900)",
        "leave it white",
        "--guidance 1.5`",
        "| 0.12 s | 0.57 GB |",
        "4.73 M",
        "46%",
    ):
        assert expected in block
    rows = [line for line in block.splitlines() if line.startswith("|")]
    tables = {line.count("|") for line in rows}
    assert len(tables) == 2  # each table keeps its number of columns


def test_only_the_block_between_the_markers_changes(update_readme):
    text = f"before\n{update_readme.START}\nold\n{update_readme.END}\nafter\n"
    new = update_readme.with_figures(text, "new")
    assert new == text.replace("old", "new")
    assert update_readme.with_figures(new, "new") == new


@pytest.mark.parametrize("text", ["no markers", "<!-- figures:end --><!-- figures:start -->", "<!-- figures:start -->"])
def test_missing_or_swapped_markers_are_refused(update_readme, text):
    with pytest.raises(ValueError, match="needs one"):
        update_readme.with_figures(text, "new")


def test_readme_shows_what_was_measured(update_readme):
    readme, files = (
        (ROOT / "README.md").read_text(),
        [ROOT / "docs" / f"{n}.json" for n in ("evaluation", "benchmarks")],
    )
    if not any(file.is_file() for file in files):
        pytest.skip("nothing was measured yet: docs/evaluation.json and docs/benchmarks.json are missing")
    evaluation, benchmarks = (json.loads(file.read_text()) for file in files)
    assert update_readme.with_figures(readme, update_readme.figures(evaluation, benchmarks)) == readme
