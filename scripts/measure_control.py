"""Measures control over colours and writes docs/control.json, docs/control.md and docs/control_*.png.

    python scripts/measure_control.py [MODEL] --data CORPUS [--limit 40] [--proposal-pictures 16]

Hints at random and at suggested places, obedience and leaks, proposals of both engines, calibration. Stopped, it goes
on where it was; with changed code, weights or settings it begins again. About six minutes on two idle cores. Run
scripts/compare_gmic.py with the same --limit first to have G'MIC in the curves.
"""

import argparse
import json
from pathlib import Path

from sketch_colorizer.training.control import measure_control
from sketch_colorizer.training.control_plots import draw_control_plots
from sketch_colorizer.training.control_report import control_markdown, findings
from sketch_colorizer.training.proposal_scores import NUM_PROPOSALS


def main() -> None:
    """Measure, write the figures, the report and its plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="model folder or Hub id [the embedded one]")
    parser.add_argument("--data", required=True, help="corpus folder or data set on the Hub")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--limit", type=int, default=40, help="pictures, chosen by a hash; 0 is all")
    parser.add_argument("--proposal-pictures", type=int, default=16, help="of these, for the proposals; 0 is all")
    parser.add_argument("--num-proposals", type=int, default=NUM_PROPOSALS)
    parser.add_argument("--rival", type=Path, default=Path("docs/control_gmic.json"), help="what compare_gmic.py wrote")
    parser.add_argument("--work", type=Path, default=Path("runs/control"), help="where rows of pictures are kept")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of the report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="pictures at once [one for each core]")
    arguments = parser.parse_args()
    results = measure_control(
        arguments.model,
        data=arguments.data,
        split=arguments.split,
        limit=arguments.limit or None,
        num_proposal_pictures=arguments.proposal_pictures or None,
        num_proposals=arguments.num_proposals,
        rival=arguments.rival,
        work=arguments.work,
        seed=arguments.seed,
        workers=arguments.workers,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "control.json").write_text(json.dumps(results, indent=1) + "\n")
    images = draw_control_plots(results, arguments.output)
    (arguments.output / "control.md").write_text(control_markdown(results, images))
    print("\n".join(findings(results)))


if __name__ == "__main__":
    main()
