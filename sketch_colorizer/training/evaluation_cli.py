"""`sketch-colorizer evaluate`: models measured on a corpus, beside baselines, into a folder of reports."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Style(StrEnum):
    """How colours are laid out."""

    FLAT = "flat"
    SOFT = "soft"


@app.command()
def main(
    model: Annotated[
        str | None,
        typer.Argument(help="Model folder, model on the Hub, or NAME=PATH.", show_default="the embedded one"),
    ] = None,
    *,
    data: Annotated[str, typer.Option(help="Corpus folder (Parquet shards), or data set on the Hub.")],
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "validation",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, plots, sheets and scores.")] = Path(
        "runs/evaluation"
    ),
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Another model, or the output folder of an earlier evaluation; may be given several times."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Measure only this many pictures, chosen by a hash.")] = None,
    style: Annotated[Style | None, typer.Option(help=r"\[default: the model's]")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=100, help=r"\[default: the model's]")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, max=20, help=r"\[default: the model's]")] = None,
    sharing: Annotated[float | None, typer.Option(min=0, max=1, help=r"\[default: the model's]")] = None,
    working_size: Annotated[int | None, typer.Option(min=32, max=1024, help=r"\[default: the model's]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    samples: Annotated[int, typer.Option(min=1, help="Bootstrap samples.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    sheet_pictures: Annotated[int, typer.Option(min=0, help="Pictures of each group shown side by side.")] = 8,
    lpips_weights: Annotated[str | None, typer.Option(help="TorchScript file (vgg16.pt) for LPIPS.")] = None,
    fid_weights: Annotated[str | None, typer.Option(help="TorchScript file (inception-2015-12-05.pt) for FID.")] = None,
) -> None:
    """Measure models on a corpus, beside the baselines "white" and "mean"."""
    from .evaluation import evaluate
    from .report import print_report, write_report

    evaluation = evaluate(
        model,
        data=data,
        split=split,
        limit=limit,
        compare=compare or [],
        style=style and style.value,
        temperature=temperature,
        guidance=guidance,
        sharing=sharing,
        working_size=working_size,
        device=device,
        samples=samples,
        seed=seed,
        num_sheet_pictures=sheet_pictures,
        lpips_weights=lpips_weights,
        fid_weights=fid_weights,
    )
    evaluation.save(output)
    page = write_report(evaluation, output)
    print_report(evaluation.results, Console())
    typer.echo(f"page: {page}")
