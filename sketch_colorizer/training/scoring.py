"""Scores one coloured picture against the true one, and names the statistics of a split that are made of such scores.

A row of scores is a flat dict "view.column" -> number or array. The views say what is judged, and where:

    picture_painted     the finished picture, where the truth is painted (L < 97 or C > 5): the figures to quote
    picture_whole       the finished picture, everywhere, white paper included
    colors_painted      the colour layer without lines, where the truth is painted and the drawing has no line
    drawing             what happens to lines and regions
    likelihood_painted  the predicted distribution, on the cells of the network's output where the truth is painted
    likelihood_whole    the same, on all cells
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from ..color import ciede2000, rgb_to_lab
from .intervals import Statistic, mean_of, ratio_of
from .metrics import (
    AUC_DISTANCES,
    CALIBRATION_BINS,
    NUM_CELLS,
    accuracy_curve,
    calibration_error,
    calibration_sums,
    chroma,
    closed_regions,
    color_cells,
    colorfulness,
    histogram_distance,
    hue_error,
    leaked_pixels,
    likelihood_terms,
    line_error,
    painted_area,
    paired_regions,
    psnr,
    rare_cells,
    unevenness,
)

HEADLINE_VIEW = "picture_painted"
COLOR_VIEWS = (HEADLINE_VIEW, "picture_whole", "colors_painted")
LIKELIHOOD_VIEWS = ("likelihood_painted", "likelihood_whole")
INK = 64  # drawing pixels darker than this are line
PAPER = 200  # drawing pixels at least this light carry no line
_SMALLEST_MS_SSIM = 176  # five scales need 11 pixels each after halving four times
_LUMA = (0.299, 0.587, 0.114)


def pixels(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (H*W, 3) sRGB in 0..1."""
    return torch.tensor(picture).reshape(-1, 3).float() / 255


@dataclass(frozen=True)
class Truth:
    """A true picture (H, W, 3) uint8, and what every system is judged against on it, computed once."""

    picture: np.ndarray

    @cached_property
    def rgb(self) -> Tensor:  # (H*W, 3)
        return pixels(self.picture)

    @cached_property
    def lab(self) -> Tensor:  # (H*W, 3)
        return rgb_to_lab(self.rgb, dim=-1)

    @cached_property
    def painted(self) -> Tensor:  # (H*W,) bool
        return painted_area(self.lab, dim=-1)

    @cached_property
    def chroma(self) -> Tensor:  # (H*W,)
        return chroma(self.lab)

    @cached_property
    def cells(self) -> Tensor:  # (H*W,)
        return color_cells(self.lab)


@dataclass(frozen=True)
class Layer:
    """A predicted picture (H, W, 3) uint8 pixel by pixel beside the true one, before any area is chosen."""

    picture: np.ndarray
    truth: Truth

    @cached_property
    def rgb(self) -> Tensor:  # (H*W, 3)
        return pixels(self.picture)

    @cached_property
    def lab(self) -> Tensor:  # (H*W, 3)
        return rgb_to_lab(self.rgb, dim=-1)

    @cached_property
    def cells(self) -> Tensor:  # (H*W,)
        return color_cells(self.lab)

    @cached_property
    def difference(self) -> Tensor:  # (H*W,) CIEDE2000
        return ciede2000(self.lab, self.truth.lab, dim=-1)

    @cached_property
    def distance(self) -> Tensor:  # (H*W,) Lab
        return (self.lab - self.truth.lab).square().sum(1).sqrt()

    @cached_property
    def weighted_hue_error(self) -> Tensor:  # (H*W,) degrees times true chroma
        return hue_error(self.lab, self.truth.lab) * self.truth.chroma


def score_picture(
    truth: Truth, line_art: np.ndarray, image: np.ndarray, colors: np.ndarray, *, weights: dict[str, Tensor]
) -> dict[str, float | np.ndarray]:
    """All scores of one result: `image` and `colors`, both (H, W, 3) uint8, for a drawing (H, W) uint8.

    `weights` maps each colour view to the class-balancing weight of every colour cell.
    """
    picture_layer, color_layer = Layer(image, truth), Layer(colors, truth)
    paper = torch.from_numpy(line_art.ravel() >= PAPER)
    judged = {
        "picture_painted": (picture_layer, truth.painted),
        "picture_whole": (picture_layer, torch.ones_like(truth.painted)),
        "colors_painted": (color_layer, truth.painted & paper),
    }
    row = {}
    for view, (layer, area) in judged.items():
        scores = score_colors(layer, area, weights[view]) if area.any() else ABSENT
        row |= {f"{view}.{name}": score for name, score in scores.items()}
    row |= _structure_scores(image, truth)
    return row | _drawing_scores(line_art, picture_layer, color_layer)


def score_colors(layer: Layer, area: Tensor, weights: Tensor) -> dict[str, float | np.ndarray]:
    """Scores of the pixels `area` (H*W,) bool of one layer."""
    truth, area = layer.truth, area.nonzero()[:, 0]
    distance, weight = layer.distance[area], weights[truth.cells[area]]
    rgb, true_rgb = layer.rgb[area], truth.rgb[area]
    difference = layer.difference[area].numpy()
    median, p95 = np.quantile(difference, (0.5, 0.95))
    curve = accuracy_curve(distance) / len(distance)
    histogram = torch.bincount(layer.cells[area], minlength=NUM_CELLS).int().numpy()
    rare = rare_cells(weights)[truth.cells[area]]
    true_histogram = torch.bincount(truth.cells[area], minlength=NUM_CELLS).int().numpy()
    return {
        "ciede2000": float(difference.mean()),
        "ciede2000_median": float(median),
        "ciede2000_p95": float(p95),
        "auc": float(curve.mean()),
        "curve": curve.float().numpy(),
        "balanced_hits": float(accuracy_curve(distance, weight).mean()),
        "balanced_weight": float(weight.sum()),
        "rare_hits": float(accuracy_curve(distance[rare]).mean()),
        "rare_pixels": int(rare.sum()),
        "chroma": float(chroma(layer.lab[area]).mean()),
        "chroma_true": float(truth.chroma[area].mean()),
        "colorfulness": colorfulness(rgb),
        "colorfulness_true": colorfulness(true_rgb),
        "hue_error": float(layer.weighted_hue_error[area].mean()),
        "histogram": histogram,
        "histogram_true": true_histogram,
        "histogram_distance": float(histogram_distance(histogram, true_histogram)),
        "psnr": psnr(rgb, true_rgb),
    }


# What a picture without the area has: nothing that counts.
ABSENT: dict[str, float | np.ndarray] = {
    **dict.fromkeys(
        ["ciede2000", "ciede2000_median", "ciede2000_p95", "auc", "balanced_hits", "balanced_weight", "chroma"],
        math.nan,
    ),
    **dict.fromkeys(["rare_hits", "rare_pixels"], math.nan),
    **dict.fromkeys(["chroma_true", "colorfulness", "colorfulness_true", "hue_error", "histogram_distance"], math.nan),
    "psnr": math.nan,
    "curve": np.full(AUC_DISTANCES, np.nan, dtype=np.float32),
    "histogram": np.zeros(NUM_CELLS, dtype=np.int32),
    "histogram_true": np.zeros(NUM_CELLS, dtype=np.int32),
}


def _structure_scores(image: np.ndarray, truth: Truth) -> dict[str, float]:
    """SSIM (Wang et al. 2004) over RGB, and MS-SSIM of lightness where the picture is large enough."""
    height, width = image.shape[:2]
    scores = {"picture_painted.ssim": math.nan, "picture_whole.ssim": math.nan, "picture_whole.ms_ssim": math.nan}
    if min(height, width) >= 11:
        as_published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        similarity = structural_similarity(image, truth.picture, channel_axis=2, full=True, **as_published)[1].mean(2)
        scores["picture_whole.ssim"] = float(similarity.mean())
        if truth.painted.any():
            scores["picture_painted.ssim"] = float(similarity.ravel()[truth.painted.numpy()].mean())
    if min(height, width) >= _SMALLEST_MS_SSIM:
        luma = [(rgb @ torch.tensor(_LUMA)).view(1, 1, height, width) for rgb in (pixels(image), truth.rgb)]
        scores["picture_whole.ms_ssim"] = float(multiscale_structural_similarity_index_measure(*luma, data_range=1.0))
    return scores


def _drawing_scores(line_art: np.ndarray, picture_layer: Layer, color_layer: Layer) -> dict[str, float]:
    """Are lines kept, black left black, regions even, colours inside their lines, and alike where they should be?"""
    grey = torch.tensor(line_art).view(-1, 1).expand(-1, 3).float() / 255
    black, ink = line_art == 0, torch.from_numpy(line_art.ravel() < INK)
    regions, colors = closed_regions(line_art), color_layer.lab.view(*line_art.shape, 3).numpy()
    leaked, exposed = leaked_pixels(colors, regions)
    together, confused = paired_regions(colors, color_layer.truth.lab.view(*line_art.shape, 3).numpy(), regions)
    return {
        "drawing.line_error": line_error(picture_layer.lab[ink, 0], rgb_to_lab(grey[ink], dim=-1)[:, 0]),
        "drawing.black_pixels": int(black.sum()),
        "drawing.black_lost": int(picture_layer.picture[black].any(1).sum()),
        "drawing.unevenness": unevenness(colors, regions),
        "drawing.leaked_pixels": leaked,
        "drawing.exposed_pixels": exposed,
        "drawing.pairs_together": together,
        "drawing.pairs_confused": confused,
    }


def score_likelihood(log_probs: Tensor, true_bins: Tensor, painted: Tensor) -> dict[str, float | np.ndarray]:
    """Scores of the predicted distribution: log_probs (N, Q) and true bins (N,) of the cells; `painted` ones apart."""
    terms, row = likelihood_terms(log_probs, true_bins), {}
    for view, area in zip(LIKELIHOOD_VIEWS, (painted, torch.ones_like(painted)), strict=True):
        row[f"{view}.cells"] = int(area.sum())
        row |= {f"{view}.{name}": float(terms[name][area].double().sum()) for name in ("nll", "top1", "top5")}
        row[f"{view}.calibration"] = calibration_sums(terms["confidence"][area], terms["top1"][area]).numpy().ravel()
    return row


def _color_statistics(view: str) -> dict[str, Statistic]:
    """The statistics of one colour view, in the order in which they are reported."""
    statistics = {
        "ciede2000": mean_of(f"{view}.ciede2000", better="lower", label="CIEDE2000"),
        "ciede2000_median": mean_of(f"{view}.ciede2000_median", better="lower", label="CIEDE2000 median"),
        "ciede2000_p95": mean_of(f"{view}.ciede2000_p95", better="lower", label="CIEDE2000 p95"),
        "auc": mean_of(f"{view}.auc", better="higher", label="AuC"),
        "auc_balanced": ratio_of(
            f"{view}.balanced_hits", f"{view}.balanced_weight", better="higher", label="AuC class-balanced"
        ),
        "auc_rare": ratio_of(f"{view}.rare_hits", f"{view}.rare_pixels", better="higher", label="AuC rare colours"),
        "chroma_ratio": ratio_of(f"{view}.chroma", f"{view}.chroma_true", better="one", label="chroma ratio"),
        "colorfulness_ratio": ratio_of(
            f"{view}.colorfulness", f"{view}.colorfulness_true", better="one", label="colourfulness ratio"
        ),
        "hue_error": ratio_of(f"{view}.hue_error", f"{view}.chroma_true", better="lower", label="hue error (deg)"),
        "histogram_distance": Statistic(
            (f"{view}.histogram", f"{view}.histogram_true"),
            lambda predicted, true, pictures: histogram_distance(predicted, true),
            "lower",
            "histogram distance",
        ),
        "histogram_distance_picture": mean_of(
            f"{view}.histogram_distance", better="lower", label="histogram distance per picture"
        ),
        "psnr": mean_of(f"{view}.psnr", better="higher", label="PSNR (dB)"),
    }
    if view != "colors_painted":
        statistics["ssim"] = mean_of(f"{view}.ssim", better="higher", label="SSIM")
    if view == "picture_whole":
        statistics["ms_ssim"] = mean_of(f"{view}.ms_ssim", better="higher", label="MS-SSIM")
        statistics["lpips"] = mean_of(f"{view}.lpips", better="lower", label="LPIPS")
    return statistics


def _likelihood_statistics(view: str) -> dict[str, Statistic]:
    """The statistics of the predicted distribution."""
    return {
        "nll": ratio_of(f"{view}.nll", f"{view}.cells", better="lower", label="NLL (nats)"),
        "top1": ratio_of(f"{view}.top1", f"{view}.cells", better="higher", label="top-1"),
        "top5": ratio_of(f"{view}.top5", f"{view}.cells", better="higher", label="top-5"),
        "ece": Statistic(
            (f"{view}.calibration",),
            lambda sums, pictures: calibration_error(sums.reshape(-1, 3, CALIBRATION_BINS)),
            "lower",
            "calibration error",
        ),
    }


STATISTICS: dict[str, dict[str, Statistic]] = {
    **{view: _color_statistics(view) for view in COLOR_VIEWS},
    "drawing": {
        "line_error": mean_of("drawing.line_error", better="lower", label="line |dL|"),
        "black_lost": ratio_of("drawing.black_lost", "drawing.black_pixels", better="lower", label="black lost"),
        "unevenness": mean_of("drawing.unevenness", better="lower", label="unevenness in regions"),
        "leak_rate": ratio_of("drawing.leaked_pixels", "drawing.exposed_pixels", better="lower", label="leak rate"),
        "pairs_together": mean_of("drawing.pairs_together", better="higher", label="one colour kept one"),
        "pairs_confused": mean_of("drawing.pairs_confused", better="lower", label="different colours made one"),
    },
    **{view: _likelihood_statistics(view) for view in LIKELIHOOD_VIEWS},
}
