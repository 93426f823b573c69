"""`sketch-colorizer corpus`: build a corpus of coloured pictures, and look into one."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

app = typer.Typer(
    help="Build a corpus of coloured pictures for training, and look into one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Codec(StrEnum):
    """How pictures are stored."""

    AVIF = "avif"
    WEBP = "webp"


class SplitBy(StrEnum):
    """What decides who is held out."""

    HASH = "hash"
    SOURCE = "source"


class Engine(StrEnum):
    """Where the work runs."""

    POOL = "pool"
    PROCESS = "process"
    RAY = "ray"


_RECORDS, _PAIRS, _SPLITS, _WORK = "What is kept", "What is known of the pictures", "Splits", "How the work is done"


@app.command()
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders, archives (zip, tar, WebDataset), Parquet, hf://datasets/USER/NAME; NAME=PLACE gives a name.",
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The corpus folder.")],
    size: Annotated[
        int, typer.Option(help="Longest side in pixels; smaller ones stay.", rich_help_panel=_RECORDS)
    ] = 512,
    codec: Annotated[Codec, typer.Option(help="AVIF is 4:4:4.", rich_help_panel=_RECORDS)] = Codec.AVIF,
    quality: Annotated[
        int | None, typer.Option(help=r"1 to 100. \[default: 65 for AVIF, 80 for WebP]", rich_help_panel=_RECORDS)
    ] = None,
    min_size: Annotated[
        int, typer.Option(help="Reject inputs whose longest side is shorter.", rich_help_panel=_RECORDS)
    ] = 192,
    max_photograph_score: Annotated[
        float,
        typer.Option(
            help="0 to 1. The default rejects pictures with camera data and little else; 0.93 rejects half of all "
            "photographs and 2 % of painted illustrations; 1 rejects none.",
            rich_help_panel=_RECORDS,
        ),
    ] = 0.997,
    keep_twins: Annotated[
        bool, typer.Option("--keep-twins", help="Do not look for duplicates.", rich_help_panel=_RECORDS)
    ] = False,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="The artists' own line art: 'color/*.png=lines/*.png', or a metadata file (CSV or JSON lines) with "
            "file_name and line_art_file_name.",
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="Of pictures that name none (SPDX id).", rich_help_panel=_PAIRS)
    ] = None,
    author: Annotated[str | None, typer.Option(help="Of pictures that name none.", rich_help_panel=_PAIRS)] = None,
    category: Annotated[str | None, typer.Option(help="Of pictures that name none.", rich_help_panel=_PAIRS)] = None,
    title: Annotated[str | None, typer.Option(help="Of the data set card.", rich_help_panel=_PAIRS)] = None,
    split_by: Annotated[
        SplitBy, typer.Option(help="By each picture's hash, or whole sources.", rich_help_panel=_SPLITS)
    ] = SplitBy.HASH,
    validation_share: Annotated[
        float, typer.Option(help="Of the pictures, or of the sources.", rich_help_panel=_SPLITS)
    ] = 0.05,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(help="A source that is for validation as a whole; may be repeated.", rich_help_panel=_SPLITS),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="All cores here, one process, or Ray.", rich_help_panel=_WORK)
    ] = Engine.POOL,
    workers: Annotated[int | None, typer.Option(help=r"\[default: one a core]", rich_help_panel=_WORK)] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; 'auto' finds one here.", rich_help_panel=_WORK)
    ] = None,
    unit_size: Annotated[int, typer.Option(min=1, help="Pictures in a unit of work.", rich_help_panel=_WORK)] = 128,
    shard_megabytes: Annotated[int, typer.Option(min=1, help="Size of a Parquet shard.", rich_help_panel=_WORK)] = 400,
    keep_work: Annotated[
        bool,
        typer.Option(
            "--keep-work",
            help="Keep unfinished records, so that more can be added quickly; takes the corpus's size again.",
            rich_help_panel=_WORK,
        ),
    ] = False,
) -> None:
    """Turn a heap of pictures into a data set that `load_dataset` opens. Killed and started again, it goes on."""
    console = Console(stderr=True, soft_wrap=True)
    with _errors_in_one_line(), _progress(console) as report:
        from .corpus import CorpusSettings, build_corpus
        from .corpus_decisions import SplitSettings
        from .corpus_drafts import DraftSettings
        from .corpus_engines import EngineSettings
        from .corpus_records import RecordSettings
        from .corpus_sources import parse_sources

        records = RecordSettings(
            size=size,
            codec=codec.value,
            quality=quality,
            min_size=min_size,
            max_photograph_score=max_photograph_score,
        )
        settings = CorpusSettings(
            drafts=DraftSettings(records, license=license_, author=author, category=category),
            splits=SplitSettings(split_by.value, validation_share, tuple(hold_out or ()), not keep_twins),
            pairs=pairs,
            title=title,
            shard_bytes=shard_megabytes * 1_000_000,
            unit_size=unit_size,
        )
        statistics = build_corpus(
            parse_sources(sources),
            output,
            settings,
            engine=EngineSettings(engine.value, workers, address),
            keep_work=keep_work,
            progress=report,
        )
    _summarize(statistics, output)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="A corpus folder.")],
    *,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet (PNG) here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the plot of the colours (PNG) here.")] = None,
    pictures: Annotated[int, typer.Option(min=1, max=1024, help="On the contact sheet.")] = 64,
    rows: Annotated[int, typer.Option(min=1, help="Of each table.")] = 15,
) -> None:
    """Counts, rejections, licences and colours of a corpus; a contact sheet and a plot on request."""
    with _errors_in_one_line():
        from .corpus_inspect import colors_of, print_figures, write_sheet
        from .corpus_plots import plot_colors

        print_figures(folder, Console(soft_wrap=True), rows=rows)
        if sheet:
            typer.echo(f"{write_sheet(folder, sheet, number=pictures)} pictures: {sheet}")
        if plot:
            plot.parent.mkdir(parents=True, exist_ok=True)
            plot.write_bytes(plot_colors(*colors_of(folder)))
            typer.echo(f"colours: {plot}")


def _summarize(statistics: dict, output: Path) -> None:
    pictures = ", ".join(f"{count:,} {split}" for split, count in statistics["pictures"].items())
    typer.echo(f"{output}: {pictures}; {statistics['stored_bytes']['mean'] / 1000:.1f} KB a picture")
    rejected = statistics["rejected"]
    if rejected:
        reasons = ", ".join(f"{name} {count:,}" for name, count in rejected.items())
        typer.echo(f"{sum(rejected.values()):,} of {statistics['inputs']:,} inputs rejected: {reasons}")
    if rejected.get("changed"):
        typer.echo("some files changed while they were read: run the same command again to take them in", err=True)


@contextmanager
def _progress(console: Console) -> Iterator:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, int] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield report


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from what is done", err=True)
        raise typer.Exit(130) from None
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        raise typer.Exit(1) from None
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
