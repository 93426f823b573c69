"""Laws of the colour classes: reachable bins, soft labels, rebalancing, and decoding."""

import math

import pytest
import torch

from sketch_colorizer.color import lab_to_rgb, lch_to_lab, rgb_to_lab
from sketch_colorizer.quantizer import ColorQuantizer, annealed_mean, color_histogram, decode_classes


def random_lab(number: int = 4000, seed: int = 0) -> torch.Tensor:
    """Random sRGB colours as a one-row Lab image, (1, 3, 1, number)."""
    rgb = torch.rand(1, 3, 1, number, generator=torch.Generator().manual_seed(seed))
    return rgb_to_lab(rgb)


def painted_pixels() -> torch.Tensor:
    """A picture as illustrations are: half white, much brown, a little pure red, uint8 (N, 3)."""
    white = torch.full((5000, 3), 255, dtype=torch.uint8)
    brown = torch.tensor([[150, 100, 60]], dtype=torch.uint8).repeat(4000, 1)
    red = torch.tensor([[230, 20, 30]], dtype=torch.uint8).repeat(50, 1)
    return torch.cat([white, brown, red])


@pytest.fixture(params=["rgb", "lab", "lch"])
def quantizer(request) -> ColorQuantizer:
    return ColorQuantizer(request.param)


def one_hot_log_probs(quantizer: ColorQuantizer, indices: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    dense = torch.zeros(indices.shape[0], quantizer.num_bins, *indices.shape[2:])
    return dense.scatter_add_(1, indices, weights).log()


@pytest.mark.parametrize(("space", "reached"), [("rgb", 512), ("lch", 297)])
def test_no_bin_counts_that_no_colour_reaches(space, reached):
    quantizer = ColorQuantizer(space)
    assert quantizer.reachable.sum() <= reached
    assert quantizer.reachable.sum() >= reached - 16  # the finest slivers fall between the cells of the histogram
    assert (quantizer.prior[~quantizer.reachable] == 0).all()
    assert (quantizer.class_weights[~quantizer.reachable] == 0).all()
    indices, _ = quantizer.encode(random_lab())
    assert quantizer.reachable[indices].all()


@pytest.mark.parametrize("rebalancing", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("fitted", [False, True])
def test_the_expected_class_weight_is_one(quantizer, rebalancing, fitted):
    quantizer = ColorQuantizer(quantizer.space, rebalancing=rebalancing)
    if fitted:
        quantizer.fit(*color_histogram(painted_pixels()))
    assert (quantizer.prior * quantizer.class_weights).sum().item() == pytest.approx(1, abs=1e-5)
    assert quantizer.prior.sum().item() == pytest.approx(1, abs=1e-5)


def test_rebalancing_follows_its_formula_and_favours_rare_colours():
    quantizer = ColorQuantizer("rgb", rebalancing=0.5)
    quantizer.fit(*color_histogram(painted_pixels()))
    seen = quantizer.reachable
    mixed = 0.5 * quantizer.prior[seen] + 0.5 / seen.sum()
    assert torch.allclose(quantizer.class_weights[seen] * mixed, (quantizer.class_weights[seen] * mixed)[:1], rtol=1e-4)
    white, red = (
        quantizer.bin_index(rgb_to_lab(torch.tensor([rgb]), dim=-1)) for rgb in ([1.0, 1.0, 1.0], [0.9, 0.08, 0.12])
    )
    assert quantizer.class_weights[red] > 2 * quantizer.class_weights[white]


def test_rebalancing_off_weighs_all_alike():
    quantizer = ColorQuantizer("lch", rebalancing=1.0)
    assert torch.allclose(quantizer.class_weights[quantizer.reachable], torch.ones(()), atol=1e-5)


def test_bin_colors_are_the_mean_colours_of_the_data():
    quantizer = ColorQuantizer("lch")
    quantizer.fit(*color_histogram(painted_pixels()))
    brown = rgb_to_lab(torch.tensor([[150, 100, 60]]) / 255, dim=-1)
    index = quantizer.bin_index(brown)
    assert torch.allclose(quantizer.bin_colors[index], brown, atol=0.1)
    white = quantizer.bin_index(torch.tensor([[100.0, 0.0, 0.0]]))
    assert torch.allclose(lab_to_rgb(quantizer.bin_colors[white], dim=-1), torch.ones(1, 3), atol=1e-3)


def test_histograms_of_parts_add_up():
    pixels = painted_pixels()
    whole = color_histogram(pixels)
    parts = [color_histogram(part) for part in pixels.split(1234)]
    assert torch.equal(whole[0], sum(counts for counts, _ in parts))
    assert torch.allclose(whole[1], sum(sums for _, sums in parts))
    assert whole[0].sum() == len(pixels)


def test_soft_labels_are_the_nearest_bins_with_gaussian_weights(quantizer):
    lab = random_lab(200)
    indices, weights = quantizer.encode(lab)
    assert indices.shape == weights.shape == (1, quantizer.num_neighbors, 1, 200)
    assert torch.allclose(weights.sum(1), torch.ones(1, 1, 200), atol=1e-5)
    distance = torch.cdist(lab[0, :, 0].T, quantizer.bin_colors).masked_fill(~quantizer.reachable, math.inf)
    expected = distance.sort(dim=1).values[:, : quantizer.num_neighbors]
    found = distance.gather(1, indices[0, :, 0].T)
    assert torch.allclose(found, expected, atol=1e-2)
    gaussian = torch.exp(-(found**2) / (2 * quantizer.sigma**2))
    assert torch.allclose(weights[0, :, 0].T, gaussian / gaussian.sum(1, keepdim=True), atol=1e-4)


# The ceilings that bins of equal size have when each colour becomes the centre of its bin (mean dE76 over sRGB).
@pytest.mark.parametrize(("space", "ceiling"), [("rgb", 7.3), ("lch", 14.4)])
def test_soft_labels_lose_less_than_hard_bins(space, ceiling):
    quantizer = ColorQuantizer(space)
    lab = random_lab()
    decoded = quantizer.decode(one_hot_log_probs(quantizer, *quantizer.encode(lab)), temperature=1.0)
    assert (decoded - lab).norm(dim=1).mean() < 0.6 * ceiling


def test_one_neighbor_is_a_hard_label():
    quantizer = ColorQuantizer("rgb", num_neighbors=1)
    indices, weights = quantizer.encode(random_lab(50))
    assert indices.shape[1] == 1
    assert torch.equal(weights, torch.ones_like(weights))


def test_temperature_to_zero_gives_the_mode(quantizer):
    logits = torch.randn(2, quantizer.num_bins, 3, 4, generator=torch.Generator().manual_seed(0))
    mode = quantizer.bin_colors[logits.argmax(1)].movedim(-1, 1)
    assert torch.equal(quantizer.decode(logits, 0.0), mode)
    assert torch.allclose(quantizer.decode(logits, 1e-4), mode, atol=1e-2)


def test_temperature_one_is_the_expectation(quantizer):
    logits = torch.randn(1, quantizer.num_bins, 2, 2, generator=torch.Generator().manual_seed(0))
    expectation = torch.einsum("bqhw,qc->bchw", logits.softmax(1), quantizer.bin_colors)
    assert torch.allclose(quantizer.decode(logits, 1.0), expectation, atol=1e-4)


def test_hue_is_a_circle():
    """Hue 359 and 1 degree average to 0 and not to 180."""
    hues = torch.deg2rad(torch.tensor([359.0, 1.0]))
    bins = lch_to_lab(torch.stack([torch.full((2,), 50.0), torch.full((2,), 40.0), hues], dim=-1), dim=-1)
    mean = annealed_mean(torch.zeros(1, 2), bins, 1.0)
    assert mean[0, 2].abs() < 1e-4
    assert mean[0, 1].item() == pytest.approx(40, abs=0.1)


def test_negative_temperature_is_refused():
    with pytest.raises(ValueError, match=r"temperature must be >= 0, got -1"):
        ColorQuantizer().decode(torch.zeros(1, 512, 1, 1), -1.0)


def test_unknown_space_and_empty_corpus_are_refused():
    with pytest.raises(ValueError, match="one of"):
        ColorQuantizer("hsv")
    counts, sums = color_histogram(torch.zeros(0, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="no pixels"):
        ColorQuantizer().fit(counts, sums)


def test_color_cost_is_distance_and_grey_costs_extra():
    quantizer = ColorQuantizer("lab")
    plain, priced = quantizer.color_cost(0.0), quantizer.color_cost(0.5)
    assert torch.allclose(plain, plain.T, atol=1e-5)
    assert (priced.diagonal().abs() < 1e-2).all()
    grey, red = (quantizer.bin_index(torch.tensor([lab])).item() for lab in ([50.0, 0.0, 0.0], [50.0, 70.0, 40.0]))
    assert priced[grey, red] > priced[red, grey]  # predicted first, truth second
    assert priced[red, grey].item() == pytest.approx(plain[red, grey].item(), abs=1e-5)


def test_paper_is_exactly_white_and_paint_never_is():
    quantizer = ColorQuantizer("lch")
    quantizer.fit(*color_histogram(painted_pixels()))
    white = quantizer.prior.argmax()
    logits = torch.zeros(2, quantizer.num_bins)
    logits[0, white] = 10.0
    logits[1, white] = 0.1
    weights = quantizer.rebalance(1.0)
    colors = decode_classes(logits, quantizer.bin_colors, weights, temperature=1.0, paper_threshold=0.5)
    assert colors[0].tolist() == [100.0, 0.0, 0.0]
    assert colors[1, 0] < 90
    plain = decode_classes(logits, quantizer.bin_colors, weights, temperature=1.0, paper_threshold=None)
    assert plain[1, 0] > colors[1, 0]  # white is mixed in
    assert torch.allclose(
        decode_classes(logits.T[None], quantizer.bin_colors, weights, temperature=1.0, paper_threshold=0.5)[0], colors.T
    )


def test_rebalancing_at_decoding_favours_rare_colours():
    quantizer = ColorQuantizer("lch")
    quantizer.fit(*color_histogram(painted_pixels()))
    logits = quantizer.prior.clamp(min=1e-6).log()[None]
    red = rgb_to_lab(torch.tensor([230, 20, 30]) / 255, dim=-1)
    distance = {}
    for rebalancing in (1.0, 0.2):
        weights = quantizer.rebalance(rebalancing)
        colors = decode_classes(logits, quantizer.bin_colors, weights, temperature=1.0, paper_threshold=0.95)
        distance[rebalancing] = (colors - red).norm()
    assert distance[0.2] < 0.95 * distance[1.0]


def test_guidance_sets_regions_apart_and_leaves_a_lone_one_alone():
    quantizer = ColorQuantizer("lch")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, quantizer.num_bins, generator=generator)
    weights, areas = quantizer.rebalance(1.0), torch.tensor([100, 10, 10, 1])

    def decode(scores: torch.Tensor, guidance: float, areas: torch.Tensor) -> torch.Tensor:
        settings = {"temperature": 1.0, "paper_threshold": 0.5, "guidance": guidance, "areas": areas}
        return decode_classes(scores, quantizer.bin_colors, weights, **settings)

    plain, guided = decode(logits, 1.0, areas), decode(logits, 3.0, areas)
    assert torch.cdist(guided, guided).mean() > 1.5 * torch.cdist(plain, plain).mean()
    assert torch.allclose(decode(logits[:1], 3.0, areas[:1]), plain[:1], atol=1e-3)
    same = logits[:1].repeat(4, 1)
    assert torch.allclose(decode(same, 5.0, areas), decode(same, 1.0, areas), atol=1e-3)
