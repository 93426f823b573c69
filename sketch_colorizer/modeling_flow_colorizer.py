"""The flow-matching colour model: from noise to one of many colourings that fit a drawing (Lipman et al. 2023)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

try:
    from diffusers import ConfigMixin, ModelMixin
    from diffusers.configuration_utils import register_to_config
    from diffusers.utils import BaseOutput
except ImportError as error:
    raise ImportError(
        "the flow-matching model needs diffusers: pip install 'sketch-colorizer[flow]'", name=error.name
    ) from error

from .coarse_grid import pool_labels
from .hints import HINT_CHANNELS, decode_hints
from .regions import segment_regions
from .unet import ChannelNorm, UNet, ZeroConv2d

PRESETS: dict[str, dict[str, Any]] = {
    # 1.5 M parameters, 3 MB in half precision; trains on two CPU cores, and ships with the package.
    "tiny": {"widths": [40, 72, 128], "encoder_depths": [1, 2, 2], "decoder_depths": [1, 2]},
    # For a GPU.
    "base": {"widths": [96, 192, 320], "encoder_depths": [2, 3, 3], "decoder_depths": [2, 3], "time_channels": 256},
}
NO_DRAWING = -1.0  # the ink that stands for "any drawing": blank paper is 0, and is a drawing too
NUM_TIMESTEPS = 1000  # timestep of pure noise, as diffusers' schedulers count; 0 is a finished picture
_MIN_TIME = 0.2  # earlier errors in a picture weigh no more than here, where they are invisible already
_UNKNOWN_WEIGHT = 0.1  # of cells whose true colour is hidden by lines: enough that they look like what is beside them
_REACH = 8  # cells that a known colour is carried under lines


class FlowColorizerOutput(BaseOutput):
    """`sample` (B, 3, H/4, W/4): the velocity, from the picture towards the noise."""

    sample: Tensor


class FlowColorizerModel(ModelMixin, ConfigMixin):
    """Velocity of noisy colours at a quarter of the drawing's size, given drawing, hints and time.

    Colours are scaled Lab, `encode` and `decode`. The network names the finished colours, and the velocity follows
    from them: white paper, most of any picture, is then a constant that it can say exactly, where a network that names
    the velocity would have to cancel all of the noise (Li & He 2025, "Back to Basics").

    Args:
        widths: channels of the stages, finest (a quarter of the drawing's size) first; each stage halves the size.
        encoder_depths: blocks in each stage on the way down, one number for each width.
        decoder_depths: blocks in each stage on the way up, finest first, one fewer than widths.
        attention_head_channels: channels of one attention head in the coarsest stage; None for no attention.
        time_channels: width of the time embedding.
        color_center: the Lab colour that is zero to the network.
        color_scale: Lab units that are one to the network, alike on all axes, so that errors are colour differences.
        region_noise: share of the noise's variance that is constant over each region of the drawing. Colours of large
            regions are otherwise settled within the first few hundredths of the way, which few steps pass in one go.
        ink_threshold: a pixel with more ink than this is line, and its colour is no label.
        time_mean, time_std: of the normal whose sigmoid is a training sample's time (Esser et al. 2024).
        condition_dropout: share of training samples that see no drawing, for guidance (Ho & Salimans 2022).
    """

    _supports_gradient_checkpointing = True
    output_stride = 4

    @register_to_config
    def __init__(
        self,
        widths: Sequence[int] = (40, 72, 128),
        encoder_depths: Sequence[int] = (1, 2, 2),
        decoder_depths: Sequence[int] = (1, 2),
        attention_head_channels: int | None = 32,
        time_channels: int = 128,
        color_center: Sequence[float] = (75.0, 0.0, 0.0),
        color_scale: float = 25.0,
        region_noise: float = 0.7,
        ink_threshold: float = 0.3,
        time_mean: float = 0.5,
        time_std: float = 1.4,
        condition_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check_settings(widths, encoder_depths, decoder_depths, region_noise, condition_dropout, color_scale)
        self.unet = UNet(
            (1 + HINT_CHANNELS) * self.output_stride**2 + 3,
            widths=widths,
            encoder_depths=encoder_depths,
            decoder_depths=decoder_depths,
            stem_stride=1,
            output_stride=1,
            attention_head_channels=attention_head_channels,
            time_channels=time_channels,
        )
        self.head = ZeroConv2d(self.unet.out_channels, 3, 1)
        self.stride = self.output_stride * self.unet.stride
        self.apply(_init_weights)

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> "FlowColorizerModel":
        """An untrained model of a named size, "tiny" or "base", with single settings overridden."""
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        known = sorted(set(cls._get_init_keys(cls)) - {"self"})
        if unknown := sorted(set(overrides) - set(known)):
            raise ValueError(f"unknown configuration key {', '.join(unknown)}; known keys: {', '.join(known)}")
        return cls(**{**PRESETS[preset], **overrides})

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        pixel_values: Tensor,
        hint_values: Tensor | None = None,
        return_dict: bool = True,
    ) -> FlowColorizerOutput | tuple[Tensor]:
        """Noisy colours (B, 3, H/4, W/4), timestep 0..1000 (scalar or (B,)), ink (B, 1, H, W), hints (B, 4, H, W).

        H and W are multiples of `stride`. Raises ValueError for shapes that do not fit together.
        """
        time = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device).expand(len(sample)) / NUM_TIMESTEPS
        colors = self.predict_colors(sample, time, pixel_values, hint_values)
        velocity = (sample - colors) / time.clamp(min=1e-3)[:, None, None, None]
        return FlowColorizerOutput(sample=velocity) if return_dict else (velocity,)

    def predict_colors(self, sample: Tensor, time: Tensor, pixel_values: Tensor, hint_values: Tensor | None) -> Tensor:
        """The finished colours expected at time (B,) in 0..1, (B, 3, H/4, W/4), float32."""
        hint_values = self._check_inputs(sample, pixel_values, hint_values)
        condition = F.pixel_unshuffle(torch.cat((pixel_values, hint_values), dim=1), self.output_stride)
        features = self.unet(torch.cat((condition, sample.to(condition.dtype)), dim=1), time)
        return self.head(features).float()

    def _check_inputs(self, sample: Tensor, pixel_values: Tensor, hint_values: Tensor | None) -> Tensor:
        if pixel_values.ndim != 4 or pixel_values.shape[1] != 1:
            raise ValueError(f"pixel_values must be ink shaped (B, 1, H, W), got {tuple(pixel_values.shape)}")
        batch, _, height, width = pixel_values.shape
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"height and width must be multiples of {self.stride}, got {height}x{width}; pad with zeros"
            )
        if sample.shape != (batch, 3, height // self.output_stride, width // self.output_stride):
            raise ValueError(
                f"sample must be (B, 3, H/4, W/4) for {height}x{width} pixel_values, got {tuple(sample.shape)}"
            )
        expected = (batch, HINT_CHANNELS, height, width)
        if hint_values is None:
            return pixel_values.new_zeros(expected)
        if hint_values.shape != expected:
            raise ValueError(f"hint_values must be shaped {expected}, got {tuple(hint_values.shape)}")
        return hint_values

    def encode(self, lab: Tensor) -> Tensor:
        """Lab (B, 3, h, w) -> what the network sees."""
        return (lab - lab.new_tensor(self.config.color_center).view(3, 1, 1)) / self.config.color_scale

    def decode(self, colors: Tensor) -> Tensor:
        """The inverse of `encode`."""
        return colors * self.config.color_scale + colors.new_tensor(self.config.color_center).view(3, 1, 1)

    def draw_noise(self, pixel_values: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Where the flow begins: unit normal, partly constant over regions; (B, 1, H, W) ink -> (B, 3, H/4, W/4).

        One generator on the CPU for each drawing, so that a drawing's noise depends on neither batch nor device.
        """
        step, share, noise = self.output_stride, self.config.region_noise, []
        for ink, generator in zip(pixel_values.detach().float().cpu(), generators, strict=True):
            line_art = ((1 - ink[0]).clamp(0, 1) * 255).round().byte().numpy()
            regions = torch.from_numpy(segment_regions(line_art)[step // 2 :: step, step // 2 :: step]).long()
            common = torch.randn(3, int(regions.max()) + 1, generator=generator)[:, regions]
            own = torch.randn(common.shape, generator=generator)
            noise.append(share**0.5 * common + (1 - share) ** 0.5 * own)
        return torch.stack(noise).to(pixel_values.device)


def flow_matching_loss(
    model: nn.Module,
    pixel_values: Tensor,
    hint_values: Tensor | None,
    labels: Tensor,
    *,
    generators: Sequence[Generator],
) -> Tensor:
    """The squared error of the velocity on the straight way from colours to noise (Liu et al. 2023), a scalar.

    Written in the colours that the model names: |v - v_hat|^2 = |x - x_hat|^2 / t^2. `labels` (B, 3, H, W) are Lab,
    NaN is unknown. One generator on the CPU for each sample gives its time, noise, and whether it sees its drawing.
    """
    settings = model.config
    if labels.shape != (pixel_values.shape[0], 3, *pixel_values.shape[2:]):
        raise ValueError(f"labels must be Lab at the size of pixel_values, got {tuple(labels.shape)}")
    colors, share = pool_labels(labels, pixel_values, model.output_stride, settings.ink_threshold)
    colors = model.encode(carry_colors(colors, share))
    chances = [(torch.randn((), generator=one), torch.rand((), generator=one)) for one in generators]
    time = torch.stack([settings.time_mean + settings.time_std * normal for normal, _ in chances]).sigmoid()
    blind = torch.stack([chance for _, chance in chances]) < settings.condition_dropout
    time, blind = time.to(colors.device), blind.to(colors.device)[:, None, None, None]
    at = time[:, None, None, None]
    sample = (1 - at) * colors + at * model.draw_noise(pixel_values, generators)
    if hint_values is not None:
        hint_values = hint_values.masked_fill(blind, 0)
    predicted = model.predict_colors(sample, time, pixel_values.masked_fill(blind, NO_DRAWING), hint_values)
    weight = share.clamp(min=_UNKNOWN_WEIGHT) / time.clamp(min=_MIN_TIME)[:, None, None].square()
    return ((predicted - colors).square().mean(1) * weight).mean()


def carry_colors(colors: Tensor, share: Tensor) -> Tensor:
    """Give unknown cells the mean colour of known ones beside them, and white where there are none near.

    (B, 3, h, w) Lab and (B, h, w), zero where unknown. What lies under lines is never seen, but the noisy colours that
    the network sees in training must hold something there that a finished colouring holds as well.
    """
    known = (share > 0)[:, None].to(colors.dtype)
    filled = colors * known
    for _ in range(_REACH):
        sums = F.avg_pool2d(torch.cat((filled, known), dim=1), 3, stride=1, padding=1)
        mean = sums[:, :3] / sums[:, 3:].clamp(min=1e-6)
        filled = torch.where(known > 0, filled, mean)
        known = (sums[:, 3:] > 0).to(colors.dtype)
    return torch.where(known > 0, filled, colors.new_tensor([100.0, 0.0, 0.0]).view(3, 1, 1))


def pool_hints(hint_values: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Hints on the grid of the colours: (B, 4, H, W) -> mean Lab (B, 3, h, w) and whether there is one (B, 1, h, w)."""
    pooled = F.avg_pool2d(hint_values, stride)
    mask = pooled[:, 3:]
    return decode_hints(pooled[:, :3] / mask.clamp(min=1e-6)), mask > 0


def _init_weights(module: nn.Module) -> None:
    """He initialisation for what feeds a rectifier; the last layer of each branch and of the whole starts at zero."""
    if isinstance(module, ZeroConv2d):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, ChannelNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def _check_settings(
    widths: Sequence[int],
    encoder_depths: Sequence[int],
    decoder_depths: Sequence[int],
    region_noise: float,
    condition_dropout: float,
    color_scale: float,
) -> None:
    if len(encoder_depths) != len(widths) or len(decoder_depths) != len(widths) - 1:
        raise ValueError(
            f"{len(widths)} widths need {len(widths)} encoder_depths and {len(widths) - 1} decoder_depths, "
            f"got {len(encoder_depths)} and {len(decoder_depths)}"
        )
    for name, value in {"region_noise": region_noise, "condition_dropout": condition_dropout}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be 0..1, got {value}")
    if color_scale <= 0:
        raise ValueError(f"color_scale must be > 0, got {color_scale}")
