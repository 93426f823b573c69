"""A training recipe: every setting of one run as typed fields, read from YAML and `key=value` overrides."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

MODELS = ("classification", "regression", "flow")
PRECISIONS = ("no", "bf16", "fp16")
OPTIMIZERS = ("adamw", "muon")


@dataclass
class Recipe:
    """All settings of a run; `output_dir` and `data` are required.

    Args:
        data: corpus folder or Hub data set with the columns image, line_art, path.
        output_dir: where checkpoints, samples, logs and the finished model go.
        model: "classification", "regression" or "flow".
        preset: network, see PRESETS in the configuration (for "flow" in its model).
        config: further configuration fields, for instance {color_space: rgb, rebalancing: 1.0}; beside init_from only
            those of the loss.
        init_from: a finished model to start from instead of a random one; regression and classification may start
            from each other's body.
        image_size: side of the square training samples, a multiple of the network's stride.
        collage_share: share of samples over which other pictures of the corpus are laid, small, so that the network
            sees what single pictures show as the small things of a scene, too.
        echo: how many steps each loaded batch serves, mirrored every other time; above 1 where samples are slower to
            make than to learn from, as on a GPU.
        max_steps, max_minutes: the run ends at whichever comes first.
        optimizer: "adamw", or "muon" for the weights between hidden layers (`Muon`).
        final_lr: share of the learning rate that is left at max_steps (cosine); 1 keeps it constant.
        line_art_on_device: whether lines are drawn where the model is instead of in the loader; None does so on a GPU,
            unless the loss needs the regions of what is drawn (`region_share`).
        mixed_precision: "no", "bf16" or "fp16".
        log_with: a tracker that accelerate knows, such as "tensorboard"; its log lies in output_dir.
        processor: settings of the image processor that the finished model comes with, for instance {working_size: 128}.
    """

    data: str
    output_dir: str
    model: str = "classification"
    preset: str = "tiny"
    config: dict[str, Any] = field(default_factory=dict)
    init_from: str | None = None
    split: str = "train"
    image_size: int = 128
    batch_size: int = 16
    real_share: float = 0.7
    share_without_hints: float = 0.5
    collage_share: float = 0.0
    echo: int = 1
    min_scale: float = 0.8
    max_scale: float = 1.4
    max_steps: int = 10000
    max_minutes: float | None = None
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    final_lr: float = 0.0
    warmup_steps: int = 200
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False
    compile: bool = False
    mixed_precision: str = "no"
    ema_decay: float = 0.999
    line_art_on_device: bool | None = None
    num_workers: int = 1
    num_threads: int | None = None
    seed: int = 0
    checkpoint_every: int = 500
    total_limit: int = 2
    evaluate_every: int = 500
    log_every: int = 20
    log_with: str | None = None
    processor: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            self._check_type(name, hint)
        if self.model not in MODELS:
            raise ValueError(f"recipe: model must be one of {MODELS}, got {self.model!r}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"recipe: optimizer must be one of {OPTIMIZERS}, got {self.optimizer!r}")
        if self.mixed_precision not in PRECISIONS:
            raise ValueError(f"recipe: mixed_precision must be one of {PRECISIONS}, got {self.mixed_precision!r}")
        for name in (
            "image_size",
            "batch_size",
            "echo",
            "max_steps",
            "checkpoint_every",
            "evaluate_every",
            "total_limit",
            "log_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("real_share", "share_without_hints", "collage_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"recipe: {name} must be 0..1, got {getattr(self, name)}")

    def _check_type(self, name: str, hint: Any) -> None:
        value, allowed = getattr(self, name), get_args(hint) or (hint,)
        kinds = tuple(dict if kind not in (int, float, str, bool, type(None)) else kind for kind in allowed)
        if float in kinds and _is_number(value):
            setattr(self, name, float(value))
        elif kinds == (str,) and value is False:  # what YAML makes of a bare `no`
            setattr(self, name, "no")
        elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"recipe: {name} must be {wanted}, got {value!r}")

    @classmethod
    def load(cls, path: str | Path, overrides: list[str] | None = None) -> "Recipe":
        """Read a YAML recipe; `overrides` are "key=value", with dots into `config` ("config.rebalancing=0.3")."""
        if not Path(path).is_file():
            raise ValueError(f"no recipe at {path}")
        settings = yaml.safe_load(Path(path).read_text()) or {}
        if not isinstance(settings, dict):
            raise ValueError(f"{path} is no recipe: it must hold `key: value` lines")
        for override in overrides or []:
            key, separator, value = override.partition("=")
            if not separator:
                raise ValueError(f"an override is key=value, got {override!r}")
            target, _, inner = key.partition(".")
            if inner:
                settings.setdefault(target, {})[inner] = yaml.safe_load(value)
            else:
                settings[key] = yaml.safe_load(value)
        return cls.from_dict(settings, source=str(path))

    @classmethod
    def from_dict(cls, settings: dict[str, Any], *, source: str) -> "Recipe":
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ValueError(f"{source}: unknown recipe key {', '.join(unknown)}; known keys: {', '.join(known)}")
        missing = [name for name in ("data", "output_dir") if not settings.get(name)]
        if missing:
            raise ValueError(
                f"{source}: the recipe must set {' and '.join(missing)} (or pass {missing[0]}=... after its name)"
            )
        return cls(**settings)

    def to_yaml(self) -> str:
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)

    def flat(self) -> dict[str, Any]:
        """The settings as numbers, flags and text, which is what trackers take."""
        plain = (int, float, str, bool)
        return {k: v if isinstance(v, plain) else str(v) for k, v in dataclasses.asdict(self).items()}

    def differences(self, other: "Recipe") -> list[str]:
        """What must be equal for one run to go on as the other and is not, as readable lines."""
        free = {
            "max_minutes",
            "output_dir",
            "data",
            "checkpoint_every",
            "total_limit",
            "evaluate_every",
            "log_every",
            "log_with",
        }
        free |= {"num_workers", "num_threads", "processor"}
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [
            f"{key}: {theirs[key]!r} then, {mine[key]!r} now"
            for key in mine
            if key not in free and mine[key] != theirs[key]
        ]


def _is_number(value: Any) -> bool:
    """Whether this is a whole number, or text such as 1e-3, which YAML does not take for a number."""
    if not isinstance(value, str):
        return isinstance(value, int) and not isinstance(value, bool)
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
