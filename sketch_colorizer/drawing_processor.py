"""Drawings to tensors for the network, and the network's coarse colours back to pictures at the drawing's own size."""

import math
import numbers
from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any, Literal, Self

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .color import lab_to_rgb
from .colorization_result import ColorizationResult
from .compositing import composite
from .drawing import clean_drawing
from .painting import Page, Painter
from .palette import read_palette
from .regions import segment_regions
from .uncertainty import RegionDistributions
from .user_hints import MarkedPixels, hint_tensor, read_hints

Drawing = Image.Image | np.ndarray
STYLES = ("flat", "soft")
_MAX_WORKING_SIZE = 1024  # thirty times the pixels that networks train with; their attention grows faster than these
_MAX_STRIP = 16  # no working-size copy has more than this many times working_size ** 2 pixels
_GRID = 4  # sides of the working-size copy are multiples of it, so that the coarse colours end where the drawing ends
PROCESSOR_KEYS_OF_TRANSFORMERS = {
    "auto_map", "backend", "feature_extractor_type", "image_processor_type", "processor_class"
}  # fmt: skip


class DrawingProcessor:
    """The way in (clean, shrink, pad) and the way out (decode, enlarge along the lines, put the lines on top).

    Args:
        working_size: the network sees about working_size ** 2 pixels, whatever the drawing's size.
        min_side_ratio: but the shorter side of that copy is at least this many times working_size, so that the panels
            of a long strip are seen as large as those of a page.
        size_divisor: the copy is padded with paper, at the right and the bottom, to multiples of this.
        max_ink_gain: lines that became faint in a much smaller copy are strengthened by at most this factor.
        do_clean: whether drawings are cleaned first (`clean_drawing`); off for line art that is clean already.
        style: "flat", one colour for each closed region, or "soft", the prediction per pixel.
        temperature: of the annealed mean that decodes the classes; 0 is the mode, 1 the mean.
        paper_threshold: where white paper has more than this probability the colour is exactly white, and everywhere
            else it is decoded from the other classes; None treats white as a class like any other.
        guidance: above 1, what sets a region apart from the rest of its picture decides its colour (`decode_classes`).
        hinted_temperature, hinted_guidance: the same for a drawing with hints, whose variety is its user's to bring;
            None is as without hints.
        sharing: regions whose distributions over classes are unlike by at most this, 0..1, share one colour in the flat
            style, those that touch sooner than others (`group_alike`); 0 decides each region alone.
        calibration_temperature: what the scores are divided by where they are shown as probabilities (uncertainty,
            suggestions, proposals); measured by scripts/calibrate.py. The colours do not depend on it.
        white_lightness: a colour at least this light (L, 0..100) and with at most white_chroma becomes exactly white.
        white_chroma: see white_lightness.
    """

    def __init__(
        self,
        *,
        working_size: int = 256,
        min_side_ratio: float = 0.75,
        size_divisor: int = 16,
        max_ink_gain: float = 4.0,
        do_clean: bool = True,
        style: Literal["flat", "soft"] = "flat",
        temperature: float = 0.38,
        paper_threshold: float | None = 0.5,
        guidance: float = 1.0,
        hinted_temperature: float | None = None,
        hinted_guidance: float | None = None,
        sharing: float = 0.0,
        calibration_temperature: float = 1.0,
        white_lightness: float = 97.0,
        white_chroma: float = 3.0,
    ) -> None:
        self.working_size = _check_working_size(working_size)
        self.min_side_ratio = _check_number("min_side_ratio", min_side_ratio, 0, 1)
        self.size_divisor = int(_check_number("size_divisor", size_divisor, 1, 4096))
        self.max_ink_gain = _check_number("max_ink_gain", max_ink_gain, 1, 1000)
        self.do_clean = do_clean
        self.style = _check_style(style)
        self.temperature = _check_temperature(temperature)
        self.paper_threshold = _check_paper_threshold(paper_threshold)
        self.guidance = _check_guidance(guidance)
        self.hinted_temperature = None if hinted_temperature is None else _check_temperature(hinted_temperature)
        self.hinted_guidance = None if hinted_guidance is None else _check_guidance(hinted_guidance)
        self.sharing = _check_sharing(sharing)
        self.calibration_temperature = _check_calibration(calibration_temperature)
        self.white_lightness = _check_number("white_lightness", white_lightness, 0, 1000)
        self.white_chroma = _check_number("white_chroma", white_chroma, 0, 1000)

    @classmethod
    def from_saved(cls, settings: dict[str, Any]) -> Self:
        """From a model's preprocessor_config.json, without what transformers writes into it.

        Raises ValueError for unknown keys.
        """
        return cls(**own_settings(settings))

    def settings(self) -> dict[str, Any]:
        """What the constructor was given, or was set since."""
        return {key: getattr(self, key) for key in signature(DrawingProcessor).parameters}

    def clean(self, drawings: Drawing | Sequence[Drawing]) -> list[Image.Image]:
        """The line art of each drawing: mode L at its own size, 255 = paper."""
        return [clean_drawing(_to_pil(drawing)) for drawing in _as_list(drawings)]

    def __call__(
        self,
        images: Drawing | Sequence[Drawing],
        *,
        hints: Any = None,
        working_size: int | None = None,
        do_clean: bool | None = None,
    ) -> dict[str, Tensor]:
        """Drawings -> pixel_values (B, 1, H, W), ink in 0..1, and hint_values (B, 4, H, W), zero without hints.

        A drawing is a PIL image of any mode, or a uint8 array (H, W), (H, W, 3) or (H, W, 4). Drawings of different
        sizes are padded to the largest of the batch. `hints` are those of the one drawing (`read_hints` says in which
        forms), or for several drawings a list with the hints, or None, of each.
        """
        arrays = self.to_arrays(images, hints=hints, working_size=working_size, do_clean=do_clean)
        return {key: torch.from_numpy(values) for key, values in arrays.items()}

    def to_arrays(
        self, images: Drawing | Sequence[Drawing], *, hints: Any, working_size: int | None, do_clean: bool | None
    ) -> dict[str, np.ndarray]:
        """What `__call__` gives, as float32 arrays."""
        line_arts = self._line_arts(images, do_clean)
        marks = _read_all_hints(hints, images, line_arts)
        inks = [
            shrink_to_ink(line_art, self.working_shape(line_art, working_size), max_gain=self.max_ink_gain)
            for line_art in line_arts
        ]
        height, width = self._padded_shape([ink.shape for ink in inks])
        pixel_values = np.zeros((len(inks), 1, height, width), np.float32)
        hint_values = np.zeros((len(inks), 4, height, width), np.float32)
        for row, hint_row, ink, mark in zip(pixel_values, hint_values, inks, marks, strict=True):
            row[0, : ink.shape[0], : ink.shape[1]] = ink
            if mark is not None:
                hint_row[:, : ink.shape[0], : ink.shape[1]] = hint_tensor(mark, ink.shape)
        return {"pixel_values": pixel_values, "hint_values": hint_values}

    def working_shape(self, line_art: np.ndarray, working_size: int | None = None) -> tuple[int, int]:
        """Height and width at which the network sees a drawing, before padding.

        About working_size ** 2 pixels, more of a strip, whose shorter side is kept from getting too short.
        """
        working_size = self.working_size if working_size is None else _check_working_size(working_size)
        height, width = line_art.shape
        scale = working_size / math.sqrt(height * width)
        scale = min(max(scale, self.min_side_ratio * working_size / min(height, width)), scale * math.sqrt(_MAX_STRIP))
        return _to_grid(height * scale), _to_grid(width * scale)

    @torch.inference_mode()
    def post_process_colorization(
        self,
        outputs: Any,
        images: Drawing | Sequence[Drawing],
        *,
        hints: Any = None,
        palette: Any = None,
        regions: Sequence[np.ndarray] | None = None,
        style: Literal["flat", "soft"] | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
        sharing: float | None = None,
        working_size: int | None = None,
        do_clean: bool | None = None,
    ) -> list[ColorizationResult]:
        """What the model made of the drawings -> finished pictures at the drawings' sizes.

        `images`, `hints`, `working_size` and `do_clean` are those that went in. The colours come from `outputs.logits`
        and the colours and weights of their classes where there are logits, from `outputs.colors` otherwise. Hints are
        obeyed exactly; with a `palette` (`read_palette` says in which forms) all that is painted takes one of its
        colours, and what the model leaves white stays white. `regions` are the drawings' where they are known.
        """
        style = _check_style(self.style if style is None else style)
        painter = self._painter(outputs, temperature, guidance, sharing, palette)
        results = []
        for page in self._pages(outputs, self._line_arts(images, do_clean), images, hints, regions, working_size):
            line_art = page.line_art
            colors, distributions = painter.paint(page, style)
            del page  # its labels are the largest array of a large drawing
            parts = (Image.fromarray(part) for part in (composite(colors, line_art), colors, line_art))
            results.append(ColorizationResult(*parts, distributions))
        return results

    @torch.inference_mode()
    def region_distributions(
        self,
        outputs: Any,
        images: Drawing | Sequence[Drawing],
        *,
        hints: Any = None,
        palette: Any = None,
        regions: Sequence[np.ndarray] | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
        sharing: float | None = None,
        working_size: int | None = None,
        do_clean: bool | None = None,
    ) -> list[RegionDistributions | None]:
        """What `post_process_colorization` says with its results of each region, without painting them."""
        painter = self._painter(outputs, temperature, guidance, sharing, palette)
        pages = self._pages(outputs, self._line_arts(images, do_clean), images, hints, regions, working_size)
        return [painter.know(page) for page in pages]

    def _pages(
        self,
        outputs: Any,
        line_arts: list[np.ndarray],
        images: Drawing | Sequence[Drawing],
        hints: Any,
        regions: Sequence[np.ndarray] | None,
        working_size: int | None,
    ) -> Iterator[Page]:
        values = outputs.colors if getattr(outputs, "logits", None) is None else outputs.logits
        marks = _read_all_hints(hints, images, line_arts)
        grids, predicted = (self._crop(each, line_arts, working_size) for each in (values, outputs.colors))
        for number, line_art in enumerate(line_arts):
            yield Page(
                line_art,
                segment_regions(line_art) if regions is None else regions[number],
                grids[number],
                predicted[number],
                marks[number],
            )

    def _painter(
        self, outputs: Any, temperature: float | None, guidance: float | None, sharing: float | None, palette: Any
    ) -> Painter:
        has_classes = getattr(outputs, "logits", None) is not None
        return Painter(
            to_rgb=self._to_rgb,
            bin_colors=outputs.bin_colors.float().cpu() if has_classes else None,
            bin_weights=outputs.bin_weights.float().cpu() if has_classes else None,
            temperature=_check_temperature(_first(temperature, self.temperature)),
            hinted_temperature=_first(temperature, self.hinted_temperature, self.temperature),
            paper_threshold=self.paper_threshold,
            guidance=_check_guidance(_first(guidance, self.guidance)),
            hinted_guidance=_first(guidance, self.hinted_guidance, self.guidance),
            palette=None if palette is None else read_palette(palette),
            sharing=_check_sharing(_first(sharing, self.sharing)),
            calibration_temperature=self.calibration_temperature,
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


def own_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a `DrawingProcessor` among the keys of a saved one; ValueError for keys that nobody knows."""
    own = {key: value for key, value in settings.items() if key not in PROCESSOR_KEYS_OF_TRANSFORMERS}
    unknown = sorted(set(own) - set(signature(DrawingProcessor).parameters))
    if unknown:
        raise ValueError(f"unknown key {', '.join(unknown)} for the image processor (preprocessor_config.json)")
    return own


def _first(*values: float | None) -> float:
    """The first of these that is set."""
    return next(value for value in values if value is not None)


def _read_all_hints(
    hints: Any, images: Drawing | Sequence[Drawing], line_arts: list[np.ndarray]
) -> list[MarkedPixels | None]:
    """The hints of each drawing as marked pixels, None for none."""
    if hints is None:
        return [None] * len(line_arts)
    if isinstance(images, (Image.Image, np.ndarray)) or isinstance(hints, MarkedPixels):
        hints = [hints]
    if not isinstance(hints, (list, tuple)) or len(hints) != len(line_arts):
        raise ValueError(f"hints for several drawings must be a list with those of each: {len(line_arts)} entries")
    marks = [None if one is None else read_hints(one, art) for one, art in zip(hints, line_arts, strict=True)]
    return [None if one is None or len(one.index) == 0 else one for one in marks]


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
    return _check_number("temperature", temperature, 0, 100)


def _check_guidance(guidance: float) -> float:
    return _check_number("guidance", guidance, 0, 20)


def _check_sharing(sharing: float) -> float:
    return _check_number("sharing", sharing, 0, 1)


def _check_calibration(temperature: float) -> float:
    return _check_number("calibration_temperature", temperature, 0.05, 20)


def _check_number(name: str, value: float, low: float, high: float) -> float:
    if not isinstance(value, numbers.Real) or not low <= value <= high:
        raise ValueError(f"{name} must be {low}..{high}, got {value!r}")
    return value


def _check_paper_threshold(paper_threshold: float | None) -> float | None:
    if paper_threshold is not None and not 0 <= paper_threshold <= 1:
        raise ValueError(f"paper_threshold must be 0..1, or None, got {paper_threshold}")
    return paper_threshold


def _check_working_size(working_size: int) -> int:
    return _check_number("working_size", working_size, 32, _MAX_WORKING_SIZE)
