"""Regions that the network cannot tell apart share a colour: the parts of one body, stripes, the panes of a window."""

import numpy as np
import torch
from torch import Tensor

from .quantizer import is_paper
from .regions import touching_regions

REMOTE = 3.0  # times as unlike as they are count two regions of which none touches the other's group


def group_alike(
    scores: Tensor, labels: np.ndarray, bin_colors: Tensor, tolerance: float, paper_threshold: float | None
) -> np.ndarray:
    """The groups of regions that are alike: scores (N, Q) and labels (H, W) -> (N,) int64, 0..G-1.

    From the largest region to the smallest, each joins the group whose first region has the distribution over paint
    that is most like its own, or begins one. Unlikeness is 1 less the Bhattacharyya coefficient, from 0 to 1, and
    `tolerance` is the most that a group allows; with 0 all stay alone. Paper always does: a region of which it has more
    than `paper_threshold` of the probability. With None for that, white is a colour like any other.
    """
    count, paper = len(scores), is_paper(bin_colors)
    if tolerance <= 0 or count < 2:
        return np.arange(count)
    log_probs, is_painted = scores.log_softmax(-1), np.full(count, True)
    if paper_threshold is not None:
        is_painted = (log_probs[:, paper].exp().sum(-1) <= paper_threshold).numpy()
        log_probs = log_probs.masked_fill(paper, -torch.inf).log_softmax(-1)
    roots = (log_probs / 2).exp().numpy()
    touching = touching_regions(labels, count)
    firsts, size = np.empty_like(roots), 0
    group = np.full(count, -1)
    order = np.argsort(-np.bincount(labels.ravel(), minlength=count), kind="stable")
    for region in order[is_painted[order]]:
        near = group[touching[region]]
        unlikeness = REMOTE * (1 - firsts[:size] @ roots[region])
        unlikeness[near[near >= 0]] /= REMOTE
        if size and unlikeness.min() <= tolerance:
            group[region] = unlikeness.argmin()
        else:
            group[region], firsts[size] = size, roots[region]
            size += 1
    group[~is_painted] = size + np.arange((~is_painted).sum())
    return group


def share(values: Tensor, groups: np.ndarray, areas: Tensor) -> Tensor:
    """Each region's values (N, ..) replaced by the mean of its group; a large area (N,) counts by its root."""
    weights, groups = areas.to(values).sqrt(), torch.from_numpy(groups)
    count = int(groups.max()) + 1
    sums = values.new_zeros(count, *values.shape[1:]).index_add_(0, groups, values * weights[:, None])
    return (sums / values.new_zeros(count).index_add_(0, groups, weights)[:, None])[groups]
