"""Muon: hidden layers step along the nearest orthogonal matrix of their momentum, all else as in AdamW."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the odd quintic that drives all singular values to about 1 (Jordan 2024)
NUM_ITERATIONS = 5
MOMENTUM = 0.95
RMS = 0.2  # of an update at lr 1: what AdamW's updates have, so that one rate serves both (Liu et al. 2025)


def orthogonalize(matrix: Tensor) -> Tensor:
    """U S V' -> about U V', (m, n): singular values come out between about 0.7 and 1.2, those of zero stay zero."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    result = matrix.T if tall else matrix
    result = result / (result.norm() + 1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = result @ result.T
        result = torch.addmm(result, torch.addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result.T if tall else result


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon is for: of the convolutions between hidden layers, so not of the stem nor of the head."""
    convolutions = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return [module.weight for name, module in convolutions if name.split(".")[-1] not in ("stem", "head")]


class Muon(torch.optim.AdamW):
    """AdamW, but `hidden` weights (out, ..), seen as matrices of out rows, follow Muon (Jordan et al. 2024).

    The remaining arguments are AdamW's; lr and weight_decay hold for both.
    """

    def __init__(self, params: list[nn.Parameter], hidden: list[nn.Parameter], **settings) -> None:
        super().__init__(params, **settings)
        self.hidden = {id(weight) for weight in hidden}
        if hidden:  # AdamW's fused kernel leaves an overflowing step out by itself; with Muon the scaler has to
            self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Tensor | None:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for weight in group["params"]:
                if id(weight) in self.hidden and weight.grad is not None:
                    self._step_hidden(weight, lr=group["lr"], weight_decay=group["weight_decay"])
                    weight.grad = None  # so that AdamW passes it over
        super().step()
        return loss

    def _step_hidden(self, weight: nn.Parameter, *, lr: float, weight_decay: float) -> None:
        state = self.state[weight]
        if not state:  # "step" is what AdamW wants every state to have when it loads one
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
        state["step"] += 1
        state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        direction = weight.grad.lerp(state["momentum"], MOMENTUM).flatten(1)  # Nesterov's look ahead
        scale = RMS * math.sqrt(max(direction.shape))
        weight.mul_(1 - lr * weight_decay)
        weight.add_(orthogonalize(direction).view_as(weight), alpha=-lr * scale)
