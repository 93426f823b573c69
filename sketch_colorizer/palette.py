"""A palette: the few colours a picture may have, as a user lists them or as a reference picture shows them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .color import rgb_to_lab
from .color_notation import parse_color
from .picture_files import READABLE_SUFFIXES, open_picture
from .quantizer import PAPER_DISTANCE, WHITE_LAB, is_paper

MAX_COLORS = 256
MAX_DOMINANT = 12  # colours that are taken from a reference picture
KERNEL = 12.0  # Lab distance over which a class speaks for a colour of the palette
VARIETY = 0.6  # 0: how often a colour is used is the network's to say; 1: all are used alike
DECISION = 0.05  # temperature at which regions choose, in units of how much their scores differ
MIXTURE = 0.25  # temperature at which the cells of the soft style mix colours
MIN_SHARE = 0.005  # of the painted area, below which a colour is none of the palette's
INK, INK_SHARE = 48, 0.1  # colours darker than this sRGB value are ink, unless they are so much of the picture
_SAMPLE_SIDE = 256  # of the reduced reference picture
_SAME_COLOR = 9.0  # Lab distance below which dominant colours are one
_FORMS = "a list of colours, text such as '#aabbcc,#112233', or a reference picture (a path, PIL, or uint8 array)"


class Palette(NamedTuple):
    """Colours that differ, and how much of a picture each should have."""

    rgb: np.ndarray  # (P, 3) uint8
    shares: np.ndarray  # (P,) sum 1

    @property
    def lab(self) -> Tensor:  # (P, 3)
        return rgb_to_lab(torch.from_numpy(self.rgb).float() / 255, dim=-1)


def read_palette(palette: Any) -> Palette:
    """A palette in any accepted form. ValueError says what came where it is empty or holds what is no colour."""
    if isinstance(palette, Palette):
        return palette
    if _is_path(palette):
        palette = open_picture(palette)
    if isinstance(palette, Image.Image):
        return dominant_colors(palette)
    if isinstance(palette, np.ndarray) and palette.dtype == np.uint8 and palette.ndim == 3:
        return dominant_colors(Image.fromarray(palette))
    if isinstance(palette, str):
        palette = [part for part in palette.replace(";", ",").split(",") if part.strip()]
    elif not isinstance(palette, (Sequence, np.ndarray)):
        raise ValueError(f"a palette must be {_FORMS}; got {type(palette).__name__}")
    colors = list(dict.fromkeys(map(parse_color, palette)))
    if not 1 <= len(colors) <= MAX_COLORS:
        raise ValueError(f"a palette must have 1..{MAX_COLORS} colours, got {len(colors)}")
    return Palette(np.array(colors, np.uint8), np.full(len(colors), 1 / len(colors)))


def _is_path(palette: Any) -> bool:
    """Whether this means a file and not colours."""
    if isinstance(palette, str):
        return "#" not in palette and Path(palette).suffix.lower() in READABLE_SUFFIXES
    return isinstance(palette, os.PathLike)


def dominant_colors(picture: Image.Image) -> Palette:
    """The colours that a reference picture is painted in, with their shares: k-means in Lab over its even areas.

    White paper, and edges and lines, where colours mix, do not count. Each colour is one that the picture really has.
    """
    rgba = ImageOps.exif_transpose(picture).convert("RGBA")
    rgba.thumbnail((_SAMPLE_SIDE, _SAMPLE_SIDE), Image.Resampling.NEAREST)
    pixels = np.asarray(rgba)
    rgb, opaque = np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] >= 128
    lab = rgb_to_lab(torch.from_numpy(rgb).float() / 255, dim=-1).numpy()
    is_painted = opaque & (np.linalg.norm(lab - np.float32(WHITE_LAB), axis=-1) > 2 * PAPER_DISTANCE)
    if not is_painted.any():
        raise ValueError("the reference picture of the palette shows no colours: it is white or transparent everywhere")
    even = is_painted & (_unevenness(lab) < _SAME_COLOR)
    chosen = even if even.sum() >= 0.2 * is_painted.sum() else is_painted
    return _cluster(lab[chosen], rgb[chosen])


def _unevenness(lab: np.ndarray) -> np.ndarray:
    """The greatest difference of a pixel's neighbours in one channel, (H, W)."""
    square = np.ones((3, 3), np.uint8)
    return (cv2.dilate(lab, square) - cv2.erode(lab, square)).max(-1)


def _cluster(lab: np.ndarray, rgb: np.ndarray) -> Palette:
    centres = [lab.mean(0)]
    distance = np.linalg.norm(lab - centres[0], axis=-1)
    rare = np.quantile(distance, 0.998)  # the farthest of all is often an accident
    for _ in range(MAX_DOMINANT):
        farthest = np.where(distance <= rare, distance, 0).argmax()
        if distance[farthest] < _SAME_COLOR:
            break
        centres.append(lab[farthest])
        distance = np.minimum(distance, np.linalg.norm(lab - centres[-1], axis=-1))
    centres = np.stack(centres[1:] or centres)
    from scipy.cluster.vq import kmeans2  # slow to import, and only palettes from pictures need it

    member = kmeans2(lab, centres, minit="matrix")[1] if len(centres) > 1 else np.zeros(len(lab), int)
    counts = np.bincount(member, minlength=len(centres))
    order = np.argsort(-counts, kind="stable")
    colors = np.stack([_commonest(rgb[member == number]) for number in order])
    needed = np.where(colors.max(1) < INK, INK_SHARE, MIN_SHARE)
    is_kept = counts[order] >= needed * len(lab)
    is_kept[0] |= not is_kept.any()
    colors, kept = colors[is_kept], order[is_kept]
    return Palette(colors, counts[kept] / counts[kept].sum())


def _commonest(rgb: np.ndarray) -> np.ndarray:
    """The colour that most pixels have; where hardly any two agree, the median."""
    colors, counts = np.unique(rgb, axis=0, return_counts=True)
    if counts.max() >= max(2, 0.02 * len(rgb)):
        return colors[counts.argmax()]
    return np.median(rgb, axis=0).astype(np.uint8)


def palette_scores(log_probs: Tensor, bin_colors: Tensor, palette: Palette) -> Tensor:
    """How much of each distribution's painted mass lies near each colour, as a logarithm: (.., Q) -> (.., P).

    A Gaussian kernel in Lab shares a class's mass out; paper does not count, for it is never painted.
    """
    bin_colors = bin_colors.to(log_probs)
    painted = log_probs.masked_fill(is_paper(bin_colors), -torch.inf).softmax(-1)
    kernel = (-(torch.cdist(bin_colors, palette.lab.to(log_probs)) ** 2) / (2 * KERNEL**2)).exp()
    return (painted @ kernel + 1e-6).log()


def color_scores(lab: Tensor, palette: Palette) -> Tensor:
    """The same for colours without a distribution: (.., 3) Lab -> (.., P)."""
    return -(torch.cdist(lab, palette.lab.to(lab)) ** 2) / (2 * (2 * KERNEL) ** 2)


def balance(scores: Tensor, weights: Tensor, palette: Palette) -> Tensor:
    """A bonus (P,) for each colour under which the regions, (N, P) scores and (N,) weights, use the whole palette.

    Optimal transport, almost unregularised (Cuturi 2013), in which a colour should get the mean of what the network
    would give it and of its share of the palette. Without it every region would take the palette's likeliest colour:
    what sets a region apart from the others decides.
    """
    if len(scores) == 0:
        return torch.zeros(len(palette.rgb))
    weights = (weights / weights.sum().clamp(min=1e-9)).double()
    scores = scores.double()
    target = (1 - VARIETY) * (weights @ scores.softmax(-1)) + VARIETY * torch.from_numpy(palette.shares)
    contrast = scores - scores.mean(1, keepdim=True)
    contrast = (contrast - contrast.mean(0)).std(correction=0).clamp(min=1e-3)
    bonus = -(weights @ scores)
    for temperature in DECISION * contrast * torch.logspace(1.5, 0, 16, dtype=torch.float64):
        for _ in range(20):
            used = weights @ ((scores + bonus) / temperature).softmax(-1)
            bonus = bonus + temperature * (target.clamp(min=1e-6) / used.clamp(min=1e-6)).log()
    return bonus.float()
