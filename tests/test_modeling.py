"""Laws of configuration and models: validation, initialisation, saving and loading, labels, learning."""

import dataclasses
import json
import math

import pytest
import torch
from transformers import PreTrainedConfig

from sketch_colorizer.coarse_grid import even_out, pool_labels
from sketch_colorizer.configuration_sketch_colorizer import SketchColorizerConfig
from sketch_colorizer.modeling_sketch_colorizer import (
    SketchColorizerForClassification,
    SketchColorizerForRegression,
)
from sketch_colorizer.network_config import NetworkConfig
from sketch_colorizer.quantizer import color_histogram
from sketch_colorizer.regions import pool_by_region

SMALL = {"widths": [8, 12, 16], "encoder_depths": [1, 1, 1], "decoder_depths": [1, 1]}
MODELS = (SketchColorizerForRegression, SketchColorizerForClassification)


def make(kind=SketchColorizerForClassification, **options):
    torch.manual_seed(0)
    return kind(SketchColorizerConfig(**{**SMALL, **options})).eval()


def batch(size: int = 32, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([60.0, 30.0, -20.0]).view(1, 3, 1, 1).repeat(2, 1, size, size)
    labels[:, :, size // 2 :] = torch.tensor([100.0, 0.0, 0.0]).view(1, 3, 1, 1)
    ink = (torch.rand(2, 1, size, size, generator=generator) < 0.1).float()
    return {"pixel_values": ink, "hint_values": torch.zeros(2, 4, size, size), "labels": labels}


def parameters(config: SketchColorizerConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in SketchColorizerForClassification(config).parameters())


def test_presets_have_the_promised_sizes():
    assert parameters(SketchColorizerConfig.from_preset("tiny")) <= 5e6
    assert 15e6 <= parameters(SketchColorizerConfig.from_preset("base")) <= 30e6
    poster = SketchColorizerConfig.from_preset("poster")
    assert 256 // (poster.stem_stride * 2 ** (len(poster.widths) - 1)) == 32
    assert SketchColorizerConfig().to_diff_dict() == SketchColorizerConfig.from_preset("tiny").to_diff_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour_space": "rgb"}, "unknown configuration key colour_space"),
        ({"color_space": "hsv"}, "color_space must be one of"),
        ({"block": "dense"}, "block must be one of"),
        ({"output_stride": 2}, "output_stride must be one of"),
        ({"bins_per_channel": 1}, r"bins_per_channel must be 2..16"),
        ({"rebalancing": 1.5}, r"rebalancing must be 0..1"),
        ({"temperature": -1.0}, "temperature must be >= 0"),
        ({"widths": [8, 8]}, "2 widths need 2 encoder_depths"),
        ({"widths": "wide"}, "widths"),
    ],
)
def test_a_wrong_setting_is_an_error(settings, message):
    with pytest.raises(Exception, match=message):
        SketchColorizerConfig(**settings)


def test_a_typo_in_a_saved_config_is_an_error(tmp_path):
    make().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rebalancin": 0.1}))
    with pytest.raises(ValueError, match="unknown configuration key rebalancin"):
        SketchColorizerForClassification.from_pretrained(tmp_path)


def test_what_transformers_may_write_into_a_config_is_no_unknown_key(tmp_path):
    SketchColorizerConfig(rebalancing=0.25).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert NetworkConfig.from_saved(saved) == NetworkConfig(rebalancing=0.25)
    everything = {field.name: None for field in dataclasses.fields(PreTrainedConfig)}
    assert NetworkConfig.from_saved({**everything, **saved}) == NetworkConfig(rebalancing=0.25)
    with pytest.raises(ValueError, match="unknown configuration key rebalancin; known keys: attention_head_channels, "):
        NetworkConfig.from_saved({**saved, "rebalancin": 0.1})


def test_config_survives_saving(tmp_path):
    config = SketchColorizerConfig.from_preset("poster", color_space="rgb", rebalancing=1)
    config.save_pretrained(tmp_path)
    again = SketchColorizerConfig.from_pretrained(tmp_path)
    assert again.to_diff_dict() == config.to_diff_dict()
    assert again.widths == config.widths


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("output_stride", [1, 4])
def test_outputs(kind, output_stride):
    model = make(kind, output_stride=output_stride)
    output = model(**batch())
    assert output.colors.shape == (2, 3, 32 // output_stride, 32 // output_stride)
    assert torch.isfinite(output.loss)
    assert torch.isfinite(output.colors).all()
    if kind is SketchColorizerForClassification:
        assert output.logits.shape[1] == len(output.bin_colors) == 512


@pytest.mark.parametrize("kind", MODELS)
def test_saved_and_loaded_models_are_equal(kind, tmp_path):
    model = make(kind)
    if kind is SketchColorizerForClassification:
        pixels = (torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
        model.fit_colors(*color_histogram(pixels))
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path, dtype=torch.float32)
    assert not again.training
    for (name, value), (other_name, other) in zip(
        sorted(model.state_dict().items()), sorted(again.state_dict().items()), strict=True
    ):
        assert name == other_name
        assert torch.equal(value, other), name
    buffers = dict(again.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    inputs = batch()
    assert torch.equal(model(**inputs).colors, again(**inputs).colors)


def test_convolutions_start_as_stated():
    """He initialisation; the last layer of a residual branch at zero, so that each block starts as its shortcut."""
    model = make(widths=[64, 64, 64])
    weight = model.unet.stem.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / weight[0].numel()), rel=0.05)
    block = model.unet.encoder[1].blocks[0]
    assert (block.conv2.weight == 0).all()
    features = torch.rand(1, 64, 8, 8)
    assert torch.allclose(block(features, None), features)


def test_training_starts_from_the_prior():
    model = make()
    pixels = torch.tensor([[255, 255, 255]] * 90 + [[200, 30, 30]] * 10, dtype=torch.uint8)
    model.fit_colors(*color_histogram(pixels))
    share = model(**batch()).logits.softmax(1).mean((0, 2, 3))
    assert share.argmax() == model.quantizer.prior.argmax()


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_learns_one_picture(kind):
    model, inputs = make(kind, rebalancing=1.0).train(), batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    colors = model.eval()(**inputs).colors
    truth = torch.nn.functional.avg_pool2d(inputs["labels"], 4)
    assert (colors - truth).norm(dim=1).mean() < 12


def test_gradient_checkpointing_changes_nothing():
    model, inputs = make().train(), batch()
    model(**inputs).loss.backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(**inputs).loss.backward()
    assert all(torch.allclose(p.grad, plain[name], atol=1e-6) for name, p in model.named_parameters())


def test_labels_come_from_paper_and_are_never_mixed():
    labels = torch.zeros(1, 3, 4, 8)
    labels[:, 0, :, :4] = 50.0  # left cell: three rows of one colour, one of another
    labels[:, 0, 3, :4] = 90.0
    ink = torch.zeros(1, 1, 4, 8)
    ink[..., 4:] = 1  # right cell: all line
    pooled, share = pool_labels(labels, ink, 4, 0.3)
    assert pooled[0, 0, 0, 0] == 50.0
    assert share.tolist() == [[[1.0, 0.0]]]
    ink[:, :, :3, :4] = 1
    assert pool_labels(labels, ink, 4, 0.3)[0][0, 0, 0, 0] == 90.0


@pytest.mark.parametrize("kind", MODELS)
def test_ignored_labels_do_not_touch_the_loss(kind):
    model, inputs = make(kind), batch()
    inputs["labels"][:, :, :16] = torch.nan
    loss = model(**inputs).loss
    other = {**inputs, "pixel_values": inputs["pixel_values"].clone()}
    assert torch.isfinite(loss)
    other["labels"] = inputs["labels"].clone()
    other["labels"][:, :, 16:] = 20.0
    assert model(**other).loss != loss


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"pixel_values": torch.zeros(1, 3, 32, 32)}, r"pixel_values must be ink shaped \(B, 1, H, W\)"),
        ({"pixel_values": torch.zeros(1, 1, 30, 32)}, "multiples of 16"),
        ({"pixel_values": torch.zeros(1, 1, 32, 32), "hint_values": torch.zeros(1, 3, 32, 32)}, "hint_values must be"),
        ({"pixel_values": torch.zeros(1, 1, 32, 32), "labels": torch.zeros(1, 3, 16, 16)}, "labels must be Lab"),
    ],
)
def test_wrong_tensors_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        make()(**inputs)


def test_no_hints_is_the_same_as_zero_hints():
    model, inputs = make(), batch()
    assert torch.equal(
        model(inputs["pixel_values"]).logits, model(inputs["pixel_values"], inputs["hint_values"]).logits
    )


def halves(size: int) -> torch.Tensor:
    """Two regions, left and right, in each of two pictures."""
    return (torch.arange(size) >= size // 2).long().expand(2, size, size)


def test_evened_features_pool_as_flat_colours_do():
    features = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[0, 0, 1, 1], [0, 2, 2, 1], [0, 2, 2, 1], [0, 0, 0, 0]]).repeat_interleave(4, 0)
    labels = labels.repeat_interleave(4, 1)
    regions = torch.stack((labels, labels.flip(0)))
    evened = even_out(features, regions, torch.ones(2, 4, 4, dtype=torch.float64))
    for number in range(2):
        numbers = regions[number].int().numpy()
        pooled = pool_by_region(features[number], numbers, torch.full((16, 16), 255, dtype=torch.uint8).numpy())
        expected = pooled[regions[number, ::4, ::4]].movedim(-1, 0)
        assert torch.allclose(evened[number], expected, atol=1e-6)


def test_cells_without_weight_do_not_count_in_a_region():
    features = torch.zeros(1, 1, 2, 2)
    features[..., 0, 0] = 6.0
    weights = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    evened = even_out(features, torch.zeros(1, 8, 8, dtype=torch.long), weights)
    assert torch.allclose(evened, torch.full_like(evened, 2.0), atol=1e-2)


def test_region_share_goes_from_the_loss_of_cells_to_that_of_regions():
    sample = batch() | {"regions": halves(32)}
    models = {share: make(region_share=share).train() for share in (0.0, 0.25, 1.0)}
    losses = {share: model(**sample).loss for share, model in models.items()}
    assert losses[0.0] == make().train()(**batch()).loss
    assert torch.isclose(losses[0.25], 0.75 * losses[0.0] + 0.25 * losses[1.0])
    assert not torch.isclose(losses[0.0], losses[1.0])
    losses[1.0].backward()
    assert all(parameter.grad.isfinite().all() for parameter in models[1.0].parameters() if parameter.grad is not None)


def test_where_every_cell_is_a_region_the_two_losses_are_one():
    cells = torch.arange(64).view(8, 8).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(2, 32, 32)
    losses = [make(region_share=share).train()(**batch(), regions=cells).loss for share in (0.0, 1.0)]
    assert torch.isclose(*losses, rtol=1e-4)


def test_a_loss_over_regions_asks_for_them():
    with pytest.raises(ValueError, match=r"region_share=0.5 needs `regions`"):
        make(region_share=0.5)(**batch())
    assert make(region_share=0.5)(batch()["pixel_values"]).loss is None
