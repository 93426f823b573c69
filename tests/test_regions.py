"""Laws of the closed regions: labels, gaps, specks, scale, and pooling."""

import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sketch_colorizer.regions import count_by_cell, flat_colors, pool_by_region, segment_regions


def paper(height: int = 240, width: int = 240) -> np.ndarray:
    return np.full((height, width), 255, np.uint8)


def ring(gap: int = 0, size: int = 240) -> np.ndarray:
    """A circle with an opening of `gap` pixels at its right."""
    drawing, centre = paper(size, size), size // 2
    cv2.circle(drawing, (centre, centre), size // 3, 0, 3, cv2.LINE_AA)
    if gap:
        top = centre - gap // 2
        drawing[top : top + gap, centre:] = 255
    return drawing


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (16, 16), (20, 400), (33, 77)])
@pytest.mark.parametrize("fill", [0, 255])
def test_blank_paper_of_any_size_is_one_region(shape, fill):
    labels = segment_regions(np.full(shape, fill, np.uint8))
    assert labels.shape == shape
    assert labels.dtype == np.int32
    assert not labels.any()


def test_every_label_is_used_and_noise_stays_bounded():
    noise = np.random.default_rng(0).integers(0, 256, (200, 300)).astype(np.uint8)
    for drawing in (ring(), noise):
        labels = segment_regions(drawing)
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert labels.max() < 4096


def test_two_sides_of_a_closed_line_differ():
    labels = segment_regions(ring())
    assert labels.max() == 1
    assert labels[120, 120] != labels[5, 5]


def test_a_small_gap_is_bridged_and_a_wide_opening_is_not():
    labels = segment_regions(ring(gap=6))
    assert labels[120, 120] != labels[5, 5]
    opened = segment_regions(ring(gap=110))
    assert opened[120, 120] == opened[120, 235]


@pytest.mark.parametrize("gap", [3, 8, 14])
def test_a_pear_with_a_gap_in_its_outline_does_not_leak(gap):
    drawing = paper()
    cv2.ellipse(drawing, (120, 150), (60, 65), 0, -60, 240, 0, 3)
    cv2.ellipse(drawing, (120, 80), (32, 38), 0, 130, 410, 0, 3)
    drawing[150 - gap // 2 : 150 + (gap + 1) // 2, 170:190] = 255
    labels = segment_regions(drawing)
    assert labels[160, 120] != labels[5, 5]
    assert (labels[:, 190:] == labels[5, 5]).all()


def test_a_dashed_outline_is_closed():
    drawing = paper()
    for angle in range(0, 360, 12):
        cv2.ellipse(drawing, (120, 120), (90, 70), 0, angle, angle + 9, 0, 3)
    labels = segment_regions(drawing)
    assert labels[120, 120] != labels[5, 5]
    assert labels.max() == 1


def test_a_waist_is_no_gap():
    """Where a shape is narrow and no line ends, nothing is cut, however narrow it is compared with its halves."""
    drawing = paper()
    bow_tie = np.array([(30, 40), (114, 112), (126, 112), (210, 40), (210, 200), (126, 128), (114, 128), (30, 200)])
    cv2.polylines(drawing, [bow_tie.astype(np.int32)], True, 0, 3)
    labels = segment_regions(drawing)
    assert labels[120, 60] == labels[120, 180] != labels[5, 5]


def test_an_object_close_to_another_does_not_part_the_background():
    drawing = paper()
    cv2.circle(drawing, (120, 60), 50, 0, 3)
    cv2.rectangle(drawing, (40, 118), (200, 220), 0, 3)  # a gap of six pixels below the circle
    assert segment_regions(drawing).max() == 2


@pytest.mark.parametrize("spacing", [5, 8])
def test_hatching_is_no_crowd_of_regions(spacing):
    drawing = paper()
    for start in range(40, 200, spacing):
        cv2.line(drawing, (start, 60), (start + 30, 180), 0, 1, cv2.LINE_AA)
    assert segment_regions(drawing).max() <= 2


def test_stipple_does_not_cut_up_a_shape():
    drawing = ring(size=480)
    for y, x in np.random.default_rng(0).integers(120, 360, (1500, 2)):
        drawing[y : y + 3, x : x + 3] = 0
    assert segment_regions(drawing).max() <= 2


def test_close_cross_hatching_is_one_region():
    drawing = paper()
    for start in range(40, 201, 5):
        cv2.line(drawing, (start, 40), (start, 200), 0, 1)
        cv2.line(drawing, (40, start), (200, start), 0, 1)
    assert segment_regions(drawing).max() <= 1


def test_a_diagonal_line_of_one_pixel_parts_the_paper():
    drawing = paper(60, 60)
    np.fill_diagonal(drawing, 0)
    labels = segment_regions(drawing)
    assert labels[50, 5] != labels[5, 50]


def test_a_faint_line_counts_and_the_grain_of_the_paper_does_not():
    drawing = paper()
    cv2.circle(drawing, (120, 120), 80, 205, 3, cv2.LINE_AA)
    grain = np.abs(np.random.default_rng(0).normal(0, 5, drawing.shape))
    labels = segment_regions((drawing - grain).clip(0, 255).astype(np.uint8))
    assert labels[120, 120] != labels[5, 5]
    assert labels.max() == 1


def test_a_shape_filled_with_grey_is_a_region():
    drawing = paper()
    cv2.circle(drawing, (120, 120), 80, 150, -1)
    cv2.circle(drawing, (120, 120), 80, 0, 3)
    labels = segment_regions(drawing)
    distance = np.hypot(*(np.indices(labels.shape) - 120))
    assert labels[5, 5] != labels[120, 120]
    assert (labels[distance < 72] == labels[120, 120]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_anything_is_segmented(height, width, seed):
    drawing = np.random.default_rng(seed).choice(np.array([0, 90, 230, 255], np.uint8), (height, width))
    labels = segment_regions(drawing, min_size=0)
    assert labels.shape == drawing.shape
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


def test_the_number_of_regions_is_bounded():
    tiles = np.full((800, 800), 255, np.uint8)
    tiles[::8] = 0
    tiles[:, ::8] = 0
    assert 100 < segment_regions(tiles, min_size=0).max() < 4096  # of ten thousand tiles


def test_memory_grows_with_the_pixels_and_no_faster():
    peaks = []
    for size in (1600, 3200):
        drawing = ring(gap=9, size=size)
        tracemalloc.start()
        segment_regions(drawing)
        peaks.append(tracemalloc.get_traced_memory()[1] / drawing.size)
        tracemalloc.stop()
    assert peaks[1] <= peaks[0]


def test_specks_are_no_regions():
    drawing = ring()
    cv2.circle(drawing, (60, 20), 1, 0, -1)
    assert segment_regions(drawing).max() == 1


@pytest.mark.parametrize("factor", [2, 4])
def test_the_number_of_regions_does_not_depend_on_the_size(factor):
    drawing = ring()
    cv2.line(drawing, (40, 120), (200, 120), 0, 3)
    larger = cv2.resize(drawing, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    assert segment_regions(larger).max() == segment_regions(drawing).max() == 2


def test_a_large_drawing_is_segmented_at_a_fraction_and_carried_up():
    large = ring(size=1800)  # more than WORKING_PIXELS
    labels = segment_regions(large)
    assert labels.shape == large.shape
    assert labels[900, 900] != labels[5, 5]
    inside = np.hypot(*(np.indices(large.shape) - 900)) < 590
    assert (labels[inside] == labels[900, 900]).all()


def test_colour_runs_on_under_the_line_to_its_middle():
    labels = segment_regions(ring())
    distance = np.hypot(*(np.indices(labels.shape) - 120))
    assert (labels[distance < 77] == labels[120, 120]).all()
    assert (labels[distance > 83] == labels[5, 5]).all()


def test_the_same_drawing_gives_the_same_labels():
    assert np.array_equal(segment_regions(ring(gap=6)), segment_regions(ring(gap=6)))


def test_pooling_a_constant_gives_the_constant():
    labels = segment_regions(ring())
    pooled = pool_by_region(torch.full((5, 12, 12), 3.5), labels, ring())
    assert pooled.shape == (2, 5)
    assert torch.allclose(pooled, torch.tensor(3.5), atol=1e-5)


def test_pooling_equals_a_loop_over_the_pixels():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3, dtype=np.int32), 4)[:, None].repeat(10, 1)
    line_art = np.where(rng.random((12, 10)) < 0.3, 0, 255).astype(np.uint8)
    line_art[8:] = 0  # the last region has no paper: all its pixels count
    values = torch.from_numpy(rng.random((2, 3, 5)).astype(np.float32))
    expected = np.zeros((3, 2))
    for label in range(3):
        counted = [(y, x) for y, x in np.ndindex(12, 10) if labels[y, x] == label and (line_art[y, x] or label == 2)]
        expected[label] = np.mean([values[:, y * 3 // 12, x * 5 // 10].numpy() for y, x in counted], axis=0)
    assert np.allclose(pool_by_region(values, labels, line_art).numpy(), expected, atol=1e-5)


def test_cells_count_each_paper_pixel_once():
    drawing = ring()
    counts = count_by_cell(segment_regions(drawing), drawing, (12, 12))
    assert counts.sum() <= drawing.size
    assert counts.sum() >= (drawing == 255).sum()


def test_flat_colours_take_each_region_to_its_colour():
    labels = np.array([[0, 1], [1, 2]], np.int32)
    colors = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    assert np.array_equal(flat_colors(colors, labels), colors[labels])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        segment_regions(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="max_gap"):
        segment_regions(paper(), max_gap=2.0)
