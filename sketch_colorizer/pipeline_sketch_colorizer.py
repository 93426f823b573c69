"""The friendly door: any model, any picture of any size in, finished pictures out."""

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image

from .colorization_result import ColorizationResult
from .drawing import is_blank
from .drawing_processor import DrawingProcessor
from .model_files import EMBEDDED_WEIGHTS, load_model, quiet_hub, save_network, save_processor
from .network_passes import NetworkPasses
from .networks import ColorNetwork
from .palette import read_palette
from .picture_files import open_picture, read_dpi
from .proposals import check_num_proposals, draw_proposals

ENGINES = ("classes", "flow")  # the first is the default
_LOADING = threading.Lock()  # diffusers creates models on the meta device for all threads at once

Picture = str | os.PathLike | Image.Image | np.ndarray


class ColorizationPipeline:
    """A model and its processor: from a picture, or the path of one, to a `ColorizationResult`.

    `from_pretrained` makes plain ones (`ColorNetwork`, `DrawingProcessor`). Those of transformers are the same and have
    its methods besides: load them with AutoModelForImageToImage and AutoImageProcessor, and give them to this class.

    >>> colorize = ColorizationPipeline.from_pretrained()
    >>> colorize("drawing.png").image.save("drawing_colorized.png")
    """

    def __init__(self, model: ColorNetwork, processor: DrawingProcessor) -> None:
        if processor.size_divisor % model.unet.stride:
            raise ValueError(
                f"the processor's size_divisor must be a multiple of the network's stride {model.unet.stride}, "
                f"got {processor.size_divisor}"
            )
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.processor = processor
        self._flow_source: dict[str, Any] = {"model": None}

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
        with _LOADING:
            network, processor = load_model(str(EMBEDDED_WEIGHTS if model is None else model), **hub)
        pipeline = cls(network.to(device), processor)
        pipeline._flow_source = {"model": model, **hub}
        return pipeline

    def save_pretrained(self, directory: str | os.PathLike) -> None:
        """Write the model and its processor into a folder that `from_pretrained` loads, here and in transformers."""
        save_network(self.model, directory)
        save_processor(self.processor, directory)

    def __call__(
        self,
        images: Picture | Iterable[Picture],
        *,
        hints: Any = None,
        palette: Any = None,
        num_proposals: int | None = None,
        engine: Literal["classes", "flow"] | None = None,
        style: Literal["flat", "soft"] | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
        sharing: float | None = None,
        seed: int = 0,
        working_size: int | None = None,
    ) -> ColorizationResult | list[ColorizationResult] | list[list[ColorizationResult]]:
        """Colour one picture (a path, a PIL image, or a uint8 array (H, W[, 3 or 4])), or each of several into a list.

        Args:
            hints: colours that are obeyed, each in its region: a list of (x, y, colour[, radius]) in pixels of the
                picture as it is seen upright, or strokes on transparency (a path, a PIL image, or uint8 RGBA) of any
                size. For several pictures a list with the hints, or None, of each.
            palette: the colours that may be painted, beside white paper and the hints: a list of colours, text such as
                "#aabbcc,teal", or a reference picture; the same for all pictures.
            num_proposals: how many different colourings of each picture are wanted, as a list, of which the first is
                the plain one. None is one result and no list.
            engine: what draws the proposals: "classes", the model's own distributions, or "flow", the flow-matching
                model, which draws the first one too. None is the better one.
            style, temperature, guidance, sharing, working_size: the processor's where they are None.
            seed: fixes what is drawn at random; without proposals nothing is. Equal pictures get equal colours.

        Raises ValueError, in one line, for what of this is not as it should be.
        """
        check_num_proposals(num_proposals)
        engine = _check_engine(engine)
        palette = None if palette is None else read_palette(palette)
        settings = {"style": style, "temperature": temperature, "guidance": guidance, "sharing": sharing}
        settings |= {"working_size": working_size, "palette": palette}
        if not isinstance(seed, (int, np.integer)) or abs(int(seed)) >= 2**63:
            raise ValueError(f"seed must be a whole number of 63 bits, got {seed!r}")
        if isinstance(images, (bytes, bytearray)) or not (_is_one(images) or isinstance(images, Iterable)):
            raise ValueError(
                "a picture must be a path, a PIL image or a uint8 array, or several of them in a list, "
                f"got {type(images).__name__}"
            )
        if _is_one(images):
            return self._colorize(images, hints, num_proposals, engine, seed, settings)
        return [
            self._colorize(image, its_hints, num_proposals, engine, seed, settings)
            for image, its_hints in _with_hints(images, hints)
        ]

    def _colorize(
        self, image: Picture, hints: Any, num_proposals: int | None, engine: str, seed: int, settings: dict[str, Any]
    ) -> ColorizationResult | list[ColorizationResult]:
        image = open_picture(image) if isinstance(image, (str, os.PathLike)) else image
        passes = NetworkPasses(self.model, self.processor, image, hints, settings)
        if is_blank(np.asarray(passes.line_art[0])):
            warnings.warn("there is no line on it, so it stays white where no hint is", stacklevel=3)
        if engine == "flow":
            results = self._flow(passes, num_proposals or 1, seed)
        else:
            results = draw_proposals(passes, num_proposals or 1, seed)
        if dpi := read_dpi(image):
            for picture in (part for one in results for part in (one.image, one.colors, one.line_art)):
                picture.info["dpi"] = dpi
        return results[0] if num_proposals is None else results

    def _flow(self, passes: NetworkPasses, num_proposals: int, seed: int) -> list[ColorizationResult]:
        colors = self._flow_pipeline(
            passes.pixel_values,
            None if passes.marks is None else passes.hint_values(passes.marks),
            num_proposals=num_proposals,
            generator=torch.Generator().manual_seed(seed),
        ).colors
        return [passes.finish(SimpleNamespace(colors=one[None]), passes.marks) for one in colors]

    @cached_property
    def _flow_pipeline(self) -> Any:
        """The flow-matching model that lies beside this one, loaded when it is first asked for."""
        try:
            from .pipeline_flow_colorizer import FlowColorizerPipeline
        except ImportError as error:
            raise ValueError(f"the engine 'flow' needs {error.name}: {error}") from None
        try:
            with _LOADING, quiet_hub():
                return FlowColorizerPipeline.beside(**self._flow_source).to(self.model.device)
        except FileNotFoundError:
            raise ValueError(
                "this model comes without a flow-matching model (weights/flow); use the engine 'classes'"
            ) from None


def _check_engine(engine: str | None) -> str:
    if engine is not None and engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    return engine or ENGINES[0]


def _is_one(images: Any) -> bool:
    return isinstance(images, (str, os.PathLike, Image.Image, np.ndarray))


def _with_hints(images: Iterable[Picture], hints: Any) -> Iterator[tuple[Picture, Any]]:
    """Each of several pictures with its hints."""
    if hints is None:
        return ((image, None) for image in images)
    images = list(images)
    if not isinstance(hints, (list, tuple)) or len(hints) != len(images):
        raise ValueError(f"hints for several pictures must be a list with the hints, or None, of each: {len(images)}")
    return zip(images, hints, strict=True)


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
