"""Laws of what the model does not know: certainty is 0, ignorance 1, suggestions lie inside distinct regions."""

import numpy as np
import pytest
import torch
from conftest import draw

from sketch_colorizer import ColorizationPipeline
from sketch_colorizer.color import lab_to_rgb, rgb_to_lab
from sketch_colorizer.regions import segment_regions
from sketch_colorizer.uncertainty import RegionDistributions, merge_classes

ART = np.asarray(draw(120, 90))
LABELS = segment_regions(ART)
COUNT = int(LABELS.max()) + 1
RGB = torch.tensor([[255, 255, 255], [200, 30, 40], [205, 40, 40], [20, 60, 200], [30, 140, 60]])
BINS = rgb_to_lab(RGB.float() / 255, dim=-1)


def known(probabilities: torch.Tensor, settled: tuple[int, ...] = ()) -> RegionDistributions:
    painted = (lab_to_rgb(BINS[probabilities.argmax(-1)], dim=-1) * 255).round().to(torch.uint8).numpy()
    return RegionDistributions(ART, probabilities.log(), BINS, painted, np.isin(np.arange(COUNT), settled))


def rows(*row: float) -> torch.Tensor:
    return torch.tensor(row).repeat(COUNT, 1)


def test_certainty_is_0_and_ignorance_1():
    sure = known(rows(1.0, 0, 0, 0, 0)).uncertainty
    assert (sure.shape, sure.dtype) == (ART.shape, np.float32)
    assert sure.max() == 0
    assert known(rows(0.2, 0.2, 0.2, 0.2, 0.2)).uncertainty == pytest.approx(1)


def test_what_a_hint_settles_is_certain_and_not_suggested():
    distributions = known(rows(0.2, 0.2, 0.2, 0.2, 0.2), settled=(1,))
    assert (distributions.uncertainty[LABELS == 1] == 0).all()
    assert (distributions.uncertainty[LABELS != 1] > 0.9).all()
    places = {LABELS[place.y, place.x] for place in distributions.suggest_hints(10)}
    assert places == set(range(COUNT)) - {1}


def test_suggestions_lie_well_inside_distinct_regions_the_best_first():
    places = known(rows(0.3, 0.2, 0.1, 0.2, 0.2)).suggest_hints(COUNT)
    assert len({LABELS[place.y, place.x] for place in places}) == len(places) == COUNT
    assert all(ART[place.y - 1 : place.y + 2, place.x - 1 : place.x + 2].min() == 255 for place in places)
    gains = [place.gain for place in places]
    assert gains == sorted(gains, reverse=True)
    areas = np.bincount(LABELS.ravel())
    assert LABELS[places[0].y, places[0].x] == areas.argmax(), "equally uncertain, the largest is worth most"


def test_nothing_is_suggested_where_nothing_is_in_doubt():
    assert known(rows(0.0, 1.0, 0, 0, 0)).suggest_hints(3) == []


def test_draws_lean_to_what_sets_a_region_apart_and_leave_paper_as_likely():
    probabilities = rows(0.4, 0.3, 0.1, 0.1, 0.1)
    probabilities[1] = torch.tensor([0.4, 0.2, 0.1, 0.2, 0.1])
    distributions = known(probabilities)
    assert torch.allclose(distributions.leanings[:, 0], probabilities[:, 0], atol=1e-5)
    assert distributions.leanings[1, 3] > 0.2, "blue sets region 1 apart"
    assert distributions.leanings[1, 1] < 0.2
    distributions = known(rows(0.4, 0.3, 0.1, 0.1, 0.1))
    assert torch.allclose(distributions.leanings, distributions.probabilities, atol=1e-5), "none is set apart"
    distributions = known(rows(0.4, 0.3, 0.1, 0.1, 0.1))
    distributions.bin_weights = torch.tensor([1.0, 1, 1, 3, 0])
    assert torch.allclose(distributions.leanings, torch.tensor([0.4, 0.6 * 3 / 7, 0.6 / 7, 0.6 * 3 / 7, 0]), atol=1e-5)


def test_shades_of_one_colour_are_one_guess():
    guesses = known(rows(0.3, 0.2, 0.2, 0.25, 0.05)).suggest_colors(60, 45, 5)
    assert [guess.probability for guess in guesses] == pytest.approx([0.4, 0.3, 0.25, 0.05])
    assert guesses[1].color == "#ffffff"
    assert guesses[2].color == "#143cc8"
    assert len(known(rows(0.3, 0.2, 0.2, 0.25, 0.05)).suggest_colors(60, 45, 2)) == 2


def test_guesses_differ_and_hold_all_mass():
    generator = torch.Generator().manual_seed(0)
    bins = rgb_to_lab(torch.rand(512, 3, generator=generator), dim=-1)
    colors, masses = merge_classes(torch.rand(512, generator=generator).softmax(-1), bins, 512)
    assert masses.sum() == pytest.approx(1, abs=1e-4)
    assert (masses.diff() <= 0).all()
    distances = torch.cdist(colors[:5], colors[:5])[~torch.eye(5, dtype=torch.bool)]
    assert distances.min() > 8


def test_a_palette_is_what_is_guessed_from():
    distributions = known(rows(0.2, 0.2, 0.2, 0.2, 0.2))
    colors = np.array([[1, 2, 3], [250, 250, 0]], np.uint8)
    distributions.palette = colors, torch.tensor([[0.0, 2.0]]).repeat(COUNT, 1)
    assert [guess.color for guess in distributions.suggest_colors(1, 1, 5)] == ["#fafa00", "#010203"]


def test_like_regions_are_twins():
    probabilities = rows(0.1, 0.5, 0.1, 0.2, 0.1)
    probabilities[1] = torch.tensor([0.1, 0.1, 0.1, 0.6, 0.1])
    assert known(probabilities).twins(1).tolist() == [1]
    assert set(known(probabilities).twins(0)) == set(range(COUNT)) - {1}


@pytest.mark.parametrize("n", [0, 1001, -1, 2.5, None])
def test_wrong_numbers_are_refused(n):
    distributions = known(rows(0.2, 0.2, 0.2, 0.2, 0.2))
    with pytest.raises(ValueError, match=r"number of hints must be 1\.\.1000, got"):
        distributions.suggest_hints(n)
    with pytest.raises(ValueError, match=r"number of colours must be 1\.\.50, got"):
        distributions.suggest_colors(1, 1, n)


@pytest.mark.parametrize("place", [(-1, 3), (120, 3), (3, 90), (float("nan"), 3)])
def test_places_outside_are_refused(place):
    with pytest.raises(ValueError, match="outside the picture of 120x90 pixels"):
        known(rows(0.2, 0.2, 0.2, 0.2, 0.2)).suggest_colors(*place, 5)


def test_calibration_changes_what_is_known_and_nothing_that_is_painted():
    sharp = known(rows(0.9, 0.04, 0.03, 0.02, 0.01))
    soft = RegionDistributions(ART, sharp.scores, BINS, sharp.region_colors, sharp.settled, temperature=2.0)
    assert (soft.uncertainty > sharp.uncertainty).all()
    assert soft.suggest_colors(45, 60, 5)[0].probability < sharp.suggest_colors(45, 60, 5)[0].probability
    colorize = ColorizationPipeline.from_pretrained()
    plain, drawing = colorize(draw(120, 90)), draw(120, 90)
    colorize.processor.calibration_temperature = 3.0
    assert np.array_equal(np.asarray(colorize(drawing).image), np.asarray(plain.image))
    assert (colorize(drawing).uncertainty >= plain.uncertainty).all()
