"""Laws of building a corpus: complete, loadable, the same bytes however it was made, and safe at every moment."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_heap import contents, encoded, heap, paint, settings
from corpus_tasks import square
from datasets import Features, Image, Value, load_dataset
from typer.testing import CliRunner

from sketch_colorizer.training import corpus as building
from sketch_colorizer.training import corpus_atomic, corpus_engines
from sketch_colorizer.training.corpus import build_corpus
from sketch_colorizer.training.corpus_cli import app
from sketch_colorizer.training.corpus_decisions import SplitSettings
from sketch_colorizer.training.corpus_engines import EngineSettings, WorkerDied, run_tasks
from sketch_colorizer.training.corpus_prior import stored_colors
from sketch_colorizer.training.corpus_release import ColorHistogram, read_color_histogram, record_schema
from sketch_colorizer.training.corpus_sources import Source

ALONE = EngineSettings("process")
PAIRS = "*.png=*_lines.png"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Source:
    return Source("heap", str(heap(tmp_path_factory.mktemp("pictures"))))


def build(source: Source, output: Path, **options) -> dict:
    changes = {"pairs": PAIRS} | options.pop("changes", {})
    return build_corpus([source], output, settings(**changes), **({"engine": ALONE} | options))


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory) -> Path:
    """A corpus that was built in one go; treat it as read-only."""
    output = tmp_path_factory.mktemp("finished") / "corpus"
    build(pictures, output)
    return output


def manifest(folder: Path) -> dict[str, dict]:
    return {row["path"]: row for row in pq.read_table(folder / "manifest.parquet").to_pylist()}


def kept(folder: Path) -> dict[str, str]:
    return {path: row["outcome"] for path, row in manifest(folder).items() if row["shard"]}


def load(folder: Path, tmp_path: Path, **options):
    return load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), **options)


# --------------------------------------------------------------------------------------------------------------------
# What comes out


def test_every_input_is_in_the_manifest_once_with_what_became_of_it(pictures, finished):
    rows = pq.read_table(finished / "manifest.parquet").to_pylist()
    outcomes = {row["path"]: row["outcome"] for row in rows}
    files = [path for path in Path(pictures.location).rglob("*.*") if not path.stem.endswith("_lines")]
    assert sorted(outcomes) == sorted(str(path.relative_to(pictures.location)) for path in files)
    assert len(rows) == len(outcomes)
    expected = {"empty.png": "empty", "text.png": "unreadable", "cut.png": "damaged", "bomb.png": "too_many_pixels"}
    assert {name: outcomes[name] for name in expected} == expected
    twins = {outcomes["again.png"], outcomes["one/000.png"]}
    assert "duplicate" in twins
    assert manifest(finished)["twin.jpg"]["outcome"] == "near_duplicate"
    assert manifest(finished)["twin.jpg"]["twin_of"] == "heap/two/deep/001.png"
    assert sum(outcome in ("train", "validation") for outcome in outcomes.values()) == 14


def test_load_dataset_opens_it_as_it_is(finished, tmp_path):
    corpus = load(finished, tmp_path)
    assert set(corpus) == {"train", "validation"}
    names = {**dict.fromkeys(record_schema().names, Value("string")), "width": Value("int32"), "height": Value("int32")}
    assert corpus["train"].features == Features(names | {"image": Image(), "line_art": Image()})
    rows = [row for split in corpus.values() for row in split]
    assert {row["path"] for row in rows} == set(kept(finished))
    assert all(row["image"].mode == "RGB" and row["image"].size == (row["width"], row["height"]) for row in rows)
    drawn = {row["path"]: row["line_art"] for row in rows if row["line_art"]}
    assert set(drawn) == {"100.png", "101.png"}
    assert all(line_art.size == (64, 51) for line_art in drawn.values())


def test_it_streams_in_the_same_order(finished, tmp_path):
    streamed = load(finished, tmp_path, split="train", streaming=True)
    assert [row["sha256"] for row in streamed] == list(load(finished, tmp_path, split="train")["sha256"])


def test_the_manifest_says_where_each_record_is(finished):
    for path, row in manifest(finished).items():
        if row["shard"]:
            record = pq.read_table(finished / row["shard"]).slice(row["row"], 1).to_pylist()[0]
            assert (record["path"], record["sha256"], record["phash"]) == (path, row["sha256"], row["phash"])


def test_the_colour_histogram_counts_every_training_pixel_as_the_quantizer_does(finished, tmp_path):
    import torch

    from sketch_colorizer.quantizer import ColorQuantizer, color_histogram

    pixels = [np.asarray(row["image"]).reshape(-1, 3) for row in load(finished, tmp_path, split="train")]
    counts, sums = color_histogram(torch.from_numpy(np.concatenate(pixels)))
    stored = [torch.from_numpy(values) for values in read_color_histogram(finished)]
    assert torch.equal(counts, stored[0])
    assert torch.equal(sums, stored[1].double())
    ColorQuantizer().fit(*stored)
    total = ColorHistogram()
    for shard in sorted((finished / "data").glob("train-*")):
        for row in pq.read_table(shard, columns=["image"]).to_pylist():
            total.add(row["image"]["bytes"])
    assert np.array_equal(total.counts, stored[0].numpy())


def test_training_takes_the_stored_colours_instead_of_measuring_them_again(finished, tmp_path, monkeypatch):
    import torch

    from sketch_colorizer.quantizer import ColorQuantizer
    from sketch_colorizer.training import trainer
    from sketch_colorizer.training.recipe import Recipe

    small = {"widths": [8, 12, 16], "encoder_depths": [1, 1, 1], "decoder_depths": [1, 1]}
    recipe = Recipe(data=str(finished), output_dir=str(tmp_path / "run"), image_size=48, config=small)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "measure_colors", lambda table: pytest.fail("they are stored"))
        model = trainer.Trainer(recipe).model
    expected = ColorQuantizer()
    expected.fit(*(torch.from_numpy(values) for values in read_color_histogram(finished)))
    assert torch.equal(model.quantizer.prior, expected.prior)
    assert torch.equal(model.quantizer.bin_colors, expected.bin_colors)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "data").symlink_to(finished / "data")
    assert stored_colors(str(tmp_path / "bare")) is None


def test_splits_by_source_hold_out_whole_sources(tmp_path):
    for name, seeds in (("one", range(4)), ("two", range(4, 8))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            (tmp_path / name / f"{seed}.png").write_bytes(encoded(paint(seed)))
    sources = [Source(name, str(tmp_path / name)) for name in ("one", "two")]
    splits = SplitSettings("source", 0.0, hold_out=("two",))
    build_corpus(sources, tmp_path / "out", settings(splits=splits), engine=ALONE)
    outcomes = {row["path"]: row["outcome"] for row in pq.read_table(tmp_path / "out/manifest.parquet").to_pylist()}
    assert all(outcome == ("train" if path < "4" else "validation") for path, outcome in outcomes.items())


# --------------------------------------------------------------------------------------------------------------------
# The same bytes, however it was made


def test_two_builds_give_the_same_bytes_and_a_second_call_does_nothing(pictures, finished, tmp_path, monkeypatch):
    build(pictures, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(finished)
    monkeypatch.setattr(building, "run_tasks", lambda *_: pytest.fail("there was nothing to do"))
    assert build(pictures, tmp_path / "again") == json.loads((finished / "statistics.json").read_text())


@pytest.mark.parametrize("step", ["write_draft", "write_shard", "put_in_place"])
def test_stopped_at_any_step_it_goes_on_and_ends_with_the_same_bytes(pictures, finished, tmp_path, monkeypatch, step):
    calls = []
    real = getattr(building, step)

    def stopping(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2 or step not in ("write_draft", "write_shard"):
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(building, step, stopping)
        with pytest.raises(KeyboardInterrupt):
            build(pictures, tmp_path / "out")
    made_twice = []
    monkeypatch.setattr(building, "write_draft", _counting(building.write_draft, made_twice))
    build(pictures, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(finished)
    assert bool(made_twice) == (step == "write_draft")


def test_stopped_while_it_is_put_in_place_it_goes_on(pictures, finished, tmp_path, monkeypatch):
    real, calls = Path.replace, []

    def stopping(path, target):
        calls.append(path)
        if path.name.endswith(".new") and sum(call.name.endswith(".new") for call in calls) == 3:
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            build(pictures, tmp_path / "out")
    assert not (tmp_path / "out" / "build.json").exists()
    build(pictures, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(finished)


def _counting(function: Callable, calls: list) -> Callable:
    def counted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return counted


def test_killed_at_ever_later_moments_it_ends_with_the_same_bytes(pictures, finished, tmp_path):
    script = [sys.executable, Path(__file__).with_name("corpus_kills.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*script, pictures.location, tmp_path / "out", PAIRS],
        capture_output=True, text=True, env=environment, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) >= 6
    assert contents(tmp_path / "out") == contents(finished)


COMMAND = [sys.executable, "-m", "sketch_colorizer.training.corpus_cli", "build"]
OPTIONS = ["--codec", "webp", "--size", "64", "--min-size", "48", "--unit-size", "4", "--pairs", PAIRS]


def test_a_pool_that_was_killed_goes_on_and_gives_the_same_bytes_as_one_process(pictures, tmp_path):
    command = [*COMMAND, f"heap={pictures.location}", *OPTIONS, "--engine", "pool", "--workers", "2"]
    process = subprocess.Popen([*command, "-o", tmp_path / "out"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.build/drafts/*/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "build.json").exists()
    subprocess.run([*command, "-o", tmp_path / "out"], check=True, capture_output=True)
    subprocess.run([*command[:-4], "--engine", "process", "-o", tmp_path / "whole"], check=True, capture_output=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


# --------------------------------------------------------------------------------------------------------------------
# Growing


def test_what_is_added_displaces_nobody_and_moves_nobody(tmp_path):
    place = tmp_path / "pictures"
    place.mkdir()
    for seed in range(10):
        (place / f"{seed}.png").write_bytes(encoded(paint(seed)))
    source = Source("s", str(place))
    build(source, tmp_path / "out", keep_work=True)
    before = kept(tmp_path / "out")
    (place / "0-larger-twin.png").write_bytes(encoded(paint(3).resize((160, 128))))
    for seed in range(20, 26):
        (place / f"{seed}.png").write_bytes(encoded(paint(seed)))
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "write_draft", _counting(building.write_draft, made))
        build(source, tmp_path / "out", keep_work=True)
    after = kept(tmp_path / "out")
    assert {name: after.get(name) for name in before} == before
    assert len(after) == len(before) + 6
    assert manifest(tmp_path / "out")["0-larger-twin.png"]["twin_of"] == "s/3.png"
    assert len(made) < len(list(tmp_path.glob("out/.build/drafts/*/*.parquet")))
    build(source, tmp_path / "out")
    assert not (tmp_path / "out" / ".build").exists()


# --------------------------------------------------------------------------------------------------------------------
# Trouble


@pytest.mark.parametrize("writes", [1, 4, 9])
def test_a_full_disk_is_one_clear_error_and_harms_nothing(pictures, finished, tmp_path, monkeypatch, writes):
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "0.png").write_bytes(encoded(paint(50)))
    (other / "1.png").write_bytes(encoded(paint(51)))
    build(Source("heap", str(other)), out, changes={"splits": SplitSettings(validation_share=0)})
    before = contents(out)
    calls = []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) >= writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(corpus_atomic.os, "fsync", full)
        with pytest.raises(OSError, match="the disk is full") as caught:
            build(pictures, out)
    assert caught.value.errno == errno.ENOSPC
    assert {name: digest for name, digest in contents(out).items() if not name.startswith(".build")} == before
    assert not list(out.rglob("*.part"))
    build(pictures, out)
    assert kept(out) == kept(finished)


def test_a_file_that_changes_in_the_meantime_is_reported_and_taken_in_next_time(tmp_path, monkeypatch):
    place = tmp_path / "pictures"
    place.mkdir()
    for seed in range(5):
        (place / f"{seed}.png").write_bytes(encoded(paint(seed)))
    real = building.plan_units

    def change_after_planning(*args, **kwargs):
        units = real(*args, **kwargs)
        (place / "2.png").write_bytes(encoded(paint(77)))
        return units

    with monkeypatch.context() as patch:
        patch.setattr(building, "plan_units", change_after_planning)
        assert build(Source("s", str(place)), tmp_path / "out")["rejected"] == {"changed": 1}
    assert build(Source("s", str(place)), tmp_path / "out")["rejected"] == {}


def test_a_unit_that_fails_leaves_the_others_done(pictures, finished, tmp_path, monkeypatch):
    real = building.write_draft

    def failing(unit, **options):
        receipt = real(unit, **options)
        return receipt._replace(error="SourceChangedError: it moved") if "empty.png" in repr(unit) else receipt

    with monkeypatch.context() as patch:
        patch.setattr(building, "write_draft", failing)
        with pytest.raises(ValueError, match="1 of 5 units failed, the others are kept: SourceChangedError: it moved"):
            build(pictures, tmp_path / "out")
    build(pictures, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(finished)


def test_only_one_build_at_a_time_and_no_foreign_folder(pictures, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        build(pictures, tmp_path / "foreign")
    with (
        building._locked_work_folder(tmp_path / "out"),
        pytest.raises(ValueError, match="another build is at work"),
    ):
        build(pictures, tmp_path / "out")


def test_a_corpus_without_a_training_picture_says_why(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_text("nothing")
    with pytest.raises(ValueError, match="no picture is left for training: unreadable: 1"):
        build(Source("a", str(tmp_path / "a")), tmp_path / "out")


# --------------------------------------------------------------------------------------------------------------------
# Engines


def check_deaths(engine: EngineSettings, folder: Path) -> None:
    """One worker dies once, one task kills all that take it: every other task has its result."""
    work = partial(square, folder=folder, dies={3: 1, 4: 99})
    results = list(run_tasks(work, range(6), engine))
    assert sorted(result for result in results if isinstance(result, int)) == [0, 1, 4, 9, 25]
    assert [result for result in results if isinstance(result, WorkerDied)] == [WorkerDied(4)]
    assert (folder / "death-3-0").exists()


def test_a_killed_worker_costs_a_retry_and_a_deadly_task_only_itself(tmp_path):
    check_deaths(EngineSettings("pool", workers=2), tmp_path)


def test_impossible_engines_are_refused(monkeypatch):
    for wrong in (EngineSettings("spark"), EngineSettings("pool", address="auto"), EngineSettings("pool", workers=0)):
        with pytest.raises(ValueError, match="got"):
            wrong.check()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'sketch-colorizer\[ray\]'"):
        EngineSettings("ray").check()


def test_ray_gives_the_same_bytes_and_survives_killed_workers(pictures, finished, tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'sketch-colorizer[ray]'")
    paths = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", runtime_env=paths)
    try:
        check_deaths(EngineSettings("ray"), tmp_path)
        with pytest.raises(ValueError, match="-1 is negative"):
            list(run_tasks(partial(square, folder=tmp_path, dies={}), [1, -1], EngineSettings("ray")))
        build(pictures, tmp_path / "out", engine=EngineSettings("ray"))
    finally:
        ray.shutdown()
    assert contents(tmp_path / "out") == contents(finished)


# --------------------------------------------------------------------------------------------------------------------
# The command


def test_the_commands_build_and_inspect(pictures, finished, tmp_path):
    out = tmp_path / "out"
    options = [*OPTIONS, "--engine", "process", "--license", "CC0-1.0", "--title", "Heap"]
    built = CliRunner().invoke(app, ["build", pictures.location, "-o", str(out), *options])
    assert built.exit_code == 0, built.output
    assert "6 of 20 inputs rejected" in built.output
    sheet, plot = tmp_path / "sheets" / "sheet.png", tmp_path / "plots" / "plot.png"
    shown = CliRunner().invoke(app, ["inspect", str(out), "--sheet", str(sheet), "--plot", str(plot)])
    assert shown.exit_code == 0, shown.output
    for text in ("CC0-1.0", "near_duplicate", "train", "painted: ", "14 pictures"):
        assert text in shown.output
    assert sheet.read_bytes()[:4] == plot.read_bytes()[:4] == b"\x89PNG"
    for name in ("statistics.json", "build.json", "color_histogram.safetensors", "manifest.parquet", "README.md"):
        (out / name).unlink()
    assert CliRunner().invoke(app, ["inspect", str(out)]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "missing", "-o", "out"], "there is no missing"),
        (["build", ".", "-o", "out", "--pairs", "nonsense"], "--pairs takes"),
        (["build", ".", "-o", "out"], "holds no pictures"),
        (["build", ".", "-o", "out", "--quality", "300"], "quality must be"),
        (["build", ".", "-o", "out", "--engine", "pool", "--address", "auto"], "--address belongs to"),
        (["inspect", "."], "is no corpus"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_interrupting_says_how_to_go_on(pictures, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "run_tasks", interrupted)
    result = CliRunner().invoke(app, ["build", pictures.location, "-o", str(tmp_path / "out"), *OPTIONS])
    assert (result.exit_code, "goes on from what is done" in result.output) == (130, True)


def test_workers_use_one_core(monkeypatch):
    import cv2

    before = cv2.getNumThreads()
    try:
        corpus_engines._use_one_core()
        assert cv2.getNumThreads() <= 1
    finally:
        cv2.setNumThreads(before)
