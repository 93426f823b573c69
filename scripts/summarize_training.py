"""`python scripts/summarize_training.py RUN ... --hardware TEXT --watts N`: what training took, for the model card.

Each RUN is the output folder of a training run, in the order in which the runs built on each other, all on one machine.
With --after the runs of an earlier summary, and its machines, come before them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from sketch_colorizer.training.data import divide, load_corpus
from sketch_colorizer.training.recipe import Recipe

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Read the recipe and training.json of every run, count the pictures of the last one, write the summary."""
    arguments = _parser().parse_args()
    if not all((folder / name).is_file() for folder in arguments.runs for name in ("recipe.yaml", "training.json")):
        raise SystemExit("error: a finished run holds recipe.yaml and training.json; name such folders")
    earlier = json.loads(arguments.after.read_text()) if arguments.after else {"runs": [], "machines": []}
    runs = [_run(folder) for folder in arguments.runs]
    recipe = Recipe.load(arguments.runs[-1] / "recipe.yaml")
    pictures, _ = divide(load_corpus(arguments.data or recipe.data, recipe.split))
    seconds = round(sum(run["seconds"] for run in runs), 1)
    machines = [*earlier["machines"], {"hardware": arguments.hardware, "watts": arguments.watts, "seconds": seconds}]
    summary = {
        "num_pictures": len(pictures),
        "num_line_art": sum(record is not None for record in pictures["line_art"]),
        "machines": machines,
        "seconds": round(sum(machine["seconds"] for machine in machines), 1),
        "kilowatt_hours": round(sum(machine["watts"] * machine["seconds"] for machine in machines) / 3.6e6, 4),
        "runs": earlier["runs"] + runs,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(summary, indent=1) + "\n")
    print(f"wrote {arguments.output}")


def _run(folder: Path) -> dict[str, Any]:
    recipe, done = Recipe.load(folder / "recipe.yaml"), json.loads((folder / "training.json").read_text())
    return {
        "name": folder.name,
        "model": recipe.model,
        "preset": recipe.preset,
        "image_size": recipe.image_size,
        "collage_share": recipe.collage_share,
        "steps": done["step"],
        "echo": recipe.echo,
        "samples": done["step"] * recipe.batch_size * recipe.gradient_accumulation_steps,
        "seconds": round(done["seconds"], 1),
        "held_out_loss": done["best"],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--hardware", required=True, help="what it ran on, in words")
    parser.add_argument("--watts", type=float, required=True, help="power of the whole machine, measured or assumed")
    parser.add_argument("--after", type=Path, metavar="FILE", help="an earlier summary, of the runs before these")
    parser.add_argument("--data", help="where the corpus lies now, if not where the recipe says")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/training.json")
    return parser


if __name__ == "__main__":
    main()
