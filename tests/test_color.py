"""Laws of the colour spaces: agreement with scikit-image, round trips, finite gradients."""

import math

import numpy as np
import pytest
import torch

from sketch_colorizer.color import (
    ciede2000,
    lab_to_lch,
    lab_to_rgb,
    lch_to_lab,
    linear_to_srgb,
    rgb_to_lab,
    srgb_to_linear,
)

skcolor = pytest.importorskip("skimage.color", reason="scikit-image (extra 'train') is the independent reference")


@pytest.fixture(scope="module")
def rgb() -> torch.Tensor:
    """Random colours together with the corners, the greys and near-black of the sRGB cube, (N, 3) float64."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    greys = torch.linspace(0, 1, 33)[:, None].expand(-1, 3)
    dark = torch.rand(64, 3, generator=torch.Generator().manual_seed(1)) * 0.01
    free = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    return torch.cat([corners, greys, dark, free]).double()


def test_lab_agrees_with_scikit_image(rgb):
    assert np.abs(rgb_to_lab(rgb, dim=-1).numpy() - skcolor.rgb2lab(rgb.numpy())).max() < 1e-3


def test_lab_to_rgb_agrees_with_scikit_image(rgb):
    lab = torch.from_numpy(skcolor.rgb2lab(rgb.numpy()))
    assert np.abs(lab_to_rgb(lab, dim=-1).numpy() - skcolor.lab2rgb(lab.numpy())).max() < 1e-3


def test_lch_agrees_with_scikit_image(rgb):
    lab = rgb_to_lab(rgb, dim=-1)
    ours, theirs = lab_to_lch(lab, dim=-1).numpy(), skcolor.lab2lch(lab.numpy())
    assert np.abs(ours[:, :2] - theirs[:, :2]).max() < 1e-3
    turn = np.abs((ours[:, 2] - theirs[:, 2] + math.pi) % (2 * math.pi) - math.pi)
    assert (turn * theirs[:, 1]).max() < 1e-3  # hue counts as far as there is chroma


def test_ciede2000_agrees_with_scikit_image(rgb):
    lab = rgb_to_lab(rgb, dim=-1)
    other = lab[torch.randperm(len(lab), generator=torch.Generator().manual_seed(2))]
    difference = ciede2000(lab, other, dim=-1).numpy() - skcolor.deltaE_ciede2000(lab.numpy(), other.numpy())
    assert np.abs(difference).max() < 1e-3


# Pairs of the supplementary data of Sharma, Wu and Dalal (2005) that exercise each branch of the hue mean.
SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
]


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_gives_the_published_values(first, second, expected):
    pair = torch.tensor([first, second], dtype=torch.float64)
    assert ciede2000(pair[0], pair[1], dim=0).item() == pytest.approx(expected, abs=1e-4)
    assert ciede2000(pair[1], pair[0], dim=0).item() == pytest.approx(expected, abs=1e-4)


def test_round_trips(rgb):
    assert torch.allclose(linear_to_srgb(srgb_to_linear(rgb)), rgb, atol=1e-6)
    lab = rgb_to_lab(rgb, dim=-1)
    assert torch.allclose(lab_to_rgb(lab, dim=-1), rgb, atol=1e-4)
    assert torch.allclose(lch_to_lab(lab_to_lch(lab, dim=-1), dim=-1), lab, atol=1e-4)


def test_every_8_bit_colour_of_a_cut_survives_the_round_trip_in_float32():
    grid = torch.arange(0, 256, 5) / 255
    rgb = torch.cartesian_prod(grid, grid, grid)
    back = lab_to_rgb(rgb_to_lab(rgb, dim=-1), dim=-1)
    assert torch.equal((back * 255).round(), (rgb * 255).round())


def test_white_and_black_are_exact():
    rgb = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(rgb_to_lab(rgb, dim=-1), expected, atol=5e-3)


@pytest.mark.parametrize("color", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.04045,) * 3, (1.0, 0.0, 0.0)])
def test_gradients_are_finite_at_the_hard_places(color):
    rgb = torch.tensor(color, requires_grad=True)
    lab = rgb_to_lab(rgb, dim=0)
    loss = lab_to_lch(lab, dim=0).sum() + ciede2000(lab, lab.detach(), dim=0) + ciede2000(lab, lab.detach() * 0, dim=0)
    (loss + lab_to_rgb(lab, dim=0).sum()).backward()
    assert torch.isfinite(rgb.grad).all()


def test_the_colour_axis_can_be_anywhere():
    image = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    last = rgb_to_lab(image.permute(0, 2, 3, 1), dim=-1)
    assert torch.allclose(rgb_to_lab(image), last.permute(0, 3, 1, 2))
    assert ciede2000(image, image).shape == (2, 4, 5)
