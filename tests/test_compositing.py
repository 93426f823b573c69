"""Laws of enlarging colours along the lines and of laying the lines over them."""

import cv2
import numpy as np
import pytest

from sketch_colorizer.compositing import composite, enlarge_colors
from sketch_colorizer.regions import segment_regions


def parted(height: int = 200, width: int = 300, at: int = 157) -> np.ndarray:
    """Paper with one line from top to bottom, off every grid."""
    drawing = np.full((height, width), 255, np.uint8)
    cv2.line(drawing, (at, 0), (at, height), 0, 3)
    return drawing


def test_a_constant_stays_constant():
    drawing = parted()
    colors = np.full((13, 19, 3), (200, 40, 90), np.uint8)
    assert (enlarge_colors(colors, segment_regions(drawing), drawing) == (200, 40, 90)).all()


def test_colour_does_not_bleed_across_a_line():
    drawing = parted()
    labels = segment_regions(drawing)
    colors = np.zeros((13, 19, 3), np.uint8)
    colors[:, :10, 0], colors[:, 10:, 2] = 255, 255  # the line runs through the tenth column of cells
    enlarged = enlarge_colors(colors, labels, drawing)
    left, right = labels == labels[0, 0], labels == labels[0, -1]
    assert enlarged[left][:, 2].max() <= 3
    assert enlarged[right][:, 0].max() <= 3


def test_the_mixed_colour_of_a_cell_on_a_line_hardly_shows():
    drawing = parted()
    labels = segment_regions(drawing)
    colors = np.zeros((13, 19, 3), np.uint8)
    colors[:, :9, 0], colors[:, 10:, 2] = 255, 255
    colors[:, 9] = (128, 0, 128)  # the column of the line
    enlarged = enlarge_colors(colors, labels, drawing)
    left, right = labels == labels[0, 0], labels == labels[0, -1]
    assert enlarged[left][:, 2].max() <= 70
    assert enlarged[right][:, 0].max() <= 3


def test_a_gradient_stays_smooth():
    drawing = np.full((128, 256), 255, np.uint8)
    ramp = np.linspace(0, 255, 16).astype(np.uint8)
    colors = np.broadcast_to(ramp[None, :, None], (8, 16, 3)).copy()
    enlarged = enlarge_colors(colors, segment_regions(drawing), drawing).astype(int)
    assert enlarged.shape == (128, 256, 3)
    assert np.abs(np.diff(enlarged[64, :, 0])).max() <= 4  # a blocky one would jump by 17


def test_black_stays_black_and_paper_leaves_the_colour():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (300, 40, 3)).astype(np.uint8)
    line_art = rng.choice(np.array([0, 128, 255], np.uint8), (300, 40))
    image = composite(colors, line_art)
    assert (image[line_art == 0] == 0).all()
    assert np.array_equal(image[line_art == 255], colors[line_art == 255])
    expected = np.rint(colors[line_art == 128] * (128 / 255))
    assert np.abs(image[line_art == 128] - expected).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (20, 400), (33, 77)])
def test_any_size(shape):
    drawing = np.full(shape, 255, np.uint8)
    colors = np.full((max(1, shape[0] // 4), max(1, shape[1] // 4), 3), 77, np.uint8)
    enlarged = enlarge_colors(colors, segment_regions(drawing), drawing)
    assert enlarged.shape == (*shape, 3)
    assert (composite(enlarged, drawing) == 77).all()


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must have the drawing's size"):
        composite(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8))
