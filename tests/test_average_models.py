"""The mean of models that were trained one from the other, as a user of scripts/average_models.py makes it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sketch_colorizer import SketchColorizerForClassification, SketchColorizerImageProcessor
from sketch_colorizer.configuration_sketch_colorizer import SketchColorizerConfig

SCRIPT = Path(__file__).parents[1] / "scripts" / "average_models.py"


@pytest.fixture
def models(tmp_path) -> list[Path]:
    folders = [tmp_path / name for name in ("first", "second")]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        config = SketchColorizerConfig(widths=[8, 12], encoder_depths=[1, 1], decoder_depths=[1])
        SketchColorizerForClassification(config).save_pretrained(folder)
        SketchColorizerImageProcessor(working_size=64 + 32 * seed).save_pretrained(folder)
    return folders


def _average(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_every_weight_is_the_mean_and_the_rest_the_last_models(models, tmp_path):
    first, second = models
    done = _average(f"{first}=0.25", f"{second}=0.75", "-o", tmp_path / "mean")
    assert done.returncode == 0, done.stderr
    one, other, mean = (
        SketchColorizerForClassification.from_pretrained(folder) for folder in (first, second, tmp_path / "mean")
    )
    for name, weight in mean.named_parameters():
        expected = 0.25 * one.get_parameter(name) + 0.75 * other.get_parameter(name)
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-7)
    assert all(torch.equal(buffer, dict(other.named_buffers())[name]) for name, buffer in mean.named_buffers())
    assert SketchColorizerImageProcessor.from_pretrained(tmp_path / "mean").working_size == 96


def test_what_makes_no_mean_is_one_clear_error(models, tmp_path):
    first, second = models
    (tmp_path / "there").mkdir()
    other = SketchColorizerConfig(widths=[8, 16], encoder_depths=[1, 1], decoder_depths=[1])
    SketchColorizerForClassification(other).save_pretrained(tmp_path / "other")
    for arguments, message in (
        ([f"{first}=0.5", f"{second}=0.6", "-o", tmp_path / "mean"], "must add up to 1, got 1.1"),
        ([f"{first}=1", "-o", tmp_path / "there"], "is there already"),
        ([f"{first}=0.5", f"{tmp_path / 'other'}=0.5", "-o", tmp_path / "mean"], "differ in shape"),
        ([f"{first}", "-o", tmp_path / "mean"], "FOLDER=SHARE"),
    ):
        failed = _average(*arguments)
        assert failed.returncode != 0
        assert message in failed.stderr
        assert "Traceback" not in failed.stderr
    assert not (tmp_path / "mean").exists()
