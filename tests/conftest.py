"""Shared fixtures: tiny drawings, a tiny untrained model with its processor, and the corpus where there is one."""

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

SMALL = {"widths": [8, 12, 16], "encoder_depths": [1, 1, 1], "decoder_depths": [1, 1]}
CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


def draw(width: int = 64, height: int = 48) -> Image.Image:
    """Two closed shapes in black ink on white paper, at any size."""
    drawing = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(drawing)
    line = max(1, min(width, height) // 24)
    pen.rectangle((width * 0.1, height * 0.1, width * 0.55, height * 0.85), outline=0, width=line)
    pen.ellipse((width * 0.4, height * 0.3, width * 0.95, height * 0.9), outline=0, width=line)
    return drawing


@pytest.fixture
def drawing() -> Image.Image:
    return draw()


@pytest.fixture(scope="session")
def tiny_model():
    from sketch_colorizer import SketchColorizerConfig, SketchColorizerForClassification

    torch.manual_seed(0)
    return SketchColorizerForClassification(SketchColorizerConfig(**SMALL)).eval()


@pytest.fixture(scope="session")
def pipeline(tiny_model):
    """An untrained pipeline with a small working size; treat it as read-only."""
    from sketch_colorizer import ColorizationPipeline, SketchColorizerImageProcessor

    return ColorizationPipeline(tiny_model, SketchColorizerImageProcessor(working_size=48))


@pytest.fixture(scope="session")
def model_folder(pipeline, tmp_path_factory) -> Path:
    """The pipeline, saved; treat it as read-only."""
    folder = tmp_path_factory.mktemp("model")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def embedded_pipeline():
    from sketch_colorizer import ColorizationPipeline
    from sketch_colorizer.model_files import EMBEDDED_WEIGHTS

    if not (EMBEDDED_WEIGHTS / "model.safetensors").is_file():
        pytest.skip("this checkout has no embedded weights yet")
    return ColorizationPipeline.from_pretrained(device="cpu")


@pytest.fixture(scope="session")
def corpus() -> Path:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not beside this checkout (../shared/corpus)")
    return CORPUS
