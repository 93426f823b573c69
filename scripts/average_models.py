"""Averages the weights of models that were trained one from the other (model soups, Wortsman et al. 2022).

    python scripts/average_models.py runs/stage13/final=0.5 runs/stage14/final=0.5 -o runs/mean

The shares must add up to 1; configuration, classes and processor are the last model's. Where training had begun to
learn its pictures by heart, the mean is nearer to new ones than its parts, and steadier over sizes.
"""

import argparse
import math
import shutil
from pathlib import Path

import torch

from sketch_colorizer import SketchColorizerForClassification, SketchColorizerImageProcessor


def main() -> None:
    """Load, add up, save under a temporary name, rename."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=_share, metavar="MODEL=SHARE", help="model folders and their shares")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the mean; must not exist")
    arguments = parser.parse_args()
    folders, shares = zip(*arguments.models, strict=True)
    if not math.isclose(total := sum(shares), 1):
        raise SystemExit(f"error: the shares must add up to 1, got {total:g}")
    if arguments.output.exists():
        raise SystemExit(f"error: {arguments.output} is there already")
    models = [SketchColorizerForClassification.from_pretrained(folder, dtype=torch.float32) for folder in folders]
    mean = models[-1]
    if len({tuple((name, weight.shape) for name, weight in model.named_parameters()) for model in models}) > 1:
        raise SystemExit("error: the models differ in shape: only stages of one network have a mean")
    with torch.no_grad():
        for name, weight in mean.named_parameters():
            weight.copy_(sum(share * model.get_parameter(name) for share, model in zip(shares, models, strict=True)))
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    mean.save_pretrained(partial)
    SketchColorizerImageProcessor.from_pretrained(folders[-1]).save_pretrained(partial)
    partial.rename(arguments.output)
    print(f"wrote {arguments.output}")


def _share(text: str) -> tuple[Path, float]:
    folder, _, share = text.rpartition("=")
    try:
        number = float(share)
    except ValueError:
        number = math.nan
    if not folder or not Path(folder).is_dir() or not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"a model is FOLDER=SHARE, the folder of a finished model, got {text!r}")
    return Path(folder), number


if __name__ == "__main__":
    main()
