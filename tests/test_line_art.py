"""Laws of line extraction and roughening."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch_colorizer.line_art import EXTRACTORS, dilation, random_line_art, roughen, xdog

KINDS = sorted(EXTRACTORS)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_picture(batch: int = 1, height: int = 40, width: int = 56) -> torch.Tensor:
    """Smooth random colours with strong contours, (B, 3, H, W)."""
    coarse = torch.rand((batch, 3, 5, 7), generator=generator(3))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="nearest")


def ring(side: int = 96) -> torch.Tensor:
    """A drawn circle with a cross in it, (1, 1, side, side), 1 = paper."""
    canvas = np.full((side, side), 255, np.uint8)
    cv2.circle(canvas, (side // 2, side // 2), side // 3, 0, 2, cv2.LINE_AA)
    cv2.line(canvas, (side // 4, side // 2), (3 * side // 4, side // 2), 0, 2, cv2.LINE_AA)
    cv2.line(canvas, (side // 2, side // 4), (side // 2, 3 * side // 4), 0, 2, cv2.LINE_AA)
    return torch.from_numpy(canvas).div(255.0)[None, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.9, 0.2, 0.4), (0.3, 0.31, 0.29)])
def test_a_flat_picture_has_no_lines(kind: str, color: tuple[float, float, float]):
    picture = torch.tensor(color).view(1, 3, 1, 1).expand(2, 3, 32, 24)
    assert EXTRACTORS[kind](picture).eq(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_line_lies_on_the_dark_side_of_an_edge(kind: str):
    picture = torch.full((1, 3, 32, 64), 0.9)
    picture[..., 32:] = 0.4
    ink = 1 - EXTRACTORS[kind](picture)[0, 0]
    assert ink[:, 32].min() > 0.6
    assert ink[:, :30].max() < 0.05
    assert ink[:, 40:].max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_colors_of_equal_lightness_are_parted(kind: str):
    picture = torch.full((1, 3, 32, 64), 0.5)
    picture[:, :, :, 32:] = torch.tensor([0.9, 0.342, 0.26]).view(1, 3, 1, 1)  # the same luma 0.5
    assert (1 - EXTRACTORS[kind](picture)).amax() > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_soft_shading_still_gives_contours(kind: str):
    """A ball that is hardly darker than its background, with an edge three pixels wide."""
    ys, xs = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    radius = ((ys - 48) ** 2 + (xs - 48) ** 2).sqrt()
    grey = 0.8 - 0.22 * torch.sigmoid((30 - radius) / 0.75)
    ink = 1 - EXTRACTORS[kind](grey.expand(1, 3, -1, -1))[0, 0]
    rim = (radius - 30).abs() < 2.5
    assert ink[rim].mean() > 0.15
    assert ink[rim].amax() > 0.5
    assert ink[(radius - 30).abs() > 8].mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_range_and_dtype(kind: str, dtype: torch.dtype):
    line_art = EXTRACTORS[kind](noise_picture(2).to(dtype))
    assert line_art.shape == (2, 1, 40, 56)
    assert line_art.dtype == dtype
    assert line_art.min() >= 0
    assert line_art.max() <= 1
    assert line_art.min() < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_pictures_one_by_one(kind: str):
    pictures = noise_picture(3) * torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1, 1)
    single = torch.cat([EXTRACTORS[kind](picture[None]) for picture in pictures])
    torch.testing.assert_close(EXTRACTORS[kind](pictures), single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_left_alone(kind: str):
    picture = noise_picture()
    before = picture.clone()
    EXTRACTORS[kind](picture)
    assert torch.equal(picture, before)


@pytest.mark.parametrize("size", [3, 5])
def test_plain_dilation_is_the_posters_formula(size: int):
    grey = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    expected = 255 - cv2.absdiff(
        grey, cv2.dilate(grey, np.ones((size, size), np.uint8), borderType=cv2.BORDER_REPLICATE)
    )
    got = dilation(torch.from_numpy(grey).div(255.0)[None, None], size=size, normalize=False)
    assert np.abs(got[0, 0].numpy() * 255 - expected).max() < 1e-3


def test_xdog_agrees_with_opencv():
    grey = cv2.GaussianBlur(np.random.default_rng(1).random((48, 40)), (0, 0), 2)
    narrow, wide = (cv2.GaussianBlur(grey, (0, 0), s, borderType=cv2.BORDER_REPLICATE) for s in (0.8, 2.4))
    difference = narrow - 0.95 * wide
    expected = np.where(difference >= 0.01, 1, 1 + np.tanh(15 * (difference - 0.01)))
    got = xdog(torch.from_numpy(grey)[None, None], sigma=0.8, k=3.0, gamma=0.95, eps=0.01, phi=15.0)
    assert np.abs(got[0, 0].numpy() - expected).max() < 0.02


@pytest.mark.parametrize("draw", [random_line_art, roughen])
def test_the_seed_decides_everything(draw):
    source = noise_picture(2) if draw is random_line_art else ring().expand(2, -1, -1, -1)
    state = torch.get_rng_state()
    first, again = draw(source, generator(5)), draw(source, generator(5))
    assert torch.equal(first, again)
    assert not torch.equal(first, draw(source, generator(6)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("draw", [random_line_art, roughen])
def test_a_random_batch_is_its_samples_drawn_in_turn(draw):
    source = noise_picture(3) if draw is random_line_art else ring().expand(3, -1, -1, -1)
    chance = generator(11)
    single = torch.cat([draw(sample[None], chance) for sample in source])
    assert torch.equal(draw(source, generator(11)), single)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), height=st.integers(8, 70), width=st.integers(8, 70))
def test_random_line_art_has_the_pictures_size_and_range(seed: int, height: int, width: int):
    picture = torch.rand((1, 3, height, width), generator=generator(seed))
    line_art = random_line_art(picture, generator(seed))
    assert line_art.shape == (1, 1, height, width)
    assert line_art.isfinite().all()
    assert line_art.min() >= 0
    assert line_art.max() <= 1


def test_roughening_keeps_the_drawing_and_sometimes_leaves_it_alone():
    drawing = ring()
    line = (1 - drawing).flatten()
    near = torch.nn.functional.max_pool2d(1 - drawing, 9, 1, 4).flatten() > 0
    untouched = 0
    for seed in range(300):
        rough = roughen(drawing, generator(seed)).flatten()
        untouched += torch.equal(rough, drawing.flatten())
        darkness = rough[~near].median() - rough  # against the paper as it came out
        assert darkness[line > 0.5].mean() > 0.12, seed
        assert darkness[~near].abs().mean() < 0.1, seed
        assert rough[~near].min() > 0.5, seed
    assert 20 < untouched < 120


def test_roughening_varies_ink_and_thickness():
    ink = torch.stack([(1 - roughen(ring(), generator(seed))).mean() for seed in range(100)])
    plain = (1 - ring()).mean()
    assert ink.min() < 0.6 * plain
    assert ink.max() > 1.4 * plain


def test_white_paper_is_white_unless_the_paper_is_rough():
    blank = torch.ones(1, 1, 32, 32)
    results = [roughen(blank, generator(seed)) for seed in range(60)]
    assert sum(bool(result.eq(1).all()) for result in results) > 40
    assert min(float(result.min()) for result in results) > 0.6
