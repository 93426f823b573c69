"""Colours line drawings, offline, on a CPU. Public names are imported when they are first used."""

import importlib
import sys
from typing import Any

from .auto_classes import register_auto_classes, register_with_transformers

_HOMES = {
    "ColorQuantizer": "quantizer",
    "ColorizationPipeline": "pipeline_sketch_colorizer",
    "ColorizationResult": "colorization_result",
    "FlowColorizerModel": "modeling_flow_colorizer",
    "FlowColorizerPipeline": "pipeline_flow_colorizer",
    "SketchColorizerConfig": "configuration_sketch_colorizer",
    "SketchColorizerForClassification": "modeling_sketch_colorizer",
    "SketchColorizerForRegression": "modeling_sketch_colorizer",
    "SketchColorizerImageProcessor": "image_processing_sketch_colorizer",
    "clean_drawing": "drawing",
    "open_picture": "picture_files",
    "save_picture": "picture_files",
    "save_result": "layers",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("sketch-colorizer")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if "transformers" in sys.modules:
        register_auto_classes()
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})


register_with_transformers()
