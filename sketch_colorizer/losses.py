"""What training minimises: the poster's squared error, weighted soft cross-entropy, and the expected colour cost."""

import torch
from torch import Tensor


def squared_error(colors: Tensor, labels: Tensor, pixel_weights: Tensor) -> Tensor:
    """The poster's 1/2 ||Y - Y_hat||^2, weighted and summed over pixels: (B, 3, H, W) twice, (B, H, W) -> scalar."""
    return (0.5 * (colors - labels).square().sum(1) * pixel_weights).sum()


def soft_cross_entropy(log_probs: Tensor, indices: Tensor, weights: Tensor, pixel_weights: Tensor) -> Tensor:
    """-sum_hw v sum_q Z log Z_hat (Zhang et al. 2016, eq. 2) from the k nearest bins alone, summed over pixels.

    `log_probs` (B, Q, H, W); `indices` and `weights` (B, k, H, W) as ColorQuantizer.encode gives them; v is
    `pixel_weights` (B, H, W). No dense (B, Q, H, W) target is built.
    """
    picked = log_probs.gather(1, indices)  # (B, k, H, W)
    return -((picked * weights).sum(1) * pixel_weights).sum()


def expected_color_cost(log_probs: Tensor, indices: Tensor, pixel_weights: Tensor, color_cost: Tensor) -> Tensor:
    """The poster's non-0-1 loss, sum_q' p(q') M[q', q] at the true bin q, summed over pixels.

    `log_probs` (B, Q, H, W), `indices` (B, H, W) the true bins, `pixel_weights` (B, H, W), `color_cost` (Q, Q) with the
    predicted bin first.
    """
    price = torch.einsum("bqhw,qr->brhw", log_probs.exp(), color_cost.to(log_probs))
    return (price.gather(1, indices[:, None])[:, 0] * pixel_weights).sum()


def projected_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    indices: Tensor,
    weights: Tensor,
    pixel_weights: Tensor,
    *,
    color_cost: Tensor | None = None,
    color_cost_weight: float = 0.0,
    chunk: int = 4096,
) -> Tensor:
    """The last 1x1 projection, `soft_cross_entropy` and `expected_color_cost` in one, `chunk` pixels at a time.

    Equal to the plain formulas on `F.conv2d(features, weight[..., None, None], bias)`, but the (B, Q, H, W) scores of a
    whole batch never exist: each chunk leaves only its share of the loss and of the gradients behind. (B, C, H, W)
    features, (Q, C) weight and (Q,) bias; the rest as in the plain formulas.
    """
    pixels = features.movedim(1, -1).flatten(0, -2)  # (N, C)
    if torch.is_autocast_enabled(features.device.type):
        pixels = pixels.to(torch.get_autocast_dtype(features.device.type))
    rows = (indices.movedim(1, -1).flatten(0, -2), weights.movedim(1, -1).flatten(0, -2), pixel_weights.flatten())
    cost = color_cost if color_cost_weight else None
    return _ProjectedLoss.apply(pixels, weight, bias, *rows, cost, color_cost_weight, chunk)


class _ProjectedLoss(torch.autograd.Function):
    """Loss and gradients of one chunk after the other; the backward pass only scales what the forward pass has kept."""

    @staticmethod
    def forward(ctx, pixels, weight, bias, indices, weights, pixel_weights, color_cost, cost_weight, chunk):
        needs_grad = any(ctx.needs_input_grad[:3])
        precise = torch.promote_types(pixels.dtype, torch.float32)
        matrix = weight.to(pixels.dtype)
        grads = [
            torch.empty_like(pixels),
            torch.zeros_like(weight, dtype=precise),
            torch.zeros_like(bias, dtype=precise),
        ]
        total = torch.zeros((), dtype=precise, device=pixels.device)
        for start in range(0, len(pixels), chunk):
            part = slice(start, start + chunk)
            scores = torch.addmm(bias.to(pixels.dtype), pixels[part], matrix.T)
            loss, grad = _chunk_loss(
                scores.to(precise),
                indices[part],
                weights[part].to(precise),
                pixel_weights[part].to(precise),
                color_cost,
                cost_weight,
            )
            total += loss
            if needs_grad:
                low = grad.to(pixels.dtype)
                torch.mm(low, matrix, out=grads[0][part])
                grads[1] += low.T @ pixels[part]
                grads[2] += grad.sum(0)
        ctx.save_for_backward(*grads)
        ctx.dtypes = pixels.dtype, weight.dtype, bias.dtype
        return total

    @staticmethod
    def backward(ctx, grad_output):
        # In place, to save the memory; autograd raises an error should anybody ask for the gradients a second time.
        scaled = (grad.mul_(grad_output).to(dtype) for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True))
        return *scaled, None, None, None, None, None, None


def _chunk_loss(
    scores: Tensor,
    indices: Tensor,
    weights: Tensor,
    pixel_weights: Tensor,
    color_cost: Tensor | None,
    cost_weight: float,
) -> tuple[Tensor, Tensor]:
    """Loss of (n, Q) scores and its gradient with respect to them; the memory of the scores is used again."""
    log_probs = torch.log_softmax(scores, dim=1)
    picked = weights * pixel_weights[:, None]
    loss = -(log_probs.gather(1, indices) * picked).sum()
    probs = log_probs.exp_()
    slope = picked.sum(1, keepdim=True)
    if color_cost is not None:
        price = color_cost.to(scores).T[indices[:, 0]]  # (n, Q)
        expected = (probs * price).sum(1, keepdim=True)
        scaled = cost_weight * pixel_weights[:, None]
        loss = loss + (expected * scaled).sum()
        slope = slope + (price - expected) * scaled
    return loss, (probs * slope).scatter_add_(1, indices, -picked)
