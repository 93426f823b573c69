"""A finished picture, its parts, and what can be asked about it."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .uncertainty import ColorGuess, HintSuggestion, RegionDistributions


@dataclass
class ColorizationResult:
    """A finished picture and its parts, PIL images at the drawing's exact size.

    What is asked about it is computed when it is first asked for. A model that predicts colours without probabilities
    (regression, flow) cannot answer: ValueError.
    """

    image: Image.Image  # RGB, the lines over the colours
    colors: Image.Image  # RGB, the colours without lines
    line_art: Image.Image  # L, 255 = paper
    distributions: RegionDistributions | None = field(default=None, repr=False, compare=False)

    @property
    def uncertainty(self) -> np.ndarray:
        """(H, W) float32: 0 = certain, or settled by a hint, 1 = every colour alike."""
        return self._known().uncertainty

    def suggest_hints(self, n: int = 3) -> list[HintSuggestion]:
        """The n places where one hint would settle most, best first, each in another region (fewer if it has)."""
        return self._known().suggest_hints(n)

    def suggest_colors(self, x: int, y: int, n: int = 5) -> list[ColorGuess]:
        """The n likeliest colours at a pixel with their probabilities, the likeliest first; shades count as one."""
        return self._known().suggest_colors(x, y, n)

    def _known(self) -> RegionDistributions:
        if self.distributions is None:
            raise ValueError("these colours come from a model without probabilities, so it cannot say how sure it is")
        return self.distributions
