"""Colour hints as tensors: how colours and a mask become `hint_values`, and how training simulates a user's hints."""

import cv2
import numpy as np
import torch
from torch import Generator, Tensor

HINT_CHANNELS = 4
_SAME_COLOR = 12.0  # Lab distance up to which a simulated stroke still lies on its own colour


def encode_hints(lab: Tensor, mask: Tensor) -> Tensor:
    """Lab colours (.., 3, H, W) and a mask (.., 1, H, W) in 0..1 -> `hint_values` (.., 4, H, W), zero without hint."""
    scale = lab.new_tensor([50.0, 110.0, 110.0]).view(3, 1, 1)
    offset = lab.new_tensor([50.0, 0.0, 0.0]).view(3, 1, 1)
    return torch.cat(((lab - offset) / scale * mask, mask), dim=-3)


def decode_hints(values: Tensor) -> Tensor:
    """The Lab colours (.., 3, H, W) of the first three channels of `hint_values` where the mask is 1."""
    scale = values.new_tensor([50.0, 110.0, 110.0]).view(3, 1, 1)
    return values * scale + values.new_tensor([50.0, 0.0, 0.0]).view(3, 1, 1)


def simulate_hints(labels: Tensor, generator: Generator, *, share_without: float = 0.5) -> Tensor:
    """Hints as a user might paint them on a finished picture: (3, H, W) Lab -> `hint_values` (4, H, W).

    `share_without` of the pictures get none. The others get a geometrically distributed number (Zhang et al. 2017) of
    dots, strokes and filled areas, each in the mean colour of what it covers. NaN labels (lines) are never painted on.
    """
    lab = labels.nan_to_num()
    colors, mask = torch.zeros_like(lab), torch.zeros_like(lab[:1])
    paintable = labels.isfinite().all(0)
    known = paintable.nonzero()
    if len(known) and torch.rand((), generator=generator) >= share_without:
        pixels = np.ascontiguousarray(lab.movedim(0, -1).numpy())
        for _ in range(_geometric(generator, 1 / 8)):
            y, x = known[_integer(generator, len(known))].tolist()
            rows, columns = (torch.from_numpy(_paint(pixels, x, y, generator)) & paintable).nonzero(as_tuple=True)
            near = (lab[:, rows, columns] - lab[:, y, x, None]).square().sum(0) < _SAME_COLOR**2
            rows, columns = rows[near], columns[near]
            colors[:, rows, columns] = lab[:, rows, columns].mean(1, keepdim=True)
            mask[:, rows, columns] = 1
    return encode_hints(colors, mask)


def _paint(pixels: np.ndarray, x: int, y: int, generator: Generator) -> np.ndarray:
    """The pixels that one dot, stroke or fill at (x, y) covers, (H, W) bool."""
    size = max(pixels.shape[:2])
    canvas = np.zeros(pixels.shape[:2], np.uint8)
    kind = _integer(generator, 5)
    thickness = 1 + _integer(generator, max(1, size // 24))
    if kind < 2:
        cv2.circle(canvas, (x, y), thickness // 2, 1, -1)
    elif kind < 4:
        reach = max(2, size // 6)
        dx, dy = (_integer(generator, 2 * reach) - reach for _ in range(2))
        cv2.line(canvas, (x, y), (x + dx, y + dy), 1, thickness)
    else:
        filled = np.zeros((canvas.shape[0] + 2, canvas.shape[1] + 2), np.uint8)
        near = (_SAME_COLOR / 2,) * 3
        cv2.floodFill(
            pixels.copy(),
            filled,
            (x, y),
            (0, 0, 0),
            near,
            near,
            4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE,
        )
        canvas = filled[1:-1, 1:-1]
    return canvas.astype(bool)


def _integer(generator: Generator, high: int) -> int:
    return int(torch.randint(high, (), generator=generator))


def _geometric(generator: Generator, p: float) -> int:
    """1, 2, 3, ... with a mean of 1 / p."""
    return 1 + int(torch.log(torch.rand((), generator=generator).clamp(min=1e-6)) / np.log(1 - p))
