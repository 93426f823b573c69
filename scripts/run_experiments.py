"""The poster's claims as experiments: trains the systems a..i, evaluates them, and writes docs/experiments.md.

    python scripts/run_experiments.py --data CORPUS [--budget cpu|small|gpu] [--only a d] [--jobs 2]

Runs that are done are not repeated, and a run that was killed goes on from its last checkpoint: start the same command
again. What the systems are stands in scripts/experiments.yaml. `--report` writes the page anew from the JSON alone.
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from sketch_colorizer import ColorizationPipeline
from sketch_colorizer.training.claims import verdicts
from sketch_colorizer.training.experiment_figures import gather
from sketch_colorizer.training.experiment_report import write_experiments
from sketch_colorizer.training.experiments import Plan, Run, temperature_curve, train_and_evaluate

ROOT = Path(__file__).parents[1]
EXAMPLES = ("portrait.png", "cat.png", "landscape.png", "stilllife.png")
CELL, HEADER = 150, 24


def main() -> None:
    """Train and evaluate what is missing, then gather everything that is done."""
    arguments = _parser().parse_args()
    if arguments.data is None and not arguments.report:
        raise SystemExit("error: name the corpus with --data")
    try:
        plan = Plan.load(arguments.plan, budget=arguments.budget, data=arguments.data, folder=arguments.folder)
        if arguments.report:
            return _report(plan, arguments.docs)
        if arguments.work_on:
            return _work(plan, *arguments.work_on.split("-"))
        return _all(plan, arguments)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None


def _report(plan: Plan, docs: Path) -> None:
    """The page anew, from what is stored."""
    results = json.loads((docs / f"{plan.report_name}.json").read_text())
    results["claims"] = {group: verdicts(results, group) for group in results["groups"]}
    _write(results, docs, plan.report_name)


def _work(plan: Plan, system: str, seed: str) -> None:
    """One run, in this process."""
    Run(plan, system, int(seed)).work(workers=plan.limits["recipe"].get("num_threads"))


def _all(plan: Plan, arguments: argparse.Namespace) -> None:
    same = ["--data", arguments.data, "--budget", arguments.budget]
    same += ["--plan", str(arguments.plan), "--folder", str(arguments.folder), "--work-on"]
    failed = train_and_evaluate(plan.runs(arguments.only), [str(Path(__file__)), *same], jobs=arguments.jobs)
    first_seed = plan.limits["seeds"][0]
    curves = {
        name: temperature_curve(plan, name)
        for name in plan.settings["temperatures"]["systems"]
        if Run(plan, name, first_seed).is_done
    }
    results = gather(plan, temperatures=curves)
    arguments.docs.mkdir(parents=True, exist_ok=True)
    _draw_examples(plan, list(results["systems"]), arguments.docs / f"{plan.report_name}-examples.webp")
    _write(results, arguments.docs, plan.report_name)
    if failed:
        raise SystemExit(f"error: {', '.join(failed)} failed; the others are in the report")


def _write(results: dict, docs: Path, name: str) -> None:
    (docs / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    page = write_experiments(results, docs, name=name, sheet=(docs / f"{name}-examples.webp").is_file())
    print(f"wrote {page}")


def _draw_examples(plan: Plan, systems: list[str], path: Path) -> None:
    """Drawings of this project as each system colours them, a column for each."""
    torch.set_num_threads(1)
    drawings = [Image.open(ROOT / "examples" / name).convert("L") for name in EXAMPLES]
    sheet = Image.new("RGB", (CELL * (1 + len(systems)), HEADER + CELL * len(drawings)), "white")
    columns = [[drawing.convert("RGB") for drawing in drawings]]
    for name in systems:
        colorize = ColorizationPipeline.from_pretrained(
            Run(plan, name, plan.limits["seeds"][0]).folder / "final", device="cpu"
        )
        columns.append([colorize(drawing).image for drawing in drawings])
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for column, (title, pictures) in enumerate(zip(("drawing", *systems), columns, strict=True)):
        pen.text((column * CELL + 6, 3), title, fill="#222222", font=font)
        for row, picture in enumerate(pictures):
            picture.thumbnail((CELL - 6, CELL - 6), Image.Resampling.LANCZOS)
            sheet.paste(picture, (column * CELL + 3, HEADER + row * CELL + 3))
    sheet.save(path, quality=75, method=6)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="corpus folder or data set on the Hub")
    parser.add_argument("--budget", default="cpu", help="cpu, small or gpu: sizes, steps and seeds [cpu]")
    parser.add_argument("--only", nargs="+", default=[], metavar="SYSTEM", help="train these alone")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side [1]")
    parser.add_argument("--plan", type=Path, default=ROOT / "scripts/experiments.yaml", help="what is trained")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/experiments", help="where runs go")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the report goes")
    parser.add_argument("--resume", action="store_true", help="accepted and not needed: runs always go on")
    parser.add_argument("--report", action="store_true", help="only write the budget's page anew from its JSON")
    parser.add_argument("--work-on", metavar="SYSTEM-SEED", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
