"""Fits the temperature of a model's probabilities on training pictures that are held out of training.

    python scripts/calibrate.py [MODEL_FOLDER] --data CORPUS [--limit 60] [--write]

Prints calibration error and likelihood before and after; --write stores it in the folder's preprocessor_config.json.
It changes what uncertainty, suggestions and proposals are made of, and never the colours of a plain result.
"""

import argparse
import json
from pathlib import Path

from sketch_colorizer import ColorizationPipeline
from sketch_colorizer.model_files import EMBEDDED_WEIGHTS
from sketch_colorizer.training.calibration import fit_temperature
from sketch_colorizer.training.data import divide, load_corpus


def main() -> None:
    """Fit, print, and store the temperature where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=EMBEDDED_WEIGHTS, help="model folder [the embedded one]")
    parser.add_argument("--data", required=True, help="corpus folder or data set on the Hub")
    parser.add_argument("--limit", type=int, help="pictures, chosen by a hash [all held-out ones]")
    parser.add_argument("--workers", type=int, help="pictures at once [one for each core]")
    parser.add_argument("--write", action="store_true", help="store it in the folder")
    arguments = parser.parse_args()
    _, held_out = divide(load_corpus(arguments.data, "train"))
    pipeline = ColorizationPipeline.from_pretrained(arguments.model)
    temperature, figures = fit_temperature(pipeline, held_out, limit=arguments.limit, workers=arguments.workers)
    print(f"calibration_temperature {temperature:g}, fitted on {figures['num_pictures']:.0f} held-out pictures")
    for name in ("ece", "nll"):
        print(f"{name.upper():>4}  {figures[f'{name}_before']:.4f} -> {figures[f'{name}_after']:.4f}")
    if arguments.write:
        path = arguments.model / "preprocessor_config.json"
        settings = json.loads(path.read_text()) | {"calibration_temperature": temperature}
        path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        print(f"stored in {path}")


if __name__ == "__main__":
    main()
