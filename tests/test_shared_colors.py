"""Laws of which regions share a colour."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sketch_colorizer.color import rgb_to_lab
from sketch_colorizer.regions import touching_regions
from sketch_colorizer.shared_colors import REMOTE, group_alike, share

BINS = rgb_to_lab(torch.tensor([[200, 30, 30], [30, 140, 60], [30, 60, 200], [255, 255, 255]]).float() / 255, dim=-1)
COLUMNS = np.repeat(np.arange(6, dtype=np.int32), [60, 50, 40, 30, 20, 10])[None].repeat(40, 0)  # ever smaller
RED, GREEN, UNSURE = [0.9, 0.05, 0.04, 0.01], [0.05, 0.9, 0.04, 0.01], [0.3, 0.3, 0.39, 0.01]
PAPER = [0.2, 0.1, 0.1, 0.6]


def scores(*rows):
    return torch.tensor(rows).log()


def groups(*rows, tolerance=0.02, labels=COLUMNS):
    return group_alike(scores(*rows), labels, BINS, tolerance).tolist()


def unlikeness(first, second):
    first, second = (torch.tensor(row)[:3] / sum(row[:3]) for row in (first, second))
    return 1 - float((first * second).sqrt().sum())


def test_alike_regions_share_and_others_do_not():
    assert groups(RED, GREEN, RED, UNSURE, GREEN, RED) == [0, 1, 0, 2, 1, 0]
    assert groups(RED, GREEN, RED, UNSURE, GREEN, RED, tolerance=1) == [0] * 6


def test_without_tolerance_each_region_is_alone():
    assert groups(RED, RED, RED, GREEN, GREEN, GREEN, tolerance=0) == list(range(6))
    assert group_alike(scores(RED), np.zeros((4, 4), np.int32), BINS, 0.5).tolist() == [0]


def test_how_white_the_paint_may_be_does_not_matter_but_paper_stays_alone():
    paler = [0.55 * share for share in RED[:3]] + [0.45]
    assert groups(RED, paler, PAPER, PAPER, PAPER, PAPER) == [0, 0, 1, 2, 3, 4]


def test_regions_that_do_not_touch_must_be_more_alike():
    almost = [0.8, 0.15, 0.04, 0.01]
    tolerance = 1.5 * unlikeness(RED, almost)
    assert REMOTE > 1.5
    assert groups(RED, almost, GREEN, GREEN, GREEN, GREEN, tolerance=tolerance)[1] == 0
    assert groups(RED, GREEN, almost, GREEN, GREEN, GREEN, tolerance=tolerance)[2] != 0
    # what touches one of a group touches the group: a tail's last ring
    assert groups(RED, RED, almost, GREEN, GREEN, GREEN, tolerance=tolerance)[2] == 0


@given(st.permutations(range(6)), st.integers(0, 2**31))
def test_numbers_of_regions_mean_nothing(order, seed):
    values = torch.rand(6, 4, generator=torch.Generator().manual_seed(seed)).log()
    order = np.array(order)
    found = group_alike(values, COLUMNS, BINS, 0.05)
    moved = group_alike(values[torch.from_numpy(np.argsort(order))], order[COLUMNS].astype(np.int32), BINS, 0.05)
    assert len(np.unique(np.stack([found, moved[order]]), axis=1).T) == found.max() + 1  # one to one


def test_a_group_has_its_mean_and_larger_regions_count_more():
    values, areas = torch.tensor([[0.0, 3.0], [6.0, 0.0], [5.0, 5.0]]), torch.tensor([4, 16, 9])
    shared = share(values, np.array([0, 0, 1]), areas)
    torch.testing.assert_close(shared, torch.tensor([[4.0, 1.0], [4.0, 1.0], [5.0, 5.0]]))
    torch.testing.assert_close(share(values, np.arange(3), areas), values)
    empty = share(values, np.zeros(3, int), torch.zeros(3))  # no pixel of theirs shows
    assert torch.isfinite(empty).all()


def test_which_regions_touch():
    labels = np.array([[0, 0, 1], [2, 2, 1], [3, 3, 3]], np.int32)
    assert [found.tolist() for found in touching_regions(labels, 4)] == [[1, 2], [0, 2, 3], [0, 1, 3], [1, 2]]
    assert [found.tolist() for found in touching_regions(np.zeros((3, 3), np.int32), 1)] == [[]]


@pytest.mark.parametrize("sharing", [0.0, 0.02, 0.2])
def test_sharing_makes_fewer_colours_and_keeps_paper_and_hints(embedded_pipeline, sharing):
    cat = Image.open(Path(__file__).parents[1] / "examples" / "cat.png").convert("L").resize((256, 256))
    alone = embedded_pipeline(cat, sharing=0)
    result = embedded_pipeline(cat, sharing=sharing)
    count = [len(one.colors.getcolors(1 << 24)) for one in (alone, result)]
    assert count[1] < count[0] if sharing else count[1] == count[0]
    hinted = np.asarray(embedded_pipeline(cat, sharing=sharing, hints=[(128, 180, "#c81e28")]).colors)
    assert tuple(hinted[180, 128]) == (200, 30, 40)


def test_a_wrong_sharing_is_said(embedded_pipeline):
    with pytest.raises(ValueError, match=r"sharing must be 0\.\.1, got 2"):
        embedded_pipeline(np.tile(np.uint8([0, 255]), (32, 16)), sharing=2)
