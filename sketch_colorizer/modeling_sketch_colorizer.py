"""The two models of the poster as transformers trains, saves and loads them: networks with labels and losses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .coarse_grid import even_out, pool_labels
from .color import lab_to_rgb
from .configuration_sketch_colorizer import SketchColorizerConfig
from .losses import projected_loss, squared_error
from .networks import ClassificationNetwork, ColorNetwork, RegressionNetwork
from .unet import ChannelNorm, ZeroConv2d


@dataclass
class SketchColorizerOutput(ModelOutput):
    """What both models return: a `NetworkOutput` with a loss.

    Args:
        loss: scalar, when `labels` were given.
        colors: (B, 3, h, w) Lab; h = H / output_stride. None in training with labels, where nobody looks at them.
        logits: (B, Q, h, w) class scores; None for regression, and in training with labels (see `projected_loss`).
        bin_colors: (Q, 3) Lab, the colour of each class; None where there are no logits.
        bin_weights: (Q,) what `decode_classes` multiplies each class's probability with; None like `bin_colors`.
    """

    loss: Tensor | None = None
    colors: Tensor | None = None
    logits: Tensor | None = None
    bin_colors: Tensor | None = None
    bin_weights: Tensor | None = None


class SketchColorizerPreTrainedModel(ColorNetwork, PreTrainedModel):
    """Weight initialisation, and what transformers wants to know."""

    config: SketchColorizerConfig
    base_model_prefix = "sketch_colorizer"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: SketchColorizerConfig) -> None:
        PreTrainedModel.__init__(self, config)
        self.build(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """He initialisation for what feeds a rectifier; the last layer of each residual branch starts at zero."""
        if isinstance(module, ZeroConv2d):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            init.zeros_(module.bias)
        elif isinstance(module, ChannelNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    def _pool_labels(self, labels: Tensor, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        if labels.shape != (pixel_values.shape[0], 3, *pixel_values.shape[2:]):
            raise ValueError(f"labels must be Lab at the size of pixel_values, got {tuple(labels.shape)}")
        return pool_labels(labels, pixel_values, self.config.output_stride, self.config.ink_threshold)

    def _answer(self, features: Tensor, loss: Tensor | None, return_dict: bool) -> SketchColorizerOutput | tuple:
        """The loss, and the network's prediction where somebody looks at it."""
        is_step = self.training and loss is not None
        output = SketchColorizerOutput(loss=loss, **({} if is_step else vars(self.predict(features))))
        return output if return_dict else output.to_tuple()


class SketchColorizerForRegression(RegressionNetwork, SketchColorizerPreTrainedModel):
    """The poster's first model: three channels, squared error in sRGB."""

    def forward(
        self,
        pixel_values: Tensor,
        hint_values: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> SketchColorizerOutput:
        """(B, 1, H, W) ink in 0..1, (B, 4, H, W) hints, (B, 3, H, W) Lab labels; H, W multiples of `unet.stride`."""
        features = self.extract_features(pixel_values, hint_values)
        loss = None
        if labels is not None:
            true_colors, share = self._pool_labels(labels, pixel_values)
            loss = squared_error(self.predict_rgb(features), lab_to_rgb(true_colors), share) / share.numel()
        return self._answer(features, loss, return_dict)


class SketchColorizerForClassification(ClassificationNetwork, SketchColorizerPreTrainedModel):
    """The poster's second model: bins of colour space as classes, soft labels, class rebalancing, annealed mean."""

    @torch.no_grad()
    def fit_colors(self, counts: Tensor, sums: Tensor) -> None:
        """Before training: take the corpus's colour statistics (see `color_histogram`) and start from its prior."""
        self.quantizer.fit(counts, sums)
        self.head.weight.mul_(0.1)
        self.head.bias.copy_(self.quantizer.prior.clamp(min=1e-6).log())

    def forward(
        self,
        pixel_values: Tensor,
        hint_values: Tensor | None = None,
        labels: Tensor | None = None,
        regions: Tensor | None = None,
        return_dict: bool = True,
    ) -> SketchColorizerOutput:
        """(B, 1, H, W) ink in 0..1, (B, 4, H, W) hints, (B, 3, H, W) Lab labels; H, W multiples of `unet.stride`.

        `regions` (B, H, W) are those of `segment_regions`; a loss with the configuration's `region_share` needs them.
        """
        features = self.extract_features(pixel_values, hint_values)
        loss = None
        if labels is not None:
            loss = self._loss(features, *self._pool_labels(labels, pixel_values), regions)
        return self._answer(features, loss, return_dict)

    def _loss(self, features: Tensor, true_colors: Tensor, share: Tensor, regions: Tensor | None) -> Tensor:
        """Weighted soft cross-entropy, plus the expected colour cost; no batch of scores is ever built."""
        part = self.config.region_share
        if part and regions is None:
            raise ValueError(f"a loss with region_share={part} needs `regions`; or set the configuration's to 0")
        target = self._target(true_colors, share)
        loss = 0 if part == 1 else (1 - part) * self._projected_loss(features, *target)
        if part:
            loss = loss + part * self._projected_loss(even_out(features, regions, share), *target)
        return loss / share.numel()  # a constant, so that two half batches average to the whole one

    def _target(self, true_colors: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Soft labels as indices and weights, and how much each cell counts."""
        indices, weights = self.quantizer.encode(true_colors)
        return indices, weights, share * self.quantizer.class_weights[indices[:, 0]]

    def _projected_loss(self, features: Tensor, indices: Tensor, weights: Tensor, pixel_weights: Tensor) -> Tensor:
        return projected_loss(
            features,
            self.head.weight[:, :, 0, 0],
            self.head.bias,
            indices,
            weights,
            pixel_weights,
            color_cost=self.quantizer.color_cost(self.config.grey_price),
            color_cost_weight=self.config.color_cost_weight,
        )
