"""Training end to end on a tiny corpus: samples, recipes, the loop, checkpoints, exact resume."""

import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip("accelerate", reason="the extra 'train' is not installed")
pa = pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402
from accelerate.state import AcceleratorState  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from sketch_colorizer.modeling_sketch_colorizer import SketchColorizerForClassification  # noqa: E402
from sketch_colorizer.pipeline_sketch_colorizer import ColorizationPipeline  # noqa: E402
from sketch_colorizer.publishing import model_publication  # noqa: E402
from sketch_colorizer.training import trainer as trainer_module  # noqa: E402
from sketch_colorizer.training.data import (  # noqa: E402
    ColorizationDataset,
    RunSampler,
    divide,
    is_held_out,
    load_corpus,
    measure_colors,
    with_line_art,
)
from sketch_colorizer.training.recipe import Recipe  # noqa: E402
from sketch_colorizer.training.trainer import Trainer, main  # noqa: E402

SMALL = {"widths": [8, 12, 16], "encoder_depths": [1, 1, 1], "decoder_depths": [1, 1]}


def encoded(picture: Image.Image) -> dict:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def drawn_pair(number: int, color: tuple[int, int, int] | None = None) -> tuple[Image.Image, Image.Image]:
    """A coloured disc on white and its outline."""
    rng, box = np.random.default_rng(number), (10, 8, 50, 44)
    color = color or tuple(int(c) for c in rng.integers(30, 230, 3))
    picture, line_art = Image.new("RGB", (60, 52), "white"), Image.new("L", (60, 52), 255)
    ImageDraw.Draw(picture).ellipse(box, fill=color, outline="black", width=2)
    ImageDraw.Draw(line_art).ellipse(box, outline=0, width=2)
    return picture, line_art


def write_corpus(folder: Path, pairs: list[tuple[Image.Image, Image.Image]]) -> Path:
    line_arts = [encoded(line_art) if number % 2 else None for number, (_, line_art) in enumerate(pairs)]
    table = pa.table(
        {
            "image": [encoded(picture) for picture, _ in pairs],
            "line_art": line_arts,
            "path": [f"disc/{number}.png" for number in range(len(pairs))],
        }
    )
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), [drawn_pair(number) for number in range(120)])


def recipe(corpus: Path, output: Path, **settings) -> Recipe:
    few = {
        "image_size": 32,
        "batch_size": 4,
        "max_steps": 6,
        "warmup_steps": 2,
        "checkpoint_every": 2,
        "num_workers": 0,
    }
    return Recipe(data=str(corpus), output_dir=str(output), **{**few, "config": SMALL, "evaluate_every": 3, **settings})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_sample_is_a_function_of_seed_epoch_and_index(corpus):
    table, _ = divide(load_corpus(str(corpus), "train"))
    first, again = (ColorizationDataset(table, image_size=32, seed=1) for _ in range(2))
    for key in ((0, 3), (5, 3), (0, 4)):
        assert all(torch.equal(value, again[key][name]) for name, value in first[key].items() if name != "labels")
        assert torch.equal(first[key]["labels"].nan_to_num(), again[key]["labels"].nan_to_num())
    assert not torch.equal(first[0, 3]["pixel_values"], first[1, 3]["pixel_values"])


def test_lines_drawn_for_a_batch_are_those_of_its_samples(corpus):
    table, _ = divide(load_corpus(str(corpus), "train"))
    finished, undrawn = (
        ColorizationDataset(table, image_size=32, seed=1, real_share=0.5, draws_lines=draws) for draws in (True, False)
    )
    keys = [(epoch, index) for epoch in range(2) for index in range(6)]
    batch = {name: torch.stack([undrawn[key][name] for key in keys]) for name in undrawn[0]}
    drawn = with_line_art(batch)
    assert with_line_art(drawn) is drawn
    assert drawn.keys() == finished[0].keys()
    for row, key in enumerate(keys):
        for name, value in finished[key].items():
            assert torch.equal(drawn[name][row].nan_to_num(), value.nan_to_num()), (key, name)


def test_samples_have_the_shapes_of_the_model(corpus):
    table, held_out = divide(load_corpus(str(corpus), "train"))
    assert len(table) + len(held_out) == 120
    assert [is_held_out(path) for path in held_out["path"]] == [True] * len(held_out)
    sample = ColorizationDataset(table, image_size=48, seed=0)[0]
    assert {name: tuple(value.shape) for name, value in sample.items()} == {
        "pixel_values": (1, 48, 48),
        "hint_values": (4, 48, 48),
        "labels": (3, 48, 48),
    }
    assert 0 <= sample["pixel_values"].min() <= sample["pixel_values"].max() <= 1


def test_colours_under_the_artists_ink_are_no_labels(corpus):
    table, _ = divide(load_corpus(str(corpus), "train"))
    drawn = [row for row in range(len(table)) if table[row]["line_art"] is not None][:8]
    samples = ColorizationDataset(table, image_size=64, seed=0, real_share=1.0, scale=(1.0, 1.0))
    for row in drawn:
        labels = samples[row]["labels"]
        assert np.nanmin(labels[0].numpy()) > 8  # the outline is black and would be L = 0


def test_a_collage_has_more_to_colour_and_keeps_real_line_art_real(corpus):
    table, _ = divide(load_corpus(str(corpus), "train"))
    plain, collage = (
        ColorizationDataset(
            table, image_size=64, seed=0, real_share=1.0, share_without_hints=1.0, collage_share=share, scale=(1.0, 1.0)
        )
        for share in (0.0, 1.0)
    )
    drawn = [row for row in range(len(table)) if table[row]["line_art"] is not None][:12]
    assert all(torch.equal(collage[row]["pixel_values"], collage[row]["pixel_values"]) for row in drawn)
    more = [count_colors(collage[row]) - count_colors(plain[row]) for row in drawn]
    assert min(more) >= 0
    assert np.mean(more) > 0.5
    for row in drawn:
        assert np.nanmin(collage[row]["labels"][0].numpy()) > 8  # no outline's black: it is the artist's ink, as above


def count_colors(sample: dict) -> int:
    """How many of the corpus's colours, one for each disc, a sample shows on more than a few pixels."""
    lab = sample["labels"].flatten(1).T
    _, counts = lab[~lab.isnan().any(-1)].round().unique(dim=0, return_counts=True)
    return int((counts > 12).sum())


def test_the_sampler_shows_every_picture_once_an_epoch_and_resumes_anywhere():
    whole = iter(RunSampler(10, seed=3))
    order = [next(whole) for _ in range(35)]
    for epoch in range(3):
        assert sorted(index for _, index in order[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert [index for _, index in order[:10]] != [index for _, index in order[10:20]]
    for start in (0, 7, 10, 23):
        resumed = iter(RunSampler(10, seed=3, start=start))
        assert [next(resumed) for _ in range(12)] == order[start : start + 12]


def test_the_measured_histogram_counts_every_pixel(corpus):
    counts, sums = measure_colors(load_corpus(str(corpus), "train"))
    assert counts.sum() == 120 * 30 * 26
    assert sums.max() > 0


def test_training_ends_with_a_model_that_loads(corpus, tmp_path):
    folder = Trainer(recipe(corpus, tmp_path / "run")).fit()
    model = SketchColorizerForClassification.from_pretrained(folder)
    assert model.config.widths == SMALL["widths"]
    summary = json.loads((tmp_path / "run" / "training.json").read_text())
    assert summary["step"] == 6
    assert (tmp_path / "run" / "loss.png").stat().st_size > 0
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000004",
        "step-00000006",
    ]
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 2
    assert not list((tmp_path / "run").rglob("*.partial"))


@pytest.mark.parametrize("model", ["classification", "regression"])
def test_training_lowers_the_loss(tmp_path, model):
    blue = write_corpus(tmp_path, [drawn_pair(number, (40, 90, 200)) for number in range(30)])
    settings = {"max_steps": 50, "learning_rate": 3e-3, "evaluate_every": 50, "checkpoint_every": 50, "log_every": 1}
    Trainer(recipe(blue, tmp_path / model, model=model, **settings)).fit()
    losses = [e["loss"] for e in json.loads((tmp_path / model / "training.json").read_text())["history"] if "loss" in e]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


@pytest.mark.parametrize(
    "settings",
    [
        {"num_workers": 0},
        {"num_workers": 2},
        {"num_workers": 0, "optimizer": "muon"},
        {"num_workers": 1, "echo": 3, "gradient_accumulation_steps": 2},
    ],
    ids=str,
)
def test_a_stopped_and_resumed_run_ends_as_an_unbroken_one(corpus, tmp_path, settings):
    unbroken = Trainer(recipe(corpus, tmp_path / "unbroken", **settings)).fit()
    stopped = recipe(corpus, tmp_path / "stopped", **settings)
    trainer = Trainer(stopped)
    trainer._out_of_time = lambda: trainer.progress.step >= 5  # between two checkpoints
    trainer.fit()
    resumed = Trainer(stopped).fit(resume=True)
    assert_same_weights(unbroken, resumed)


def test_echoes_are_earlier_batches_and_their_mirror_images(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "ECHO_DISTANCE", 2)
    inks = {
        echo: [batch["pixel_values"] for batch, _ in zip(Trainer(settings)._batches(), range(count), strict=False)]
        for echo, count in ((1, 8), (3, 24))
        if (settings := recipe(corpus, tmp_path, echo=echo))
    }
    for loaded in range(8):
        for echoed, distance in enumerate((0, 2, 4)):
            earlier = inks[1][max(0, loaded - distance)]
            assert torch.equal(inks[3][3 * loaded + echoed], earlier.flip(-1) if echoed == 1 else earlier)
    trainer = Trainer(recipe(corpus, tmp_path, echo=3))
    trainer.progress.step = 16
    assert all(
        torch.equal(batch["pixel_values"], ink) for batch, ink in zip(trainer._batches(), inks[3][16:], strict=False)
    )


def test_where_lines_are_drawn_changes_nothing_not_even_in_a_resumed_run(corpus, tmp_path):
    in_the_loader = Trainer(recipe(corpus, tmp_path / "loader", line_art_on_device=False)).fit()
    beside_the_model = recipe(corpus, tmp_path / "device", line_art_on_device=True, num_workers=1)
    trainer = Trainer(beside_the_model)
    trainer._out_of_time = lambda: trainer.progress.step >= 3
    trainer.fit()
    assert_same_weights(in_the_loader, Trainer(beside_the_model).fit(resume=True))


def test_tensorboard_gets_the_scalars_and_the_samples(corpus, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Trainer(recipe(corpus, tmp_path, log_with="tensorboard", log_every=2)).fit()
    [events] = (tmp_path / "sketch_colorizer").glob("events.*")
    log = accumulator.EventAccumulator(str(events)).Reload()
    assert {"loss", "held_out_loss", "grad_norm", "lr", "images_per_second"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("loss")] == [2, 4, 6]
    history = json.loads((tmp_path / "training.json").read_text())["history"]
    assert log.Scalars("loss")[0].value == pytest.approx(history[0]["loss"])
    assert log.Tags()["images"]


def test_an_unknown_tracker_or_processor_setting_is_one_clear_error(corpus, tmp_path):
    with pytest.raises(ValueError, match="paper"):
        Trainer(recipe(corpus, tmp_path, log_with="paper"))
    with pytest.raises(ValueError, match="unknown key workingsize"):
        Trainer(recipe(corpus, tmp_path, processor={"workingsize": 64}))


def test_a_deep_network_comes_with_a_processor_that_pads_for_it(corpus, tmp_path):
    deep = {"widths": [8] * 4, "encoder_depths": [1] * 4, "decoder_depths": [1] * 3}  # stride 32, as `base` has
    folder = Trainer(recipe(corpus, tmp_path / "deep", config=deep, max_steps=1)).fit()
    picture = ColorizationPipeline.from_pretrained(folder)(Image.new("L", (50, 70), 255)).image
    assert picture.size == (50, 70)
    with pytest.raises(ValueError, match="size_divisor must be a multiple of 32, got 16"):
        Trainer(recipe(corpus, tmp_path / "wrong", config=deep, processor={"size_divisor": 16}))


@pytest.fixture
def other_precision():
    """Accelerate holds the precision once for a process; what a test sets must not reach the next one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("instructions", "precision", "slow"), [("AVX2", "bf16", True), ("AVX512", "bf16", False), ("AVX2", "no", False)]
)
def test_bf16_is_warned_of_where_it_is_emulated(
    corpus, tmp_path, monkeypatch, other_precision, instructions, precision, slow
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        Trainer(recipe(corpus, tmp_path, mixed_precision=precision))
    said = [str(warning.message) for warning in caught if "bf16" in str(warning.message)]
    assert len(said) == slow
    assert all(f"this processor ({instructions}) has no bf16" in text and "mixed_precision=no" in text for text in said)


@pytest.mark.parametrize("model", ["classification", "regression"])
def test_the_finished_folder_colours_and_can_be_published(corpus, tmp_path, model, drawing):
    settings = {"max_steps": 2, "model": model, "processor": {"working_size": 64, "paper_threshold": None}}
    folder = Trainer(recipe(corpus, tmp_path, **settings)).fit()
    pipeline = ColorizationPipeline.from_pretrained(folder)
    assert pipeline(drawing).image.size == drawing.size
    assert (pipeline.processor.working_size, pipeline.processor.paper_threshold) == (64, None)
    publication = model_publication("user/my-colours", folder)
    assert {
        "model.safetensors",
        "config.json",
        "preprocessor_config.json",
        "recipe.yaml",
        "loss.png",
        "README.md",
    } <= set(publication.files)
    card = publication.files["README.md"].decode()
    assert 'from_pretrained("user/my-colours")' in card
    held_out = json.loads((tmp_path / "training.json").read_text())["best"]
    assert f"{held_out:.4f}" in card


def test_a_killed_run_resumes_to_the_same_weights(corpus, tmp_path):
    settings = {"max_steps": 24, "checkpoint_every": 3, "num_workers": 1, "evaluate_every": 24}
    unbroken = Trainer(recipe(corpus, tmp_path / "unbroken", **settings)).fit()
    killed = recipe(corpus, tmp_path / "killed", **settings)
    path = tmp_path / "killed.yaml"
    path.write_text(killed.to_yaml())
    script = Path(__file__).parents[1] / "scripts" / "train.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(path)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 600
    while not list((tmp_path / "killed" / "checkpoints").glob("step-0000000[3-9]")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "training.json").exists(), "the run was over before it could be killed"
    assert_same_weights(unbroken, main(str(path), resume=True))


def test_resuming_needs_the_same_recipe(corpus, tmp_path):
    Trainer(recipe(corpus, tmp_path)).fit()
    with pytest.raises(
        ValueError, match=r"another recipe: batch_size: 4 then, 8 now; learning_rate: 0.001 then, 0.1 now"
    ):
        Trainer(recipe(corpus, tmp_path, batch_size=8, learning_rate=0.1)).fit(resume=True)


def test_resuming_needs_a_checkpoint(corpus, tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        Trainer(recipe(corpus, tmp_path)).fit(resume=True)


def test_a_full_disk_leaves_the_checkpoint_before(corpus, tmp_path, monkeypatch):
    trainer = Trainer(recipe(corpus, tmp_path))
    save_state = trainer.accelerator.save_state

    def full_at_four(folder, **options):
        save_state(folder, **options)
        if "00000004" in folder:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer.accelerator, "save_state", full_at_four)
    with pytest.raises(OSError, match=r"step-00000004 \(No space left on device\); the one before it is untouched"):
        trainer.fit()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    resumed = Trainer(recipe(corpus, tmp_path)).fit(resume=True)
    assert_same_weights(Trainer(recipe(corpus, tmp_path / "unbroken")).fit(), resumed)


def test_a_broken_loss_stops_the_run_and_names_the_checkpoint(corpus, tmp_path):
    trainer = Trainer(recipe(corpus, tmp_path, evaluate_every=100))
    forward = trainer.model.forward

    def broken(**batch):
        output = forward(**batch)
        output.loss = output.loss * (float("nan") if trainer.progress.step == 3 else 1)
        return output

    trainer.model.forward = broken
    with pytest.raises(FloatingPointError, match="nan at step 3; last good checkpoint: step-00000002"):
        trainer.fit()


def test_max_minutes_stops_in_time_with_weights(corpus, tmp_path):
    folder = Trainer(recipe(corpus, tmp_path, max_steps=100000, max_minutes=0.01)).fit()
    assert SketchColorizerForClassification.from_pretrained(folder)
    assert json.loads((tmp_path / "training.json").read_text())["step"] < 100000


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("data: x\noutput_dir: y\nlearning_rat: 1", [], "unknown recipe key learning_rat; known keys: data"),
        ("data: x", [], "must set output_dir"),
        ("data: x\noutput_dir: y", ["batch_size=many"], "batch_size must be int, got 'many'"),
        ("data: x\noutput_dir: y", ["batch_size=0"], "batch_size must be at least 1"),
        ("data: x\noutput_dir: y", ["collage_share=1.5"], "collage_share must be 0..1, got 1.5"),
        ("data: x\noutput_dir: y", ["model=gan"], "model must be one of"),
        ("data: x\noutput_dir: y", ["optimizer=sgd"], "optimizer must be one of .*'adamw', 'muon'.*, got 'sgd'"),
        ("data: x\noutput_dir: y", ["seed"], "an override is key=value"),
        ("- a list", [], "no recipe"),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(tmp_path, text, overrides, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Recipe.load(path, overrides)


def test_overrides_reach_into_the_model_config(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: x\noutput_dir: y\nconfig: {color_space: rgb}")
    loaded = Recipe.load(path, ["config.rebalancing=0.3", "max_steps=7"])
    assert loaded.config == {"color_space": "rgb", "rebalancing": 0.3}
    assert loaded.max_steps == 7


@pytest.mark.parametrize(("first", "then"), [("classification", "regression"), ("regression", "classification")])
def test_a_model_may_start_from_the_body_of_one_with_the_other_head(corpus, tmp_path, first, then):
    trained = Trainer(recipe(corpus, tmp_path / "first", model=first, max_steps=1)).fit()
    settings = {"config": {}, "init_from": str(trained), "max_steps": 2}
    model = Trainer(recipe(corpus, tmp_path / "then", model=then, **settings)).model
    body, source = model.unet.state_dict(), weights(trained)
    assert all(torch.equal(body[key], source[f"unet.{key}"]) for key in body)
    assert model.config.widths == SMALL["widths"]
    finished = Trainer(recipe(corpus, tmp_path / "then", model=then, **settings)).fit()
    assert (json.loads((finished / "config.json").read_text())["architectures"]) == [type(model).__name__]
    if then == "classification":
        assert model.quantizer.prior.sum() == pytest.approx(1, abs=1e-4)
        assert model.quantizer.prior.max() > 0.1  # fitted to the corpus, which is mostly white


def test_a_later_stage_may_change_the_loss_and_nothing_else(corpus, tmp_path):
    trained = Trainer(recipe(corpus, tmp_path / "first", max_steps=1)).fit()
    settings = {"init_from": str(trained), "max_steps": 2}
    later = Trainer(recipe(corpus, tmp_path / "then", config={"region_share": 0.5, "rebalancing": 0.2}, **settings))
    assert json.loads((later.fit() / "config.json").read_text())["region_share"] == 0.5
    quantizer = SketchColorizerForClassification.from_pretrained(tmp_path / "then" / "final").quantizer
    torch.testing.assert_close(quantizer.class_weights, quantizer.rebalance(0.2))
    assert not torch.equal(quantizer.class_weights, weights(trained)["quantizer.class_weights"])
    with pytest.raises(ValueError, match="beside it `config` may set rebalancing, region_share"):
        Trainer(recipe(corpus, tmp_path / "other", config={"widths": [8, 8, 8]}, **settings))


def test_regions_are_found_in_the_loader_or_not_at_all(corpus, tmp_path):
    config = {**SMALL, "region_share": 0.5}
    sample = Trainer(recipe(corpus, tmp_path, config=config)).samples[0]
    assert sample["regions"].shape == sample["pixel_values"].shape[1:]
    assert set(Trainer(recipe(corpus, tmp_path)).samples[0]) == {"pixel_values", "hint_values", "labels"}
    with pytest.raises(ValueError, match="line_art_on_device"):
        Trainer(recipe(corpus, tmp_path, config=config, line_art_on_device=True))


def test_settings_are_read_as_people_type_them(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: x\noutput_dir: y\nlearning_rate: 1e-3\nmixed_precision: no")
    loaded = Recipe.load(path, ["final_lr=5e-2", "max_minutes=2"])
    assert (loaded.learning_rate, loaded.final_lr, loaded.max_minutes) == (1e-3, 5e-2, 2.0)
    assert loaded.mixed_precision == "no"
    with pytest.raises(ValueError, match="learning_rate must be float, got 'nan'"):
        Recipe.load(path, ["learning_rate='nan'"])


def test_the_recipes_of_the_project_are_valid():
    folder = Path(__file__).parents[1] / "scripts" / "recipes"
    assert list(folder.glob("*.yaml"))
    for path in folder.glob("*.yaml"):
        Recipe.load(path, ["data=corpus", "output_dir=runs"])


def test_a_corpus_without_columns_or_rows_is_refused(tmp_path, corpus):
    with pytest.raises(ValueError, match=r"no test-\*.parquet"):
        load_corpus(str(corpus), "test")
    table = pq.read_table(corpus / "train-00000-of-00001.parquet")
    pq.write_table(table.drop_columns(["line_art"]), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=r"lacks the columns \['line_art'\]"):
        load_corpus(str(tmp_path), "train")
    pq.write_table(table.slice(0, 0), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="is empty"):
        load_corpus(str(tmp_path), "train")


def _train_as_rank(rank: int, port: int, path: str) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    os.environ.update(ACCELERATE_USE_CPU="true", CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    main(path)


def test_two_processes_give_the_weights_of_one(corpus, tmp_path):
    alone = Trainer(recipe(corpus, tmp_path / "alone")).fit()
    path = tmp_path / "together.yaml"
    path.write_text(recipe(corpus, tmp_path / "together").to_yaml())
    context = multiprocessing.get_context("spawn")
    port = 29500 + os.getpid() % 1000
    ranks = [context.Process(target=_train_as_rank, args=(rank, port, str(path))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(180)
    assert [process.exitcode for process in ranks] == [0, 0]
    ours, theirs = weights(alone), weights(tmp_path / "together" / "final")
    assert all(torch.allclose(ours[key].float(), theirs[key].float(), atol=2e-4, rtol=2e-3) for key in ours)
