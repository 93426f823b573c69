"""Different colourings from one distribution: colours drawn for the most uncertain regions, to be fed back as hints."""

import numpy as np
import torch
from torch import Generator, Tensor

from .color import rgb_to_lab
from .colorization_result import ColorizationResult
from .network_passes import NetworkPasses
from .uncertainty import RegionDistributions
from .user_hints import MarkedPixels, read_hints

MAX_PROPOSALS = 100
HINTS_PER_ROUND = (1, 2, 4)  # each round is one pass of the network for each proposal
TEMPERATURE = 0.7  # below 1 the odd colours of a distribution are drawn less often than it says
CANDIDATES = 8  # colours to draw from
_SAME_COLOR = 15.0  # Lab distance within which a colour is no other proposal
_DOT = 0.6  # of the way from a region's middle to its border


def check_num_proposals(num_proposals: int | None) -> None:
    is_number = isinstance(num_proposals, (int, np.integer)) and not isinstance(num_proposals, bool)
    if num_proposals is not None and not (is_number and 1 <= num_proposals <= MAX_PROPOSALS):
        raise ValueError(f"num_proposals must be a whole number of 1..{MAX_PROPOSALS}, got {num_proposals!r}")


def draw_proposals(passes: NetworkPasses, num_proposals: int, seed: int) -> list[ColorizationResult]:
    """The plain answer, and others that the model's own distributions give.

    For each of these a colour is drawn for the region that is most worth a hint and fed back as a hint, so that the
    network can suit the rest to it; then again for the regions that are most worth it now (HINTS_PER_ROUND).
    """
    generator = Generator().manual_seed(seed)
    [plain] = passes.predict([passes.marks])
    count = num_proposals - 1
    if count == 0:
        return [passes.finish(plain, passes.marks)]
    known = passes.know(plain, passes.marks)
    if known is None:
        raise ValueError("a regression model has no distributions to draw proposals from; use the engine 'flow'")
    marks = [_join(passes.marks, new) for new in first_hints(known, passes.labels, count, generator)]
    for num_hints in HINTS_PER_ROUND[1:]:
        for number, outputs in enumerate(passes.predict(marks)):
            known = passes.know(outputs, marks[number])
            marks[number] = marks[number].joined(more_hints(known, passes.labels, num_hints, generator))
    pairs = zip([plain, *passes.predict(marks)], [passes.marks, *marks], strict=True)
    return [passes.finish(outputs, hints) for outputs, hints in pairs]


def first_hints(plain: RegionDistributions, labels: np.ndarray, count: int, generator: Generator) -> list[MarkedPixels]:
    """For each of `count` proposals another colour for the region that is most worth a hint, none the plain one.

    Drawn without replacement (the Gumbel top-k trick, Kool 2019), and over again when there are no more.
    """
    regions = plain.best_regions(1)
    if len(regions) == 0:
        return [_no_hints(plain)] * count
    colors, log_probs = plain.options(regions[0], CANDIDATES, leaning=True)
    present = _lab(plain.region_colors[regions[0]])
    differs = (_lab(colors) - present).norm(dim=-1) > _SAME_COLOR
    if differs.any():
        colors, log_probs = colors[differs.numpy()], log_probs[differs]
    drawn: list[int] = []
    while len(drawn) < count:
        drawn += (log_probs / TEMPERATURE + _gumbel(log_probs, generator)).argsort(descending=True).tolist()
    return [_hints(plain, labels, regions, colors[[one]]) for one in drawn[:count]]


def more_hints(
    distributions: RegionDistributions, labels: np.ndarray, num_hints: int, generator: Generator
) -> MarkedPixels:
    """Colours drawn for the `num_hints` regions that are now most worth a hint."""
    regions = distributions.best_regions(num_hints)
    drawn = [np.zeros((0, 3), np.uint8)]
    for region in regions:
        colors, log_probs = distributions.options(region, CANDIDATES, leaning=True)
        drawn.append(colors[[int((log_probs / TEMPERATURE + _gumbel(log_probs, generator)).argmax())]])
    return _hints(distributions, labels, regions, np.concatenate(drawn))


def _hints(
    distributions: RegionDistributions, labels: np.ndarray, regions: np.ndarray, colors: np.ndarray
) -> MarkedPixels:
    """A dot in the middle of each region and of its twins, as large as its place allows; earlier regions come first."""
    color_of: dict[int, np.ndarray] = {}
    for region, color in zip(regions, colors, strict=True):
        color_of = dict.fromkeys(distributions.twins(region).tolist(), color) | {int(region): color} | color_of
    dots = []
    for region, color in color_of.items():
        x, y, reach = distributions.inner_point(region)
        dots.append((x, y, tuple(color), max(1.0, _DOT * reach)))
    marks = read_hints(dots, distributions.line_art, labels)
    return marks._replace(drawn=np.ones(len(marks.index), bool))


def _join(earlier: MarkedPixels | None, later: MarkedPixels) -> MarkedPixels:
    return later if earlier is None else earlier.joined(later)


def _no_hints(distributions: RegionDistributions) -> MarkedPixels:
    return read_hints([], distributions.line_art)


def _gumbel(like: Tensor, generator: Generator) -> Tensor:
    uniform = torch.rand(like.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    return -(-uniform.log()).log()


def _lab(rgb: np.ndarray) -> Tensor:
    return rgb_to_lab(torch.from_numpy(rgb).float() / 255, dim=-1)
