"""What a network is: its shape, how colours become classes, what training minimises. Typed, validated, and plain."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from huggingface_hub.dataclasses import strict

MODEL_TYPE = "sketch_colorizer"

PRESETS: dict[str, dict[str, Any]] = {
    # The poster's shape: full-size pass-through at every resolution, condensed to 32x32 at 256x256.
    "poster": {
        "widths": [32, 64, 128, 256],
        "encoder_depths": [1, 1, 1, 1],
        "decoder_depths": [1, 1, 1],
        "stem_stride": 1,
        "block": "plain",
        "attention_head_channels": None,
    },
    # At most 5 M parameters; trains on two CPU cores, and ships with the package.
    "tiny": {"widths": [64, 128, 256], "encoder_depths": [1, 2, 2], "decoder_depths": [1, 2]},
    # For a GPU.
    "base": {"widths": [96, 192, 320, 416], "encoder_depths": [2, 3, 3, 2], "decoder_depths": [2, 3, 3]},
}
_CHOICES = {"block": ("residual", "plain"), "color_space": ("rgb", "lab", "lch"), "output_stride": (1, 4)}
_CONFIG_KEYS_OF_TRANSFORMERS = {  # keys that transformers itself writes into a config or passes along while loading
    "_attn_implementation_internal", "_commit_hash", "_experts_implementation_internal", "_name_or_path",
    "architectures", "attn_implementation", "auto_map", "chunk_size_feed_forward", "dtype", "experts_implementation",
    "id2label", "is_encoder_decoder", "label2id", "model_type", "name_or_path", "num_labels", "output_attentions",
    "output_hidden_states", "problem_type", "return_dict", "tie_word_embeddings", "torch_dtype",
    "transformers_version", "use_cache",
}  # fmt: skip


@strict
@dataclass(kw_only=True)
class NetworkConfig:
    """Typed fields with defaults (the `tiny` preset); wrong types, choices and unknown keys raise an error.

    Args:
        widths: channels of the stages, finest first; each stage halves the size.
        encoder_depths: blocks in each stage on the way down, one number for each width.
        decoder_depths: blocks in each stage on the way up, finest first, one fewer than widths.
        stem_stride: the space-to-depth of the first layer; the work is done at this fraction of the size and below.
        output_stride: 4 gives colours at a quarter of the input's size, 1 at full size.
        block: "residual", or "plain" as in the poster.
        attention_head_channels: channels of one attention head in the coarsest stage; None for no attention.
        hint_channels: colour hints enter as Lab and a mask, four channels; they are zero where there are no hints.
        color_space: "rgb", "lab" or "lch"; the classes are bins_per_channel cubed equal bins over it.
        num_neighbors: bins that share one soft label; 1 is a one-hot label.
        label_sigma: width of the soft label, in Lab units.
        rebalancing: lambda of the class rebalancing, 0 (plain prior weights) to 1 (none).
        color_cost_weight: weight of the expected colour cost (the poster's non-0-1 loss matrix); 0 leaves it out.
        grey_price: extra price for predicting less chroma than the truth has.
        region_share: share of a classifier's loss that is taken on the mean scores of each closed region, as the style
            "flat" decodes them; the rest is taken on each cell's own scores.
        decode_rebalancing: lambda of a rebalancing after training instead: probabilities are multiplied by the weights.
        temperature: of the annealed mean that decodes the classes.
        ink_threshold: a pixel with more ink than this is line; its colour is neither a label nor a hint.
    """

    widths: list[int] | tuple[int, ...] = (64, 128, 256)
    encoder_depths: list[int] | tuple[int, ...] = (1, 2, 2)
    decoder_depths: list[int] | tuple[int, ...] = (1, 2)
    stem_stride: int = 4
    output_stride: int = 4
    block: str = "residual"
    attention_head_channels: int | None = 32
    hint_channels: int = 4
    color_space: str = "lch"
    bins_per_channel: int = 8
    num_neighbors: int = 10
    label_sigma: float | int = 5.0
    rebalancing: float | int = 0.5
    color_cost_weight: float | int = 0.0
    grey_price: float | int = 0.5
    region_share: float | int = 0.0
    decode_rebalancing: float | int = 1.0
    temperature: float | int = 0.38
    ink_threshold: float | int = 0.3

    def __post_init__(self) -> None:
        self.widths, self.encoder_depths = list(self.widths), list(self.encoder_depths)
        self.decoder_depths = list(self.decoder_depths)

    @classmethod
    def from_saved(cls, settings: dict[str, Any]) -> Self:
        """From a model's config.json, without what transformers writes into it. Raises ValueError for unknown keys."""
        own = {field.name for field in fields(cls)}
        check_known(set(settings) - own)
        return cls(**{key: value for key, value in settings.items() if key in own})

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> Self:
        """The configuration of a named network: "poster", "tiny" or "base", with single fields overridden."""
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        return cls(**{**PRESETS[preset], **overrides})

    def validate_network(self) -> None:
        """Part of the `@strict` validation: choices and ranges, each in one line that says what is allowed."""
        for key, allowed in _CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be one of {allowed}, got {getattr(self, key)!r}")
        if len(self.encoder_depths) != len(self.widths) or len(self.decoder_depths) != len(self.widths) - 1:
            raise ValueError(
                f"{len(self.widths)} widths need {len(self.widths)} encoder_depths "
                f"and {len(self.widths) - 1} decoder_depths, "
                f"got {len(self.encoder_depths)} and {len(self.decoder_depths)}"
            )
        numbers = [*self.widths, *self.encoder_depths, *self.decoder_depths, self.num_neighbors]
        if min(numbers) < 1:
            raise ValueError(f"widths, depths and num_neighbors must be at least 1, got {numbers}")
        if self.hint_channels < 0:
            raise ValueError(f"hint_channels must be >= 0, got {self.hint_channels}")
        if self.stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride must be 1, 2 or 4, got {self.stem_stride}")
        if not 2 <= self.bins_per_channel <= 16:
            raise ValueError(f"bins_per_channel must be 2..16, got {self.bins_per_channel}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        for key in ("rebalancing", "region_share", "decode_rebalancing", "ink_threshold"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must be 0..1, got {getattr(self, key)}")
        for key in ("color_cost_weight", "grey_price", "temperature"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be >= 0, got {getattr(self, key)}")
        if self.label_sigma <= 0:
            raise ValueError(f"label_sigma must be > 0, got {self.label_sigma}")


def check_known(keys: Iterable[str]) -> None:
    """Refuse keys of a configuration that are neither ours (these are not among `keys`) nor transformers'."""
    unknown = sorted(set(keys) - _CONFIG_KEYS_OF_TRANSFORMERS)
    if unknown:
        known = ", ".join(sorted(field.name for field in fields(NetworkConfig)))
        raise ValueError(f"unknown configuration key {', '.join(unknown)}; known keys: {known}")
