"""Laws of what hints say about the rest of a drawing."""

import numpy as np
import pytest
import torch

from sketch_colorizer.color import rgb_to_lab
from sketch_colorizer.hint_evidence import hint_odds, hint_odds_of_cells
from sketch_colorizer.user_hints import read_hints

RED, GREEN, BLUE = "#c81e1e", "#1e8c3c", "#1e3cc8"
BINS = rgb_to_lab(torch.tensor([[200, 30, 30], [30, 140, 60], [30, 60, 200], [255, 255, 255]]).float() / 255, dim=-1)
PAPER = np.full((60, 200), 255, np.uint8)
LABELS = np.repeat(np.arange(10, dtype=np.int32), 20)[None].repeat(60, 0)  # ten columns


def odds(hints, labels=LABELS):
    return hint_odds(read_hints(hints, PAPER, labels), labels, BINS)


def test_a_chosen_colour_gets_likelier_everywhere_and_most_where_it_was_chosen():
    found = odds([(5, 30, RED, 2)])
    assert found.shape == (10, 4)
    assert (found >= 1).all()
    assert (found[:, 0].diff() <= 1e-6).all()  # further away, less
    assert found[0, 0] > found[9, 0] > 1
    assert found[:, 2:].max() < 1.05  # blue and paper gain nothing


def test_each_further_colour_makes_a_new_one_less_likely():
    one, two = odds([(5, 30, RED, 2)]), odds([(5, 30, RED, 2), (190, 30, GREEN, 2)])
    assert two[0, 0] > one[0, 0]
    assert two[9, 1] > two[9, 0]
    alike = odds([(5, 30, RED, 2), (150, 10, "#c91f1f", 2)])  # the same red for every eye
    torch.testing.assert_close(alike[0], one[0])


def test_the_order_and_the_number_of_dabs_of_one_colour_do_not_matter():
    dabs = [(5, 30, RED, 2), (95, 30, GREEN, 2), (190, 30, BLUE, 2)]
    torch.testing.assert_close(odds(dabs), odds(dabs[::-1]))
    torch.testing.assert_close(odds(dabs), odds(dabs + dabs))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2000), (7, 5)])
def test_every_size_of_drawing_and_every_region_has_odds(shape):
    labels = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)  # each pixel a region
    marks = read_hints([(shape[1] - 1, shape[0] - 1, RED, 0)], np.full(shape, 255, np.uint8), labels)
    found = hint_odds(marks, labels, BINS)
    assert found.shape == (labels.size, 4)
    assert torch.isfinite(found).all()
    assert found.min() >= 1
    assert hint_odds_of_cells(marks, (4, 6), BINS).shape == (4, 6, 4)


def test_cells_of_the_soft_style_follow_the_same_rule():
    marks = read_hints([(5, 30, RED, 2)], PAPER, LABELS)
    found = hint_odds_of_cells(marks, (6, 20), BINS)
    assert found[3, 0, 0] == found[..., 0].max() == pytest.approx(3, abs=0.1)
    assert found[3, 19, 0] < found[3, 10, 0] < found[3, 0, 0]
    assert found[..., 2].max() < 1.05


def test_a_soft_brush_of_a_thousand_shades_is_cheap_and_counts_as_its_few_colours():
    layer = np.zeros((60, 200, 4), np.uint8)
    layer[10:40, 10:110] = [200, 30, 30, 255]
    layer[10:40, 10:110, 1] += np.arange(100, dtype=np.uint8) // 20
    layer[10:40, 10:110, 2] += np.arange(30, dtype=np.uint8)[:, None] // 6
    found = hint_odds(read_hints(layer, PAPER, LABELS), LABELS, BINS)
    assert found[1, 0] < 30  # two or three reds, not twenty-five
