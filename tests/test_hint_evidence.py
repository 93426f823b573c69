"""Laws of what hints say about the rest of a drawing."""

import numpy as np
import pytest
import torch

from sketch_colorizer.color import rgb_to_lab
from sketch_colorizer.hint_evidence import MANY, NOVELTY, hint_odds, hint_odds_of_cells, weigh
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


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2000), (8, 2000), (2000, 5), (7, 5)])
def test_in_every_size_of_drawing_the_hinted_region_gains_most(shape):
    labels = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)  # each pixel a region
    y, x = shape[0] // 2, shape[1] // 2
    marks = read_hints([(x, y, RED, 0)], np.full(shape, 255, np.uint8), labels)
    found = hint_odds(marks, labels, BINS)
    assert found.shape == (labels.size, 4)
    assert found[labels[y, x], 0] == found[:, 0].max() == pytest.approx(3, abs=0.05)
    assert found.min() >= 1
    assert found[0, 0] > 1.05  # the farthest corner, too
    assert hint_odds_of_cells(marks, (4, 6), BINS).shape == (4, 6, 4)


def test_a_speck_between_the_cells_gains_as_its_surroundings_do():
    labels = np.zeros((1024, 1024), np.int32)
    labels[513:515, 513:515] = 1  # cells are 8 pixels wide
    marks = read_hints([(500, 500, RED, 3)], np.full(labels.shape, 255, np.uint8), labels)
    found = hint_odds(marks, labels, BINS)
    assert found[1, 0] > 2.5


def test_hints_do_not_make_paper_of_paint_or_paint_of_paper():
    scores = torch.tensor([[0.1, 0.2, 0.1, 0.6]]).log() + 5  # the last bin is paper
    weighed = weigh(scores, torch.tensor([[9.0, 1.0, 1.0, 4.0]]), BINS).exp()
    assert weighed[0, 3].item() == pytest.approx(0.6, abs=1e-5)
    assert weighed.sum().item() == pytest.approx(1, abs=1e-5)
    assert weighed[0, 0] / weighed[0, 1] == pytest.approx(4.5, rel=1e-4)


def test_cells_of_the_soft_style_follow_the_same_rule():
    marks = read_hints([(5, 30, RED, 2)], PAPER, LABELS)
    found = hint_odds_of_cells(marks, (6, 20), BINS)
    assert found[3, 0, 0] == found[..., 0].max() == pytest.approx(3, abs=0.1)
    assert found[3, 19, 0] < found[3, 10, 0] < found[3, 0, 0]
    assert found[..., 2].max() < 1.05


def test_a_photograph_of_hints_is_cheap_and_counts_as_a_few_colours():
    shades = np.random.default_rng(0).integers(0, 256, (60, 200, 3), np.uint8)
    layer = np.concatenate([shades, np.full((60, 200, 1), 255, np.uint8)], axis=-1)
    layer[0, 0, 3] = 0  # a layer of hints has a transparent place
    found = hint_odds(read_hints(layer, PAPER, LABELS), LABELS, BINS)
    assert found.max() <= 1 + MANY**2 / NOVELTY


def test_shades_of_one_brush_are_one_colour():
    layer = np.zeros((60, 200, 4), np.uint8)
    layer[10:40, 10:110] = [200, 30, 30, 255]
    layer[10:40, 10:110, 1] += np.arange(100, dtype=np.uint8) // 50
    layer[10:40, 10:110, 2] += np.arange(30, dtype=np.uint8)[:, None] // 10
    found = hint_odds(read_hints(layer, PAPER, LABELS), LABELS, BINS)
    assert found[1, 0] == pytest.approx(3, abs=0.2)
