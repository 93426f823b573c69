"""Measures how much colours change with the size at which a drawing comes: 256, 576, 1024 and 3000 pixels.

python scripts/measure_size_shift.py [MODEL_FOLDER] [--pictures FILE ... | --data CORPUS] [--output FILE.json]

Without --pictures and --data, the drawings in examples/ are measured.
"""

import argparse
import json
from pathlib import Path

from sketch_colorizer import ColorizationPipeline, clean_drawing, open_picture
from sketch_colorizer.training.data import load_corpus
from sketch_colorizer.training.size_shift import SIZES, drawings_of, measure_size_shift

EXAMPLES = Path(__file__).parents[1] / "examples"


def main() -> None:
    """Measure, print, and write the figures."""
    arguments = _parser().parse_args()
    pipeline = ColorizationPipeline.from_pretrained(arguments.model)
    pictures = arguments.pictures or sorted(EXAMPLES.glob("*.png"))
    if arguments.data:
        source, drawings = "the corpus", drawings_of(load_corpus(arguments.data, arguments.split), arguments.limit)
    else:
        source, drawings = "drawings", [clean_drawing(open_picture(picture)) for picture in pictures]
    settings = {"sizes": arguments.sizes, "style": arguments.style, "workers": arguments.workers}
    shift = {"source": source, **measure_size_shift(pipeline, drawings, **settings)}
    if not arguments.data:
        shift["drawings"] = [picture.name for picture in pictures]
    print(f"mean CIEDE2000 between sizes, {shift['num_drawings']} drawings (largest of a single drawing)")
    for pair, mean in shift["mean"].items():
        print(f"{pair:>12}  {mean:6.2f}  ({shift['largest'][pair]:.2f})")
    if arguments.output:
        arguments.output.write_text(json.dumps(shift, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="model folder or Hub id [the embedded one]")
    parser.add_argument("--pictures", type=Path, nargs="+", help="drawings [those in examples/]")
    parser.add_argument("--data", help="corpus folder or data set on the Hub, instead of pictures")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="longest sides")
    parser.add_argument("--limit", type=int, default=16, help="drawings of the corpus, chosen by a hash")
    parser.add_argument("--style", choices=("flat", "soft"), help="[the model's]")
    parser.add_argument("--workers", type=int, help="drawings in flight at once [one for each core]")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser


if __name__ == "__main__":
    main()
