"""Evaluates models on a split: colours every drawing through the pipeline, scores it, and aggregates with intervals.

The result is one dict, written as results.json (docs/evaluation.md explains its keys), beside the scores of every
picture (scores.parquet), with which a later run is compared picture by picture without running this one again.
"""

import datetime
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset as Table
from rich.progress import track
from torch import Tensor

from .data import load_corpus
from .examples import EXTRACTOR, Example, balance_cells, fingerprint, in_hash_order, mean_color, read_examples
from .perceptual import PerceptualNetworks
from .scoring import HEADLINE_VIEW, score_picture
from .summary import Scores, storable, summarize
from .systems import Painting, System, fill_with_mean, leave_white, load_system

SCHEMA = 1
T = TypeVar("T")
RESULTS_FILE, SCORES_FILE = "results.json", "scores.parquet"


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation: the results to report, every picture's scores, and the paintings kept for the sheets."""

    results: dict[str, Any]
    scores: Scores
    paintings: list[tuple[Example, dict[str, Painting]]]

    def save(self, directory: str | Path) -> None:
        """Write results.json and scores.parquet into a folder."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        rows = [{"system": name, "key": key, **row} for name in self.scores for key, row in self.scores[name].items()]
        columns = dict.fromkeys(column for row in rows for column in row)
        table = pa.table({column: [row.get(column) for row in rows] for column in columns})
        pq.write_table(table, directory / SCORES_FILE, compression="zstd")
        (directory / RESULTS_FILE).write_text(json.dumps(self.results) + "\n")


def evaluate(
    model: str | None,
    *,
    data: str,
    split: str = "validation",
    limit: int | None = None,
    compare: Sequence[str] = (),
    style: str | None = None,
    temperature: float | None = None,
    guidance: float | None = None,
    sharing: float | None = None,
    working_size: int | None = None,
    device: str | None = None,
    samples: int = 2000,
    seed: int = 0,
    num_sheet_pictures: int = 8,
    lpips_weights: str | None = None,
    fid_weights: str | None = None,
    baselines: bool = True,
    redrawn: bool = True,
    workers: int | None = None,
) -> Evaluation:
    """Evaluate a model (folder, Hub id, or None for the embedded one) beside the baselines, and compare it with others.

    Args:
        data: a corpus folder (Parquet shards) or a data set on the Hub.
        limit: evaluate only this many pictures, chosen by a hash of their paths.
        compare: models to run beside it, or output folders of earlier evaluations of the same pictures, of which
            the system NAME counts, or else their model; each may be written NAME=PATH, as may `model`.
        style, temperature, guidance, sharing, working_size: as the pipeline takes them; None is as each model's
            processor says.
        samples, seed: of the bootstrap over pictures.
        num_sheet_pictures: pictures of each group that are kept for the sheets.
        lpips_weights, fid_weights: TorchScript files; without them these two figures are left out.
        baselines: whether "white" and "mean" stand beside the models.
        redrawn: whether pictures with real line art are coloured from extracted lines too.
        workers: pictures in flight at once; None is one for each CPU core.

    Raises ValueError where a corpus, a split, a model or an earlier evaluation is not what it should be.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    whole = load_corpus(data, split)
    table = in_hash_order(whole, limit)
    identity = fingerprint(table)
    sources = named_sources([model, *compare])
    earlier = {name: source for name, source in sources.items() if source and (Path(source) / SCORES_FILE).is_file()}
    if next(iter(sources)) in earlier:
        raise ValueError(f"{model} is an earlier evaluation, not a model; name it with compare")
    past = {
        name: read_earlier(source, identity, name if f"{name}={source}" in compare else None)
        for name, source in earlier.items()
    }

    settings = {"style": style, "temperature": temperature, "guidance": guidance, "sharing": sharing}
    settings |= {"working_size": working_size}
    models = [
        load_system(source, name=name, device=device, **settings)
        for name, source in sources.items()
        if name not in earlier
    ]
    systems, mean_source = models, "no baseline was measured"
    if baselines:
        mean, mean_source = _mean_of_training_split(data, whole)
        systems = [*models, leave_white(), fill_with_mean(mean)]
    networks = PerceptualNetworks(lpips=lpips_weights, inception=fid_weights, device=device)
    scores, paintings = run_systems(
        table,
        systems,
        weights=balance_cells(whole),
        keep=num_sheet_pictures,
        networks=networks,
        redrawn=redrawn,
        workers=workers,
    )
    scores |= {name: rows for name, (rows, _) in past.items()}
    facts = {system.name: system.facts for system in systems} | {name: facts for name, (_, facts) in past.items()}
    results = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": models[0].name,
        "versions": {package: version(package) for package in ("sketch-colorizer", "torch", "transformers")},
        "data": {
            "name": Path(data).name if Path(data).is_dir() else data,
            "split": split,
            "fingerprint": identity,
            "num_pictures": len(table),
            "extractor": EXTRACTOR,
            "mean_color_from": mean_source,
        },
        "bootstrap": {"samples": samples, "seed": seed, "level": 0.95},
        "headline": HEADLINE_VIEW,
        "skipped": networks.skipped,
        "facts": facts,
        **summarize(scores, model=models[0].name, samples=samples, seed=seed),
    }
    return Evaluation(storable(results), scores, paintings)


def named_sources(sources: Sequence[str | None]) -> dict[str, str | None]:
    """Names for models given as a path, a Hub id, NAME=PATH, or None for the embedded one; names must differ."""
    named: dict[str, str | None] = {}
    for source in sources:
        name, path = ("embedded", None) if source is None else (Path(source).name or source, source)
        if source is not None and "=" in source and not Path(source).exists():
            name, _, path = source.partition("=")
        if name in named or name in ("white", "mean"):
            raise ValueError(f"the name {name!r} is taken twice; give another with NAME={path}")
        named[name] = path
    return named


def read_earlier(
    directory: str | Path, identity: str, name: str | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The scores by example, and the facts, of one system of an earlier evaluation of the same pictures.

    It is the one of this name, or else the model that the evaluation was about.
    """
    results = json.loads((Path(directory) / RESULTS_FILE).read_text())
    if results.get("schema") != SCHEMA:
        raise ValueError(
            f"{directory} was written with schema {results.get('schema')}, this is {SCHEMA}; evaluate it again"
        )
    if results["data"]["fingerprint"] != identity:
        raise ValueError(
            f"{directory} was measured on other pictures ({results['data']['num_pictures']} of split "
            f"{results['data']['split']!r}); evaluate both on the same data, split and limit"
        )
    system = name if name in results["facts"] else results["model"]
    rows = pq.read_table(Path(directory) / SCORES_FILE, filters=[("system", "==", system)]).to_pylist()
    scores = {
        row["key"]: {k: v for k, v in row.items() if v is not None and k not in ("system", "key")} for row in rows
    }
    return scores, results["facts"][system]


def run_systems(
    table: Table,
    systems: Sequence[System],
    *,
    weights: dict[str, Tensor],
    keep: int = 0,
    networks: PerceptualNetworks | None = None,
    redrawn: bool = True,
    workers: int | None = None,
    show_progress: bool = True,
) -> tuple[Scores, list[tuple[Example, dict[str, Painting]]]]:
    """Every system colours every drawing of a split: the scores, and the paintings of the first `keep` of a group."""

    def judge(index: int) -> list[tuple[Example, dict[str, Painting], dict[str, dict]]]:
        return [
            (example, *_score_example(example, systems, weights, networks))
            for example in read_examples(table[index], redrawn=redrawn)
        ]

    scores: Scores = {system.name: {} for system in systems}
    paintings, kept = [], {"real": 0, "extracted": 0, "redrawn": keep}
    for examples in side_by_side(judge, len(table), label="evaluating", workers=workers, show_progress=show_progress):
        for example, painted, rows in examples:
            for name, row in rows.items():
                scores[name][example.key] = row
            if kept[example.group] < keep:
                kept[example.group] += 1
                paintings.append((example, painted))
    return scores, paintings


def side_by_side(
    work: Callable[[int], T], count: int, *, label: str, workers: int | None = None, show_progress: bool = True
) -> Iterator[T]:
    """work(0), work(1) .. in order, computed on all cores, one thread each, behind a progress bar.

    One picture in each thread keeps the cores busier than many threads inside one picture.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers or os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from track(pool.map(work, range(count)), label, total=count, disable=not show_progress)
    finally:
        torch.set_num_threads(threads)


def _score_example(
    example: Example, systems: Sequence[System], weights: dict[str, Tensor], networks: PerceptualNetworks | None
) -> tuple[dict[str, Painting], dict[str, dict]]:
    """What each system paints, and its row of scores."""
    line_art, painted, rows = example.line_art, {}, {}
    for system in systems:
        painting = system.paint(example.drawing)
        row = score_picture(example.truth, line_art, painting.image, painting.colors, weights=weights)
        if system.likelihood is not None:
            row |= system.likelihood(painting, example.truth.picture)
        if networks is not None:
            row |= networks.scores(painting.image, example.truth.picture)
        rows[system.name] = row
        painted[system.name] = painting._replace(prediction=None)
    return painted, rows


def _mean_of_training_split(data: str, evaluated: Table) -> tuple[Tensor, str]:
    """The mean painted colour of the split "train", or, where there is none, of the evaluated split itself."""
    try:
        return mean_color(load_corpus(data, "train")), "train"
    except ValueError:
        return mean_color(evaluated), "the evaluated split itself (no split train)"
