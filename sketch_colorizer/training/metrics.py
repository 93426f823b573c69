"""How far coloured pictures are from the true ones: pure functions of pixels, none of which needs a pretrained network.

Pixels are given as (N, 3) tensors, Lab (L 0..100) or sRGB (0..1), already restricted to the area that is judged.
Everything that is summed over a split is additive (counts, sums, histograms): a bootstrap over pictures resums it.
"""

import math

import cv2
import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

AUC_DISTANCES = 151  # thresholds t = 0, 1 .. 150 of the accuracy curve (Zhang et al. 2016, section 4)
CELL_SHAPE = (10, 10, 11)  # one fixed division of Lab: L by 10, a and b by 20, neutral in the middle of a cell
NUM_CELLS = math.prod(CELL_SHAPE)
RARE_SHARE = (
    1e-4  # a cell rarer than this is noise of compression and anti-aliasing: it counts as if it were this frequent
)
PSNR_CAP = 100.0  # dB given to equal pictures, whose PSNR is infinite
GREY_CHROMA = 1.0  # below this a colour has no hue
CHANCE_HUE_ERROR = 90.0  # degrees: what a random hue is off on average
CALIBRATION_BINS = 15
RARE_COLORS = 0.1  # the rarest colours are those that together make up this share of all pixels
_REACH = 6  # pixels across a line within which two regions are neighbours
_CLEARLY_DIFFERENT = 10.0  # Lab distance from which a leak between two regions can be seen
_EVEN, _ONE_COLOR, _ONE_SHADE = 10.0, 5.0, 2.0  # Lab: spread within a region; between regions in the truth, as painted
_MOST_REGIONS = 256  # the largest, whose pairs are looked at


def painted_area(lab: Tensor, dim: int = -3) -> Tensor:
    """Where a true picture in Lab is painted, i.e. not paper: L < 97 or C > 5; bool, without the colour axis `dim`."""
    lightness, a, b = lab.unbind(dim)
    return (lightness < 97) | (a.square() + b.square() > 25)


def color_cells(lab: Tensor) -> Tensor:
    """The cell of the fixed Lab grid that each colour lies in: (..., 3) -> (...) in 0..NUM_CELLS-1.

    The grid belongs to no model, so that its figures compare across models with different quantizers.
    """
    origin, size = lab.new_tensor((0.0, -90.0, -110.0)), lab.new_tensor((10.0, 20.0, 20.0))
    last = torch.tensor(CELL_SHAPE, device=lab.device) - 1
    position = ((lab - origin) / size).floor().long().clamp(min=0).minimum(last)
    return (position[..., 0] * CELL_SHAPE[1] + position[..., 1]) * CELL_SHAPE[2] + position[..., 2]


def color_histogram(lab: Tensor) -> Tensor:
    """How many of (N, 3) Lab colours each cell of the fixed grid holds, (NUM_CELLS,)."""
    return torch.bincount(color_cells(lab), minlength=NUM_CELLS)


def histogram_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Half the L1 distance of the normalised histograms (..., cells): 0 = same palette, 1 = no colour in common."""
    first = first / np.maximum(first.sum(-1, keepdims=True), 1e-12)
    second = second / np.maximum(second.sum(-1, keepdims=True), 1e-12)
    return np.abs(first - second).sum(-1) / 2


def balancing_weights(counts: Tensor) -> Tensor:
    """Weight 1/p of each class from its pixel count, with E_p[w] = 1 (Zhang et al. 2016, eq. 4 with lambda = 0)."""
    prior = counts.double() / counts.sum().clamp(min=1)
    weights = torch.where(counts > 0, 1 / prior.clamp(min=RARE_SHARE), 0.0)
    return weights / (weights * prior).sum().clamp(min=1e-12)


def rare_cells(weights: Tensor, share: float = RARE_COLORS) -> Tensor:
    """The rarest cells that together hold `share` of all pixels, from their balancing weights: bool, one for each."""
    prior = torch.where(weights > 0, 1 / weights.clamp(min=1e-12), 0.0)
    order = prior.argsort()
    held = prior[order].cumsum(0) / prior.sum().clamp(min=1e-12)
    return torch.zeros_like(weights, dtype=torch.bool).index_fill(0, order[held <= share], True) & (weights > 0)


def accuracy_curve(distance: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weight of the pixels within a Lab distance t, for t = 0..150; its mean over t, by the sum of weights, is AuC."""
    first_hit = distance.ceil().clamp(max=AUC_DISTANCES).long()
    reached = torch.bincount(first_hit, weights=weights, minlength=AUC_DISTANCES + 1)
    return reached[:AUC_DISTANCES].double().cumsum(0)


def hue_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Degrees between the hues of (N, 3) Lab colours, 0..180, to be weighted by the true chroma.

    A grey answer has no hue and counts as chance, 90 degrees.
    """
    (a, b), (true_a, true_b) = predicted[:, 1:].unbind(1), true[:, 1:].unbind(1)
    turn = torch.atan2(a * true_b - b * true_a, a * true_a + b * true_b)
    return torch.where(chroma(predicted) < GREY_CHROMA, CHANCE_HUE_ERROR, torch.rad2deg(turn.abs()))


def chroma(lab: Tensor) -> Tensor:
    """Chroma of (N, 3) Lab colours, (N,)."""
    return lab[:, 1:].square().sum(1).sqrt()


def colorfulness(rgb: Tensor) -> float:
    """Colourfulness of (N, 3) sRGB colours, scale 0..255 (Hasler and Suesstrunk 2003), opponents with their sign."""
    red, green, blue = (rgb * 255).unbind(1)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = (rg.var(correction=0) + yb.var(correction=0)).sqrt()
    return float(spread + 0.3 * (rg.mean() ** 2 + yb.mean() ** 2).sqrt())


def psnr(predicted: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of (N, 3) sRGB colours, at most PSNR_CAP."""
    error = float((predicted - true).square().mean())
    return min(PSNR_CAP, -10 * math.log10(max(error, 1e-300)))


def line_error(output_lightness: Tensor, drawing_lightness: Tensor) -> float:
    """Largest |L_out - L_in| of the line pixels (N,); nan without any."""
    return float((output_lightness - drawing_lightness).abs().max()) if len(output_lightness) else math.nan


def closed_regions(line_art: np.ndarray, *, smallest: int = 24) -> np.ndarray:
    """Paper areas that lines enclose, strictly by 4-connectivity and bridging no gap: (H, W) uint8 -> int32, 0 = none.

    Kept apart from the region finder that paints, so that painting is not judged by its own idea of a region.
    """
    count, labels = cv2.connectedComponents((line_art >= 128).astype(np.uint8), connectivity=4)
    sizes = np.bincount(labels.ravel(), minlength=count)
    return np.where(sizes[labels] >= smallest, labels, 0)


def unevenness(lab: np.ndarray, regions: np.ndarray) -> float:
    """Root mean square Lab distance of the colours (H, W, 3) from the mean of their region, over all regions."""
    inside = regions > 0
    if not inside.any():
        return math.nan
    difference = lab[inside] - _region_means(lab, regions, inside)[regions[inside]]
    return float(np.sqrt((difference**2).sum(1).mean()))


def leaked_pixels(lab: np.ndarray, regions: np.ndarray) -> tuple[int, int]:
    """Pixels of (H, W, 3) Lab beside a line that wear the colour across it, and pixels of which that could be told.

    It can be told where, in one of eight directions and a few pixels off, there is another region ahead and the same
    region behind, of clearly different colours; a pixel nearer to the colour ahead has leaked. Only what is close is
    looked at: a region may well be painted in two colours.
    """
    could, does = np.zeros(regions.shape, dtype=bool), np.zeros(regions.shape, dtype=bool)
    padded = np.pad(regions, _REACH)
    for down, right in _ring_offsets():
        ahead, behind = _shifted(padded, down, right), _shifted(padded, -down, -right)
        rows, columns = np.nonzero((regions > 0) & (behind == regions) & (ahead > 0) & (ahead != regions))
        here, there = lab[rows, columns], lab[rows + down, columns + right]
        inside = lab[rows - down, columns - right]
        differs = ((there - inside) ** 2).sum(1) >= _CLEARLY_DIFFERENT**2
        nearer = ((here - there) ** 2).sum(1) < ((here - inside) ** 2).sum(1)
        could[rows, columns] |= differs
        does[rows, columns] |= differs & nearer
    return int(does.sum()), int(could.sum())


def paired_regions(lab: np.ndarray, true_lab: np.ndarray, regions: np.ndarray) -> tuple[float, float]:
    """Of the pairs of regions with one true colour, the share painted in one; and of those with clearly different ones.

    Lab (H, W, 3) as painted and as it is. Regions that are evenly painted in the truth count, paper does not; nan where
    there is no such pair.
    """
    inside = regions > 0
    sizes = np.bincount(regions[inside], minlength=regions.max() + 1)
    means = _region_means(true_lab, regions, inside)
    spread = _region_means((true_lab - means[regions]) ** 2, regions, inside).sum(1) ** 0.5
    painted = painted_area(torch.from_numpy(means), dim=-1).numpy()
    chosen = np.flatnonzero((sizes > 0) & (spread < _EVEN) & painted)
    chosen = chosen[np.argsort(-sizes[chosen], kind="stable")[:_MOST_REGIONS]]
    true, found = (
        pdist(colors[chosen]) if len(chosen) > 1 else np.zeros(0)
        for colors in (means, _region_means(lab, regions, inside))
    )
    shared = [found[pairs] <= _ONE_SHADE for pairs in (true <= _ONE_COLOR, true >= _CLEARLY_DIFFERENT)]
    return tuple(float(part.mean()) if part.size else math.nan for part in shared)


def _shifted(padded: np.ndarray, down: int, right: int) -> np.ndarray:
    """What lies so many pixels further down and right, without the padding of _REACH on all sides."""
    height, width = padded.shape
    return padded[_REACH + down : height - _REACH + down, _REACH + right : width - _REACH + right]


def _ring_offsets() -> list[tuple[int, int]]:
    """Where to look for the region across a line: eight directions, at 3 and 6 pixels."""
    directions = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return [(y * reach, x * reach) for reach in (_REACH // 2, _REACH) for y, x in directions]


def _region_means(lab: np.ndarray, regions: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean Lab colour of each region over the pixels `where`, (regions, 3)."""
    labels, count = regions[where], regions.max() + 1
    sums = np.stack([np.bincount(labels, weights=lab[..., c][where], minlength=count) for c in range(3)], axis=1)
    return sums / np.maximum(np.bincount(labels, minlength=count), 1)[:, None]


def likelihood_terms(log_probs: Tensor, true_bins: Tensor) -> dict[str, Tensor]:
    """What each cell adds: -log p(true bin), top-1 and top-5 hit, and the confidence; (N, Q), (N,) -> (N,) each."""
    best = log_probs.topk(min(5, log_probs.shape[1]), dim=1)
    hits = best.indices == true_bins[:, None]
    nll = -log_probs.gather(1, true_bins[:, None])[:, 0]
    return {"nll": nll, "top1": hits[:, 0], "top5": hits.any(1), "confidence": best.values[:, 0].exp()}


def calibration_sums(confidence: Tensor, hits: Tensor) -> Tensor:
    """Count, sum of confidence and hits in each of 15 equal bins of confidence (Guo et al. 2017, eq. 3): (3, 15)."""
    bins = (confidence * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
    rows = (torch.ones_like(confidence), confidence, hits.to(confidence))
    return torch.stack([torch.bincount(bins, weights=row.double(), minlength=CALIBRATION_BINS) for row in rows])


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error from `calibration_sums` (..., 3, 15): mean over cells of |confidence - accuracy|."""
    count, confidence, hits = np.moveaxis(sums, -2, 0)
    return np.abs(confidence - hits).sum(-1) / np.maximum(count.sum(-1), 1e-12)
