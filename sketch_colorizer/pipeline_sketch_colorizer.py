"""The friendly door: any model, any picture of any size in, finished pictures out."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers.utils import logging

from .configuration_sketch_colorizer import SketchColorizerConfig
from .image_processing_sketch_colorizer import ColorizationResult, SketchColorizerImageProcessor
from .modeling_sketch_colorizer import (
    SketchColorizerForClassification,
    SketchColorizerForRegression,
    SketchColorizerPreTrainedModel,
)
from .picture_files import open_picture

EMBEDDED_WEIGHTS = Path(__file__).parent / "weights"
_MODELS = {model.__name__: model for model in (SketchColorizerForClassification, SketchColorizerForRegression)}
_WEIGHTS = "model.safetensors"

Picture = str | os.PathLike | Image.Image | np.ndarray


class ColorizationPipeline:
    """A model and its processor: from a picture, or the path of one, to a `ColorizationResult`.

    >>> colorize = ColorizationPipeline.from_pretrained()
    >>> colorize("drawing.png").image.save("drawing_colorized.png")
    """

    def __init__(self, model: SketchColorizerPreTrainedModel, processor: SketchColorizerImageProcessor) -> None:
        if processor.size_divisor % model.unet.stride:
            raise ValueError(
                f"the processor's size_divisor must be a multiple of the network's stride {model.unet.stride}, "
                f"got {processor.size_divisor}"
            )
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike | None = None,
        *,
        device: str | torch.device | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model folder, a model on the Hub ("user/name"), or with None the weights that ship with the package.

        `device` is one that torch knows ("cpu", "cuda", "mps"); None or "auto" is the fastest there is. Raises
        ValueError or OSError, in one line, where there is no such model, where it is of another kind, incomplete or
        damaged, and where its weights are a pickle.
        """
        device = _choose_device(device)
        hub = {"revision": revision or "main", "token": token, "local_files_only": local_files_only}
        name = str(EMBEDDED_WEIGHTS if model is None else model)
        with _errors_in_one_line(name), _quiet_transformers():
            _check_place(name)
            config, _ = SketchColorizerConfig.get_config_dict(name, **hub)
            model_class = _model_class(config)
            _check_weights(name, hub)
            network, report = model_class.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **hub
            )
            _check_complete(report)
            processor = SketchColorizerImageProcessor.from_pretrained(name, **hub)
        return cls(network.to(device), processor)

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Write the model and its processor into a folder that `from_pretrained` loads."""
        with _quiet_transformers():
            self.model.save_pretrained(directory)
            self.processor.save_pretrained(directory)

    def __call__(
        self,
        images: Picture | Iterable[Picture],
        *,
        style: Literal["flat", "soft"] | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
        seed: int = 0,
        working_size: int | None = None,
    ) -> ColorizationResult | list[ColorizationResult]:
        """Colour one picture (a path, a PIL image, or a uint8 array (H, W[, 3 or 4])), or each of several into a list.

        `style`, `temperature`, `guidance` and `working_size` are the processor's where they are None. `seed` fixes
        whatever is drawn at random; the models of this pipeline draw nothing: equal pictures get equal colours.
        """
        settings = {"style": style, "temperature": temperature, "guidance": guidance, "working_size": working_size}
        if not isinstance(images, (str, os.PathLike, Image.Image, np.ndarray)):
            return [self(image, seed=seed, **settings) for image in images]
        image = open_picture(images) if isinstance(images, (str, os.PathLike)) else images
        line_art = self.processor.clean(image)
        inputs = self.processor(line_art, do_clean=False, working_size=working_size).to(self.model.device)
        with torch.inference_mode():
            outputs = self.model(**inputs)
        [result] = self.processor.post_process_colorization(outputs, line_art, do_clean=False, **settings)
        return result


def _choose_device(device: str | torch.device | None) -> torch.device:
    if device is None or device == "auto":
        has_mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"the device {str(device)!r} is not available here; use cpu, or auto for the best there is"
        ) from None
    return torch.device(device)


def _check_place(name: str) -> None:
    """Whether there can be a model of ours by that name, as far as can be said before anything is loaded."""
    folder = Path(name)
    if folder == EMBEDDED_WEIGHTS and not (folder / "config.json").is_file():
        raise FileNotFoundError("this installation has no embedded weights; name a model folder, or a model on the Hub")
    if folder.is_file():
        raise ValueError("this is a file; name the folder that holds config.json and model.safetensors")
    if not folder.is_dir():
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise FileNotFoundError("there is no such folder, and a model on the Hub is named user/name")
        return
    for file in ("config.json", "preprocessor_config.json"):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"the folder holds no {file}, so it is no complete model")


def _model_class(config: dict[str, Any]) -> type[SketchColorizerPreTrainedModel]:
    model_type = config.get("model_type")
    if model_type != SketchColorizerConfig.model_type:
        raise ValueError(
            f"its model_type is {model_type!r}, not {SketchColorizerConfig.model_type!r}: a model of another kind"
        )
    architectures = config.get("architectures") or [None]
    if architectures[0] not in _MODELS:
        raise ValueError(f"its architecture must be one of {', '.join(_MODELS)}, got {architectures[0]!r}")
    return _MODELS[architectures[0]]


def _check_weights(name: str, hub: dict[str, Any]) -> None:
    """Refuse what has no safetensors before transformers looks for pickles, or asks the Hub to convert them."""
    try:
        found = (Path(name) / _WEIGHTS).is_file() if Path(name).is_dir() else hf_hub_download(name, _WEIGHTS, **hub)
    except EntryNotFoundError:
        found = False
    if not found:
        raise FileNotFoundError(f"there is no {_WEIGHTS}; a pickle (pytorch_model.bin and the like) is not loaded")


def _check_complete(report: dict[str, Any]) -> None:
    for key, problem in (("missing_keys", "lacks"), ("unexpected_keys", "has unknown")):
        if report[key]:
            names = sorted(report[key])
            raise ValueError(
                f"model.safetensors {problem} {len(names)} tensors (such as {names[0]}): it does not fit config.json"
            )


@contextmanager
def _errors_in_one_line(name: str) -> Iterator[None]:
    """What the libraries below say in many ways, said in one: the model's name, what is wrong, in one line."""
    where = "the embedded weights" if Path(name) == EMBEDDED_WEIGHTS else f"model {name!r}"
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"{where}: model.safetensors is damaged or no safetensors file ({error}); get it again"
        ) from None
    except StrictDataclassError as error:
        raise ValueError(f"{where}: config.json: {_one_line(error.__cause__ or error)}") from None
    except RuntimeError as error:
        reason = "tensors of other sizes than config.json says" if "mismatched" in str(error) else _one_line(error)
        raise ValueError(f"{where}: model.safetensors has {reason}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: config.json or preprocessor_config.json is not as it should be: {_one_line(error)}"
        ) from None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: {_one_line(error)}") from None
    except OSError as error:
        reason = re.split("[.] | If ", _one_line(error))[0]
        if not Path(name).exists():
            reason = f"no folder here, and not to be had from the Hub: {reason}"
            reason += "; if it is private, log in with `hf auth login` or set HF_TOKEN"
        raise OSError(f"{where}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Neither progress bars nor load reports: for a small model they are noise, and what matters becomes an error."""
    verbosity, shows_progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_progress:
            logging.enable_progress_bar()
