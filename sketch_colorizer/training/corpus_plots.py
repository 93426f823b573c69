"""What a corpus looks like: a plot of its colours, and a contact sheet of its pictures."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .corpus_statistics import NUM_HUES, NUM_LIGHTNESSES, cell_colors, describe_colors

_AB = 110  # the plot reaches so far in a and b
_AB_STEP = 4


def plot_colors(counts: np.ndarray, sums: np.ndarray) -> bytes:
    """A PNG of a colour histogram: the a-b plane in its own colours, shares of the hues, shares of lightness."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    plane, hues, light = figure.subplots(1, 3, width_ratios=(1, 1.1, 1))
    plane.imshow(_ab_plane(counts, sums), extent=(-_AB, _AB, -_AB, _AB))
    plane.set(title="a and b (fainter: rarer)", xlabel="a", ylabel="b")
    shares = describe_colors(counts, sums)
    angle = (np.arange(NUM_HUES) + 0.5) * 360 / NUM_HUES
    hues.bar(angle, 100 * np.array(shares["hues"]), width=360 / NUM_HUES, color=_shades(angle), edgecolor="0.4")
    hues.set(title="hue of the coloured pixels", xlabel="hue in degrees", ylabel="%", xticks=range(0, 361, 60))
    level = (np.arange(NUM_LIGHTNESSES) + 0.5) * 100 / NUM_LIGHTNESSES
    light.bar(
        level, 100 * np.array(shares["lightness"]), width=100 / NUM_LIGHTNESSES, color=_greys(level), edgecolor="0.4"
    )
    light.set(title="lightness of all pixels", xlabel="L", ylabel="%")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def contact_sheet(pictures: Sequence[tuple[Image.Image, str]], *, columns: int = 8, side: int = 160) -> Image.Image:
    """Pictures in rows, each fitted into a square with its caption below."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + 22) + 8), (228, 228, 228))
    pen = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(pictures):
        x, y = 8 + index % columns * (side + 8), 8 + index // columns * (side + 22)
        small = picture.convert("RGB")
        small.thumbnail((side, side))
        sheet.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
        pen.text((x, y + side + 2), caption[: side // 6], fill=(40, 40, 40))
    return sheet


def _ab_plane(counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """RGBA picture of the a-b plane: each cell in the mean colour of its pixels, opaque where there are many."""
    lab, weights = cell_colors(counts, sums)
    side = 2 * _AB // _AB_STEP
    at = np.clip(((lab[:, 1:] + _AB) / _AB_STEP).astype(int), 0, side - 1)
    cell = (side - 1 - at[:, 1]) * side + at[:, 0]
    mass = np.bincount(cell, weights, side * side)
    mean = np.stack([np.bincount(cell, weights * lab[:, c], side * side) for c in range(3)], -1)
    rgb = _rgb(mean / np.maximum(mass, 1)[:, None])
    weight = np.log1p(mass) / max(float(np.log1p(mass.max())), 1e-9)
    return np.concatenate([rgb, weight[:, None]], -1).reshape(side, side, 4)


def _shades(hue: np.ndarray) -> np.ndarray:
    angle = np.radians(hue)
    return _rgb(np.stack([np.full(len(hue), 65.0), 55 * np.cos(angle), 55 * np.sin(angle)], -1))


def _greys(lightness: np.ndarray) -> np.ndarray:
    return _rgb(np.stack([lightness, np.zeros_like(lightness), np.zeros_like(lightness)], -1))


def _rgb(lab: np.ndarray) -> np.ndarray:
    return np.clip(cv2.cvtColor(lab[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0], 0, 1)
