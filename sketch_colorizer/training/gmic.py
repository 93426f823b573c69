"""G'MIC's line-art colouring as a rival: the same drawing and the same hints, through the program `gmic`."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from .examples import Example
from .simulated_users import Hint, marked_pixels

# Extrapolate the colour spots; contours at 95 %; no guides or delimiters; the rest as the filter has it by default.
FILTER = ("fx_colorize_lineart_smart", "1,95,0,0,1,24,200,0,75,2,60,20,90,1,10,1,0")
FLATS = "out_000002.png"  # of three pictures: spots, lines, flat colours


def find_gmic() -> str:
    """The path of the program; FileNotFoundError, with what to install, where there is none."""
    program = shutil.which("gmic")
    if program is None:
        raise FileNotFoundError(
            "the program `gmic` is not installed; install it (Debian and Ubuntu: apt install gmic; "
            "macOS: brew install gmic) and run this again"
        )
    return program


def gmic_version(program: str) -> str:
    """What the program says its version is, such as "2.9.4"."""
    said = subprocess.run([program, "version"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found.group() if found else "unknown"


def colorize_with_gmic(program: str, example: Example, hints: list[Hint]) -> np.ndarray:
    """The flat colours (H, W, 3) uint8 that G'MIC extrapolates from the hints; white without any hint.

    Raises RuntimeError with what the program said where it fails or writes no flats.
    """
    line_art = example.line_art
    if not hints:
        return np.full((*line_art.shape, 3), 255, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        Image.fromarray(spots(line_art, hints)).save(place / "spots.png")
        example.drawing.save(place / "line.png")
        command = [program, "spots.png", "line.png", *FILTER, "output", "out.png"]
        said = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600, check=False)
        if said.returncode != 0 or not (place / FLATS).is_file():
            raise RuntimeError(f"gmic failed ({said.returncode}): {' '.join(said.stderr.split())[-300:]}")
        with Image.open(place / FLATS) as flats:
            flats = flats.convert("RGBA")
    white = Image.new("RGBA", flats.size, "white")
    return np.asarray(Image.alpha_composite(white, flats).convert("RGB"))


def spots(line_art: np.ndarray, hints: list[Hint]) -> np.ndarray:
    """The hints as a transparent layer of opaque spots, (H, W, 4) uint8."""
    layer = np.zeros((line_art.size, 4), np.uint8)
    index, colors = marked_pixels(line_art, hints)
    layer[index, :3], layer[index, 3] = colors, 255
    return layer.reshape(*line_art.shape, 4)
