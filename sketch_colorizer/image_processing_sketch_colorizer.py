"""The image processor as transformers saves, loads and registers it."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypedDict, Unpack

from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from .drawing_processor import PROCESSOR_KEYS_OF_TRANSFORMERS, Drawing, DrawingProcessor, own_settings


class SketchColorizerImageProcessorKwargs(TypedDict, total=False):
    """What `from_pretrained(..., key=value)` may override."""

    working_size: int
    min_side_ratio: float
    size_divisor: int
    max_ink_gain: float
    do_clean: bool
    style: Literal["flat", "soft"]
    temperature: float
    paper_threshold: float | None
    guidance: float
    hinted_temperature: float | None
    hinted_guidance: float | None
    sharing: float
    calibration_temperature: float
    white_lightness: float
    white_chroma: float


class SketchColorizerImageProcessor(BaseImageProcessor, DrawingProcessor):
    """The way in and the way out: `DrawingProcessor`, which says what the settings are."""

    valid_kwargs = SketchColorizerImageProcessorKwargs
    model_input_names: ClassVar[list[str]] = ["pixel_values", "hint_values"]
    paper_threshold: float | None = 0.5  # the parent saves a None only for what has another default in the class

    def __init__(self, **settings: Unpack[SketchColorizerImageProcessorKwargs]) -> None:
        written = PROCESSOR_KEYS_OF_TRANSFORMERS - {"image_processor_type"}
        BaseImageProcessor.__init__(self, **{key: settings[key] for key in written & set(settings)})
        DrawingProcessor.__init__(self, **own_settings(settings))

    def preprocess(
        self,
        images: Drawing | Sequence[Drawing],
        *,
        hints: Any = None,
        working_size: int | None = None,
        do_clean: bool | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """What a call of a `DrawingProcessor` does, in transformers' form."""
        arrays = self.to_arrays(images, hints=hints, working_size=working_size, do_clean=do_clean)
        return BatchFeature(arrays, tensor_type=return_tensors)
