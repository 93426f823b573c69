"""Colours as people write them: names, hexadecimal numbers and sRGB triples, read and written."""

from typing import Any

import numpy as np
from PIL import ImageColor

Color = str | tuple[int, int, int]
ACCEPTED = "#rgb, #rrggbb, a CSS name such as 'teal', or three whole numbers (r, g, b) of 0..255"


def parse_color(color: Color) -> tuple[int, int, int]:
    """sRGB 0..255 of a colour in any accepted form; ValueError says what came and which forms there are."""
    rgb = _parse_text(color) if isinstance(color, str) else _parse_triple(color)
    if rgb is None:
        raise ValueError(f"{color!r} is not a colour; write {ACCEPTED}")
    return rgb


def format_color(rgb: Any) -> str:
    """Three numbers 0..255 -> '#rrggbb'."""
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in rgb))


def pack_colors(rgb: np.ndarray) -> np.ndarray:
    """One number for each colour: uint8 (.., 3) -> int32 (..), 0xRRGGBB."""
    return rgb @ np.array([1 << 16, 1 << 8, 1], np.int32)


def unpack_colors(packed: np.ndarray) -> np.ndarray:
    """The colours of `pack_colors`: int32 (..) -> uint8 (.., 3)."""
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1).astype(np.uint8)


def _parse_text(text: str) -> tuple[int, int, int] | None:
    try:
        rgb = ImageColor.getrgb(text.strip())
    except ValueError:
        return None
    return rgb if len(rgb) == 3 else None


def _parse_triple(color: Any) -> tuple[int, int, int] | None:
    try:
        channels = [channel for channel in color if isinstance(channel, (int, np.integer)) and 0 <= channel <= 255]
    except TypeError:
        return None
    return tuple(map(int, channels)) if len(channels) == len(color) == 3 else None
