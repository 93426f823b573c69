"""Measures how much colours change with the size at which a drawing comes: 256, 576, 1024 and 3000 pixels.

python scripts/measure_size_shift.py [MODEL_FOLDER] --data CORPUS [--limit 16] [--output FILE.json]
"""

import argparse
import json
from pathlib import Path

from sketch_colorizer import ColorizationPipeline
from sketch_colorizer.training.data import load_corpus
from sketch_colorizer.training.size_shift import SIZES, measure_size_shift


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="model folder or Hub id [the embedded one]")
    parser.add_argument("--data", required=True, help="corpus folder or data set on the Hub")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="longest sides")
    parser.add_argument("--limit", type=int, default=16, help="drawings, chosen by a hash")
    parser.add_argument("--style", choices=("flat", "soft"), help="[the model's]")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    pipeline = ColorizationPipeline.from_pretrained(arguments.model)
    table = load_corpus(arguments.data, arguments.split)
    settings = {"sizes": arguments.sizes, "limit": arguments.limit, "style": arguments.style}
    shift = measure_size_shift(pipeline, table, **settings)
    print(f"mean CIEDE2000 between sizes, {shift['num_drawings']} drawings (largest of a single drawing)")
    for pair, mean in shift["mean"].items():
        print(f"{pair:>12}  {mean:6.2f}  ({shift['largest'][pair]:.2f})")
    if arguments.output:
        arguments.output.write_text(json.dumps(shift, indent=1) + "\n")


if __name__ == "__main__":
    main()
