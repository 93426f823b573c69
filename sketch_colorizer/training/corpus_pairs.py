"""Real pairs: which line drawing belongs to which coloured picture, and whether its lines lie where the colours end."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from .corpus_screening import reduce

MAX_OFFSET = 1.5  # pixels of a copy of at most 256 pixels a side
MIN_CORRELATION = 0.22
_REACH = 12  # offsets searched, in the same pixels
_STROKE = 15  # widest stroke that counts as a line in the coloured picture
_MAX_ASPECT_ERROR = 0.02


class Registration(NamedTuple):
    """How well a line drawing lies on a coloured picture."""

    correlation: float  # of ink and edges at offset 0, -1..1
    offset: float  # where they agree best, in pixels of the reduced copy

    @property
    def fits(self) -> bool:
        return self.correlation >= MIN_CORRELATION and self.offset <= MAX_OFFSET


def register(rgb: np.ndarray, line_art: np.ndarray) -> Registration:
    """Slide the ink of a drawing (h, w) over the edges and dark strokes of a picture (H, W, 3), both uint8."""
    small = reduce(rgb)
    height, width = small.shape[:2]
    if abs(np.log(line_art.shape[1] * height / (line_art.shape[0] * width))) > _MAX_ASPECT_ERROR:
        return Registration(0.0, float("inf"))
    ink = 255.0 - cv2.resize(line_art, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    edges, ink = (cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in (_edges(small), ink))
    edges, ink = edges - edges.mean(), ink - ink.mean()
    padded = cv2.copyMakeBorder(edges, *[_REACH] * 4, cv2.BORDER_CONSTANT, value=0)
    scale = float(np.linalg.norm(edges) * np.linalg.norm(ink)) + 1e-6
    agreement = cv2.matchTemplate(padded, ink, cv2.TM_CCORR) / scale
    best = np.array(np.unravel_index(agreement.argmax(), agreement.shape)) - _REACH
    return Registration(float(agreement[_REACH, _REACH]), float(np.hypot(*best)))


def _edges(rgb: np.ndarray) -> np.ndarray:
    """Where a line may be: steps in Lab, and strokes darker than what lies around them."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    slopes = [
        cv2.magnitude(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1))
        for plane in cv2.split(lab)
    ]
    lightness = np.ascontiguousarray(lab[..., 0])
    strokes = cv2.morphologyEx(lightness, cv2.MORPH_CLOSE, np.ones((_STROKE, _STROKE), np.uint8)) - lightness
    return np.minimum(sum(slopes), 100) / 8 + np.minimum(strokes, 50)


class NamePattern:
    """`color/*.png=lines/*.png`: the star stands for the same text on both sides."""

    def __init__(self, pattern: str) -> None:
        color, separator, line_art = pattern.partition("=")
        if not separator or color.count("*") != 1 or line_art.count("*") != 1 or color == line_art:
            raise ValueError(
                f"--pairs takes a metadata file, or two name patterns with one * each, such as "
                f"'color/*.png=lines/*.png' or '*.png=*_lines.png'; got {pattern!r}"
            )
        self.pattern = pattern
        before, after = line_art.split("*")
        self._color, self._line_art = color.split("*"), (before, after)
        self._is_line_art = re.compile(f"{re.escape(before)}.+{re.escape(after)}", re.DOTALL)

    def match(self, names: Iterable[str]) -> dict[str, str]:
        """Coloured picture -> its line drawing, of those that are both among the names.

        `*.png=*_lines.png` also reads x_lines.png as a picture whose lines are x_lines_lines.png: that is no pair.
        """
        present = set(names)
        before, after = self._color
        pairs = {}
        for name in present:
            if not (name.startswith(before) and name.endswith(after)) or len(name) <= len(before) + len(after):
                continue
            partner = name[len(before) : len(name) - len(after)].join(self._line_art)
            if partner in present and partner != name:
                pairs[name] = partner
        drawings = {partner for partner in pairs.values() if self._is_line_art.fullmatch(partner)}
        return {name: partner for name, partner in pairs.items() if name not in drawings}
