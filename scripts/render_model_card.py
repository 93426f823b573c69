"""`python scripts/render_model_card.py`: writes the embedded model's card from what was measured."""

import argparse
import json
from pathlib import Path

from sketch_colorizer.model_card import render_model_card

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Read the template and both JSON files, write the card."""
    arguments = _parser().parse_args()
    template, evaluation, training = (
        _read(path) for path in (arguments.template, arguments.evaluation, arguments.training)
    )
    if arguments.plot and not (arguments.output.parent / arguments.plot).is_file():
        raise SystemExit(f"error: there is no {arguments.plot} beside {arguments.output}")
    try:
        card = render_model_card(
            template, json.loads(evaluation), json.loads(training), datasets=arguments.dataset, plot=arguments.plot
        )
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    card.save(arguments.output)
    print(f"wrote {arguments.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--template", type=Path, default=ROOT / "hub_cards/model_card.md", help="template")
    parser.add_argument("--evaluation", type=Path, default=ROOT / "docs/evaluation.json", help="results.json")
    parser.add_argument("--training", type=Path, default=ROOT / "docs/training.json", help="summarize_training")
    parser.add_argument("--output", type=Path, default=ROOT / "sketch_colorizer/weights/README.md", help="the card")
    parser.add_argument("--dataset", action="append", default=[], help="id of a training data set on the Hub")
    parser.add_argument("--plot", help="file name of a picture of the results that lies beside the card")
    return parser


def _read(path: Path) -> str:
    if not path.is_file():
        raise SystemExit(f"error: there is no {path}; name the file with an option, or make it first")
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
