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


def groups(*rows, tolerance=0.02, paper_threshold=0.5):
    return group_alike(scores(*rows), COLUMNS, BINS, tolerance, paper_threshold).tolist()


def unlikeness(first, second):
    first, second = (torch.tensor(row)[:3] / sum(row[:3]) for row in (first, second))
    return 1 - float((first * second).sqrt().sum())


def test_alike_regions_share_and_others_do_not():
    assert groups(RED, GREEN, RED, UNSURE, GREEN, RED) == [0, 1, 0, 2, 1, 0]
    assert groups(RED, GREEN, RED, UNSURE, GREEN, RED, tolerance=1) == [0] * 6


def test_without_tolerance_each_region_is_alone():
    assert groups(RED, RED, RED, GREEN, GREEN, GREEN, tolerance=0) == list(range(6))
    assert group_alike(scores(RED), np.zeros((4, 4), np.int32), BINS, 0.5, 0.5).tolist() == [0]


@pytest.mark.parametrize("tolerance", [0.02, 1])
def test_paper_stays_alone_and_how_white_the_paint_may_be_does_not_matter(tolerance):
    paler = [0.55 * share for share in RED[:3]] + [0.45]
    assert groups(PAPER, RED, paler, PAPER, paler, PAPER, tolerance=tolerance) == [1, 0, 0, 2, 0, 3]
    assert groups(RED, paler, RED, RED, RED, RED, tolerance=tolerance, paper_threshold=0.4) == [0, 1, 0, 0, 0, 0]
    as_any = groups(PAPER, PAPER, GREEN, RED, RED, PAPER, tolerance=0.02, paper_threshold=None)
    assert as_any == [0, 0, 1, 2, 2, 0]


def test_a_region_joins_the_group_that_it_is_most_like():
    first, between = [0.5, 0.45, 0.04, 0.01], [0.75, 0.2, 0.04, 0.01]
    tolerance = 0.12
    assert unlikeness(between, RED) < REMOTE * unlikeness(between, first) < tolerance < unlikeness(first, RED)
    assert groups(first, RED, between, PAPER, PAPER, PAPER, tolerance=tolerance)[:3] == [0, 1, 1]


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
    found = group_alike(values, COLUMNS, BINS, 0.05, 0.5)
    moved = group_alike(values[torch.from_numpy(np.argsort(order))], order[COLUMNS].astype(np.int32), BINS, 0.05, 0.5)
    assert len(np.unique(np.stack([found, moved[order]]), axis=1).T) == found.max() + 1 == moved.max() + 1  # one to one


def test_a_group_has_its_mean_and_larger_regions_count_more():
    values, areas = torch.tensor([[0.0, 3.0], [6.0, 0.0], [5.0, 5.0]]), torch.tensor([4, 16, 9])
    shared = share(values, np.array([0, 0, 1]), areas)
    torch.testing.assert_close(shared, torch.tensor([[4.0, 1.0], [4.0, 1.0], [5.0, 5.0]]))
    torch.testing.assert_close(share(values, np.arange(3), areas), values)


def test_which_regions_touch():
    labels = np.array([[0, 0, 1], [2, 2, 1], [3, 3, 3]], np.int32)
    assert [found.tolist() for found in touching_regions(labels, 4)] == [[1, 2], [0, 2, 3], [0, 1, 3], [1, 2]]
    assert [found.tolist() for found in touching_regions(np.zeros((3, 3), np.int32), 1)] == [[]]


@pytest.fixture(scope="module")
def cat():
    return Image.open(Path(__file__).parents[1] / "examples" / "cat.png").convert("L").resize((256, 256))


def region_colors(result):
    """The colour of each region (N, 3): what most of its pixels have."""
    known, colors = result.distributions, np.asarray(result.colors).astype(int) @ [1 << 16, 1 << 8, 1]
    return np.array([np.bincount(colors[known.labels == one]).argmax() for one in range(len(known.groups))])


@pytest.mark.parametrize("control", [{}, {"hints": [(128, 180, "#c81e28")]}, {"palette": "#c81e28,#e8c878,#5078c8"}])
def test_each_group_has_one_colour_and_paper_stays_paper(embedded_pipeline, cat, control):
    alone, shared = (embedded_pipeline(cat, sharing=sharing, **control) for sharing in (0, 0.1))
    found, groups = region_colors(shared), shared.distributions.groups
    assert 1 < groups.max() + 1 < len(groups) / 2
    free = ~shared.distributions.settled
    for group in np.unique(groups):
        assert len(np.unique(found[free & (groups == group)])) <= 1
    assert len(shared.colors.getcolors(1 << 24)) < len(alone.colors.getcolors(1 << 24)) or "palette" in control
    white = (np.asarray(result.colors).min(-1) == 255 for result in (alone, shared))
    assert np.mean(np.not_equal(*white)) < 0.01  # but for a colour that is as good as white


def test_what_is_known_does_not_depend_on_what_is_shared(embedded_pipeline, cat):
    alone, shared = (embedded_pipeline(cat, sharing=sharing, hints=[(9, 9, "#c81e28")]) for sharing in (0, 0.1))
    assert alone.suggest_colors(128, 180) == shared.suggest_colors(128, 180)
    assert (alone.uncertainty == shared.uncertainty).all()


def test_twins_are_what_shares_a_colour(embedded_pipeline, cat):
    known = embedded_pipeline(cat, sharing=0.1).distributions
    assert known.twins(3).tolist() == np.flatnonzero(known.groups == known.groups[3]).tolist()


def test_soft_pictures_share_nothing(embedded_pipeline, cat):
    settings = {"style": "soft", "palette": "#c81e28,#e8c878,#5078c8"}
    alone, shared = (embedded_pipeline(cat, sharing=sharing, **settings) for sharing in (0, 0.1))
    assert (np.asarray(alone.image) == np.asarray(shared.image)).all()


def test_a_wrong_sharing_is_said(embedded_pipeline):
    with pytest.raises(ValueError, match=r"sharing must be 0\.\.1, got 2"):
        embedded_pipeline(np.tile(np.uint8([0, 255]), (32, 16)), sharing=2)
