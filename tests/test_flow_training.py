"""The trainer trains the flow-matching model like any other: a falling loss, exact resume, a pipeline folder."""

import json
import shutil

import pytest
import torch

pytest.importorskip("diffusers", reason="the flow-matching model comes with the extra 'flow'")
pytest.importorskip("accelerate", reason="the extra 'train' is not installed")
pytest.importorskip("pyarrow")

from safetensors.torch import load_file
from test_training import drawn_pair, recipe, write_corpus

from sketch_colorizer.pipeline_flow_colorizer import FlowColorizerPipeline
from sketch_colorizer.training.flow import FlowTraining, seeded_by
from sketch_colorizer.training.trainer import Trainer

SMALL = {
    "widths": [8, 16],
    "encoder_depths": [1, 1],
    "decoder_depths": [1],
    "time_channels": 16,
    "attention_head_channels": 8,
}
SETTINGS = {
    "model": "flow",
    "config": SMALL,
    "batch_size": 8,
    "max_steps": 40,
    "learning_rate": 4e-3,
    "checkpoint_every": 30,
    "evaluate_every": 40,
    "log_every": 1,
    "ema_decay": 0.9,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), [drawn_pair(n, (200, 40, 40)) for n in range(60)])


@pytest.fixture(scope="module")
def unbroken(corpus, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("unbroken")
    Trainer(recipe(corpus, folder, **SETTINGS)).fit()
    return folder


def test_the_loss_falls(unbroken):
    history = json.loads((unbroken / "training.json").read_text())["history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert len(losses) == 40
    assert sum(losses[-8:]) < 0.7 * sum(losses[:8])
    assert (unbroken / "samples" / "step-000040.png").is_file()


def test_a_resumed_run_ends_with_the_same_weights(corpus, unbroken, tmp_path):
    shutil.copytree(unbroken / "checkpoints", tmp_path / "checkpoints")
    torch.manual_seed(5)  # what was drawn meanwhile makes no difference
    resumed = Trainer(recipe(corpus, tmp_path, **SETTINGS)).fit(resume=True)
    ours, theirs = (
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (unbroken / "final", resumed)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_finished_run_is_a_pipeline_folder_that_the_next_stage_starts_from(corpus, unbroken, tmp_path):
    flow = FlowColorizerPipeline.from_pretrained(unbroken / "final")
    assert flow(torch.zeros(1, 1, 16, 24), num_proposals=2).colors.shape == (2, 3, 4, 6)
    settings = {**SETTINGS, "config": {}, "init_from": str(unbroken / "final"), "image_size": 40}
    started = Trainer(recipe(corpus, tmp_path, **settings)).model.unet.state_dict()
    finished = load_file(unbroken / "final" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(started[key], finished[key]) for key in finished)


def test_chance_follows_from_the_sample_alone():
    model = FlowTraining.from_preset("tiny", **SMALL).eval()
    torch.manual_seed(0)
    batch = {"pixel_values": torch.rand(4, 1, 16, 16), "hint_values": torch.zeros(4, 4, 16, 16)}
    batch["labels"] = torch.rand(4, 3, 16, 16) * 50
    with torch.no_grad():
        whole = model(**batch).loss
        halves = [model(**{key: value[part] for key, value in batch.items()}).loss for part in (slice(2), slice(2, 4))]
    assert float(whole) == pytest.approx(float(sum(halves)) / 2, rel=1e-4)
    assert torch.equal(torch.rand(3, generator=seeded_by(whole)), torch.rand(3, generator=seeded_by(whole)))
    assert not torch.equal(torch.rand(3, generator=seeded_by(whole)), torch.rand(3, generator=seeded_by(whole + 1)))
