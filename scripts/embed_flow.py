"""Puts a trained flow pipeline into the package, beside the embedded model: fp16 weights and the scheduler.

python scripts/embed_flow.py runs/flow-stage2/final
"""

import argparse
import json
import shutil
from pathlib import Path

from sketch_colorizer import FlowColorizerPipeline

WEIGHTS = Path(__file__).parents[1] / "sketch_colorizer" / "weights" / "flow"
MAX_BYTES = 3_200_000


def main() -> None:
    """Load, halve, save under a temporary name, rename."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path, help="folder of a finished flow pipeline, with its model_index.json")
    parser.add_argument("--shift", type=float, default=1.0, help="of the scheduler; above 1 spends more steps early on")
    arguments = parser.parse_args()
    flow = FlowColorizerPipeline.beside(arguments.pipeline)
    flow.scheduler.register_to_config(shift=arguments.shift)
    flow.unet.half()
    partial = WEIGHTS.with_name("flow.partial")
    shutil.rmtree(partial, ignore_errors=True)
    flow.save_pretrained(partial)
    for config in (partial / "model_index.json", partial / "unet" / "config.json"):
        settings = json.loads(config.read_text())
        settings.pop("_name_or_path", None)  # where it was trained, which is nobody's business
        config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    size = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    if size > MAX_BYTES:
        raise SystemExit(f"error: {size} bytes are more than the {MAX_BYTES} that may be embedded")
    shutil.rmtree(WEIGHTS, ignore_errors=True)
    partial.rename(WEIGHTS)
    print(f"embedded {size / 1e6:.2f} MB in {WEIGHTS}")


if __name__ == "__main__":
    main()
