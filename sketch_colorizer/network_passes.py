"""One drawing, prepared once, and any number of passes of a network over it, each with other hints."""

from collections.abc import Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from .colorization_result import ColorizationResult
from .drawing_processor import DrawingProcessor
from .networks import ColorNetwork
from .regions import segment_regions
from .uncertainty import RegionDistributions
from .user_hints import MarkedPixels, hint_tensor, read_hints

TOGETHER = 4  # passes in one batch


class NetworkPasses:
    """A drawing with its regions and its user's hints, and what the network makes of it.

    Args:
        image: a PIL image or a uint8 array.
        hints: in any form that `read_hints` takes, or None.
        settings: of `post_process_colorization`: palette, style, temperature, guidance, sharing, working_size.
    """

    def __init__(
        self,
        model: ColorNetwork,
        processor: DrawingProcessor,
        image: Image.Image | np.ndarray,
        hints: Any,
        settings: dict[str, Any],
    ) -> None:
        self.model, self.processor, self.settings = model, processor, settings
        self.line_art = processor.clean(image)  # a list of one
        self.marks = None if hints is None else read_hints(hints, np.asarray(self.line_art[0]), self.labels)
        self.working_shape = processor.working_shape(np.asarray(self.line_art[0]), settings["working_size"])
        inputs = processor(self.line_art, do_clean=False, working_size=settings["working_size"])
        self.pixel_values, self.no_hints = inputs["pixel_values"], inputs["hint_values"]

    @cached_property
    def labels(self) -> np.ndarray:
        """The regions, kept where several steps need them; a single plain pass lets go of them early."""
        return segment_regions(np.asarray(self.line_art[0]))

    def hint_values(self, marks: MarkedPixels | None) -> torch.Tensor:  # (1, 4, H, W)
        if marks is None:
            return self.no_hints
        values = self.no_hints.clone()
        height, width = self.working_shape
        values[0, :, :height, :width] = hint_tensor(marks, self.working_shape)
        return values

    def predict(self, marks: Sequence[MarkedPixels | None]) -> list[Any]:
        """The network's outputs, one for each set of hints."""
        outputs = []
        for first in range(0, len(marks), TOGETHER):
            hints = torch.cat([self.hint_values(one) for one in marks[first : first + TOGETHER]]).to(self.model.device)
            pixels = self.pixel_values.to(self.model.device).expand(len(hints), -1, -1, -1)
            with torch.inference_mode():
                batch = self.model(pixel_values=pixels, hint_values=hints)
            outputs += [_row(batch, number) for number in range(len(hints))]
        return outputs

    def finish(self, outputs: Any, marks: MarkedPixels | None) -> ColorizationResult:
        return self.processor.post_process_colorization(outputs, self.line_art, **self._settings(marks))[0]

    def know(self, outputs: Any, marks: MarkedPixels | None) -> RegionDistributions | None:
        labels, settings = self.labels, self._settings(marks)
        settings.pop("style")
        [known] = self.processor.region_distributions(outputs, self.line_art, **settings)
        if known is not None:
            known.labels = labels
        return known

    def _settings(self, marks: MarkedPixels | None) -> dict[str, Any]:
        regions = [self.labels] if "labels" in self.__dict__ else None
        return {**self.settings, "hints": marks, "regions": regions, "do_clean": False}


def _row(batch: Any, number: int) -> SimpleNamespace:
    """The outputs of one drawing of a batch."""
    logits = None if batch.logits is None else batch.logits[number : number + 1]
    colors = batch.colors[number : number + 1]
    return SimpleNamespace(colors=colors, logits=logits, bin_colors=batch.bin_colors, bin_weights=batch.bin_weights)
