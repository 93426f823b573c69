"""The output's coarse grid: a picture's true colours on it, and what the cells of a region have in common."""

from torch import Tensor
from torch.nn import functional as F


def pool_labels(labels: Tensor, ink: Tensor, stride: int, ink_threshold: float) -> tuple[Tensor, Tensor]:
    """Reduce true colours to the output's grid without mixing lines or neighbours into them.

    A cell's label is that colour among its paper pixels which is nearest to their mean: a colour that the picture
    really has. (B, 3, H, W) Lab and (B, 1, H, W) ink -> (B, 3, h, w) Lab and (B, h, w), the share of pixels that count.
    NaN labels are ignored.
    """
    cells = F.pixel_unshuffle(labels, stride).unflatten(1, (3, stride**2))  # (B, 3, s*s, h, w)
    paper = (ink < ink_threshold) & labels.isfinite().all(1, keepdim=True)
    counts = F.pixel_unshuffle(paper.to(labels.dtype), stride)  # (B, s*s, h, w)
    cells = cells.nan_to_num()
    mean = (cells * counts[:, None]).sum(2) / counts.sum(1, keepdim=True).clamp(min=1)
    distance = (cells - mean[:, :, None]).square().sum(1) + (1 - counts) * 1e6
    nearest = distance.argmin(1)[:, None, None].expand(-1, 3, 1, -1, -1)
    return cells.gather(2, nearest)[:, :, 0], counts.mean(1)


def even_out(features: Tensor, regions: Tensor, weights: Tensor) -> Tensor:
    """Every cell of (B, C, h, w) takes the mean of its region, in which cells count by their `weights` (B, h, w).

    `regions` (B, H, W) are numbered anew in each picture; a cell lies in the region of its middle pixel. A projection
    of the result is the region's mean of the projection, which is how the style "flat" pools scores.
    """
    stride = regions.shape[-1] // features.shape[-1]
    cells = regions[:, stride // 2 :: stride, stride // 2 :: stride]
    regions_each = cells.amax((1, 2)) + 1
    first = regions_each.cumsum(0) - regions_each  # in the batch's own numbering
    index = (cells + first[:, None, None]).flatten()
    pixels = features.movedim(1, -1).flatten(0, 2)  # (B*h*w, C)
    counts = weights.clamp(min=1e-3).flatten()[:, None].to(pixels)
    sums = pixels.new_zeros(int(index.max()) + 1, pixels.shape[1]).index_add(0, index, pixels * counts)
    mean = sums / counts.new_zeros(len(sums), 1).index_add(0, index, counts).clamp(min=1e-3)
    return mean[index].unflatten(0, cells.shape).movedim(-1, 1)
