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
