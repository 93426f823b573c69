"""Laws of spreading hints: obeyed exactly, never over a closed line, split where several meet, fading in soft style."""

import numpy as np
import pytest
from conftest import draw

from sketch_colorizer.hint_spreading import MAX_COLORS, blend_hints, paint_marks, settle_regions
from sketch_colorizer.regions import flat_colors, segment_regions
from sketch_colorizer.user_hints import read_hints

ART = np.asarray(draw(120, 90))
LABELS = segment_regions(ART)
GREYS = np.repeat(np.arange(100, 100 + LABELS.max() + 1, dtype=np.uint8)[:, None], 3, axis=1)
GUIDE = np.zeros((9, 12, 3), np.float32)
OPEN = np.full((60, 100), 255, np.uint8)
ONE = np.zeros(OPEN.shape, np.int32)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def settle(dots, art=ART, labels=LABELS, guide=GUIDE):
    regions = GREYS[: labels.max() + 1]
    new_labels, colors = settle_regions(labels, regions, read_hints(dots, art, labels), art, guide)
    return flat_colors(colors, new_labels)


def test_a_region_takes_its_hint_and_no_other_region_changes():
    plain = flat_colors(GREYS, LABELS)
    settled = settle([(20, 45, RED)])
    mine = LABELS[45, 20] == LABELS
    assert (settled[mine] == RED).all()
    assert (settled[~mine] == plain[~mine]).all()


def test_what_came_in_is_left_as_it_was():
    labels, greys = LABELS.copy(), GREYS.copy()
    settle([(20, 45, RED), (20, 60, BLUE)])
    assert (labels == LABELS).all()
    assert (greys == GREYS).all()


def test_two_hints_in_one_region_split_it_in_the_middle():
    settled = settle([(10, 30, RED, 0), (89, 30, BLUE, 0)], OPEN, ONE)
    assert set(map(tuple, settled.reshape(-1, 3))) == {RED, BLUE}
    assert (settled[:, :45] == RED).all()
    assert (settled[:, 55:] == BLUE).all()


@pytest.mark.parametrize("line_at", [30, 70])
def test_the_split_runs_along_ink_that_does_not_close(line_at):
    art = OPEN.copy()
    art[:56, line_at : line_at + 2] = 0
    settled = settle([(10, 20, RED, 0), (89, 20, BLUE, 0)], art, ONE)
    assert (settled[:30, : line_at - 1] == RED).all()
    assert (settled[:30, line_at + 3 :] == BLUE).all()


def test_the_split_follows_what_the_network_tells_apart():
    guide = np.zeros((30, 50, 3), np.float32)
    guide[:, 40:, 1] = 60
    settled = settle([(10, 30, RED, 0), (89, 30, BLUE, 0)], OPEN, ONE, guide)
    assert (settled[:, :76] == RED).all()
    assert (settled[:, 84:] == BLUE).all()


def test_pieces_of_a_region_that_do_not_touch_take_the_nearest_hint():
    labels = np.ones(OPEN.shape, np.int32)
    labels[:, :30] = labels[:, 40:60] = labels[:, 70:] = 0
    settled = settle([(5, 30, RED, 0), (95, 30, BLUE, 0)], OPEN, labels)
    assert (settled[:, :30] == RED).all()
    assert (settled[:, 70:] == BLUE).all()
    assert (settled[:, 30:40] == GREYS[1]).all()


def test_a_photograph_as_a_layer_is_no_harm():
    strokes = np.dstack([np.random.default_rng(0).integers(0, 256, (*OPEN.shape, 3), np.uint8), np.zeros_like(OPEN)])
    strokes[10:40, 10:80, 3] = 255
    marks = read_hints(strokes, OPEN)
    labels, colors = settle_regions(ONE, GREYS[:1], marks, OPEN, GUIDE)
    assert len(colors) == MAX_COLORS
    painted = flat_colors(colors, labels)
    paint_marks(painted, marks)
    assert (painted[10:40, 10:80] == strokes[10:40, 10:80, :3]).all()


def test_soft_colours_are_the_hint_at_the_hint_and_less_so_further_away():
    colors = np.full((*OPEN.shape, 3), 128, np.uint8)
    marks = read_hints([(10, 30, RED, 2)], OPEN)
    blend_hints(colors, ONE, marks, OPEN, GUIDE)
    red = colors[30, 10:, 0].astype(int)
    assert red[0] == 255
    assert (np.diff(red) <= 1).all()
    assert 128 < red[-1] < red[30] < 255
    assert np.abs(np.diff(red)).max() < 12


def test_soft_hints_stay_in_their_region():
    colors = np.full((*ART.shape, 3), 128, np.uint8)
    blend_hints(colors, LABELS, read_hints([(20, 45, RED)], ART, LABELS), ART, GUIDE)
    assert (colors[LABELS[45, 20] != LABELS] == 128).all()
    assert (colors[LABELS[45, 20] == LABELS] != 128).any()
