"""Laws of Muon: orthogonal steps of AdamW's size for hidden weights, AdamW itself for all others."""

import pytest
import torch
from torch import nn

from sketch_colorizer.configuration_sketch_colorizer import SketchColorizerConfig
from sketch_colorizer.modeling_sketch_colorizer import SketchColorizerForClassification
from sketch_colorizer.training.muon import Muon, hidden_weights, orthogonalize

SETTINGS = {"lr": 1e-2, "weight_decay": 0.1, "betas": (0.9, 0.98)}


@pytest.mark.parametrize("shape", [(16, 16), (8, 72), (72, 8), (1, 9)])
def test_the_singular_values_of_a_direction_are_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(matrix * 1e-3)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.5
    assert values.max() < 1.3
    # nearest of all orthogonal matrices: along the singular vectors, every one the right way round
    assert (left.T @ result @ right.T).diagonal().min() > 0.5


def test_no_gradient_no_direction():
    assert (orthogonalize(torch.zeros(4, 6)) == 0).all()


def small_model() -> SketchColorizerForClassification:
    torch.manual_seed(0)
    sizes = {"widths": [8, 12, 16], "encoder_depths": [1, 1, 1], "decoder_depths": [1, 1]}
    return SketchColorizerForClassification(SketchColorizerConfig(bins_per_channel=3, **sizes))


def test_hidden_weights_are_the_convolutions_between_stem_and_head():
    model = small_model()
    hidden = {id(weight) for weight in hidden_weights(model)}
    names = {name for name, weight in model.named_parameters() if id(weight) in hidden}
    assert names
    left = {name for name, weight in model.named_parameters() if weight.ndim == 4} - names
    assert left == {"unet.stem.weight", "head.weight"}


def step(layers: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    layers(inputs).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def test_without_hidden_weights_it_is_adamw():
    ours, theirs = two_layers(), two_layers()
    optimizers = [Muon(list(ours.parameters()), [], **SETTINGS), torch.optim.AdamW(theirs.parameters(), **SETTINGS)]
    for _ in range(3):
        for layers, optimizer in zip((ours, theirs), optimizers, strict=True):
            step(layers, optimizer)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_hidden_weight_moves_about_as_far_as_under_adamw_and_the_others_as_under_adamw():
    ours, theirs, start = two_layers(), two_layers(), two_layers()
    step(ours, Muon(list(ours.parameters()), [ours[0].weight], **{**SETTINGS, "weight_decay": 0.0}))
    step(theirs, torch.optim.AdamW(theirs.parameters(), **{**SETTINGS, "weight_decay": 0.0}))
    moved = (ours[0].weight - start[0].weight).square().mean().sqrt()
    assert 0.1 < moved / SETTINGS["lr"] < 0.3  # RMS 0.2, singular values of about 1
    assert not torch.equal(ours[0].weight, theirs[0].weight)
    for name in ("0.bias", "2.weight", "2.bias"):
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name), rtol=0, atol=0)


def test_a_step_that_overflows_in_half_precision_is_left_out():
    layers = two_layers()
    optimizer = Muon(list(layers.parameters()), [layers[0].weight], fused=True, **SETTINGS)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(layers(torch.ones(1, 6)).sum() * torch.inf).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    for weight, before in zip(layers.parameters(), two_layers().parameters(), strict=True):
        torch.testing.assert_close(weight, before, rtol=0, atol=0)


def test_its_state_is_stored_and_read():
    unbroken, first = two_layers(), two_layers()
    optimizer = Muon(list(unbroken.parameters()), [unbroken[0].weight], **SETTINGS)
    before = Muon(list(first.parameters()), [first[0].weight], **SETTINGS)
    step(unbroken, optimizer)
    step(unbroken, optimizer)
    step(first, before)
    second = two_layers()
    second.load_state_dict(first.state_dict())
    after = Muon(list(second.parameters()), [second[0].weight], **SETTINGS)
    after.load_state_dict(before.state_dict())
    step(second, after)
    for one, other in zip(unbroken.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
