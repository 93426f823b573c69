"""One configuration for both heads, as transformers saves, loads and registers it."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .network_config import MODEL_TYPE, NetworkConfig, check_known


@strict
class SketchColorizerConfig(PreTrainedConfig, NetworkConfig):
    """The fields of `NetworkConfig`; wrong types, choices and unknown keys raise an error."""

    model_type = MODEL_TYPE

    def __post_init__(self, **kwargs: Any) -> None:
        check_known(kwargs)
        NetworkConfig.__post_init__(self)
        PreTrainedConfig.__post_init__(self, **kwargs)
