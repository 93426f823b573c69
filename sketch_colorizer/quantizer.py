"""Colour as classes: equal bins over RGB, Lab or LCH, soft labels, class rebalancing, and decoding back to colours."""

import math

import torch
from torch import Tensor, nn

from .color import lab_to_lch, lab_to_rgb, rgb_to_lab

COLOR_SPACES = ("rgb", "lab", "lch")
HISTOGRAM_LEVELS = 32  # cells per sRGB channel in a corpus histogram
WHITE_LAB = (100.0, 0.0, 0.0)
PAPER_DISTANCE = 5.0  # Lab distance to white up to which a bin's mean colour is paper
MAX_CHROMA = 133.81  # pure blue; the largest chroma of any sRGB colour under D65
_GREY_CHROMA = 2.0  # below this hue is noise: all such colours share hue sector 0
_BOUNDS = {
    "rgb": ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
    "lab": ((0.0, 100.0), (-86.2, 98.3), (-107.9, 94.5)),
    "lch": ((0.0, 100.0), (0.0, MAX_CHROMA), (0.0, 2 * math.pi)),
}


def annealed_mean(log_probs: Tensor, bin_colors: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """Mean colour of a sharpened distribution (Zhang et al. 2016, eq. 5): (.., Q, ..) -> (.., 3, ..) Lab along `dim`.

    `temperature` 1 is the expectation, 0 is the mode. The mean is taken in the a-b plane, where hue is a circle.
    Logits serve as well as log-probabilities. Raises ValueError for a negative temperature.
    """
    if temperature < 0:
        raise ValueError(f"temperature must be >= 0, got {temperature}")
    last = log_probs.movedim(dim, -1)
    bin_colors = bin_colors.to(last)
    if temperature == 0:
        return bin_colors[last.argmax(-1)].movedim(-1, dim)
    return (torch.softmax(last / temperature, dim=-1) @ bin_colors).movedim(-1, dim)


def is_paper(bin_colors: Tensor) -> Tensor:
    """Which of the bins (Q, 3) Lab are white paper: (Q,) bool."""
    return (bin_colors - bin_colors.new_tensor(WHITE_LAB)).norm(dim=-1) < PAPER_DISTANCE


def keep_paper(before: Tensor, after: Tensor, bin_colors: Tensor) -> Tensor:
    """Log-probabilities (.., Q) `after` a change of weights, with paper as likely as `before` it."""
    paper = is_paper(bin_colors)
    painted = [part.masked_fill(paper, -torch.inf).logsumexp(-1, keepdim=True) for part in (before, after)]
    return torch.where(paper, before, after + (painted[0] - painted[1]))


def decode_classes(
    log_probs: Tensor,
    bin_colors: Tensor,
    bin_weights: Tensor,
    *,
    temperature: float,
    paper_threshold: float | None,
    guidance: float = 1.0,
    areas: Tensor | None = None,
    dim: int = 1,
) -> Tensor:
    """The colours of one picture's class distributions: (.., Q, ..) -> (.., 3, ..) Lab along `dim`.

    Where the bins of white paper hold more than `paper_threshold` of the mass, the colour is exactly white. Elsewhere
    it is the annealed mean over all other bins, each probability multiplied by its `bin_weights`, (Q,) or (.., Q): a
    model that was trained without class rebalancing is rebalanced here. With None for the threshold white is a bin
    like any other.

    A `guidance` above 1 moves each log-probability on, away from the mean over the picture's painted distributions, as
    classifier-free guidance moves on from its unconditional prediction (Ho and Salimans 2022): what sets a region apart
    from the rest of its picture decides its colour. `areas` are the pixels that each distribution stands for.
    """
    last = log_probs.movedim(dim, -1).log_softmax(-1)
    bin_colors = bin_colors.to(last)
    white, paper = bin_colors.new_tensor(WHITE_LAB), is_paper(bin_colors)
    paper_mass = last[..., paper].exp().sum(-1, keepdim=True)
    weighted = guide(last, guidance, areas, 1 - paper_mass) + bin_weights.to(last).log()
    if paper_threshold is None:
        return annealed_mean(weighted, bin_colors, temperature, dim=-1).movedim(-1, dim)
    colors = annealed_mean(weighted.masked_fill(paper, -torch.inf), bin_colors, temperature, dim=-1)
    return torch.where(paper_mass > paper_threshold, white, colors).movedim(-1, dim)


def guide(log_probs: Tensor, guidance: float, areas: Tensor | None, paint_mass: Tensor) -> Tensor:
    """(.., Q) moved away from its mean over the picture (`decode_classes`); a large area counts by its root.

    `paint_mass` (.., 1) is the mass that is not paper's.
    """
    weights = paint_mass if areas is None else paint_mass * areas.to(log_probs).sqrt()[..., None]
    pictures = tuple(range(log_probs.ndim - 1))
    mean = (log_probs * weights).sum(pictures) / weights.sum(pictures).clamp(min=1e-6)
    return log_probs + (guidance - 1) * (log_probs - mean)


def color_histogram(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Joint sRGB histogram of uint8 pixels (N, 3): counts (32768,) int64 and summed sRGB 0..255 (32768, 3) float64.

    Histograms of parts add up to the histogram of the whole, so a corpus needs one streaming pass.
    """
    if rgb.dtype != torch.uint8 or rgb.ndim != 2 or rgb.shape[1] != 3:
        raise ValueError(f"pixels must be uint8 and shaped (N, 3), got {rgb.dtype} {tuple(rgb.shape)}")
    level = (rgb.long() * HISTOGRAM_LEVELS) >> 8
    cell = (level[:, 0] * HISTOGRAM_LEVELS + level[:, 1]) * HISTOGRAM_LEVELS + level[:, 2]
    counts = torch.bincount(cell, minlength=HISTOGRAM_LEVELS**3)
    sums = torch.zeros(HISTOGRAM_LEVELS**3, 3, dtype=torch.float64).index_add_(0, cell, rgb.double())
    return counts, sums


class ColorQuantizer(nn.Module):
    """`bins_per_channel` cubed colour classes with the statistics of a corpus, all kept as persistent buffers.

    Until `fit` has seen a corpus, every sRGB colour counts as equally likely. Bins that no colour reaches take part in
    nothing: no soft label, no prior, no rebalancing term.
    """

    bin_colors: Tensor  # (Q, 3) Lab, the mean colour that the corpus has in each bin
    prior: Tensor  # (Q,) share of pixels, smoothed over colour space; 0 for unreached bins
    class_weights: Tensor  # (Q,) rebalancing weights, E[w] = 1 under the prior
    reachable: Tensor  # (Q,) bool

    def __init__(
        self,
        space: str = "lch",
        bins_per_channel: int = 8,
        *,
        num_neighbors: int = 10,
        sigma: float = 5.0,
        rebalancing: float = 0.5,
    ) -> None:
        super().__init__()
        if space not in COLOR_SPACES:
            raise ValueError(f"color space must be one of {COLOR_SPACES}, got {space!r}")
        self.space, self.bins_per_channel = space, bins_per_channel
        self.num_neighbors, self.sigma, self.rebalancing = num_neighbors, sigma, rebalancing
        num_bins = bins_per_channel**3
        with torch.device("cpu"):  # real values even while a checkpoint is being loaded onto the meta device
            self.register_buffer("bin_colors", torch.zeros(num_bins, 3))
            self.register_buffer("prior", torch.zeros(num_bins))
            self.register_buffer("class_weights", torch.zeros(num_bins))
            self.register_buffer("reachable", torch.zeros(num_bins, dtype=torch.bool))
            self.fit(*_uniform_histogram())

    @property
    def num_bins(self) -> int:
        return self.bins_per_channel**3

    def bin_index(self, lab: Tensor) -> Tensor:
        """The bin that each colour falls into: (N, 3) Lab -> (N,) int64."""
        if self.space == "rgb":
            coordinates = lab_to_rgb(lab, dim=-1)
        elif self.space == "lch":
            coordinates = lab_to_lch(lab, dim=-1)
            grey = coordinates[..., 1:2] < _GREY_CHROMA
            coordinates = torch.cat((coordinates[..., :2], coordinates[..., 2:].masked_fill(grey, 0.0)), dim=-1)
        else:
            coordinates = lab
        low, high = lab.new_tensor(_BOUNDS[self.space]).unbind(-1)
        level = ((coordinates - low) / (high - low) * self.bins_per_channel).floor().long()
        level = level.clamp(0, self.bins_per_channel - 1)
        return (level[..., 0] * self.bins_per_channel + level[..., 1]) * self.bins_per_channel + level[..., 2]

    @torch.no_grad()
    def fit(self, counts: Tensor, sums: Tensor) -> None:
        """Take prior, bin colours and rebalancing weights from a corpus, given as `color_histogram` gives it."""
        if int(counts.sum()) == 0:
            raise ValueError("the colour histogram is empty: the corpus has no pixels")
        seen = counts > 0
        counts, cell_rgb = counts[seen].double(), sums[seen].double() / counts[seen, None] / 255
        cell_lab = rgb_to_lab(cell_rgb, dim=-1)
        index = self.bin_index(cell_lab)
        zeros = torch.zeros(self.num_bins, dtype=torch.float64)
        mass = zeros.index_add(0, index, counts)
        total = torch.zeros(self.num_bins, 3, dtype=torch.float64).index_add(0, index, cell_lab * counts[:, None])
        reachable = mass > 0
        colors = torch.where(reachable[:, None], total / mass.clamp(min=1)[:, None], torch.zeros_like(total))
        prior = self._smooth(mass / mass.sum(), colors, reachable)
        self.reachable.copy_(reachable)
        self.bin_colors.copy_(colors)
        self.prior.copy_(prior)
        self.weigh_classes()

    @torch.no_grad()
    def weigh_classes(self) -> None:
        """Take the rebalancing weights from the prior; again where `rebalancing` has changed since they were stored."""
        self.class_weights.copy_(self.rebalance(self.rebalancing))

    def _smooth(self, prior: Tensor, colors: Tensor, reachable: Tensor) -> Tensor:
        """Spread each bin's share over its neighbours by a Gaussian in Lab; the shares still sum to 1."""
        kernel = torch.exp(-(torch.cdist(colors, colors) ** 2) / (2 * self.sigma**2)) * reachable
        return prior @ (kernel / kernel.sum(1, keepdim=True).clamp(min=1e-12))

    def rebalance(self, rebalancing: float) -> Tensor:
        """w ~ 1 / ((1 - lambda) p + lambda / Q) over reachable bins, scaled to E[w] = 1 (Zhang et al. 2016, eq. 4)."""
        prior = self.prior.double()
        mixed = (1 - rebalancing) * prior + rebalancing / self.reachable.sum()
        weights = torch.where(self.reachable, 1 / mixed.clamp(min=1e-12), torch.zeros_like(prior))
        return (weights / (prior * weights).sum()).to(self.prior.dtype)

    def encode(self, lab: Tensor) -> tuple[Tensor, Tensor]:
        """Soft labels (Zhang et al. 2016, sec. 2.2): (B, 3, H, W) Lab -> indices and weights of the k nearest bins.

        Both are (B, k, H, W), nearest first; weights are Gaussian in the Lab distance and sum to 1.
        """
        pixels = lab.movedim(1, -1).reshape(-1, 3)
        unreached = torch.where(self.reachable, 0.0, 1e9)
        neighbors = min(self.num_neighbors, self.num_bins)
        found = [  # piece by piece: the distances of all pixels to all bins at once would fill the memory
            (torch.cdist(part, self.bin_colors.to(part)) + unreached.to(part)).topk(neighbors, largest=False)
            for part in pixels.split(16384)
        ]
        distance, index = torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
        square = distance**2
        weights = torch.softmax(-square / (2 * self.sigma**2), dim=-1)
        shape = (lab.shape[0], *lab.shape[2:], neighbors)
        return index.view(shape).movedim(-1, 1), weights.view(shape).movedim(-1, 1)

    def decode(self, logits: Tensor, temperature: float = 0.38) -> Tensor:
        """Annealed mean of the bin colours, (B, Q, H, W) -> (B, 3, H, W) Lab (Zhang et al. 2016, eq. 5)."""
        return annealed_mean(logits, self.bin_colors, temperature)

    def color_cost(self, grey_price: float = 0.5) -> Tensor:
        """The poster's non-0-1 loss matrix, (Q, Q): what it costs to predict bin q where the truth is bin q'.

        The Lab distance of the two bin colours, plus `grey_price` times the chroma that the prediction lacks, over 100.
        """
        chroma = self.bin_colors[:, 1:].norm(dim=-1)
        missing = (chroma[None, :] - chroma[:, None]).clamp(min=0)
        return (torch.cdist(self.bin_colors, self.bin_colors) + grey_price * missing) / 100


def _uniform_histogram() -> tuple[Tensor, Tensor]:
    """The histogram in which every sRGB cell holds one pixel of its own centre."""
    level = (torch.arange(HISTOGRAM_LEVELS) + 0.5) * 256 / HISTOGRAM_LEVELS - 0.5
    centres = torch.cartesian_prod(level, level, level).double()
    return torch.ones(len(centres), dtype=torch.int64), centres
