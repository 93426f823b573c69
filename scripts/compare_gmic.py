"""Colours validation pictures with G'MIC's line-art colouring from hints, for the curves of measure_control.py.

    python scripts/compare_gmic.py --data CORPUS [--limit 40]

Needs the program `gmic` (Debian and Ubuntu: apt install gmic; macOS: brew install gmic). The hints are those of the
simulated user who clicks at random. Stopped, it goes on where it was.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from sketch_colorizer.training.data import load_corpus
from sketch_colorizer.training.examples import in_hash_order
from sketch_colorizer.training.gmic import FILTER, colorize_with_gmic, find_gmic, gmic_version
from sketch_colorizer.training.hint_curves import COUNTS, rival_row
from sketch_colorizer.training.row_store import RowStore, measure_rows


def main() -> None:
    """Run G'MIC on every picture with every number of hints and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="corpus folder or data set on the Hub")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--limit", type=int, default=40, help="pictures, chosen by a hash; 0 is all")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="numbers of hints")
    parser.add_argument("--work", type=Path, default=Path("runs/control"), help="where rows of pictures are kept")
    parser.add_argument("--output", type=Path, default=Path("docs/control_gmic.json"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="pictures at once [one for each core]")
    arguments = parser.parse_args()
    try:
        program = find_gmic()
    except FileNotFoundError as error:
        sys.exit(str(error))
    version, counts = gmic_version(program), sorted(set(arguments.counts))
    measure = partial(rival_row, partial(colorize_with_gmic, program), counts=counts, seed=arguments.seed)
    name = f"gmic_{version}_{'-'.join(map(str, counts))}_{arguments.seed}.jsonl"
    table = in_hash_order(load_corpus(arguments.data, arguments.split), arguments.limit or None)
    rows = measure_rows(table, measure, RowStore(arguments.work / name), label="gmic", workers=arguments.workers)
    facts = {"version": version, "filter": " ".join(FILTER), "seed": arguments.seed, "counts": counts}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(facts | {"rows": rounded(rows)}, separators=(",", ":")) + "\n")
    print(f"{len(rows)} pictures with G'MIC {version}: {arguments.output}")


def rounded(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The rows with four digits behind the point: enough, and half the file."""
    return {key: {name: round(figure, 4) for name, figure in row.items()} for key, row in rows.items()}


if __name__ == "__main__":
    main()
