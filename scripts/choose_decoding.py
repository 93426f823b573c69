"""Chooses temperature, rebalancing and guidance of the decoding, on training pictures that are held out of training.

    python scripts/choose_decoding.py MODEL_FOLDER --data CORPUS [--rebalancings 0.2 1] [--guidances 1 2 3] [--write]

Prints the grid; --write stores the choice in the folder's config.json and preprocessor_config.json.
"""

import argparse
import json
from pathlib import Path

from sketch_colorizer import ColorizationPipeline
from sketch_colorizer.training.data import divide, load_corpus
from sketch_colorizer.training.decoding import REPORTED, SETTINGS, TEMPERATURES, select_decoding


def main() -> None:
    """Measure the grid, print it, and store the choice where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--data", required=True, help="corpus folder or data set on the Hub")
    parser.add_argument("--style", choices=("flat", "soft"), help="[the model's]")
    parser.add_argument("--temperatures", type=float, nargs="+", default=list(TEMPERATURES))
    parser.add_argument("--rebalancings", type=float, nargs="+", help="[the model's]")
    parser.add_argument("--guidances", type=float, nargs="+", help="[the model's]")
    parser.add_argument("--limit", type=int, help="pictures, chosen by a hash [all held-out ones]")
    parser.add_argument("--write", action="store_true", help="store the choice in the folder")
    parser.add_argument("--output", type=Path, help="write the grid as JSON")
    arguments = parser.parse_args()
    _, held_out = divide(load_corpus(arguments.data, "train"))
    chosen, curve = select_decoding(
        ColorizationPipeline.from_pretrained(arguments.model),
        held_out,
        temperatures=arguments.temperatures,
        rebalancings=arguments.rebalancings,
        guidances=arguments.guidances,
        style=arguments.style,
        limit=arguments.limit,
    )
    columns = (*SETTINGS, *REPORTED)
    print(" ".join(f"{name:>18}" for name in columns))
    for point in curve:
        print(" ".join(f"{point[name]:>18.4f}" for name in columns), "<- chosen" if point is chosen else "")
    if arguments.output:
        arguments.output.write_text(json.dumps({"chosen": chosen, "grid": curve}, indent=1) + "\n")
    if arguments.write:
        temperature, guidance = chosen["temperature"], chosen["guidance"]
        store(arguments.model / "config.json", temperature=temperature, decode_rebalancing=chosen["rebalancing"])
        store(arguments.model / "preprocessor_config.json", temperature=temperature, guidance=guidance)
        print(f"stored in {arguments.model}")


def store(path: Path, **settings: float) -> None:
    """Change single settings of a JSON file; the weights beside it stay as they are."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}, indent=2) + "\n")


if __name__ == "__main__":
    main()
