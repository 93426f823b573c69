"""What is evaluated: the two baselines that know nothing of the drawing, and models through their pipeline."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..coarse_grid import pool_labels
from ..color import lab_to_rgb, rgb_to_lab
from ..compositing import composite
from ..pipeline_sketch_colorizer import ColorizationPipeline
from .metrics import painted_area
from .scoring import score_likelihood


class Prediction(NamedTuple):
    """What the network saw and answered: ink (1, 1, H, W) and logits (1, Q, h, w)."""

    pixel_values: Tensor
    logits: Tensor


class Painting(NamedTuple):
    """What a system makes of a drawing: the picture and the colours without lines, (H, W, 3) uint8."""

    image: np.ndarray
    colors: np.ndarray
    prediction: Prediction | None = None


@dataclass(frozen=True)
class System:
    """A way to colour drawings; `likelihood` scores the prediction behind a painting, where there is one."""

    name: str
    paint: Callable[[Image.Image], Painting]
    likelihood: Callable[[Painting, np.ndarray], dict[str, Any]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def leave_white() -> System:
    """The baseline that leaves the paper white."""
    return _one_color("white", np.array([255, 255, 255], np.uint8))


def fill_with_mean(lab: Tensor) -> System:
    """The baseline that paints everything, paper too, in one colour (3,) Lab."""
    rgb = (lab_to_rgb(lab.float(), dim=-1) * 255).round().to(torch.uint8).numpy()
    return _one_color("mean", rgb)


def _one_color(name: str, rgb: np.ndarray) -> System:
    def paint(drawing: Image.Image) -> Painting:
        line_art = np.asarray(drawing)
        colors = np.broadcast_to(rgb, (*line_art.shape, 3)).copy()
        return Painting(composite(colors, line_art), colors)

    return System(name, paint, facts={"kind": "baseline", "color": "#" + bytes(rgb).hex()})


def load_system(
    source: str | None,
    *,
    name: str | None = None,
    style: str | None = None,
    temperature: float | None = None,
    guidance: float | None = None,
    sharing: float | None = None,
    working_size: int | None = None,
    device: str | None = None,
) -> System:
    """A model as a system, named after its folder; None is the embedded model."""
    pipeline = ColorizationPipeline.from_pretrained(source, device=device)
    return pipeline_system(
        pipeline,
        name=name or ("embedded" if source is None else Path(source).name or source),
        source="embedded" if source is None else Path(source).name if Path(source).is_dir() else source,
        style=style,
        temperature=temperature,
        guidance=guidance,
        sharing=sharing,
        working_size=working_size,
    )


def pipeline_system(
    pipeline: ColorizationPipeline,
    *,
    name: str,
    source: str = "in memory",
    style: str | None = None,
    temperature: float | None = None,
    guidance: float | None = None,
    sharing: float | None = None,
    working_size: int | None = None,
) -> System:
    """A pipeline as a system; what is None is as its processor says."""
    processor, model = pipeline.processor, pipeline.model
    settings = {"style": style, "temperature": temperature, "guidance": guidance, "sharing": sharing}
    settings |= {"working_size": working_size}
    classifies, last = hasattr(model, "quantizer"), _LastPass()
    model.register_forward_hook(last.record, with_kwargs=True)

    def paint(drawing: Image.Image) -> Painting:
        result = pipeline(drawing, **settings)
        return Painting(np.asarray(result.image), np.asarray(result.colors), last.prediction)

    def likelihood(painting: Painting, picture: np.ndarray) -> dict[str, Any]:
        return _likelihood(pipeline, painting.prediction, picture, working_size=working_size)

    facts = {
        "kind": "classification" if classifies else "regression",
        "source": source,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "style": style or processor.style,
        "temperature": (processor.temperature if temperature is None else temperature) if classifies else None,
        "decode_rebalancing": model.config.decode_rebalancing if classifies else None,
        "paper_threshold": processor.paper_threshold if classifies else None,
        "guidance": (processor.guidance if guidance is None else guidance) if classifies else None,
        "sharing": (processor.sharing if sharing is None else sharing) if classifies else None,
        "working_size": working_size or processor.working_size,
        "color_space": model.config.color_space if classifies else None,
        "num_bins": model.quantizer.num_bins if classifies else None,
    }
    return System(name, paint, likelihood if classifies else None, facts)


class _LastPass(threading.local):
    """The last pass through a network in this thread: what painted a picture is what its likelihood is taken from."""

    prediction: Prediction | None = None

    def record(self, model: torch.nn.Module, args: tuple, inputs: dict[str, Tensor], outputs: Any) -> None:
        logits = getattr(outputs, "logits", None)
        self.prediction = None if logits is None else Prediction(inputs["pixel_values"], logits)


@torch.inference_mode()
def _likelihood(
    pipeline: ColorizationPipeline, prediction: Prediction, picture: np.ndarray, *, working_size: int | None
) -> dict[str, Any]:
    """The predicted distribution against the truth, cell by cell of the output, where the drawing has no line."""
    config, quantizer = pipeline.model.config, pipeline.model.quantizer
    pixel_values, logits = prediction
    shape = pipeline.processor.working_shape(picture[..., 0], working_size)
    labels = true_labels(picture, shape, tuple(pixel_values.shape[2:])).to(pixel_values)
    colors, share = pool_labels(labels, pixel_values, config.output_stride, config.ink_threshold)
    judged = share[0] > 0
    true_bins = quantizer.encode(colors)[0][0, 0][judged]
    log_probs = F.log_softmax(logits.float()[0].movedim(0, -1)[judged], dim=1)
    return score_likelihood(log_probs.cpu(), true_bins.cpu(), painted_area(colors)[0][judged].cpu())


def true_labels(picture: np.ndarray, shape: tuple[int, int], padded: tuple[int, int]) -> Tensor:
    """The true colours (H, W, 3) uint8 at the network's input: (1, 3, *padded) Lab, nan beyond `shape`."""
    height, width = shape
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    lab = rgb_to_lab(torch.tensor(resized).movedim(-1, 0).float() / 255)[None]
    return F.pad(lab, (0, padded[1] - width, 0, padded[0] - height), value=math.nan)
