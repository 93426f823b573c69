"""The network body: a U-Net on plain tensors that knows neither colour nor configuration.

Two choices keep it honest at every size: normalisation looks at one pixel's channels only (so neither the batch, nor
padding, nor the picture's size changes a pixel's result), and padding is zero, which is blank paper for an ink image.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel, (B, C, H, W)."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return super().forward(hidden_states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ZeroConv2d(nn.Conv2d):
    """The last layer of a residual branch: it starts at zero, and the block as its shortcut (Goyal et al. 2017)."""


class ResidualBlock(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions (He et al. 2016); time scales and shifts in between."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int | None = None) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = ChannelNorm(out_channels)
        self.conv2 = ZeroConv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.modulation = nn.Linear(time_channels, 2 * out_channels) if time_channels else None

    def forward(self, hidden_states: Tensor, time: Tensor | None = None) -> Tensor:
        inner = self.norm2(self.conv1(F.silu(self.norm1(hidden_states))))
        if self.modulation is not None:
            scale, shift = self.modulation(F.silu(time))[:, :, None, None].chunk(2, dim=1)
            inner = inner * (1 + scale) + shift
        return self.shortcut(hidden_states) + self.conv2(F.silu(inner))


class PlainBlock(nn.Module):
    """Two 3x3 convolutions, each with normalisation and ReLU, as in the first U-Nets (Ronneberger et al. 2015)."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int | None = None) -> None:
        super().__init__()
        if time_channels:
            raise ValueError("a plain block takes no time embedding: use block='residual'")
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = ChannelNorm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = ChannelNorm(out_channels)

    def forward(self, hidden_states: Tensor, time: Tensor | None = None) -> Tensor:
        hidden_states = F.relu(self.norm1(self.conv1(hidden_states)))
        return F.relu(self.norm2(self.conv2(hidden_states)))


class Attention(nn.Module):
    """Self-attention over all pixels of the coarsest grid, with a residual path (Vaswani et al. 2017)."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = ZeroConv2d(channels, channels, 1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        batch, channels, height, width = hidden_states.shape
        qkv = (
            self.qkv(self.norm(hidden_states)).flatten(2).unflatten(1, (3, self.heads, -1))
        )  # (B, 3, heads, C/heads, N)
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (B, heads, N, C/heads)
        return hidden_states + self.out(mixed.transpose(-1, -2).reshape(batch, channels, height, width))


class Stage(nn.Module):
    """The blocks of one resolution, each followed by attention where the stage has it."""

    gradient_checkpointing = False  # transformers' gradient_checkpointing_enable() sets this and the function
    _gradient_checkpointing_func = staticmethod(checkpoint)

    def __init__(
        self,
        block: str,
        in_channels: int,
        channels: int,
        depth: int,
        *,
        head_channels: int | None,
        time_channels: int | None,
    ) -> None:
        super().__init__()
        make = {"residual": ResidualBlock, "plain": PlainBlock}[block]
        sizes = [in_channels] + [channels] * (depth - 1)
        self.blocks = nn.ModuleList(make(size, channels, time_channels) for size in sizes)
        self.attentions = nn.ModuleList(
            Attention(channels, head_channels) if head_channels else nn.Identity() for _ in sizes
        )

    def forward(self, hidden_states: Tensor, time: Tensor | None = None) -> Tensor:
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            if self.gradient_checkpointing and self.training:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states, time)
            else:
                hidden_states = block(hidden_states, time)
            hidden_states = attention(hidden_states)
        return hidden_states


class TimeEmbedding(nn.Module):
    """Sinusoidal features of a time in 0..1, through a small perceptron: (B,) -> (B, channels)."""

    def __init__(self, channels: int, num_frequencies: int = 64) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.linear1 = nn.Linear(2 * num_frequencies, channels)
        self.linear2 = nn.Linear(channels, channels)

    def forward(self, time: Tensor) -> Tensor:
        exponent = torch.arange(self.num_frequencies, device=time.device, dtype=torch.float32) / self.num_frequencies
        angle = time.float()[:, None] * 1000 * torch.exp(-math.log(10000.0) * exponent)
        features = torch.cat((angle.cos(), angle.sin()), dim=1).to(self.linear1.weight.dtype)
        return self.linear2(F.silu(self.linear1(features)))


class UNet(nn.Module):
    """(B, in_channels, H, W) -> features (B, out_channels, H / output_stride, W / output_stride).

    H and W are multiples of `stride`. The stem brings the picture to 1/stem_stride by space-to-depth; each further
    stage halves the size. The decoder comes back to the stem's resolution; for a smaller output_stride it goes on to a
    finer one by depth-to-space, for a larger one it stops early.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Sequence[int],
        encoder_depths: Sequence[int],
        decoder_depths: Sequence[int],
        stem_stride: int = 4,
        output_stride: int = 4,
        block: str = "residual",
        attention_head_channels: int | None = 32,
        time_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.stride = stem_stride * 2 ** (len(widths) - 1)
        self.time_embedding = TimeEmbedding(time_channels) if time_channels else None
        self.stem = nn.Conv2d(in_channels * stem_stride**2, widths[0], 3, padding=1)
        self.stem_stride = stem_stride
        skipped = max(0, int(math.log2(output_stride / stem_stride)))  # resolutions that the decoder leaves out

        bottom = len(widths) - 1
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        for level, (width, depth) in enumerate(zip(widths, encoder_depths, strict=True)):
            heads = attention_head_channels if level == bottom else None
            self.encoder.append(Stage(block, width, width, depth, head_channels=heads, time_channels=time_channels))
            if level < bottom:
                self.down.append(nn.Conv2d(width, widths[level + 1], 2, stride=2))
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in range(bottom - 1, skipped - 1, -1):
            self.up.append(nn.Conv2d(widths[level + 1], widths[level], 1))
            depth, width = decoder_depths[level], widths[level]
            self.decoder.append(Stage(block, 2 * width, width, depth, head_channels=None, time_channels=time_channels))
        self.out_channels = widths[skipped]
        self.finer = stem_stride // output_stride if output_stride < stem_stride else 1
        if self.finer > 1:  # depth-to-space, then a look at the drawing itself, whose lines the coarse grid has lost
            self.expand = nn.Conv2d(self.out_channels, self.out_channels // 2 * self.finer**2, 1)
            self.refine = nn.Conv2d(
                self.out_channels // 2 + in_channels * output_stride**2, self.out_channels, 3, padding=1
            )
        self.output_stride = output_stride
        self.norm = ChannelNorm(self.out_channels) if block == "residual" else nn.Identity()

    def forward(self, pixel_values: Tensor, time: Tensor | None = None) -> Tensor:
        height, width = pixel_values.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"height and width must be multiples of {self.stride}, got {height}x{width}; pad with zeros"
            )
        embedding = self.time_embedding(time) if self.time_embedding is not None else None
        hidden_states = self.stem(F.pixel_unshuffle(pixel_values, self.stem_stride))
        skips = []
        for level, stage in enumerate(self.encoder):
            hidden_states = stage(hidden_states, embedding)
            if level < len(self.down):
                skips.append(hidden_states)
                hidden_states = self.down[level](hidden_states)
        for up, stage in zip(self.up, self.decoder, strict=True):
            enlarged = F.interpolate(up(hidden_states), scale_factor=2, mode="nearest")
            hidden_states = stage(torch.cat((enlarged, skips.pop()), dim=1), embedding)
        if self.finer > 1:
            fine = F.pixel_shuffle(self.expand(hidden_states), self.finer)
            drawing = F.pixel_unshuffle(pixel_values, self.output_stride)
            hidden_states = self.refine(torch.cat((fine, drawing), dim=1))
        return F.silu(self.norm(hidden_states))
