"""The two networks of the poster on one body, for use: plain torch modules, which load in the time that torch takes.

What training and the Hub need besides (losses, labels, transformers' base class) is in `modeling_sketch_colorizer`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .color import rgb_to_lab
from .network_config import NetworkConfig
from .quantizer import ColorQuantizer
from .unet import UNet


@dataclass
class NetworkOutput:
    """What both networks return.

    Args:
        colors: (B, 3, h, w) Lab; h = H / output_stride.
        logits: (B, Q, h, w) class scores; None for regression.
        bin_colors: (Q, 3) Lab, the colour of each class; None for regression.
        bin_weights: (Q,) what `decode_classes` multiplies each class's probability with; None for regression.
    """

    colors: Tensor
    logits: Tensor | None = None
    bin_colors: Tensor | None = None
    bin_weights: Tensor | None = None


class ColorNetwork(nn.Module):
    """What both share: the body, and what may enter it."""

    architecture: str  # transformers' class for it, which stands in a config.json

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.build(config)

    def build(self, config: NetworkConfig) -> None:
        """Make the layers. Apart from `__init__`, since transformers' models bring one of their own."""
        self.unet = UNet(
            1 + config.hint_channels,
            widths=config.widths,
            encoder_depths=config.encoder_depths,
            decoder_depths=config.decoder_depths,
            stem_stride=config.stem_stride,
            output_stride=config.output_stride,
            block=config.block,
            attention_head_channels=config.attention_head_channels,
        )

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, pixel_values: Tensor, hint_values: Tensor | None = None) -> NetworkOutput:
        """(B, 1, H, W) ink in 0..1 and (B, 4, H, W) hints; H, W multiples of `unet.stride`."""
        return self.predict(self.extract_features(pixel_values, hint_values))

    def extract_features(self, pixel_values: Tensor, hint_values: Tensor | None) -> Tensor:
        """Ink and hints through the body: (B, 1, H, W) and (B, 4, H, W) -> (B, C, h, w)."""
        if pixel_values.ndim != 4 or pixel_values.shape[1] != 1:
            raise ValueError(f"pixel_values must be ink shaped (B, 1, H, W), got {tuple(pixel_values.shape)}")
        batch, _, height, width = pixel_values.shape
        expected = (batch, self.config.hint_channels, height, width)
        if hint_values is None:
            hint_values = pixel_values.new_zeros(expected)
        if hint_values.shape != expected:
            raise ValueError(f"hint_values must be shaped {expected}, got {tuple(hint_values.shape)}")
        return self.unet(torch.cat((pixel_values, hint_values), dim=1))

    def predict(self, features: Tensor) -> NetworkOutput:
        """(B, C, h, w) -> the answer."""
        raise NotImplementedError


class RegressionNetwork(ColorNetwork):
    """Three channels of sRGB."""

    architecture = "SketchColorizerForRegression"

    def build(self, config: NetworkConfig) -> None:
        super().build(config)
        self.head = nn.Conv2d(self.unet.out_channels, 3, 1)

    def predict_rgb(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, h, w) sRGB, about 0..1 and not clipped."""
        return self.head(features).float() + 0.5

    def predict(self, features: Tensor) -> NetworkOutput:
        return NetworkOutput(colors=rgb_to_lab(self.predict_rgb(features).clamp(0, 1)))


class ClassificationNetwork(ColorNetwork):
    """Bins of colour space as classes, decoded by the annealed mean."""

    architecture = "SketchColorizerForClassification"

    def build(self, config: NetworkConfig) -> None:
        super().build(config)
        self.quantizer = ColorQuantizer(
            config.color_space,
            config.bins_per_channel,
            num_neighbors=config.num_neighbors,
            sigma=config.label_sigma,
            rebalancing=config.rebalancing,
        )
        self.head = nn.Conv2d(self.unet.out_channels, self.quantizer.num_bins, 1)

    def predict(self, features: Tensor) -> NetworkOutput:
        logits = self.head(features).float()
        return NetworkOutput(
            colors=self.quantizer.decode(logits, self.config.temperature),
            logits=logits,
            bin_colors=self.quantizer.bin_colors,
            bin_weights=self.quantizer.rebalance(self.config.decode_rebalancing),
        )
