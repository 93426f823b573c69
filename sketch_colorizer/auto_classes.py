"""Makes our models known to transformers' Auto classes, without being the one that imports transformers."""

import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

AUTO_MODULES = {  # Auto class -> the module that holds our class for it
    "AutoConfig": "configuration_sketch_colorizer",
    "AutoModelForImageToImage": "modeling_sketch_colorizer",
    "AutoImageProcessor": "image_processing_sketch_colorizer",
}


@cache
def register_auto_classes() -> None:
    """Let AutoConfig, AutoImageProcessor and AutoModelForImageToImage load our models."""
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageToImage

    from .configuration_sketch_colorizer import SketchColorizerConfig
    from .image_processing_sketch_colorizer import SketchColorizerImageProcessor
    from .modeling_sketch_colorizer import SketchColorizerForClassification, SketchColorizerForRegression

    models = (SketchColorizerForClassification, SketchColorizerForRegression)  # told apart by config.architectures
    processors = {"pil": SketchColorizerImageProcessor}
    AutoConfig.register(SketchColorizerConfig.model_type, SketchColorizerConfig, exist_ok=True)
    AutoImageProcessor.register(SketchColorizerConfig, image_processor_classes=processors, exist_ok=True)
    AutoModelForImageToImage.register(SketchColorizerConfig, models, exist_ok=True)


def register_with_transformers() -> None:
    """Register now where transformers is imported already, otherwise as soon as it is: importing it takes seconds."""
    if "transformers" in sys.modules:
        register_auto_classes()
    else:
        sys.meta_path.insert(0, _TransformersFinder())


class _TransformersFinder(MetaPathFinder):
    """Finds transformers where it is, and registers once it has run. Until then it stays: many only ask for it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "transformers":
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            sys.meta_path.remove(self)
            execute(module)
            if not _is_importing_us():
                register_auto_classes()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _is_importing_us() -> bool:
    """Whether transformers is wanted by one of the modules that are to be registered, which is not complete yet."""
    package = __name__.rpartition(".")[0]
    ours = [sys.modules.get(f"{package}.{name}") for name in AUTO_MODULES.values()]
    return any(module and getattr(module.__spec__, "_initializing", False) for module in ours)
