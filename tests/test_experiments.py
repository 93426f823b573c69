"""The experiments: one difference at a time, verdicts that follow from intervals, runs that are never repeated."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("accelerate", reason="the extra 'train' is not installed")

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from sketch_colorizer.training import experiments
from sketch_colorizer.training.claims import CONFIRMED, MIXED, REFUTED, UNDECIDED, is_better, lifts, outcome, verdicts
from sketch_colorizer.training.experiment_figures import _groups, gather
from sketch_colorizer.training.experiment_report import markdown, write_experiments
from sketch_colorizer.training.experiments import DONE, Plan, Run, filter_correlations, run_all, temperature_curve
from sketch_colorizer.training.folder_lock import only_worker

PLAN = Path(__file__).parents[1] / "scripts" / "experiments.yaml"
SMALL = {"widths": [8, 12, 16], "encoder_depths": [1, 1, 1], "decoder_depths": [1, 1], "bins_per_channel": 4}


def _encoded(picture: Image.Image) -> dict:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for split, count in (("train", 60), ("validation", 6)):
        rows = []
        for number in range(count):
            color = tuple(int(c) for c in np.random.default_rng(number).integers(30, 230, 3))
            picture, lines = Image.new("RGB", (48, 40), "white"), Image.new("L", (48, 40), 255)
            ImageDraw.Draw(picture).ellipse((6, 6, 40, 34), fill=color, outline="black", width=2)
            ImageDraw.Draw(lines).ellipse((6, 6, 40, 34), outline=0, width=2)
            line_art = _encoded(lines) if number % 2 else None
            rows.append({"image": _encoded(picture), "line_art": line_art, "path": f"{split}/{number}"})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def plan(corpus, tmp_path_factory) -> Plan:
    """The project's own plan with tiny networks, four steps and two seeds."""
    settings = yaml.safe_load(PLAN.read_text())
    recipe = {"image_size": 32, "batch_size": 4, "max_steps": 4, "warmup_steps": 1, "num_workers": 0, "num_threads": 1}
    recipe |= {"checkpoint_every": 2, "evaluate_every": 4, "mixed_precision": "no"}
    settings["budgets"] = {"cpu": {"recipe": recipe, "seeds": [0, 1], "pictures": 4, "curve_pictures": 2}}
    settings["temperatures"] = {"systems": ["b"], "values": [0.0, 1.0]}
    for entry in settings["systems"].values():
        entry["config"] = {**SMALL, **entry["config"]}
    return Plan(settings, "cpu", str(corpus), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def trained(plan) -> list[Run]:
    runs = plan.runs(["a", "b"])
    for run in runs:
        run.work(workers=1)
    return runs


@pytest.mark.parametrize("budget", ["cpu", "gpu"])
def test_every_system_of_the_shipped_plan_is_a_valid_recipe_and_differs_in_its_system_alone(budget):
    plan = Plan.load(PLAN, budget=budget, data="corpus", folder="runs")
    recipes = {run.system: run.recipe() for run in plan.runs() if run.seed == 0}
    assert sorted(recipes) == list("abcdefghi")
    for recipe in recipes.values():
        assert {line.partition(":")[0] for line in recipe.differences(recipes["d"])} <= {"model", "preset", "config"}
    changes = {
        "cb": {"rebalancing"},
        "dc": {"color_space"},
        "ed": {"color_cost_weight"},
        "gf": {"color_cost_weight"},
        "hd": {"output_stride"},
        "id": {"num_neighbors"},
        "fd": set(),
        "ge": set(),
    }
    for (first, second), keys in changes.items():
        ours, theirs = recipes[first].config.items(), recipes[second].config.items()
        assert {key for key, _ in ours ^ theirs} == keys, f"{first} against {second}"
    assert {name for name, recipe in recipes.items() if recipe.preset == "poster"} == set("abcdehi")
    assert [name for name, recipe in recipes.items() if recipe.model == "regression"] == ["a"]


def test_the_small_budget_leaves_the_page_of_the_first_alone():
    names = {
        budget: Plan.load(PLAN, budget=budget, data="corpus", folder="runs").report_name for budget in ("cpu", "small")
    }
    assert names == {"cpu": "experiments", "small": "experiments-small"}


def test_an_unknown_budget_or_system_is_one_clear_error(plan):
    with pytest.raises(ValueError, match="must be one of cpu, small, gpu, got 'tpu'"):
        Plan.load(PLAN, budget="tpu", data="corpus", folder="runs")
    with pytest.raises(ValueError, match="no system z; there are a, b, c"):
        plan.runs(["z"])


def _difference(value: float) -> dict:
    return {"value": value, "low": value - 1, "high": value + 1}


@pytest.mark.parametrize("value", [-3.0, -0.5, 0.0, 0.5, 3.0])
def test_an_outcome_follows_from_the_interval_and_turns_with_it(value):
    turned = {"better": "worse", "worse": "better", "undecided": "undecided"}
    assert outcome("higher", _difference(value), None) == outcome("lower", _difference(-value), None)
    assert outcome("higher", _difference(-value), None) == turned[outcome("higher", _difference(value), None)]
    assert (outcome("higher", _difference(value), None) == "undecided") == (abs(value) <= 1)
    assert outcome("one", _difference(99.0), _difference(value)) == outcome("lower", _difference(value), None)


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (("better", "undecided"), CONFIRMED),
        (("worse", "undecided"), REFUTED),
        (("better", "worse"), MIXED),
        (("undecided", "undecided"), UNDECIDED),
    ],
)
def test_a_claim_over_several_metrics_is_settled_by_all_of_them(outcomes, verdict):
    pair = {
        m: {"difference": _difference(0.0), "outcome": word} for m, word in zip(("auc", "nll"), outcomes, strict=True)
    }
    judge = is_better("d", "c", ("auc", "nll"))
    assert judge({"pairs": {"d-c": pair}, "systems": {}})[0] == verdict
    assert judge({"pairs": {}, "systems": {}}) is None


def test_more_chroma_is_a_lift_even_where_it_is_too_much():
    pair = {"chroma_ratio": {"difference": _difference(3.0), "outcome": "worse"}}
    systems = {name: {"chroma_ratio": _difference(value)} for name, value in (("d", 1.0), ("e", 4.0))}
    assert lifts("chroma_ratio", "e", "d")({"pairs": {"e-d": pair}, "systems": systems})[0] == CONFIRMED


def test_equal_filters_correlate_fully_and_the_random_start_is_told_apart():
    generator = torch.Generator().manual_seed(0)
    before, learnt = torch.randn(3, 64, generator=generator), torch.randn(1, 64, generator=generator)
    correlations = filter_correlations(before, before + learnt)
    assert correlations["learnt"] == pytest.approx([1, 1, 1], abs=1e-5)
    assert all(abs(r) < 0.5 for r in correlations["start"])


def test_processes_run_side_by_side_and_the_failed_ones_are_named(tmp_path):
    code = {"good": "print('fine')", "bad": "raise SystemExit('broken')"}
    commands = ((name, [sys.executable, "-c", text], tmp_path / name / "log.txt") for name, text in code.items())
    assert run_all(commands, jobs=2) == ["bad"]
    assert (tmp_path / "good" / "log.txt").read_text() == "fine\n"
    assert "broken" in (tmp_path / "bad" / "log.txt").read_text()


def test_a_run_that_is_done_is_not_repeated_and_a_killed_one_goes_on(plan, trained, monkeypatch, tmp_path):
    done = trained[0].folder / DONE
    before = done.stat().st_mtime_ns
    trained[0].work()
    assert done.stat().st_mtime_ns == before

    def killed(*_, **__):
        raise KeyboardInterrupt

    again = Run(replace(plan, folder=tmp_path), trained[0].system, trained[0].seed)
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            again.work(workers=1)
    assert not again.is_done
    again.work(workers=1)
    assert again.is_done
    first, second = (folder / "final" / "model.safetensors" for folder in (trained[0].folder, again.folder))
    assert first.read_bytes() == second.read_bytes()


def test_no_two_processes_work_on_one_run(plan, tmp_path):
    run = Run(replace(plan, folder=tmp_path), "a", 0)
    with only_worker(run.folder, "taken"), pytest.raises(ValueError, match="another process works in"):
        run.work()


def test_everything_that_is_done_comes_into_the_report(plan, trained, tmp_path):
    results = gather(plan, temperatures={"b": temperature_curve(plan, "b", workers=1)}, samples=50)
    assert list(results["systems"]) == ["a", "b"]
    assert results["budget"]["seeds"] == [0, 1]
    assert set(results["groups"]) == {"all", "real", "extracted"}
    assert list(results["groups"]["all"]["pairs"]) == ["b-a"]
    assert "nll" not in results["groups"]["all"]["pairs"]["b-a"]
    claims = [claim["claim"] for claim in results["claims"]["all"]]
    assert len(claims) == 3
    assert claims[1].startswith("The last filters")
    page = write_experiments(results, tmp_path).read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "experiments-figures.png",
        "experiments-differences.png",
        "experiments-temperatures.png",
    }
    assert all(words in page for words in claims)
    assert "steps of 4 samples of 32 pixels" in page
    assert results["claims"]["all"] == verdicts(results, "all")
    assert markdown(results) in page or markdown(results).splitlines()[0] in page


def test_seeds_that_agree_leave_the_figures_as_one_seed_has_them(plan, trained):
    from sketch_colorizer.training.evaluation import read_earlier

    one = trained[0].folder / "evaluation"
    rows, facts = read_earlier(one, yaml.safe_load((one / "results.json").read_text())["data"]["fingerprint"])
    about = {"a": {"color_space": facts["color_space"]}}
    single, twice = (_groups({"a": [rows] * count}, about, samples=40, seed=0)["all"] for count in (1, 2))
    for metric, entry in single["systems"]["a"].items():
        assert entry == pytest.approx(twice["systems"]["a"][metric], nan_ok=True), metric
