"""`accelerate launch scripts/train.py RECIPE [key=value ...] [--resume]`: the same code as `sketch-colorizer train`."""

import argparse

from sketch_colorizer.training.trainer import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    print(f"model: {main(arguments.recipe, arguments.overrides, resume=arguments.resume)}")
