"""Laws of the model card: it says what was measured and nothing else, and the Hub can read its front matter."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from card_figures import invented_evaluation, invented_training
from conftest import draw
from huggingface_hub import ModelCard
from local_hub import card_errors
from PIL import Image

from sketch_colorizer.model_card import render_model_card

ROOT = Path(__file__).parents[1]
TEMPLATE = (ROOT / "hub_cards" / "model_card.md").read_text()


def _render(evaluation: dict | None = None, training: dict | None = None, **settings: Any) -> str:
    evaluation, training = evaluation or invented_evaluation(), training or invented_training()
    return str(render_model_card(TEMPLATE, evaluation, training, **settings))


class Recorded(dict):
    """Entries that note which of their leaves were read."""

    def __init__(self, entries: dict, read: list[tuple[str | int, ...]], *path: str | int) -> None:
        self.read, self.path = read, path
        super().__init__({key: self._wrap(value, *path, key) for key, value in entries.items()})

    def _wrap(self, value: Any, *path: str | int) -> Any:
        if isinstance(value, list):
            return [self._wrap(entry, *path, index) for index, entry in enumerate(value)]
        return Recorded(value, self.read, *path) if isinstance(value, dict) else value

    def get(self, key: str) -> Any:
        if not isinstance(self[key], (dict, list)):
            self.read.append((*self.path, key))
        return self[key]


def _without(entries: dict, path: tuple[str | int, ...], *, null: bool) -> dict:
    entries = copy.deepcopy(entries)
    parent = entries
    for key in path[:-1]:
        parent = parent[key]
    if null:
        parent[path[-1]] = None
    else:
        del parent[path[-1]]
    return entries


@pytest.fixture(scope="module")
def shown() -> list[tuple[str, tuple[str | int, ...]]]:
    """The file and the place of every figure that the card shows."""
    read = {"evaluation": [], "training": []}
    sources = {"evaluation": invented_evaluation(), "training": invented_training()}
    _render(**{name: Recorded(entries, read[name]) for name, entries in sources.items()})
    return [(name, path) for name, paths in read.items() for path in dict.fromkeys(paths)]


def test_the_card_shows_every_system_with_its_intervals(shown):
    for system in ("tiny", "mean-seeker", "white", "mean"):
        for group in ("real", "extracted"):
            for end in ("value", "low", "high"):
                place = ("systems", system, "groups", group, "picture_painted", "auc_balanced", end)
                assert ("evaluation", place) in shown


@pytest.mark.parametrize("null", [False, True])
def test_a_figure_that_is_missing_is_named(shown, null):
    sources = {"evaluation": invented_evaluation(), "training": invented_training()}
    for name, path in shown[3 * null :: 9]:
        with pytest.raises(ValueError, match=re.escape(".".join(map(str, path)))) as caught:
            _render(**{name: _without(sources[name], path, null=null)})
        assert "\n" not in str(caught.value)


def test_every_number_of_the_card_comes_from_the_files():
    """Other measurements, other numbers: none is written into the template but those that define or date something."""
    prose = re.sub(r"{%.*?%}|{{.*?}}", "", TEMPLATE.split("## Data, licences and credits")[0], flags=re.DOTALL)
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    terms = "L < 97, C > 5, CIEDE2000, AuC over 0 to 150, the ideal 1, plates of 1865 to 1922, CO2, float32"
    assert set(re.findall(r"\d+", prose)) <= set(re.findall(r"\d+", terms))


def test_the_figures_stand_where_they_belong():
    evaluation = invented_evaluation()
    card = _render(evaluation)
    figure = evaluation["systems"]["tiny"]["groups"]["extracted"]["picture_painted"]["ciede2000"]
    row = re.search(r"extracted from the picture.*?\| \*\*this model\*\* \|(.*?)\n", card, re.DOTALL)[1]
    assert row.split("|")[1].strip() == f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"
    difference = evaluation["comparisons"]["white"]["groups"]["real"]["picture_painted"]["auc_balanced"]["difference"]
    assert f"| from leave it white | +{difference['value']:.4f} (" in card
    assert "7,123 pictures, 2,876 of them" in card
    assert "| large | 224 | 35 % | 987 | 15,792 | 3 times | 128 |" in card
    assert "- a pocket calculator: 58 minutes, taking about 37 W" in card
    assert "- an abacus: 128 minutes, taking about 12 W" in card
    assert "about 0.06 kWh" in card


def test_negative_differences_keep_their_sign():
    evaluation = invented_evaluation()
    compared = evaluation["comparisons"]["mean"]["groups"]["real"]["picture_painted"]["ciede2000"]
    compared["difference"] = {"value": -1.25, "low": -2.0, "high": 0.5}
    assert "−1.25 (−2.00 to +0.50)" in _render(evaluation)


def test_tables_are_tables():
    """Each table is one block: header, ruler, and rows with as many cells."""
    for table in re.findall(r"(?:^\|.*\|\n)+", _render(), re.MULTILINE):
        header, ruler, *rows = table.splitlines()
        assert re.fullmatch(r"\|(:?-+:?\|)+", ruler.replace(" ", ""))
        assert rows
        assert {line.count("|") for line in rows} == {header.count("|")} == {ruler.count("|")}
    assert "\n\n\n" not in _render()


def test_the_front_matter_is_what_the_hub_expects():
    evaluation = invented_evaluation()
    card = ModelCard(_render(evaluation, datasets=["user/pictures"]))
    assert card_errors(card.content) == []
    assert card.data.license == "cc-by-sa-4.0"
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "image-to-image")
    assert card.data.datasets == ["user/pictures"]
    figures = {(r.dataset_config, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert len(figures) == 8
    value = evaluation["systems"]["tiny"]["groups"]["real"]["picture_painted"]["chroma_ratio"]["value"]
    assert figures["real", "chroma_ratio"] == pytest.approx(value, abs=1e-4)
    index = card.data.to_dict()["model-index"][0]["results"]
    assert [len(result["metrics"]) for result in index] == [4, 4]


def test_without_a_data_set_on_the_hub_none_is_named():
    assert "datasets" not in ModelCard(_render()).data.to_dict()


def test_a_regression_model_has_a_card_too():
    card = _render(invented_evaluation(kind="regression"))
    assert "squared error" in card
    assert "bins of" not in card
    assert "temperature" not in card


def test_a_plot_is_shown_where_there_is_one():
    assert "](headline.png)" in _render(plot="headline.png")
    assert "![" not in _render()


def test_there_are_three_ways_to_use_it():
    assert len(re.findall(r"```(bash|python)\n.*?user/sketch-colorizer", TEMPLATE, re.DOTALL)) == 3


def test_what_the_evaluator_writes_is_what_the_card_needs(model_folder, tmp_path):
    pytest.importorskip("torchmetrics", reason="the evaluator comes with the extra 'train'")
    datasets = pytest.importorskip("datasets", reason="the evaluator comes with the extra 'train'")
    from sketch_colorizer.training.evaluation import evaluate

    for split in ("train", "validation"):
        noise = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3), np.uint8)
        pictures = [Image.fromarray(pixels) for pixels in noise]
        line_art = [draw(48, 40) if number % 2 else None for number in range(4)]
        table = {"image": pictures, "line_art": line_art, "path": [f"{split}/{number}.png" for number in range(4)]}
        features = {"image": datasets.Image(), "line_art": datasets.Image(), "path": datasets.Value("string")}
        rows = datasets.Dataset.from_dict(table, features=datasets.Features(features))
        rows.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    results = evaluate(str(model_folder), data=str(tmp_path), samples=20, workers=1).results
    assert "**this model**" in _render(json.loads(json.dumps(results)))


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    paths = {"evaluation": tmp_path / "evaluation.json", "training": tmp_path / "training.json"}
    paths["evaluation"].write_text(json.dumps(invented_evaluation()))
    paths["training"].write_text(json.dumps(invented_training()))
    return paths | {"output": tmp_path / "README.md"}


def _command(files: dict[str, Path]) -> subprocess.CompletedProcess:
    options = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    script = ROOT / "scripts" / "render_model_card.py"
    return subprocess.run([sys.executable, script, *options], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command_writes_the_card_or_says_what_is_missing(files):
    done = _command(files)
    assert done.returncode == 0, done.stderr
    assert files["output"].read_text() == _render()
    files["training"].write_text(json.dumps(_without(invented_training(), ("machines", 0, "watts"), null=False)))
    files["output"].unlink()
    failed = _command(files)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "watts" in failed.stderr
    assert not files["output"].exists()
