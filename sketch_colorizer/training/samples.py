"""What a person looks at during training: grids of coloured samples, and the curve of the loss."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..color import lab_to_rgb


def sample_grid(batch: dict[str, Tensor], colors: Tensor) -> np.ndarray:  # (H, W, 3) uint8
    """Rows of drawing, prediction under the lines, and truth, for each picture of the batch."""
    line_art = 1 - batch["pixel_values"].float()
    enlarged = F.interpolate(colors.float(), size=line_art.shape[-2:], mode="bilinear")
    predicted = lab_to_rgb(enlarged) * line_art
    truth = lab_to_rgb(batch["labels"].nan_to_num())
    cells = torch.cat((line_art.expand(-1, 3, -1, -1), predicted, truth), dim=2)  # one column a picture
    half = (len(cells) + 1) // 2
    strips = [torch.cat(list(part), dim=2) for part in (cells[:half], cells[half : 2 * half])]
    width = max(strip.shape[2] for strip in strips)
    sheet = torch.cat([F.pad(strip, (0, width - strip.shape[2])) for strip in strips], dim=1)
    return (sheet.movedim(0, -1).clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)


def write_sample_grid(path: Path, grid: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


def write_loss_plot(path: Path, history: list[dict]) -> None:
    """Training and held-out loss over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for key, label in (("loss", "training"), ("held_out_loss", "held out (averaged weights)")):
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
