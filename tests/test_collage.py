"""Collages: what is cut out, where it may land, and that lines and colours of a part go together."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sketch_colorizer.training.collage import cut_out, lay_over

WINDOW = (slice(8, 56), slice(0, 64))


def ring() -> tuple[Image.Image, Image.Image]:
    """A red ring on white with a white hole, and its outlines."""
    picture, lines = Image.new("RGB", (80, 60), "white"), Image.new("L", (80, 60), 255)
    for box in ((10, 5, 70, 55), (30, 20, 50, 40)):
        ImageDraw.Draw(lines).ellipse(box, outline=0, width=3)
    ImageDraw.Draw(picture).ellipse((10, 5, 70, 55), fill=(220, 30, 30), outline="black", width=3)
    ImageDraw.Draw(picture).ellipse((30, 20, 50, 40), fill="white", outline="black", width=3)
    return picture, lines


def test_paper_around_a_picture_is_left_out_and_white_inside_it_stays():
    mask = cut_out(np.asarray(ring()[0]))
    assert not mask[0].any()
    assert not mask[:, 0].any()
    assert mask[30, 40]
    assert mask[30, 20]


def test_a_picture_that_fills_its_sheet_is_kept_whole():
    assert cut_out(np.full((7, 9, 3), 100, np.uint8)).all()
    assert not cut_out(np.full((7, 9, 3), 255, np.uint8)).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_part_changes_the_window_alone_and_its_lines_lie_where_its_colours_do(seed):
    rgb, lines = torch.full((3, 64, 64), 0.5), torch.full((1, 64, 64), 0.5)
    lay_over(rgb, lines, *ring(), WINDOW, torch.Generator().manual_seed(seed))
    changed, drawn = (rgb != 0.5).any(0), (lines != 0.5).any(0)
    assert changed.any()
    assert not changed[:8].any()
    assert not changed[56:].any()
    assert torch.equal(changed, drawn)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    is_line = drawn & (lines[0] < 0.2)
    assert rgb[:, is_line].numel() == 0 or rgb[:, is_line].mean() < 0.35


def test_parts_of_all_sizes_and_places_fit():
    generator = torch.Generator().manual_seed(0)
    touched = torch.zeros(64, 64, dtype=torch.bool)
    for _ in range(200):
        rgb = torch.full((3, 64, 64), 0.5)
        lay_over(rgb, None, Image.new("RGB", (256, 3), "navy"), None, WINDOW, generator)
        lay_over(rgb, None, ring()[0], None, WINDOW, generator)
        touched |= (rgb != 0.5).any(0)
    assert touched[WINDOW].all()
    assert touched.sum() == 48 * 64
