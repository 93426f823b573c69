"""The losses against their plain formulas in float64."""

import pytest
import torch
from torch.nn import functional as F

from sketch_colorizer.losses import expected_color_cost, projected_loss, soft_cross_entropy, squared_error


def problem(num_bins: int = 7, neighbors: int = 3):
    generator = torch.Generator().manual_seed(0)
    log_probs = F.log_softmax(torch.randn(2, num_bins, 4, 5, generator=generator, dtype=torch.float64), dim=1)
    indices = torch.rand(2, num_bins, 4, 5, generator=generator).argsort(1)[:, :neighbors]
    weights = torch.rand(2, neighbors, 4, 5, generator=generator, dtype=torch.float64)
    pixel_weights = torch.rand(2, 4, 5, generator=generator, dtype=torch.float64)
    return log_probs, indices, weights, pixel_weights


def test_soft_cross_entropy_equals_the_dense_formula():
    log_probs, indices, weights, pixel_weights = problem()
    dense = torch.zeros_like(log_probs).scatter_add_(1, indices, weights)
    expected = -(pixel_weights * (dense * log_probs).sum(1)).sum()
    assert torch.allclose(soft_cross_entropy(log_probs, indices, weights, pixel_weights), expected)


def test_soft_cross_entropy_with_one_neighbor_is_cross_entropy():
    log_probs, indices, _, pixel_weights = problem()
    hard = indices[:, :1]
    ours = soft_cross_entropy(log_probs, hard, torch.ones_like(hard, dtype=torch.float64), pixel_weights)
    theirs = (F.cross_entropy(log_probs, hard[:, 0], reduction="none") * pixel_weights).sum()
    assert torch.allclose(ours, theirs)


def test_expected_color_cost_equals_the_sum_over_bins():
    log_probs, indices, _, pixel_weights = problem()
    cost = torch.rand(7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.zeros((), dtype=torch.float64)
    for b in range(2):
        for y in range(4):
            for x in range(5):
                row = log_probs[b, :, y, x].exp() @ cost[:, indices[b, 0, y, x]]
                expected += pixel_weights[b, y, x] * row
    assert torch.allclose(expected_color_cost(log_probs, indices[:, 0], pixel_weights, cost), expected)


def test_squared_error_is_half_the_square_summed_over_weighted_pixels():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 2, 3, 4, 4, generator=generator, dtype=torch.float64)
    weights = torch.zeros(2, 4, 4, dtype=torch.float64)
    weights[0, :2] = 1
    expected = 0.5 * ((first - second)[0, :, :2] ** 2).sum()
    assert torch.allclose(squared_error(first, second, weights), expected)


def test_a_picture_without_any_label_costs_nothing():
    colors = torch.rand(1, 3, 2, 2, requires_grad=True)
    loss = squared_error(colors, torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(colors.grad).all()


@pytest.mark.parametrize("cost_weight", [0.0, 0.7])
@pytest.mark.parametrize("chunk", [3, 16, 4096])
def test_the_projected_loss_and_its_gradients_equal_the_plain_formulas(cost_weight, chunk):
    _, indices, weights, pixel_weights = problem()
    generator = torch.Generator().manual_seed(2)
    cost = torch.rand(7, 7, generator=generator, dtype=torch.float64)
    shapes = ((2, 6, 4, 5), (7, 6), (7,))
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    features, weight, bias = inputs

    log_probs = F.log_softmax(F.conv2d(features, weight[..., None, None], bias), dim=1)
    plain = soft_cross_entropy(log_probs, indices, weights, pixel_weights)
    plain = plain + cost_weight * expected_color_cost(log_probs, indices[:, 0], pixel_weights, cost)
    expected = torch.autograd.grad(3 * plain, inputs)

    lean = projected_loss(
        *inputs, indices, weights, pixel_weights, color_cost=cost, color_cost_weight=cost_weight, chunk=chunk
    )
    assert torch.allclose(lean, plain, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(3 * lean, inputs), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10)
