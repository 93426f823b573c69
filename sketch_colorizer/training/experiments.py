"""The experiments: one plan of systems that differ in one thing each, all trained and evaluated alike.

A run is one system with one seed, in a folder of its own. One that is done says so in done.json and is never repeated;
one that was killed goes on from its last checkpoint.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ..pipeline_sketch_colorizer import ColorizationPipeline
from .data import load_corpus
from .decoding import select_decoding
from .evaluation import evaluate
from .folder_lock import only_worker
from .recipe import Recipe
from .trainer import Trainer

DONE, CURVE = "done.json", "temperatures.json"


@dataclass(frozen=True)
class Plan:
    """The experiments at one budget: what is trained, on what, and where it goes."""

    settings: dict[str, Any]
    budget: str
    data: str
    folder: Path

    @classmethod
    def load(cls, path: str | Path, *, budget: str, data: str, folder: str | Path) -> "Plan":
        settings = yaml.safe_load(Path(path).read_text())
        if budget not in settings["budgets"]:
            raise ValueError(f"the budget must be one of {', '.join(settings['budgets'])}, got {budget!r}")
        return cls(settings, budget, data, Path(folder) / budget)

    @property
    def limits(self) -> dict[str, Any]:
        """The budget's own entries: recipe, seeds, pictures, curve_pictures, report."""
        return self.settings["budgets"][self.budget]

    @property
    def report_name(self) -> str:
        """What the report's files are called; a budget may name its own, to leave another's page alone."""
        return self.limits.get("report", "experiments")

    def runs(self, only: Sequence[str] = ()) -> list["Run"]:
        """Every system with every seed, the costliest first, so that none of them is left over at the end."""
        systems = self.settings["systems"]
        unknown = sorted(set(only) - set(systems))
        if unknown:
            raise ValueError(f"there is no system {', '.join(unknown)}; there are {', '.join(systems)}")
        names = sorted(only or systems, key=lambda name: -systems[name]["cost"])
        return [Run(self, name, seed) for seed in self.limits["seeds"] for name in names]


@dataclass(frozen=True)
class Run:
    """One system with one seed."""

    plan: Plan
    system: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.plan.folder / f"{self.system}-{self.seed}"

    @property
    def is_done(self) -> bool:
        return (self.folder / DONE).is_file()

    def recipe(self) -> Recipe:
        """The base, what the budget changes, what the system changes, and the processor that decodes it."""
        entry, settings = self.plan.settings["systems"][self.system], self.plan.settings
        merged = {**settings["base"], **self.plan.limits["recipe"], **entry.get("recipe", {})}
        places = {"data": self.plan.data, "output_dir": str(self.folder), "seed": self.seed}
        processor = {**settings["decoding"], "working_size": merged["image_size"]}
        return Recipe.from_dict(
            {**merged, **places, "config": entry["config"], "processor": processor}, source=f"system {self.system}"
        )

    def work(self, *, workers: int | None = None) -> None:
        """Train (or go on training), evaluate, and last of all write done.json."""
        with only_worker(
            self.folder, f"another process works in {self.folder}; let it end, or end it, and start again"
        ):
            if self.is_done:
                return
            recipe = self.recipe()
            trainer = Trainer(recipe)
            before = head_filters(trainer.model)
            resume = any((self.folder / "checkpoints").glob("step-*[0-9]"))
            final = trainer.fit(resume=resume)
            evaluation = evaluate(
                f"{self.system}={final}",
                data=self.plan.data,
                limit=self.plan.limits["pictures"],
                num_sheet_pictures=0,
                baselines=False,
                redrawn=False,
                workers=workers,
            )
            evaluation.save(self.folder / "evaluation")
            done = {
                "steps": trainer.progress.step,
                "seconds": round(trainer.progress.seconds, 1),
                "held_out_loss": trainer.progress.best,
            }
            if before is not None:
                after = head_filters(ColorizationPipeline.from_pretrained(final, device="cpu").model)
                done["filters"] = filter_correlations(before, after)
            _write(self.folder / DONE, done)


def head_filters(model: torch.nn.Module) -> Tensor | None:
    """The filters of a regression's last layer, one for each of R, G and B: (3, C); None for a classification."""
    weight = model.head.weight.detach().cpu()
    return weight.flatten(1).clone() if len(weight) == 3 else None


def filter_correlations(before: Tensor, after: Tensor) -> dict[str, list[float]]:
    """Pearson's r between the filters of R-G, R-B and G-B: at the random start, at the end, and of what was learnt.

    A short training moves the weights little; what it adds to them tells more than the sum with the random start.
    """

    def pairs(filters: Tensor) -> list[float]:
        r = torch.corrcoef(filters.double())
        return [float(r[0, 1]), float(r[0, 2]), float(r[1, 2])]

    return {"start": pairs(before), "end": pairs(after), "learnt": pairs(after - before)}


def run_all(commands: Iterable[tuple[str, list[str], Path]], *, jobs: int) -> list[str]:
    """Processes (name, command, log file), `jobs` at a time; returns the names of those that failed."""

    def start(job: tuple[str, list[str], Path]) -> str | None:
        name, command, log = job
        log.parent.mkdir(parents=True, exist_ok=True)
        print(f"{name}: started, log in {log}", flush=True)
        with log.open("a") as output:
            failed = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        print(f"{name}: {'failed, see ' + str(log) if failed else 'done'}", flush=True)
        return name if failed else None

    with ThreadPoolExecutor(jobs) as pool:
        return [name for name in pool.map(start, commands) if name]


def train_and_evaluate(runs: Sequence[Run], command: Sequence[str], *, jobs: int) -> list[str]:
    """Every run that is not done, each in a process of its own; `command` works on one run, given as SYSTEM-SEED."""
    todo = [run for run in runs if not run.is_done]
    for run in runs:
        if run.is_done:
            print(f"{run.folder.name}: done before")
    return run_all(
        ((r.folder.name, [sys.executable, *command, r.folder.name], r.folder / "log.txt") for r in todo), jobs=jobs
    )


def temperature_curve(plan: Plan, system: str, *, workers: int | None = None) -> list[dict[str, float]]:
    """The headline figures of a finished run (the first seed's) over the temperature; measured once, then read."""
    run = Run(plan, system, plan.limits["seeds"][0])
    path = run.folder / CURVE
    if not path.is_file():
        _, curve = select_decoding(
            ColorizationPipeline.from_pretrained(run.folder / "final"),
            load_corpus(plan.data, "validation"),
            temperatures=plan.settings["temperatures"]["values"],
            limit=plan.limits["curve_pictures"],
            workers=workers,
        )
        _write(path, curve)
    return json.loads(path.read_text())


def _write(path: Path, entry: Any) -> None:
    """JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(entry, indent=1) + "\n")
    partial.rename(path)
