"""Laws of the evaluator, on a tiny corpus and tiny models: perfect and empty answers, pairing, reports, errors."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip("datasets", reason="the evaluator comes with the extra 'train'")
pytest.importorskip("torchmetrics", reason="the evaluator comes with the extra 'train'")

import pyarrow as pa
import pyarrow.parquet as pq

from sketch_colorizer.configuration_sketch_colorizer import SketchColorizerConfig
from sketch_colorizer.image_processing_sketch_colorizer import SketchColorizerImageProcessor
from sketch_colorizer.modeling_sketch_colorizer import SketchColorizerForClassification, SketchColorizerForRegression
from sketch_colorizer.pipeline_sketch_colorizer import ColorizationPipeline
from sketch_colorizer.training import evaluation as ev
from sketch_colorizer.training.data import load_corpus
from sketch_colorizer.training.decoding import best_point, select_decoding
from sketch_colorizer.training.examples import balance_cells, fingerprint, in_hash_order, mean_color, read_examples
from sketch_colorizer.training.perceptual import PerceptualNetworks, frechet_distance
from sketch_colorizer.training.report import markdown, print_report, write_report
from sketch_colorizer.training.scoring import COLOR_VIEWS, HEADLINE_VIEW
from sketch_colorizer.training.size_shift import drawings_of, measure_size_shift
from sketch_colorizer.training.summary import summarize
from sketch_colorizer.training.systems import (
    Painting,
    System,
    fill_with_mean,
    leave_white,
    pipeline_system,
    true_labels,
)

SIZE, NUM_REAL, NUM_PLAIN = 64, 3, 3
TINY = {"widths": [8, 16], "encoder_depths": [1, 1], "decoder_depths": [1], "attention_head_channels": None}


def _picture(seed: int) -> tuple[Image.Image, Image.Image]:
    """A coloured picture of two filled discs with outlines, and its outlines."""
    generator = np.random.default_rng(seed)
    picture, lines = Image.new("RGB", (SIZE, SIZE + 8), "white"), Image.new("L", (SIZE, SIZE + 8), 255)
    for left in (4, 34):
        box = [left, 10 + int(generator.integers(10)), left + 24, 40 + int(generator.integers(10))]
        color = tuple(int(c) for c in generator.integers(30, 230, 3))
        ImageDraw.Draw(picture).ellipse(box, fill=color, outline="black", width=2)
        ImageDraw.Draw(lines).ellipse(box, outline=0, width=2)
    return picture, lines


def _record(image: Image.Image) -> dict:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _write_split(folder: Path, split: str, seeds: range) -> None:
    rows = []
    for seed in seeds:
        picture, lines = _picture(seed)
        line_art = _record(lines) if seed % 2 else None
        rows.append(
            {"image": _record(picture), "line_art": line_art, "path": f"{split}/{seed}.png", "source": "synthetic"}
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("corpus")
    _write_split(folder, "train", range(100, 104))
    _write_split(folder, "validation", range(NUM_REAL + NUM_PLAIN))
    return str(folder)


@pytest.fixture(scope="module")
def table(corpus):
    return in_hash_order(load_corpus(corpus, "validation"))


def _pipeline(model_class, seed: int = 0) -> ColorizationPipeline:
    torch.manual_seed(seed)
    model = model_class(SketchColorizerConfig(**TINY, bins_per_channel=4))
    return ColorizationPipeline(model, SketchColorizerImageProcessor(working_size=64))


@pytest.fixture(scope="module")
def classifier() -> ColorizationPipeline:
    return _pipeline(SketchColorizerForClassification)


@pytest.fixture(scope="module")
def folders(classifier, tmp_path_factory) -> dict[str, str]:
    """A classification and a regression model, saved."""
    folder = tmp_path_factory.mktemp("models")
    classifier.save_pretrained(folder / "classifier")
    _pipeline(SketchColorizerForRegression).save_pretrained(folder / "regressor")
    return {name: str(folder / name) for name in ("classifier", "regressor")}


@pytest.fixture(scope="module")
def evaluated(corpus, folders):
    return ev.evaluate(folders["classifier"], data=corpus, compare=[folders["regressor"]], samples=100)


@pytest.fixture(scope="module")
def saved(evaluated, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    evaluated.save(folder)
    return folder


def _oracle(table) -> System:
    """A system that knows the truth, told apart by the drawing's bytes."""
    known = {e.drawing.tobytes(): e.truth.picture for row in table for e in read_examples(row)}
    return System("oracle", lambda drawing: Painting(*[known[drawing.tobytes()]] * 2))


@pytest.fixture(scope="module")
def known_answers(table) -> dict:
    """The summary of a perfect answer, of white paper, and of the mean colour."""
    systems = [_oracle(table), leave_white(), fill_with_mean(mean_color(table))]
    scores, _ = ev.run_systems(table, systems, weights=balance_cells(table), show_progress=False)
    return summarize(scores, model="oracle", samples=50)


def _value(summary: dict, system: str, metric: str, *, view: str = HEADLINE_VIEW, group: str = "all") -> float:
    return summary["systems"][system]["groups"][group][view][metric]["value"]


@pytest.mark.parametrize("view", COLOR_VIEWS)
def test_a_perfect_answer_gets_perfect_figures(known_answers, view):
    figures = {
        metric: _value(known_answers, "oracle", metric, view=view) for metric in ("ciede2000", "histogram_distance")
    }
    assert figures == {"ciede2000": 0, "histogram_distance": 0}
    for metric in ("auc", "auc_balanced", "chroma_ratio", "colorfulness_ratio"):
        assert _value(known_answers, "oracle", metric, view=view) == pytest.approx(1)
    assert _value(known_answers, "oracle", "hue_error", view=view) < 0.1
    assert _value(known_answers, "oracle", "psnr", view=view) == 100


def test_a_perfect_answer_beats_the_baselines_and_the_difference_is_settled(known_answers):
    for baseline in ("white", "mean"):
        compared = known_answers["comparisons"][baseline]["groups"]["all"][HEADLINE_VIEW]
        assert compared["auc_balanced"]["difference"]["low"] > 0
        assert compared["ciede2000"]["difference"]["high"] < 0


def test_white_paper_has_no_chroma_no_hue_and_its_lines_stay(known_answers):
    assert _value(known_answers, "white", "chroma_ratio", view="colors_painted") < 0.01
    assert _value(known_answers, "white", "hue_error", view="colors_painted") == pytest.approx(90)
    assert _value(known_answers, "white", "line_error", view="drawing") == 0
    assert _value(known_answers, "white", "black_lost", view="drawing") == 0
    assert _value(known_answers, "white", "unevenness", view="drawing") == 0


def test_colors_are_not_judged_below_the_lines(table):
    def paint(drawing: Image.Image) -> Painting:
        truth = known[drawing.tobytes()]
        colors = np.where(np.asarray(drawing)[..., None] < 200, (255, 0, 255), truth).astype(np.uint8)
        return Painting(truth, colors)

    known = {e.drawing.tobytes(): e.truth.picture for row in table for e in read_examples(row)}
    scores, _ = ev.run_systems(table, [System("s", paint)], weights=balance_cells(table), show_progress=False)
    assert _value(summarize(scores, model="s", samples=5), "s", "ciede2000", view="colors_painted") == 0


def test_groups_hold_the_pictures_that_they_say(known_answers):
    groups = known_answers["systems"]["oracle"]["groups"]
    sizes = {group: figures["num_pictures"] for group, figures in groups.items()}
    assert sizes == {"real": NUM_REAL, "extracted": NUM_PLAIN, "redrawn": NUM_REAL, "all": NUM_REAL + NUM_PLAIN}


def test_scores_do_not_depend_on_the_number_of_workers(table, classifier):
    weights = balance_cells(table)
    few = table.select(range(3))
    one, three = (
        ev.run_systems(few, [pipeline_system(classifier, name="m")], weights=weights, workers=n, show_progress=False)[
            0
        ]["m"]
        for n in (1, 3)
    )
    assert one.keys() == three.keys()
    for key in one:
        for column, score in one[key].items():
            np.testing.assert_allclose(score, three[key][column], rtol=1e-5, atol=1e-5, err_msg=column)


def test_results_are_strict_json_with_every_system_and_group(saved, evaluated):
    def refuse(constant: str):
        raise AssertionError(f"{constant} is no JSON")

    results = json.loads((saved / ev.RESULTS_FILE).read_text(), parse_constant=refuse)
    assert results == evaluated.results
    assert list(results["systems"]) == ["classifier", "regressor", "white", "mean"]
    assert results["facts"]["classifier"]["kind"] == "classification"
    assert results["data"]["mean_color_from"] == "train"
    assert "likelihood_painted" in results["systems"]["classifier"]["groups"]["real"]
    assert "likelihood_painted" not in results["systems"]["regressor"]["groups"]["real"]
    assert set(results["skipped"]) == {"lpips", "fid"}


def test_intervals_hold_their_figures(evaluated):
    for entry in evaluated.results["systems"].values():
        for figure in entry["groups"]["all"][HEADLINE_VIEW].values():
            if isinstance(figure, dict) and figure["low"] is not None:
                assert figure["low"] - 1e-6 <= figure["value"] <= figure["high"] + 1e-6


def test_a_model_compared_with_itself_differs_by_nothing(corpus, folders):
    path = folders["classifier"]
    results = ev.evaluate(path, data=corpus, compare=[f"twin={path}"], limit=2, samples=20).results
    assert results["data"]["fingerprint"] == fingerprint(in_hash_order(load_corpus(corpus, "validation"), 2))
    for view in results["comparisons"]["twin"]["groups"]["all"].values():
        for metric in view.values():
            difference = metric["difference"]
            assert set(difference.values()) <= {0.0, None}


def test_an_earlier_evaluation_stands_in_for_running_the_model_again(corpus, folders, saved, evaluated):
    again = ev.evaluate(folders["regressor"], data=corpus, compare=[str(saved)], samples=100).results
    stored = again["comparisons"]["earlier"]["groups"]["all"][HEADLINE_VIEW]
    for metric, figures in evaluated.results["comparisons"]["regressor"]["groups"]["all"][HEADLINE_VIEW].items():
        there, back = figures["difference"], stored[metric]["difference"]
        mirrored = {"value": -there["value"], "low": -there["high"], "high": -there["low"]}
        assert back == pytest.approx(mirrored, abs=1e-3, rel=1e-4), metric


def test_of_an_earlier_evaluation_the_system_of_the_given_name_counts(corpus, folders, saved, evaluated):
    again = ev.evaluate(folders["regressor"], data=corpus, compare=[f"then={saved}"], samples=100)
    named = ev.evaluate(f"now={folders['regressor']}", data=corpus, compare=[f"regressor={saved}"], samples=100).results
    assert again.results["facts"]["then"] == evaluated.results["facts"][evaluated.results["model"]]
    assert named["facts"]["regressor"] == evaluated.results["facts"]["regressor"]
    figures = named["comparisons"]["regressor"]["groups"]["all"][HEADLINE_VIEW]["ciede2000"]["difference"]
    assert figures["value"] == pytest.approx(0, abs=1e-4)  # the same model, then and now


def test_an_earlier_evaluation_of_other_pictures_is_refused(corpus, folders, saved):
    with pytest.raises(ValueError, match="measured on other pictures"):
        ev.evaluate(folders["regressor"], data=corpus, compare=[str(saved)], limit=2)


def test_a_limit_takes_the_first_pictures_by_hash(table):
    assert in_hash_order(table, 2)["path"][:] == in_hash_order(table)["path"][:2]
    assert in_hash_order(table)["path"][:] != sorted(table["path"])


def test_a_uniform_distribution_has_the_likelihood_of_chance(table):
    pipeline = _pipeline(SketchColorizerForClassification)
    torch.nn.init.zeros_(pipeline.model.head.weight)
    torch.nn.init.zeros_(pipeline.model.head.bias)
    system = pipeline_system(pipeline, name="uniform")
    example = next(iter(read_examples(table[0])))
    row = system.likelihood(system.paint(example.drawing), example.truth.picture)
    assert row["likelihood_whole.nll"] / row["likelihood_whole.cells"] == pytest.approx(math.log(64), abs=1e-4)
    assert 0 < row["likelihood_painted.cells"] < row["likelihood_whole.cells"]


def test_a_certain_and_right_distribution_has_likelihood_one(table):
    pipeline = _pipeline(SketchColorizerForClassification)
    white = pipeline.model.quantizer.encode(torch.tensor([100.0, 0, 0]).view(1, 3, 1, 1))[0][0, 0, 0, 0]
    torch.nn.init.zeros_(pipeline.model.head.weight)
    torch.nn.init.zeros_(pipeline.model.head.bias)
    pipeline.model.head.bias.data[white] = 50.0
    system = pipeline_system(pipeline, name="white")
    blank = Image.new("L", (SIZE, SIZE), 255)
    row = system.likelihood(system.paint(blank), np.full((SIZE, SIZE, 3), 255, np.uint8))
    assert row["likelihood_whole.nll"] == pytest.approx(0, abs=1e-3)
    assert row["likelihood_whole.top1"] == row["likelihood_whole.cells"]
    assert row["likelihood_painted.cells"] == 0


def test_true_labels_are_the_picture_and_nothing_beyond_it():
    picture = np.full((20, 30, 3), (255, 0, 0), np.uint8)
    labels = true_labels(picture, (16, 24), (16, 32))
    assert labels.shape == (1, 3, 16, 32)
    assert labels[..., 24:].isnan().all()
    assert torch.allclose(labels[0, :, 3, 3], torch.tensor([53.24, 80.09, 67.20]), atol=0.1)


def test_a_picture_with_nothing_painted_has_no_painted_figures_and_stops_nothing(table):
    blank = {"image": _record(Image.new("RGB", (40, 40), "white")), "line_art": None, "path": "blank"}
    rows = [blank, table[0]]
    scores, _ = ev.run_systems(rows, [leave_white()], weights=balance_cells(table), show_progress=False)
    summary = summarize(scores, model="white", samples=10)
    assert math.isnan(scores["white"]["extracted:blank"][f"{HEADLINE_VIEW}.ciede2000"])
    assert _value(summary, "white", "ciede2000") > 0


def test_the_report_shows_every_system_and_every_image(evaluated, tmp_path, capsys):
    page = write_report(evaluated, tmp_path).read_text()
    images = sorted(path.name for path in tmp_path.glob("*.png"))
    assert {"headline.png", "calibration.png", "sheet_real_1.png", "sheet_extracted_1.png"} <= set(images)
    assert all(f'src="{image}"' in page for image in images)
    text = (tmp_path / "report.md").read_text()
    assert text == markdown(
        evaluated.results, [line[2:].split("](")[1][:-1] for line in text.splitlines() if line[:2] == "!["]
    )
    print_report(evaluated.results)
    shown = capsys.readouterr().out
    for name in ("classifier", "regressor", "white", "mean"):
        assert name in page
        assert name in text
        assert name in shown


def test_decoding_grid_matches_the_pipeline_and_only_classifiers_have_one(table, classifier):
    own = classifier.model.config.decode_rebalancing
    settings = {"temperatures": (0.0, 0.5), "rebalancings": (0.3, own), "guidances": (2.0,), "show_progress": False}
    chosen, grid = select_decoding(classifier, table, **settings)
    assert chosen in grid
    assert [(p["rebalancing"], p["temperature"]) for p in grid] == [(0.3, 0.0), (0.3, 0.5), (own, 0.0), (own, 0.5)]
    system = pipeline_system(classifier, name="m", temperature=0.5, guidance=2.0)
    scores, _ = ev.run_systems(table, [system], weights=balance_cells(table), show_progress=False)
    direct = summarize(scores, model="m", samples=5)
    assert grid[3]["ciede2000"] == pytest.approx(_value(direct, "m", "ciede2000"), abs=1e-4)
    assert grid[3]["auc_balanced"] == pytest.approx(_value(direct, "m", "auc_balanced"), abs=1e-5)
    with pytest.raises(ValueError, match="classification"):
        select_decoding(_pipeline(SketchColorizerForRegression), table)
    with pytest.raises(ValueError, match="temperatures >= 0"):
        select_decoding(classifier, table, temperatures=[-1.0])


def test_the_best_decoding_has_natural_chroma_before_anything_else():
    faded, natural, gaudy = ({"chroma_ratio": c, "auc_balanced": a} for c, a in ((0.5, 0.9), (1.05, 0.7), (1.4, 0.8)))
    assert best_point([faded, natural, gaudy]) == natural
    assert best_point([faded, gaudy]) == gaudy
    assert best_point([natural, {**natural, "auc_balanced": 0.75}])["auc_balanced"] == 0.75


class _Network(torch.nn.Module):
    """Channel means in the place of a pretrained network, with the calls of the published TorchScript files."""

    def forward(
        self, x: torch.Tensor, resize_images: bool = False, return_lpips: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        return x.float().mean(dim=[2, 3])


def test_lpips_and_fid_are_computed_when_their_networks_are_given(table, tmp_path):
    torch.jit.script(_Network()).save(str(tmp_path / "net.pt"))
    networks = PerceptualNetworks(lpips=tmp_path / "net.pt", inception=tmp_path / "net.pt")
    assert networks.skipped == {}
    systems = [_oracle(table), leave_white()]
    scores, _ = ev.run_systems(table, systems, weights=balance_cells(table), networks=networks, show_progress=False)
    summary = summarize(scores, model="oracle", samples=5)
    for metric in ("lpips", "fid"):
        assert _value(summary, "oracle", metric, view="picture_whole") == pytest.approx(0, abs=1e-3)
        assert _value(summary, "white", metric, view="picture_whole") > 1


def test_frechet_distance_of_gaussians_agrees_with_the_formula():
    generator = np.random.default_rng(0)
    first, second = generator.normal(0, 1, (20000, 2)), generator.normal(3, 2, (20000, 2))
    assert frechet_distance(first, second) == pytest.approx(2 * (3**2 + (2 - 1) ** 2), rel=0.05)


def test_what_is_wrong_is_said_in_one_line(corpus, folders, saved, tmp_path):
    (tmp_path / "text.pt").write_text("no network")
    calls = {
        "limit must be at least 1": {"limit": 0},
        "no test-": {"split": "test"},
        "is taken twice": {"compare": [folders["classifier"]]},
        "does not exist": {"lpips_weights": str(tmp_path / "missing.pt")},
        "not a TorchScript file": {"fid_weights": str(tmp_path / "text.pt")},
    }
    for message, arguments in calls.items():
        with pytest.raises(ValueError, match=message) as error:
            ev.evaluate(folders["classifier"], data=corpus, **arguments)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="is an earlier evaluation"):
        ev.evaluate(str(saved), data=corpus)


def test_size_shift_is_nothing_for_a_model_that_sees_no_size(table, classifier):
    one_color = _pipeline(SketchColorizerForClassification)
    torch.nn.init.zeros_(one_color.model.head.weight)
    drawings, settings = drawings_of(table, 2), {"sizes": (48, 96), "show_progress": False}
    assert measure_size_shift(one_color, drawings, **settings)["mean"]["48/96"] == pytest.approx(0, abs=1e-3)
    shift = measure_size_shift(classifier, drawings, **settings)
    assert shift["num_drawings"] == 2
    assert 0 < shift["mean"]["48/96"] <= shift["largest"]["48/96"]
    with pytest.raises(ValueError, match="two different sizes"):
        measure_size_shift(classifier, drawings, sizes=(64, 64))
    with pytest.raises(ValueError, match="no drawing"):
        measure_size_shift(classifier, [])
