"""Puts a trained model into the package as the embedded default: fp16 parameters, and how its classes are decoded.

python scripts/embed_weights.py runs/mean
"""

import argparse
import shutil
from pathlib import Path

import torch

from sketch_colorizer import SketchColorizerForClassification, SketchColorizerImageProcessor

WEIGHTS = Path(__file__).parents[1] / "sketch_colorizer" / "weights"
MAX_BYTES = 10_000_000


def main() -> None:
    """Load, halve, save under a temporary name, rename."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a finished classification model")
    parser.add_argument("--rebalancing", type=float, default=0.1, help="of the decoding; 1 is none")
    parser.add_argument("--temperature", type=float, default=0.55)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--hinted-temperature", type=float, default=0.8, help="of drawings with hints")
    parser.add_argument("--hinted-guidance", type=float, default=3.0)
    parser.add_argument("--sharing", type=float, default=0.02, help="of colours between regions that are alike")
    parser.add_argument("--paper-threshold", type=float, default=0.5)
    parser.add_argument("--white-lightness", type=float, default=93.0)
    parser.add_argument("--white-chroma", type=float, default=5.0)
    parser.add_argument("--working-size", type=int, default=224)
    arguments = parser.parse_args()
    model = SketchColorizerForClassification.from_pretrained(arguments.model, dtype=torch.float32)
    model.config.decode_rebalancing = arguments.rebalancing
    model.config.temperature = arguments.temperature
    for parameter in model.parameters():  # the buffers, 512 numbers each, stay exact
        parameter.data = parameter.data.half()
    processor = SketchColorizerImageProcessor(
        working_size=arguments.working_size,
        temperature=arguments.temperature,
        guidance=arguments.guidance,
        hinted_temperature=arguments.hinted_temperature,
        hinted_guidance=arguments.hinted_guidance,
        sharing=arguments.sharing,
        paper_threshold=arguments.paper_threshold,
        white_lightness=arguments.white_lightness,
        white_chroma=arguments.white_chroma,
    )
    partial = WEIGHTS.with_name("weights.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    size = sum(file.stat().st_size for file in partial.iterdir())
    if size > MAX_BYTES:
        raise SystemExit(f"error: {size} bytes are more than the {MAX_BYTES} that may be embedded")
    for file in partial.iterdir():
        file.replace(WEIGHTS / file.name)
    partial.rmdir()
    print(f"embedded {size / 1e6:.2f} MB in {WEIGHTS}")


if __name__ == "__main__":
    main()
