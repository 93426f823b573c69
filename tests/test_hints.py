"""Laws of colour hints: how they are encoded, and what a simulated user may do."""

import numpy as np
import pytest
import torch

from sketch_colorizer.hints import encode_hints, simulate_hints


def two_halves(size: int = 64) -> torch.Tensor:
    labels = torch.tensor([50.0, 60.0, 30.0]).view(3, 1, 1).repeat(1, size, size)
    labels[:, :, size // 2 :] = torch.tensor([80.0, -40.0, 20.0]).view(3, 1, 1)
    return labels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_hint_is_zero_everywhere():
    assert not encode_hints(torch.rand(3, 4, 4) * 100, torch.zeros(1, 4, 4)).any()


def test_colours_come_back_from_the_encoding():
    lab = torch.tensor([70.0, -30.0, 55.0]).view(3, 1, 1).expand(3, 2, 2)
    hints = encode_hints(lab, torch.ones(1, 2, 2))
    assert torch.allclose(hints[0] * 50 + 50, lab[0])
    assert torch.allclose(hints[1:3] * 110, lab[1:])
    assert (hints[3] == 1).all()


def test_a_share_of_pictures_has_no_hints():
    labels = two_halves(16)
    empty = [not simulate_hints(labels, generator(seed), share_without=0.3).any() for seed in range(200)]
    assert 0.2 < np.mean(empty) < 0.4


@pytest.mark.parametrize("seed", range(10))
def test_every_hint_is_the_truth(seed):
    """Whatever is painted has the colour of the picture below, so a stroke never runs into another colour."""
    labels = two_halves()
    hints = simulate_hints(labels, generator(seed), share_without=0.0)
    painted = hints[3] == 1
    assert painted.any()
    assert torch.allclose(hints[:, painted], encode_hints(labels, torch.ones(1, 64, 64))[:, painted], atol=1e-5)


def test_lines_are_never_painted_on():
    labels = two_halves()
    labels[:, 20:40] = torch.nan
    for seed in range(20):
        assert not simulate_hints(labels, generator(seed), share_without=0.0)[:, 20:40].any()


def test_a_picture_without_known_colours_gets_no_hints():
    assert not simulate_hints(torch.full((3, 8, 8), torch.nan), generator(), share_without=0.0).any()


def test_the_generator_decides():
    first, second, other = (simulate_hints(two_halves(), generator(seed), share_without=0.0) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
