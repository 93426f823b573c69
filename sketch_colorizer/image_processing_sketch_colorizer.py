"""Drawings to tensors for the network, and the network's coarse colours back to pictures at the drawing's own size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from .color import lab_to_rgb
from .compositing import composite, enlarge_colors
from .drawing import clean_drawing
from .quantizer import decode_classes
from .regions import flat_colors, pool_by_region, segment_regions

Drawing = Image.Image | np.ndarray
Decoder = Callable[..., Tensor]  # scores of the classes -> Lab
STYLES = ("flat", "soft")
_GRID = 4  # sides of the working-size copy are multiples of it, so that the coarse colours end where the drawing ends
_WRITTEN_BY_TRANSFORMERS = {"image_processor_type", "auto_map", "processor_class", "feature_extractor_type", "backend"}


@dataclass
class ColorizationResult:
    """A finished picture and its parts, PIL images at the drawing's exact size."""

    image: Image.Image  # RGB, the lines over the colours
    colors: Image.Image  # RGB, the colours without lines
    line_art: Image.Image  # L, 255 = paper


class SketchColorizerImageProcessorKwargs(TypedDict, total=False):
    """What `from_pretrained(..., key=value)` may override."""

    working_size: int
    max_side_ratio: float
    size_divisor: int
    max_ink_gain: float
    do_clean: bool
    style: Literal["flat", "soft"]
    temperature: float
    paper_threshold: float | None
    guidance: float
    white_lightness: float
    white_chroma: float


class SketchColorizerImageProcessor(BaseImageProcessor):
    """The way in (clean, shrink, pad) and the way out (decode, enlarge along the lines, put the lines on top).

    Args:
        working_size: the network sees about working_size ** 2 pixels, whatever the drawing's size and shape.
        max_side_ratio: the longest side of that copy is at most this many times working_size.
        size_divisor: the copy is padded with paper, at the right and the bottom, to multiples of this.
        max_ink_gain: lines that became faint in a much smaller copy are strengthened by at most this factor.
        do_clean: whether drawings are cleaned first (`clean_drawing`); off for line art that is clean already.
        style: "flat", one colour for each closed region, or "soft", the prediction per pixel.
        temperature: of the annealed mean that decodes the classes; 0 is the mode, 1 the mean.
        paper_threshold: where white paper has more than this probability the colour is exactly white, and everywhere
            else it is decoded from the other classes; None treats white as a class like any other.
        guidance: above 1, what sets a region apart from the rest of its picture decides its colour (`decode_classes`).
        white_lightness: a colour at least this light (L, 0..100) and with at most white_chroma becomes exactly white.
        white_chroma: see white_lightness.
    """

    valid_kwargs = SketchColorizerImageProcessorKwargs
    model_input_names: ClassVar[list[str]] = ["pixel_values", "hint_values"]
    paper_threshold: float | None = 0.5  # the parent saves a None only for what has another default in the class

    def __init__(
        self,
        *,
        working_size: int = 256,
        max_side_ratio: float = 2.5,
        size_divisor: int = 16,
        max_ink_gain: float = 4.0,
        do_clean: bool = True,
        style: Literal["flat", "soft"] = "flat",
        temperature: float = 0.38,
        paper_threshold: float | None = paper_threshold,
        guidance: float = 1.0,
        white_lightness: float = 97.0,
        white_chroma: float = 3.0,
        **kwargs: Any,
    ) -> None:
        unknown = sorted(set(kwargs) - _WRITTEN_BY_TRANSFORMERS)
        if unknown:
            raise ValueError(f"unknown key {', '.join(unknown)} for {type(self).__name__} (preprocessor_config.json)")
        kwargs.pop("image_processor_type", None)
        super().__init__(**kwargs)
        self.working_size = _check_working_size(working_size)
        self.max_side_ratio = max_side_ratio
        self.size_divisor = size_divisor
        self.max_ink_gain = max_ink_gain
        self.do_clean = do_clean
        self.style = _check_style(style)
        self.temperature = _check_temperature(temperature)
        self.paper_threshold = _check_paper_threshold(paper_threshold)
        self.guidance = _check_guidance(guidance)
        self.white_lightness = white_lightness
        self.white_chroma = white_chroma

    def clean(self, drawings: Drawing | Sequence[Drawing]) -> list[Image.Image]:
        """The line art of each drawing: mode L at its own size, 255 = paper."""
        return [clean_drawing(_to_pil(drawing)) for drawing in _as_list(drawings)]

    def preprocess(
        self,
        images: Drawing | Sequence[Drawing],
        *,
        working_size: int | None = None,
        do_clean: bool | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Drawings -> pixel_values (B, 1, H, W), ink in 0..1, and hint_values (B, 4, H, W), zero.

        A drawing is a PIL image of any mode, or a uint8 array (H, W), (H, W, 3) or (H, W, 4). Drawings of different
        sizes are padded to the largest of the batch.
        """
        inks = [
            shrink_to_ink(line_art, self.working_shape(line_art, working_size), max_gain=self.max_ink_gain)
            for line_art in self._line_arts(images, do_clean)
        ]
        height, width = self._padded_shape([ink.shape for ink in inks])
        pixel_values = np.zeros((len(inks), 1, height, width), np.float32)
        for row, ink in zip(pixel_values, inks, strict=True):
            row[0, : ink.shape[0], : ink.shape[1]] = ink
        hint_values = np.zeros((len(inks), 4, height, width), np.float32)
        return BatchFeature({"pixel_values": pixel_values, "hint_values": hint_values}, tensor_type=return_tensors)

    def working_shape(self, line_art: np.ndarray, working_size: int | None = None) -> tuple[int, int]:
        """Height and width at which the network sees a drawing, before padding: about working_size ** 2 pixels."""
        working_size = self.working_size if working_size is None else _check_working_size(working_size)
        height, width = line_art.shape
        scale = min(working_size / math.sqrt(height * width), self.max_side_ratio * working_size / max(height, width))
        return _to_grid(height * scale), _to_grid(width * scale)

    @torch.inference_mode()
    def post_process_colorization(
        self,
        outputs: Any,
        images: Drawing | Sequence[Drawing],
        *,
        style: Literal["flat", "soft"] | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
        working_size: int | None = None,
        do_clean: bool | None = None,
    ) -> list[ColorizationResult]:
        """What the model made of the drawings -> finished pictures at the drawings' sizes.

        `images`, `working_size` and `do_clean` are those that went in. The colours come from `outputs.logits`
        and the colours and weights of their classes where there are logits, from `outputs.colors` otherwise.
        """
        style = _check_style(self.style if style is None else style)
        temperature = _check_temperature(self.temperature if temperature is None else temperature)
        line_arts = self._line_arts(images, do_clean)
        logits = getattr(outputs, "logits", None)
        values = outputs.colors if logits is None else logits
        guidance = _check_guidance(self.guidance if guidance is None else guidance)
        decode = None if logits is None else self._decoder(outputs, temperature, guidance)
        color = self._color_flat if style == "flat" else self._color_softly
        results = []
        for grid, line_art in zip(self._crop(values, line_arts, working_size), line_arts, strict=True):
            colors = color(grid, line_art, decode)
            image = Image.fromarray(composite(colors, line_art))
            results.append(ColorizationResult(image, Image.fromarray(colors), Image.fromarray(line_art)))
        return results

    def _decoder(self, outputs: Any, temperature: float, guidance: float) -> Decoder:
        return partial(
            decode_classes,
            bin_colors=outputs.bin_colors.float().cpu(),
            bin_weights=outputs.bin_weights.float().cpu(),
            temperature=temperature,
            paper_threshold=self.paper_threshold,
            guidance=guidance,
        )

    def _crop(self, values: Tensor, line_arts: list[np.ndarray], working_size: int | None) -> list[Tensor]:
        """The part of each coarse grid (B, C, h, w) that shows the drawing and not the padding."""
        shapes = [self.working_shape(line_art, working_size) for line_art in line_arts]
        padded = self._padded_shape(shapes)
        stride = max(1, padded[0] // values.shape[-2])
        if (len(line_arts), *padded) != (len(values), values.shape[-2] * stride, values.shape[-1] * stride):
            raise ValueError(
                f"outputs shaped {tuple(values.shape)} do not fit these {len(line_arts)} drawings, which the network "
                f"sees as {padded[0]}x{padded[1]}; pass the drawings and the working_size that went in"
            )
        cropped = zip(values.float().cpu(), shapes, strict=True)
        return [
            value[:, : math.ceil(height / stride), : math.ceil(width / stride)] for value, (height, width) in cropped
        ]

    def _color_flat(self, values: Tensor, line_art: np.ndarray, decode: Decoder | None) -> np.ndarray:  # (H, W, 3)
        """One colour for each region, decoded once from the mean log-probabilities over it.

        The mean of the scores serves: it differs by a number for each region, which no softmax sees.
        """
        labels = segment_regions(line_art)
        pooled = pool_by_region(values, labels, line_art)  # (N, Q) or (N, 3)
        areas = torch.from_numpy(np.bincount(labels.ravel(), minlength=len(pooled)))
        lab = pooled if decode is None else decode(pooled, areas=areas)
        return flat_colors(self._to_rgb(lab), labels)

    def _color_softly(self, values: Tensor, line_art: np.ndarray, decode: Decoder | None) -> np.ndarray:  # (H, W, 3)
        """The colour of each cell of the coarse grid, enlarged along the lines."""
        lab = values if decode is None else decode(values, dim=0)
        return enlarge_colors(self._to_rgb(lab.movedim(0, -1)), segment_regions(line_art), line_art)

    def _to_rgb(self, lab: Tensor) -> np.ndarray:
        """Lab (.., 3) -> uint8 sRGB (.., 3), where what is as good as white is exactly white."""
        rgb = (lab_to_rgb(lab, dim=-1) * 255).round()
        is_white = (lab[..., 0] >= self.white_lightness) & (lab[..., 1:].norm(dim=-1) <= self.white_chroma)
        rgb[is_white] = 255
        return rgb.to(torch.uint8).numpy()

    def _line_arts(self, images: Drawing | Sequence[Drawing], do_clean: bool | None) -> list[np.ndarray]:
        do_clean = self.do_clean if do_clean is None else do_clean
        drawings = self.clean(images) if do_clean else [_to_pil(image) for image in _as_list(images)]
        return [np.asarray(drawing.convert("L")) for drawing in drawings]

    def _padded_shape(self, shapes: list[tuple[int, int]]) -> tuple[int, int]:
        divisor = self.size_divisor
        height, width = (math.ceil(max(sides) / divisor) * divisor for sides in zip(*shapes, strict=True))
        return height, width


def shrink_to_ink(line_art: np.ndarray, shape: tuple[int, int], *, max_gain: float) -> np.ndarray:
    """The working-size copy of a drawing as ink: uint8 (H, W), 255 = paper -> float32 `shape`, 0 = paper, 1 = black.

    Averaging thins a line of 2 pixels to a trace when 15 pixels become one. So the ink is multiplied until lines cover
    most of their pixels (by at most `max_gain`), but nowhere beyond the darkest ink that the pixel was made from.
    """
    height, width = shape
    scale = max(line_art.shape[0] / height, line_art.shape[1] / width)
    if scale <= 1:
        enlarged = cv2.resize(line_art, (width, height), interpolation=cv2.INTER_CUBIC)
        return 1 - enlarged.astype(np.float32) / 255
    ink = 1 - cv2.resize(line_art, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    reach = math.ceil(scale)
    darkest = cv2.erode(line_art, np.ones((reach, reach), np.uint8), anchor=(0, 0))  # at the corner that is kept next
    darkest = 1 - cv2.resize(darkest, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float32) / 255
    coverage = (ink / np.maximum(darkest, 0.01))[darkest > 0.25]
    coverage = coverage[(coverage > 0.02) & (coverage < 0.95)]  # black areas need no help
    if coverage.size == 0:
        return ink
    gain = np.clip(0.7 / np.percentile(coverage, 75), 1, max_gain)
    return np.maximum(ink, np.minimum(ink * gain, darkest))


def _to_grid(side: float) -> int:
    return max(_GRID, round(side / _GRID) * _GRID)


def _as_list(images: Drawing | Sequence[Drawing]) -> list[Drawing]:
    images = [images] if isinstance(images, (Image.Image, np.ndarray)) else list(images)
    if not images:
        raise ValueError("no drawing was given")
    return images


def _to_pil(drawing: Drawing) -> Image.Image:
    if isinstance(drawing, Image.Image):
        return drawing
    if not isinstance(drawing, np.ndarray):
        raise ValueError(f"a drawing must be a PIL image or a uint8 array, got {type(drawing).__name__}")
    if drawing.dtype != np.uint8 or not (drawing.ndim == 2 or (drawing.ndim == 3 and drawing.shape[2] in (3, 4))):
        raise ValueError(f"a drawing must be uint8 (H, W), (H, W, 3) or (H, W, 4), got {drawing.dtype} {drawing.shape}")
    return Image.fromarray(drawing)


def _check_style(style: str) -> str:
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}")
    return style


def _check_temperature(temperature: float) -> float:
    if not 0 <= temperature <= 100:
        raise ValueError(f"temperature must be 0..100, got {temperature}")
    return temperature


def _check_guidance(guidance: float) -> float:
    if not 0 <= guidance <= 20:
        raise ValueError(f"guidance must be 0..20, got {guidance}")
    return guidance


def _check_paper_threshold(paper_threshold: float | None) -> float | None:
    if paper_threshold is not None and not 0 <= paper_threshold <= 1:
        raise ValueError(f"paper_threshold must be 0..1, or None, got {paper_threshold}")
    return paper_threshold


def _check_working_size(working_size: int) -> int:
    if not 32 <= working_size <= 4096:
        raise ValueError(f"working_size must be 32..4096, got {working_size}")
    return working_size
