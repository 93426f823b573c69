"""The pictures of a split as evaluation sees them: truth, drawing, and the group that the pair belongs to."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset as Table
from PIL import Image
from torch import Tensor

from ..color import rgb_to_lab
from ..line_art import EXTRACTORS
from .data import decode
from .metrics import NUM_CELLS, balancing_weights, painted_area
from .scoring import Truth, pixels

EXTRACTOR = "xdog"  # one fixed extractor with its default settings, so that figures are reproducible
GROUPS = {
    "real": "real line art, where the corpus has it",
    "extracted": "extracted lines (XDoG), where it has none",
    "redrawn": "the pictures of real, with extracted lines instead",
    "all": "real and extracted together",
}
MEMBERS = {"real": ("real",), "extracted": ("extracted",), "redrawn": ("redrawn",), "all": ("real", "extracted")}


@dataclass(frozen=True)
class Example:
    """One drawing and its true colours; `group` is "real", "extracted" or "redrawn"."""

    path: str
    group: str
    truth: Truth
    drawing: Image.Image  # mode L

    @property
    def line_art(self) -> np.ndarray:
        return np.asarray(self.drawing)

    @property
    def key(self) -> str:
        return f"{self.group}:{self.path}"


def in_hash_order(table: Table, limit: int | None = None) -> Table:
    """The rows in the order of a hash of their paths, at most `limit`: a choice that nobody made by hand."""
    digests = [hashlib.sha256(path.encode()).digest() for path in table["path"]]
    return table.select(sorted(range(len(table)), key=digests.__getitem__)[:limit])


def fingerprint(table: Table) -> str:
    """A hash of the paths and picture bytes of a split: runs with the same one are comparable picture by picture."""
    digest = hashlib.sha256()
    for row in table:
        digest.update(row["path"].encode() + (row["image"]["bytes"] or b""))
    return digest.hexdigest()[:16]


def read_examples(row: dict, *, redrawn: bool = True) -> Iterator[Example]:
    """The drawings of one corpus row: its real line art and, for comparison, extracted lines; or these alone."""
    picture = np.asarray(decode(row["image"], "RGB"))
    truth = Truth(picture)
    if row["line_art"] is not None:
        line_art = decode(row["line_art"], "L")
        if line_art.size != picture.shape[1::-1]:
            line_art = line_art.resize(picture.shape[1::-1], Image.Resampling.LANCZOS)
        yield Example(row["path"], "real", truth, line_art)
        if redrawn:
            yield Example(row["path"], "redrawn", truth, extract_lines(picture))
    else:
        yield Example(row["path"], "extracted", truth, extract_lines(picture))


def extract_lines(picture: np.ndarray) -> Image.Image:
    """The line drawing of a picture (H, W, 3) uint8 by the one fixed extractor, mode L."""
    line_art = EXTRACTORS[EXTRACTOR](torch.tensor(picture).movedim(-1, 0)[None].float() / 255)[0, 0]
    return Image.fromarray((line_art * 255).round().to(torch.uint8).numpy())


def balance_cells(table: Table, *, limit: int = 1000) -> dict[str, Tensor]:
    """Class-balancing weights of the colour cells for each colour view, from the true pictures of a whole split.

    At most `limit` pictures, in hash order, are counted; evaluating fewer of them does not change the weights.
    """
    painted, whole = torch.zeros(NUM_CELLS), torch.zeros(NUM_CELLS)
    for row in in_hash_order(table, limit):
        truth = Truth(np.asarray(decode(row["image"], "RGB")))
        painted += torch.bincount(truth.cells[truth.painted], minlength=NUM_CELLS)
        whole += torch.bincount(truth.cells, minlength=NUM_CELLS)
    weights = {"painted": balancing_weights(painted), "whole": balancing_weights(whole)}
    return {
        "picture_painted": weights["painted"],
        "picture_whole": weights["whole"],
        "colors_painted": weights["painted"],
    }


def mean_color(table: Table, *, limit: int = 500) -> Tensor:
    """The mean Lab colour (3,) of the painted area over (at most `limit` pictures, in hash order, of) a split."""
    total, count = torch.zeros(3, dtype=torch.float64), 0
    for row in in_hash_order(table, limit):
        lab = rgb_to_lab(pixels(np.asarray(decode(row["image"], "RGB").reduce(2))), dim=-1)
        lab = lab[painted_area(lab, dim=-1)]
        total, count = total + lab.double().sum(0), count + len(lab)
    if count == 0:
        raise ValueError("the corpus has no painted area (L < 97 or C > 5) to take a mean colour from")
    return total / count
