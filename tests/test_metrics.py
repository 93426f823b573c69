"""Laws of the metrics: agreement with independent formulas, what a perfect and a wrong answer score, intervals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("skimage", reason="scikit-image comes with the extra 'train'")
pytest.importorskip("torchmetrics", reason="torchmetrics comes with the extra 'train'")

from sketch_colorizer.color import rgb_to_lab
from sketch_colorizer.training import metrics
from sketch_colorizer.training.intervals import interval, mean_of, ratio_of, resamples, resummed


def _random_lab(count: int, seed: int = 0) -> torch.Tensor:
    return rgb_to_lab(torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_painted_area_is_what_is_not_white_paper():
    lab = torch.tensor([[100.0, 0, 0], [97.5, 2, -2], [97.5, 4, 4], [96.9, 0, 0], [20.0, 0, 0]])
    assert metrics.painted_area(lab, dim=-1).tolist() == [False, False, True, True, True]


def test_every_srgb_color_has_a_cell_and_grey_noise_stays_in_one():
    cells = metrics.color_cells(_random_lab(20000))
    assert cells.min() >= 0
    assert cells.max() < metrics.NUM_CELLS
    noise = torch.tensor([[55.0, a, b] for a in (-9.0, 0.0, 9.0) for b in (-9.0, 0.0, 9.0)])
    assert len(metrics.color_cells(noise).unique()) == 1
    apart = torch.tensor([[55.0, 0, 0], [55.0, 25, 0], [55.0, 0, 25], [40.0, 0, 0]])
    assert len(metrics.color_cells(apart).unique()) == 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=40))
def test_accuracy_curve_agrees_with_counting(distances):
    distance = torch.tensor(distances, dtype=torch.float64)
    counted = [(distance <= t).sum().item() for t in range(151)]
    assert metrics.accuracy_curve(distance).tolist() == counted


def test_auc_is_one_for_a_perfect_answer_and_falls_with_distance():
    areas = [metrics.accuracy_curve(torch.full((7,), float(d))).mean() / 7 for d in (0, 10, 60, 150.5)]
    assert areas[0] == 1
    assert areas[-1] == 0
    assert areas == sorted(areas, reverse=True)


def test_balanced_auc_is_the_mean_over_classes():
    classes = torch.tensor([0] * 90 + [1] * 8 + [2] * 2)
    distance = torch.where(classes == 0, 0.0, torch.where(classes == 1, 75.0, 200.0))
    weights = metrics.balancing_weights(torch.bincount(classes, minlength=5))[classes]
    balanced = metrics.accuracy_curve(distance, weights).mean() / weights.sum()
    by_class = [metrics.accuracy_curve(distance[classes == c]).mean() / (classes == c).sum() for c in range(3)]
    assert balanced.item() == pytest.approx(np.mean(by_class), abs=1e-9)


def test_balanced_auc_is_plain_auc_where_all_classes_are_equally_frequent():
    classes = torch.arange(8).repeat(50)
    distance = torch.rand(400, generator=torch.Generator().manual_seed(0)) * 160
    weights = metrics.balancing_weights(torch.bincount(classes, minlength=20))
    assert weights[:8].allclose(torch.ones(8, dtype=torch.float64))
    assert (weights[8:] == 0).all()
    plain, balanced = metrics.accuracy_curve(distance), metrics.accuracy_curve(distance, weights[classes])
    assert plain.allclose(balanced)


def test_balancing_weights_have_mean_one_and_do_not_magnify_noise():
    counts = torch.tensor([1_000_000, 10_000, 3, 0])
    weights = metrics.balancing_weights(counts)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, abs=1e-9)
    assert weights[2] <= weights[1] * 101
    assert weights[3] == 0


def test_histogram_distance_is_half_the_l1_distance():
    first, second = np.array([3.0, 1, 0]), np.array([0.0, 1, 3])
    assert metrics.histogram_distance(first, second) == pytest.approx(0.75)
    assert metrics.histogram_distance(first, 10 * first) == 0
    assert metrics.histogram_distance(np.array([1.0, 0]), np.array([0, 1.0])) == 1


def test_hue_error_agrees_with_angles_and_counts_grey_as_chance():
    angles = torch.tensor([0.0, 30, 179, 181, 359])
    colors = torch.stack([torch.full((5,), 50.0), *(20 * f(torch.deg2rad(angles)) for f in (torch.cos, torch.sin))], 1)
    reference = torch.tensor([[50.0, 30.0, 0.0]]).expand(5, 3)
    assert metrics.hue_error(colors, reference).tolist() == pytest.approx([0, 30, 179, 179, 1], abs=1e-3)
    assert metrics.hue_error(torch.tensor([[50.0, 0.3, 0.3]]), reference[:1]).item() == 90


def test_colorfulness_agrees_with_the_published_formula():
    rgb = np.random.default_rng(0).random((500, 3))
    red, green, blue = (rgb * 255).T
    rg, yb = red - green, 0.5 * (red + green) - blue
    published = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert metrics.colorfulness(torch.tensor(rgb)) == pytest.approx(published)
    assert metrics.colorfulness(torch.full((9, 3), 0.4)) == 0


def test_psnr_agrees_with_scikit_image_and_is_capped_for_equal_pictures():
    from skimage.metrics import peak_signal_noise_ratio

    first, second = np.random.default_rng(0).random((2, 64, 3))
    ours = metrics.psnr(torch.tensor(first), torch.tensor(second))
    assert ours == pytest.approx(peak_signal_noise_ratio(first, second, data_range=1.0))
    assert metrics.psnr(torch.tensor(first), torch.tensor(first)) == metrics.PSNR_CAP


def _two_rooms() -> tuple[np.ndarray, np.ndarray]:
    """A line down the middle of a square frame, and its two closed regions."""
    line_art = np.full((40, 40), 255, np.uint8)
    line_art[[0, -1]] = line_art[:, [0, 19, 20, -1]] = 0
    return line_art, metrics.closed_regions(line_art)


def test_closed_regions_are_strict():
    line_art, regions = _two_rooms()
    assert len(np.unique(regions)) == 3
    assert (regions[line_art == 0] == 0).all()
    assert regions[20, 10] != regions[20, 30]
    line_art[20, 19:21] = 255
    assert len(np.unique(metrics.closed_regions(line_art))) == 2


def test_flat_colors_do_not_leak_and_are_even():
    _, regions = _two_rooms()
    lab = np.full((40, 40, 3), (60, 0, 0), np.float32)
    lab[:, 20:] = [60, 40, 0]
    leaked, exposed = metrics.leaked_pixels(lab, regions)
    assert leaked == 0
    assert exposed > 300
    assert metrics.unevenness(lab, regions) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_leaks_are_counted_pixel_by_pixel(width):
    _, regions = _two_rooms()
    lab = np.full((40, 40, 3), (60, 0, 0), np.float32)
    lab[:, 19 - width :] = [60, 40, 0]  # the right colour runs over the line, `width` pixels into the left room
    assert metrics.leaked_pixels(lab, regions)[0] == 38 * width


def test_a_region_painted_in_two_colors_does_not_leak():
    _, regions = _two_rooms()
    lab = np.full((40, 40, 3), (60, 0, 0), np.float32)
    lab[:, 20:] = [60, 40, 0]
    lab[20:, :20] = [60, 40, 0]  # the lower half of the left room has the right room's colour: a choice, not a leak
    assert metrics.leaked_pixels(lab, regions)[0] <= 6 * 6  # at most where the two colours and the line meet


def test_regions_of_one_color_cannot_leak():
    _, regions = _two_rooms()
    assert metrics.leaked_pixels(np.zeros((40, 40, 3), np.float32), regions) == (0, 0)
    assert metrics.leaked_pixels(np.zeros((40, 40, 3), np.float32), np.zeros((40, 40), int)) == (0, 0)


def test_unevenness_is_the_spread_inside_regions_alone():
    _, regions = _two_rooms()
    noise = np.random.default_rng(0).normal(0, 3, (40, 40, 3))
    lab = np.where((regions == 1)[..., None], 20, 80) + noise
    inside = regions > 0
    deviation = [noise[regions == r] - noise[regions == r].mean(0) for r in (1, 2)]
    expected = math.sqrt(sum((d**2).sum() for d in deviation) / inside.sum())
    assert metrics.unevenness(lab, regions) == pytest.approx(expected)


def _predictions(count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits = 2 * torch.randn(count, classes, generator=torch.Generator().manual_seed(0))
    return logits.log_softmax(1), torch.randint(classes, (count,), generator=torch.Generator().manual_seed(1))


def test_likelihood_agrees_with_torch_and_with_counting():
    log_probs, bins = _predictions(200, 12)
    terms = metrics.likelihood_terms(log_probs, bins)
    assert terms["nll"].mean().item() == pytest.approx(torch.nn.functional.nll_loss(log_probs, bins).item(), abs=1e-5)
    rank = (log_probs > log_probs.gather(1, bins[:, None])).sum(1)
    assert (terms["top1"] == (rank < 1)).all()
    assert (terms["top5"] == (rank < 5)).all()
    assert terms["confidence"].allclose(log_probs.exp().amax(1))


def test_calibration_error_agrees_with_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    log_probs, bins = _predictions(500, 12)
    confidence, answer = log_probs.exp().max(1)
    bins = torch.where(confidence < confidence.median(), answer, bins)  # too modest below, too sure above
    terms = metrics.likelihood_terms(log_probs, bins)
    ours = metrics.calibration_error(metrics.calibration_sums(terms["confidence"], terms["top1"]).numpy())
    assert ours == pytest.approx(multiclass_calibration_error(log_probs.exp(), bins, 12, n_bins=15).item(), abs=1e-5)


def test_calibration_sums_of_parts_add_up():
    confidence, hits = torch.rand(60, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3 == 0
    parts = [metrics.calibration_sums(confidence[part], hits[part]) for part in (slice(25), slice(25, None))]
    assert sum(parts).allclose(metrics.calibration_sums(confidence, hits))


def test_line_error_is_the_largest_difference():
    assert metrics.line_error(torch.tensor([10.0, 3.0]), torch.tensor([0.0, 5.0])) == 10
    assert math.isnan(metrics.line_error(torch.zeros(0), torch.zeros(0)))


MEAN = mean_of("x", better="lower", label="x")


def test_resummed_statistics_begin_with_the_split_itself():
    rows = [{"x": float(x), "y": float(y)} for x, y in zip(range(10), range(10, 20), strict=True)]
    draws = resamples(10, samples=50)
    assert draws.shape == (51, 10)
    assert (draws.sum(1) == 10).all()
    assert resummed(MEAN, rows, draws)[0] == 4.5
    ratio = resummed(ratio_of("x", "y", better="one", label=""), rows, draws)
    assert ratio[0] == pytest.approx(45 / 145)
    drawn = np.repeat(np.arange(10), draws[7].astype(int))
    assert ratio[7] == pytest.approx(drawn.sum() / (drawn + 10).sum())


def test_bootstrap_intervals_cover_a_known_mean():
    generator, draws, covered = np.random.default_rng(0), resamples(60, samples=400), 0
    for _ in range(200):
        rows = [{"x": x} for x in generator.exponential(1.0, 60)]
        found = interval(resummed(MEAN, rows, draws))
        covered += found.low <= 1.0 <= found.high
    assert 0.87 <= covered / 200 <= 0.99


def test_a_paired_difference_is_narrower_than_an_unpaired_one_and_zero_for_equal_rows():
    generator = np.random.default_rng(0)
    hard, better = generator.normal(20, 6, 80), generator.normal(-0.5, 0.5, 80)
    draws = resamples(80, samples=500)
    first = resummed(MEAN, [{"x": x} for x in hard + better], draws)
    second = resummed(MEAN, [{"x": x} for x in hard], draws)
    paired, single = interval(first - second), interval(first)
    assert paired.high < 0
    assert paired.high - paired.low < (single.high - single.low) / 4
    assert interval(first - first) == type(paired)(0.0, 0.0, 0.0)


def test_pictures_without_a_figure_stay_out_of_it():
    rows = [{"x": 1.0}, {"x": math.nan}, {"x": 3.0}]
    assert interval(resummed(MEAN, rows, resamples(3, samples=20))).value == 2
    assert math.isnan(interval(resummed(MEAN, rows[1:2], resamples(1, samples=20))).value)


def test_intervals_are_seeded():
    assert (resamples(9, seed=1) == resamples(9, seed=1)).all()
    assert (resamples(9, seed=1) != resamples(9, seed=2)).any()


def test_rare_cells_are_the_rarest_that_hold_a_tenth():
    counts = torch.tensor([500, 300, 0, 110, 40, 30, 20])
    rare = metrics.rare_cells(metrics.balancing_weights(counts))
    assert rare.tolist() == [False, False, False, False, True, True, True]
    assert counts[rare].sum() <= metrics.RARE_COLORS * counts.sum()


def test_pairs_of_regions_are_told_by_the_truth():
    """Six rooms of one corridor: three red, two blue, one left as paper, which makes no pair."""
    line_art = np.full((32, 32 * 6), 255, np.uint8)
    line_art[[0, -1]] = line_art[:, 31::32] = line_art[:, 0] = 0
    regions = metrics.closed_regions(line_art)
    red, blue, white = [50, 60, 40], [40, 10, -50], [100, 0, 0]
    true = np.repeat(np.float32([red, red, red, blue, blue, white]), 32, 0)[None].repeat(32, 0)
    assert metrics.paired_regions(true, true, regions) == (1, 0)
    assert metrics.paired_regions(np.full_like(true, 50), true, regions) == (1, 1)  # one mean colour confuses all
    painted = true.copy()
    painted[:, 64:96] = blue  # the third room: two of four pairs of one colour are left, and two of six are confused
    assert metrics.paired_regions(painted, true, regions) == pytest.approx((2 / 4, 2 / 6))
    nothing = metrics.paired_regions(true, true, np.zeros_like(regions))
    assert np.isnan(nothing).all()
