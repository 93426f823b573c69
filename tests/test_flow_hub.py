"""The flow pipeline over the Hub: one repository holds it and the classifier, and each is loaded by its own door."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers", reason="the flow-matching model comes with the extra 'flow'")
pytest.importorskip("datasets", reason="data sets come with the extra 'train'")

from conftest import SMALL
from local_hub import LocalHub
from test_hub import run

from sketch_colorizer import (
    FlowColorizerModel,
    FlowColorizerPipeline,
    SketchColorizerConfig,
    SketchColorizerForRegression,
    SketchColorizerImageProcessor,
)
from sketch_colorizer.publishing import model_publication

FLOW = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json"}
FLOW |= {"unet/diffusion_pytorch_model.safetensors"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model folder with a card, and with a flow pipeline as its subfolder; half precision, as they are embedded."""
    folder = tmp_path_factory.mktemp("both")
    torch.manual_seed(0)
    SketchColorizerForRegression(SketchColorizerConfig(**SMALL)).half().save_pretrained(folder)
    SketchColorizerImageProcessor(working_size=48).save_pretrained(folder)
    model = FlowColorizerModel(**SMALL, time_channels=16, attention_head_channels=8)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    FlowColorizerPipeline.around(model.half()).save_pretrained(folder / "flow")
    card = "---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag: image-to-image\n---\n# Colours\n"
    (folder / "README.md").write_text(card)
    return folder


def test_the_pipeline_s_files_go_to_the_top_of_the_repository(folder, tmp_path):
    files = model_publication("user/both", folder).files
    assert set(files) >= FLOW | {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    assert not any(name.startswith("flow/") for name in files)
    for name, source in files.items():  # as one downloads it
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    assert set(model_publication("user/again", tmp_path).files) == set(files)


def test_a_broken_pipeline_is_not_published(folder, tmp_path):
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", "README.md"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "model_index.json").write_bytes((folder / "flow" / "model_index.json").read_bytes())
    with pytest.raises((ValueError, OSError)):
        model_publication("user/both", tmp_path)


BOTH_WAYS = """
import os, torch
from sketch_colorizer import ColorizationPipeline, FlowColorizerPipeline
from sketch_colorizer.publishing import model_publication, publish
publish(model_publication("user/both", os.environ["FOLDER"]), tag="v1")

def colors(flow):
    drawing = torch.zeros(1, 1, 32, 48)
    drawing[..., 8:10] = 1
    return flow(drawing, num_proposals=2, generator=torch.Generator().manual_seed(0)).colors

flow = FlowColorizerPipeline.from_pretrained("user/both", dtype=torch.float32, revision="v1")
beside = FlowColorizerPipeline.beside("user/both")
report["equal"] = [torch.allclose(colors(one), colors(flow), atol=1e-3) for one in (
    beside, FlowColorizerPipeline.beside(os.environ["FOLDER"]))]
report["dtype"] = str(beside.unet.dtype)
report["classifier"] = type(ColorizationPipeline.from_pretrained("user/both").model).__name__
report["nowhere"] = complaint(FlowColorizerPipeline.beside, "user/nowhere")
"""


def test_one_repository_serves_both_doors(folder, tmp_path):
    with LocalHub() as hub:
        environment = hub.environment(tmp_path / "home", FOLDER=str(folder))
        report: dict[str, Any] = run(BOTH_WAYS, environment=environment, folder=tmp_path)
        held = set(hub.repositories["model", "user/both"].files)
        index = json.loads((folder / "flow" / "model_index.json").read_text())
        downloads = [request.path for request in hub.asked("GET", r"diffusion_pytorch_model\.safetensors")]
    assert held >= FLOW | {"config.json", "model.safetensors"}
    assert index["_class_name"] == "FlowColorizerPipeline"
    assert report["equal"] == [True, True]
    assert report["dtype"] == "torch.float32"
    assert report["classifier"] == "RegressionNetwork"
    assert re.search("user/nowhere", report["nowhere"])
    assert downloads
