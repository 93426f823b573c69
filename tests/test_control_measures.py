"""Laws of how control over colours is measured: users, obedience, leaks, curves, proposals, calibration, the report."""

import io
import json
import runpy
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip("datasets", reason="the measurement comes with the extra 'train'")
pytest.importorskip("torchmetrics", reason="the measurement comes with the extra 'train'")

import pyarrow as pa
import pyarrow.parquet as pq

from sketch_colorizer.quantizer import ColorQuantizer
from sketch_colorizer.training import calibration as cal
from sketch_colorizer.training.control import measure_control, read_rival
from sketch_colorizer.training.control_plots import draw_control_plots
from sketch_colorizer.training.control_report import control_markdown, findings
from sketch_colorizer.training.data import load_corpus
from sketch_colorizer.training.examples import Example, in_hash_order
from sketch_colorizer.training.gmic import FILTER, colorize_with_gmic, find_gmic, gmic_version, spots
from sketch_colorizer.training.hint_curves import curve_row, curve_statistics, rival_row, strokes_to
from sketch_colorizer.training.intervals import Interval, resamples, resummed
from sketch_colorizer.training.obedience import obedience_columns, probe_row
from sketch_colorizer.training.proposal_scores import better_engine, compare_engines, proposal_row, proposal_statistics
from sketch_colorizer.training.row_store import RowStore, measure_rows
from sketch_colorizer.training.scoring import PAPER, Truth
from sketch_colorizer.training.simulated_users import (
    dot_pixels,
    hint_at,
    marked_pixels,
    picture_generator,
    random_hints,
)

COLORS = ("#c0392b", "#27ae60", "#2980b9", "#f1c40f")
COUNTS = (0, 1, 2, 4)
SCRIPTS = Path(__file__).parents[1] / "scripts"


def _pair(colors=COLORS) -> tuple[Image.Image, Image.Image]:
    """Four boxes with black outlines on white, and their outlines alone."""
    picture, lines = Image.new("RGB", (96, 64), "white"), Image.new("L", (96, 64), 255)
    for i, color in enumerate(colors):
        box = [2 + 24 * i, 4, 2 + 24 * i + 18, 58 - 8 * i]
        ImageDraw.Draw(picture).rectangle(box, fill=color, outline="black", width=2)
        ImageDraw.Draw(lines).rectangle(box, outline=0, width=2)
    return picture, lines


@pytest.fixture(scope="module")
def example() -> Example:
    picture, lines = _pair()
    return Example("boxes.png", "real", Truth(np.asarray(picture)), lines)


class Bucket:
    """A pipeline that fills: a hint colours the paper that lines enclose around it; the rest is as `plain` says."""

    model = None

    def __init__(self, plain: str = "#ffffff", spill: bool = False, deaf: bool = False) -> None:
        self.plain, self.spill, self.deaf = plain, spill, deaf

    def __call__(self, drawing: Image.Image, hints=()) -> SimpleNamespace:
        line_art = np.asarray(drawing)
        count, pieces = cv2.connectedComponents((line_art >= PAPER).astype(np.uint8), connectivity=4)
        colors = np.zeros((*line_art.shape, 3), np.uint8) + np.frombuffer(bytes.fromhex(self.plain[1:]), np.uint8)
        for x, y, color, _ in () if self.deaf else hints:
            where = pieces == pieces[y, x] if not self.spill else slice(None)
            colors[where] = np.frombuffer(bytes.fromhex(color[1:]), np.uint8)
        hinted = {int(pieces[y, x]) for x, y, *_ in hints}
        left = sorted(set(range(1, count)) - hinted, key=lambda piece: (pieces == piece).sum())
        centres = [np.argwhere(pieces == piece).mean(0).astype(int) for piece in left if pieces[4, 0] != piece]
        places = [SimpleNamespace(x=int(x), y=int(y)) for y, x in centres]
        return SimpleNamespace(
            colors=Image.fromarray(colors), distributions=True, suggest_hints=lambda n: places[:n], image=None
        )


def _generator() -> np.random.Generator:
    return picture_generator(0, "test")


def test_a_random_user_clicks_on_paint_and_one_who_stops_early_has_the_first_clicks(example):
    hints = random_hints(example, 30, _generator())
    assert len(hints) == 30
    assert hints[:7] == random_hints(example, 7, _generator())
    assert len({(x, y) for x, y, *_ in hints}) == 30
    for x, y, *_ in hints:
        assert example.line_art[y, x] >= PAPER
        assert example.truth.painted.view(64, 96)[y, x]


def test_a_picture_with_few_painted_pixels_gets_few_hints():
    picture = np.full((16, 16, 3), 255, np.uint8)
    picture[3, 3:6] = (200, 0, 0)
    small = Example("dots", "real", Truth(picture), Image.new("L", (16, 16), 255))
    assert {(x, y) for x, y, *_ in random_hints(small, 50, _generator())} == {(3, 3), (4, 3), (5, 3)}


def test_hints_have_the_true_color_even_beside_lines_and_other_colors(example):
    for x, y, color, _ in random_hints(example, 200, _generator()):
        assert color == "#" + bytes(example.truth.picture[y, x]).hex()


def test_a_dot_stays_on_its_side_of_a_line_and_a_later_one_covers_an_earlier(example):
    left, right = (18, 30, COLORS[0], 9.0), (30, 30, COLORS[1], 9.0)
    columns = dot_pixels(example.line_art, left) % 96
    assert columns.max() < 20
    assert (example.line_art.ravel()[dot_pixels(example.line_art, right)] >= PAPER).all()
    index, colors = marked_pixels(example.line_art, [left, (*left[:2], COLORS[3], 2.0)])
    inner = np.isin(index, dot_pixels(example.line_art, (*left[:2], "", 2.0)))
    assert {bytes(color).hex() for color in colors[inner]} == {COLORS[3][1:]}
    assert {bytes(color).hex() for color in colors[~inner]} == {COLORS[0][1:]}


def test_who_fills_regions_exactly_obeys_without_a_leak(example):
    row = probe_row(Bucket(), example, _generator())
    assert row["probe.within"] == row["probe.exact"] == row["probe.pixels"] > 0
    assert row["probe.leaked"] == 0 < row["probe.outside"]
    assert row["probe.reached"] == row["probe.region"] > 0
    assert row["probe.largest"] < 0.01


def test_who_paints_everything_leaks_everywhere_and_who_is_deaf_obeys_nowhere(example):
    spilt = probe_row(Bucket(spill=True), example, _generator())
    assert spilt["probe.leaked"] == spilt["probe.outside"] > 0
    deaf = probe_row(Bucket(deaf=True), example, _generator())
    assert deaf["probe.within"] == deaf["probe.reached"] == deaf["probe.leaked"] == 0
    assert deaf["probe.largest"] > 20


def test_obedience_is_counted_pixel_by_pixel(example):
    hint = (10, 20, "#c0392b", 1.0)
    colors = np.zeros((64, 96, 3), np.uint8)
    colors[20, 10] = (0xC0, 0x39, 0x2B)
    colors[20, 11] = (0xC0, 0x3A, 0x2B)
    columns = obedience_columns(colors, example.line_art, [hint])
    assert (columns["pixels"], columns["within"], columns["exact"]) == (5, 2, 1)


def test_curves_fall_with_hints_and_faster_where_they_are_suggested(example):
    row = curve_row(Bucket(), example, counts=COUNTS)
    for user in ("random", "suggestions"):
        curve = [row[f"{user}.{count}.ciede2000"] for count in COUNTS]
        assert curve == sorted(curve, reverse=True)
    assert row["random.0.ciede2000"] == row["suggestions.0.ciede2000"]
    assert row["suggestions.4.ciede2000"] < 0.2 * row["suggestions.0.ciede2000"]
    assert row["suggestions.4.ciede2000"] <= row["random.4.ciede2000"]
    assert row["suggestions.4.suggested"] == 4
    assert row["suggestions.4.psnr"] > row["suggestions.0.psnr"]
    assert row["suggestions.4.flats"] < 0.5 < row["suggestions.0.flats"]
    assert row["random.4.exact"] == row["random.4.pixels"]


def test_a_rival_that_paints_alike_gets_the_same_figures(example):
    ours = curve_row(Bucket(), example, counts=COUNTS, seed=3)
    theirs = rival_row(lambda e, hints: np.asarray(Bucket()(e.drawing, hints).colors), example, counts=COUNTS, seed=3)
    assert theirs == {name: ours[f"random.{name}"] for name in theirs}


@pytest.mark.parametrize(("target", "strokes"), [(20, 0), (10, 0), (8, 1), (5, 3.5), (4, 5), (1, np.nan)])
def test_strokes_are_read_off_the_curve(target, strokes):
    assert strokes_to((0, 2, 5), np.array([10.0, 6.0, 4.0]), target) == pytest.approx(strokes, nan_ok=True)


def test_statistics_of_curves_are_means_over_pictures():
    flats = {"u.0.flats": 30.0, "u.10.flats": 15.0}
    rows = [
        {"u.0.ciede2000": 20.0, "u.10.ciede2000": 12.0, "u.0.psnr": 10.0, "u.10.psnr": 20.0} | flats,
        {"u.0.ciede2000": 10.0, "u.10.ciede2000": 4.0, "u.0.psnr": 20.0, "u.10.psnr": 30.0} | flats,
    ]
    statistics, whole = curve_statistics("u", (0, 10)), resamples(2, samples=0)
    figures = {name: float(resummed(statistic, rows, whole)[0]) for name, statistic in statistics.items()}
    assert figures["ciede2000.10"] == 8
    assert figures["psnr.10"] == 25
    assert figures["goal_share.ciede2000"] == pytest.approx(16 / 30)
    assert figures["goal_share.flats"] == pytest.approx(0.5)
    assert figures["strokes_to.0.8"] == pytest.approx(10 * 3 / 7)


class Proposer:
    """A pipeline whose proposals are given."""

    def __init__(self, layers: dict[str, list[np.ndarray]]) -> None:
        self.layers = layers

    def __call__(self, drawing, *, num_proposals, engine, seed):
        return [SimpleNamespace(colors=Image.fromarray(layer)) for layer in self.layers[engine][:num_proposals]]


def test_the_best_of_proposals_is_found_and_their_variety_measured(example):
    truth = example.truth.picture
    flat = {color: np.asarray(Image.new("RGB", (96, 64), color)) for color in ("white", "#808080", "red")}
    engines = {"classes": [flat["white"], flat["#808080"], truth], "flow": [flat["red"]] * 3}
    rows = {"k": {}}
    for engine in engines:
        rows["k"] |= proposal_row(Proposer(engines), example, engine, num_proposals=3)
    row = rows["k"]
    assert row["classes.best"] < 0.5 < row["classes.variants"] < row["classes.first"]
    assert row["flow.best"] == row["flow.first"] == pytest.approx(row["flow.variants"])
    assert row["flow.diversity"] == 0 < row["classes.diversity"]
    assert row["flow.chroma"] > row["flow.chroma_true"] > row["classes.chroma"] > 0
    assert row["flow.unevenness"] == pytest.approx(0, abs=1e-3)
    differences = compare_engines(rows, "classes", "flow", num_proposals=3, samples=20)
    assert better_engine(differences, "classes", "flow")[0] == "classes"
    assert set(differences) == set(proposal_statistics("flow"))


@pytest.mark.parametrize(
    ("best", "diversity", "seconds", "winner", "reason"),
    [
        ((-2, -3, -1), (9, 8, 10), (1, 1, 1), "a", "nearer to the true picture by 2.00 (1.00 to 3.00)"),
        ((2, 1, 3), (9, 8, 10), (-1, -1, -1), "b", "nearer"),
        ((0.1, -1, 1), (-2, -3, -1), (-1, -1, -1), "b", "differ more"),
        ((0.1, -1, 1), (0, -1, 1), (-0.5, -0.6, -0.4), "a", "faster"),
    ],
)
def test_the_better_engine_follows_from_the_figures(best, diversity, seconds, winner, reason):
    differences = {
        name: Interval(*values) for name, values in (("best", best), ("diversity", diversity), ("seconds", seconds))
    }
    chosen, sentence = better_engine(differences, "a", "b")
    assert chosen == winner
    assert reason in sentence


def test_reliability_counts_each_pixel_of_a_region():
    counts = torch.tensor([[6.0, 2.0, 0.0], [0.0, 1.0, 0.0]])
    scores = torch.tensor([[0.75, 0.2, 0.05], [0.5, 0.25, 0.25]]).log()
    sums = cal.reliability_sums(scores, counts)
    assert sums.sum(1) == pytest.approx([9, 8 * 0.75 + 0.5, 6])
    assert sums[:, 11] == pytest.approx([8, 6, 6])  # 0.75 lies in (11/15, 12/15]


class Overconfident:
    """A pipeline that knows the true shares of two colours in its one region and says them sharpened."""

    def __init__(self, example: Example, sharpness: float) -> None:
        self.model = SimpleNamespace(quantizer=ColorQuantizer("rgb", 4))
        counts = torch.zeros(1, 64)
        bins = self.model.quantizer.encode(example.truth.lab.T[None, :, :, None])[0][0, 0, :, 0]
        shares = (counts[0].index_add(0, bins, torch.ones(len(bins))) / len(bins)).clamp(min=1e-12)
        labels = np.zeros(example.line_art.shape, np.int32)
        self.known = SimpleNamespace(labels=labels, scores=sharpness * shares.log()[None])

    def __call__(self, drawing):
        return SimpleNamespace(distributions=self.known)


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_temperature_undoes_what_sharpened_the_distribution(sharpness, tmp_path):
    picture = np.zeros((20, 20, 3), np.uint8) + np.array([250, 20, 20], np.uint8)
    picture[:6] = (20, 20, 250)
    blank = Example("p", "real", Truth(picture), Image.new("L", (20, 20), 255))
    table = _corpus_table(tmp_path, [(Image.fromarray(picture), blank.drawing)])
    temperature, figures = cal.fit_temperature(Overconfident(blank, sharpness), table, show_progress=False)
    assert temperature == pytest.approx(sharpness, rel=0.07)
    assert figures["ece_after"] < 0.02 < figures["ece_before"]
    assert figures["nll_after"] < figures["nll_before"]


def _corpus_table(folder: Path, pairs: list[tuple[Image.Image, Image.Image | None]], split: str = "validation"):
    rows = []
    for number, pair in enumerate(pairs):
        image, lines = (None if one is None else {"bytes": _png(one), "path": None} for one in pair)
        rows.append({"image": image, "line_art": lines, "path": f"{number}.png", "source": "synthetic"})
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return in_hash_order(load_corpus(str(folder), split))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_rows_outlive_a_break_and_are_measured_once(tmp_path, example):
    table = _corpus_table(tmp_path, [_pair(), _pair(COLORS[::-1])])
    measured, path = [], tmp_path / "rows.jsonl"

    def measure(found: Example) -> dict:
        measured.append(found.key)
        return {"figure": 1.5}

    measure_rows(table.select([0]), measure, RowStore(path), label="", show_progress=False)
    with path.open("a") as file:
        file.write('{"key": "real:1.png", "row": {"fig')  # cut off while it was written
    path.write_text(path.read_text() + "\n")
    rows = measure_rows(table, measure, RowStore(path), label="", show_progress=False)
    assert rows == {"real:0.png": {"figure": 1.5}, "real:1.png": {"figure": 1.5}}
    assert sorted(measured) == ["real:0.png", "real:1.png"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    _corpus_table(folder, [_pair(), (_pair(COLORS[::-1])[0], None), _pair((*COLORS[2:], *COLORS[:2]))])
    return folder


@pytest.fixture(scope="module")
def measured(corpus, model_folder, tmp_path_factory) -> dict:
    work = tmp_path_factory.mktemp("work")
    settings = {"data": str(corpus), "num_proposal_pictures": 1, "num_proposals": 2, "counts": (0, 1, 10)}
    results = measure_control(str(model_folder), **settings, work=work, samples=20, show_progress=False)
    kept = {file: file.read_bytes() for file in work.rglob("*.jsonl")}
    again = measure_control(str(model_folder), **settings, work=work, samples=20, show_progress=False)
    assert {file: file.read_bytes() for file in work.rglob("*.jsonl")} == kept
    assert again | {"created": ""} == results | {"created": ""}
    return results


def test_the_whole_measurement_can_be_stored_and_goes_on_where_it_was(measured):
    assert json.loads(json.dumps(measured)) == measured
    assert measured["curves"]["all"]["num_pictures"] == 3
    assert set(measured["curves"]) == {"real", "extracted", "all"}
    assert set(measured["proposals"]["skipped"]) == {"flow"}
    assert measured["calibration"]["temperature"] == 1
    none, one = (measured["curves"]["all"]["users"][user]["ciede2000.0"] for user in ("random", "suggestions"))
    assert none == one


def test_the_report_says_what_was_found_and_shows_its_plots(measured, tmp_path):
    images = draw_control_plots(measured, tmp_path)
    assert images == ["control_hints.png", "control_proposals.png", "control_calibration.png"]
    report = control_markdown(measured, images)
    for image in images:
        assert Image.open(tmp_path / image).width > 300
        assert f"({image})" in report
    assert all(line in report for line in findings(measured))
    assert "G'MIC: not compared" in report
    assert "nan" not in report
    assert "None" not in report


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"num_proposal_pictures": 0}, {"num_proposals": 1}])
def test_numbers_that_make_no_measurement_are_refused(corpus, wrong):
    with pytest.raises(ValueError, match=r"at least \d, got"):
        measure_control(None, data=str(corpus), **wrong)


FAKE_GMIC = """#!{python}
import json, sys
from pathlib import Path
from PIL import Image
if sys.argv[1:] == ["version"]:
    sys.exit(print("  gmic: \\x1b[1mVersion 9.8.7\\x1b[0m", file=sys.stderr))
Path({log!r}).write_text(json.dumps(sys.argv[1:]))
spots, line = Image.open(sys.argv[1]), Image.open(sys.argv[2])
if {broken}:
    sys.exit("*** Error *** out of paint")
flats = Image.new("RGBA", line.size, (0, 0, 255, 255))
flats.paste((0, 0, 0, 0), (0, 0, 4, 4))
for number, layer in enumerate((spots, line, flats)):
    layer.save(f"out_{{number:06d}}.png")
"""


def _install_gmic(folder: Path, monkeypatch, *, broken: bool = False) -> Path:
    """A program `gmic` that paints everything blue, but for a transparent corner."""
    program, log = folder / "gmic", folder / "arguments.json"
    program.write_text(FAKE_GMIC.format(python=sys.executable, log=str(log), broken=broken))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return log


def test_gmic_gets_spots_and_lines_and_its_flats_are_read(example, tmp_path, monkeypatch):
    log = _install_gmic(tmp_path, monkeypatch)
    program = find_gmic()
    assert gmic_version(program) == "9.8.7"
    colors = colorize_with_gmic(program, example, [hint_at(example, 10, 20)])
    assert json.loads(log.read_text()) == ["spots.png", "line.png", *FILTER, "output", "out.png"]
    assert FILTER[0] == "fx_colorize_lineart_smart"
    assert colors.shape == (64, 96, 3)
    assert tuple(colors[40, 40]) == (0, 0, 255)
    assert tuple(colors[1, 1]) == (255, 255, 255)  # what G'MIC leaves transparent is white


def test_gmic_is_spared_where_there_is_no_hint(example):
    assert (colorize_with_gmic("no-such-program", example, []) == 255).all()


def test_spots_are_the_hints_and_nothing_else(example):
    hints = [hint_at(example, 10, 20), hint_at(example, 60, 20)]
    layer = spots(example.line_art, hints)
    index, colors = marked_pixels(example.line_art, hints)
    assert layer[..., 3].sum() == 255 * len(index)
    assert (layer.reshape(-1, 4)[index, :3] == colors).all()


def test_without_gmic_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt install gmic"):
        find_gmic()


def test_what_gmic_complains_about_is_passed_on(example, tmp_path, monkeypatch):
    _install_gmic(tmp_path, monkeypatch, broken=True)
    with pytest.raises(RuntimeError, match="out of paint"):
        colorize_with_gmic(find_gmic(), example, [hint_at(example, 10, 20)])


def test_the_script_writes_what_the_measurement_reads(corpus, tmp_path, monkeypatch):
    _install_gmic(tmp_path, monkeypatch)
    output = tmp_path / "docs" / "gmic.json"
    arguments = ["--data", str(corpus), "--counts", "0", "1", "--work", str(tmp_path), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["compare_gmic.py", *arguments])
    runpy.run_path(str(SCRIPTS / "compare_gmic.py"), run_name="__main__")
    keys = ["real:0.png", "extracted:1.png", "real:2.png"]
    rows, facts = read_rival(output, keys, (0, 1), seed=0)
    assert set(rows) == set(keys)
    assert facts == {"version": "9.8.7"}
    assert read_rival(output, keys, (0, 1), seed=1)[0] == {}
    assert (
        "run scripts/compare_gmic.py again" in read_rival(output, [*keys, "real:9.png"], (0, 1), seed=0)[1]["skipped"]
    )
