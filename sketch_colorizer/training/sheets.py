"""Side-by-side sheets: a row for each picture with the drawing, the truth, and what each model made of the drawing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .examples import Example
from .systems import Painting

ROWS_PER_SHEET = 8
_CELL, _GAP, _HEADER = 192, 8, 26
_BASELINES = ("white", "mean")


def draw_sheets(paintings: Sequence[tuple[Example, dict[str, Painting]]], directory: Path) -> list[str]:
    """Write sheet_GROUP_N.png for the kept paintings of each group; returns the file names."""
    names = []
    for group in ("real", "extracted"):
        rows = [entry for entry in paintings if entry[0].group == group]
        for start in range(0, len(rows), ROWS_PER_SHEET):
            names.append(f"sheet_{group}_{start // ROWS_PER_SHEET + 1}.png")
            sheet(rows[start : start + ROWS_PER_SHEET]).save(directory / names[-1])
    return names


def sheet(paintings: Sequence[tuple[Example, dict[str, Painting]]]) -> Image.Image:
    """One sheet: drawing, truth, then every model (not the baselines), a row for each picture."""
    models = [name for name in paintings[0][1] if name not in _BASELINES]
    columns = ["drawing", "truth", *models]
    size = (len(columns) * (_CELL + _GAP) + _GAP, len(paintings) * (_CELL + _GAP) + _HEADER + _GAP)
    canvas = Image.new("RGB", size, "#e8e8e8")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=14)
    for column, name in enumerate(columns):
        draw.text((_GAP + column * (_CELL + _GAP), 5), name, fill="#222222", font=font)
    for row, (example, painted) in enumerate(paintings):
        shown = [example.line_art, example.truth.picture, *(painted[name].image for name in models)]
        for column, pixels in enumerate(shown):
            corner = (_GAP + column * (_CELL + _GAP), _HEADER + _GAP + row * (_CELL + _GAP))
            canvas.paste(_fit(pixels), corner)
    return canvas


def _fit(pixels: np.ndarray) -> Image.Image:
    """A picture in the middle of a white square cell."""
    picture = Image.fromarray(pixels).convert("RGB")
    scale = _CELL / max(picture.size)
    picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (_CELL, _CELL), "white")
    cell.paste(picture, ((_CELL - picture.width) // 2, (_CELL - picture.height) // 2))
    return cell
