"""The command line: one door to everything; what a command needs is imported when it runs."""

import gc
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Colours line drawings, offline, on a CPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

Pictures = Annotated[
    list[str], typer.Argument(help="Files, folders and patterns such as 'pages/*.png'.", metavar="PICTURE...")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help=r"Folder for the results, or the file for a single one. \[default: next to the picture]"
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there already.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


class Style(StrEnum):
    """How colours are laid out."""

    FLAT = "flat"
    SOFT = "soft"


def main() -> None:
    """The `sketch-colorizer` program."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to stop
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that no temporary file stays behind
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sketch-colorizer {import_module('sketch_colorizer').__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Colours line drawings, offline, on a CPU."""


class Engine(StrEnum):
    """What draws proposals."""

    CLASSES = "classes"
    FLOW = "flow"


@app.command()
def colorize(
    pictures: Pictures,
    output: Output = None,
    format: Annotated[
        str | None,
        typer.Option(help=r"png, jpg, webp, bmp or tif; with layers: ora or psd. \[default: png, or as --output ends]"),
    ] = None,
    overwrite: Overwrite = False,
    model: Annotated[
        str | None, typer.Option(help=r"Model folder, or model on the Hub. \[default: the embedded one]")
    ] = None,
    device: Device = "auto",
    style: Annotated[
        Style | None, typer.Option(help=r"Even colours, or the prediction per pixel. \[default: the model's]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=100, help=r"0 decided, 1 averaged. \[default: the model's]")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=20, help=r"1 as predicted, more is bolder. \[default: the model's]")
    ] = None,
    sharing: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=r"0 a colour for each region, more is fewer colours. \[default: the model's]"),
    ] = None,
    working_size: Annotated[
        int | None, typer.Option(min=32, max=1024, help="The network sees about this squared.")
    ] = None,
    hints: Annotated[
        str | None, typer.Option(help="Strokes of colour on transparency, a picture of any size.", metavar="PICTURE")
    ] = None,
    hint: Annotated[
        list[str] | None, typer.Option(help="A dot of colour; may be repeated.", metavar="X,Y,COLOUR[,RADIUS]")
    ] = None,
    palette: Annotated[
        str | None,
        typer.Option(help="The only colours to paint with, or a picture that shows them.", metavar="COLOURS|PICTURE"),
    ] = None,
    proposals: Annotated[
        int | None, typer.Option(min=1, max=100, help="So many colourings of each: drawing_colorized_1.png, ..._2.png")
    ] = None,
    engine: Annotated[Engine | None, typer.Option(help=r"What draws the proposals. \[default: the better one]")] = None,
    suggest: Annotated[
        int | None, typer.Option(min=1, max=50, help="Tell so many places where a hint would settle most.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes what is drawn at random: the proposals.")] = 0,
) -> None:
    """Colour line drawings: drawing.png becomes drawing_colorized.png.

    Examples:

    colorize pages/ --palette '#f4d35e,#0d3b66,teal'

    colorize pages/ --format psd

    colorize drawing.png --hint 120,80,#c0392b --hint 300,200,white,12

    colorize drawing.png --hints strokes.png --proposals 4 --seed 7

    colorize page1.png page2.png --palette character.png

    colorize drawing.png --suggest 3
    """
    with _user_errors():
        dots = [_split_hint(one) for one in hint or []]
        if hints and dots:
            raise ValueError("give --hints PICTURE or --hint X,Y,COLOUR, not both")
        from .picture_files import RESULT_SUFFIXES

        plan = _plan(
            pictures,
            marker="colorized",
            output=output,
            overwrite=overwrite or proposals is not None,
            suffix=format and f".{format.lower().removeprefix('.')}",
            suffixes=RESULT_SUFFIXES,
        )
        if (hints or dots) and len(plan.jobs) + len(plan.problems) > 1:
            raise ValueError(f"--hints and --hint are for one picture, got {len(plan.jobs) + len(plan.problems)}")
        plan = plan._replace(jobs=[job for job in plan.jobs if not _is_proposal(job, pictures)])
        if proposals is not None:
            plan = _plan_proposals(plan, proposals, overwrite=overwrite)
        with _quick_imports():
            from .drawing import is_colored
            from .layers import save_result
            from .palette import read_palette
            from .pipeline_sketch_colorizer import ColorizationPipeline

        settings = {
            "hints": hints or dots or None,
            "palette": None if palette is None else read_palette(palette),
            "num_proposals": proposals,
            "engine": engine and engine.value,
            "style": style and style.value,
            "temperature": temperature,
            "guidance": guidance,
            "sharing": sharing,
            "working_size": working_size,
            "seed": seed,
        }
        pipeline = ColorizationPipeline.from_pretrained(model, device=device)

        def color(image: Any) -> Any:
            if is_colored(image):
                warnings.warn("it is coloured already; its brightness was taken for a drawing", stacklevel=1)
            results = pipeline(image, **settings)
            plain = results if proposals is None else results[0]
            for place in plain.suggest_hints(suggest) if suggest else ():
                guesses = ", ".join(f"{color} {probability:.0%}" for color, probability in place.colors)
                warnings.warn(f"a hint at {place.x},{place.y} would settle most: {guesses}", stacklevel=1)
            return results

        _run(plan, color, save_result)


@app.command()
def sketch(
    pictures: Pictures,
    extractor: Annotated[str, typer.Option(help="dilation, xdog, highpass or threshold.")] = "xdog",
    output: Output = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn pictures into line drawings: picture.png becomes picture_sketch.png."""
    with _user_errors():
        plan = _plan(pictures, marker="sketch", output=output, overwrite=overwrite)
        with _quick_imports():
            from .line_art import EXTRACTORS
            from .picture_files import save_picture

        if extractor not in EXTRACTORS:
            raise ValueError(f"--extractor must be one of {', '.join(EXTRACTORS)}, got {extractor!r}")
        _run(plan, lambda image: _extract_line_art(image, EXTRACTORS[extractor]), save_picture)


@app.command()
def demo(
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help=r"\[default: a free one from 7860]")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Colour drawings on a page in the browser, served by this machine."""
    with _user_errors():
        if not (find_spec("gradio") and find_spec("mcp")):
            raise ValueError("the demo needs gradio with mcp: pip install 'sketch-colorizer[demo]'")
        here = Path(__file__).parent
        sys.path.insert(0, str(here / "space" if (here / "space").is_dir() else here.parent / "space"))
        with _quick_imports():
            launch = import_module("app").launch
        launch(server_name=host, server_port=port, inbrowser=browser)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, such as scripts/recipes/NAME.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="Settings to change.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")] = False,
) -> None:
    """Train a model from a recipe."""
    with _user_errors(), _optional_packages():
        folder = _import_program("training.trainer").main(recipe, overrides, resume=resume)
        typer.echo(f"model: {folder}")


@app.command(context_settings=_FORWARDED)
def evaluate(context: typer.Context) -> None:
    """Measure models on a corpus, beside baselines."""
    _forward(context, "training.evaluation_cli")


@app.command(context_settings=_FORWARDED)
def corpus(context: typer.Context) -> None:
    """Build and inspect a training corpus."""
    _forward(context, "training.corpus_cli")


@app.command(context_settings=_FORWARDED)
def publish(context: typer.Context) -> None:
    """Put a model, a data set or a Space on the Hugging Face Hub."""
    _forward(context, "publish_cli")


def _forward(context: typer.Context, module: str) -> None:
    """Hand the rest of the command line to another program of the package, which is imported only now."""
    with _user_errors(), _optional_packages():
        _import_program(module).app(context.args, prog_name=context.command_path)


def _import_program(module: str) -> Any:
    with _quick_imports():
        return import_module(f"sketch_colorizer.{module}")


def _plan(pictures: list[str], **settings: Any) -> Any:
    """`plan_jobs`, where nothing to do ends the program before anything heavy is imported."""
    from .picture_paths import plan_jobs

    plan = plan_jobs(pictures, **settings)
    if not plan.jobs:
        _report(plan.problems)
    return plan


def _plan_proposals(plan: Any, count: int, *, overwrite: bool) -> Any:
    """The same where each result is numbered, and none that is there already is replaced unasked."""
    jobs, problems = [], list(plan.problems)
    for job in plan.jobs:
        present = [target for target in _numbered(job.target, count) if target.exists()]
        if present and not overwrite:
            problems.append(f"{job.source}: {present[0]} exists already; --overwrite replaces it")
        else:
            jobs.append(job)
    if not jobs:
        _report(problems)
    return plan._replace(jobs=jobs, problems=problems)


def _is_proposal(job: Any, pictures: list[str]) -> bool:
    """Whether a folder or a pattern brought the numbered result of an earlier run, beside its drawing."""
    original, _, number = job.source.stem.rpartition("_colorized_")
    from .picture_files import READABLE_SUFFIXES

    beside = (job.source.with_name(original + suffix) for suffix in READABLE_SUFFIXES) if original else ()
    return number.isdigit() and str(job.source) not in pictures and any(path.exists() for path in beside)


def _numbered(target: Path, count: int) -> list[Path]:
    return [target.with_stem(f"{target.stem}_{number}") for number in range(1, count + 1)]


def _split_hint(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if len(parts) not in (3, 4):
        raise ValueError(f"--hint must be X,Y,COLOUR or X,Y,COLOUR,RADIUS, such as 120,80,#c0392b; got {text!r}")
    return parts


def _run(plan: Any, work: Callable[[Any], Any], save: Callable[[Any, Path], None]) -> None:
    """Open, work, save, picture by picture; what fails is told at the end, and the others are done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(soft_wrap=True, highlight=False, markup=False)
    problems, done = list(plan.problems), 0
    try:
        with Progress(
            console=console, transient=True, disable=len(plan.jobs) == 1 or not console.is_terminal
        ) as progress:
            for job in progress.track(plan.jobs, description="pictures"):
                try:
                    report = _do(job, work, save)
                    done += 1
                except (OSError, ValueError, MemoryError) as error:
                    problems.append(_with_name(job.source, error))
                else:
                    console.print(report)
    except KeyboardInterrupt:
        typer.echo(f"stopped: {done} of {len(plan.jobs)} pictures are done", err=True)
        raise typer.Exit(130) from None
    _report(problems, done=done)


def _do(job: Any, work: Callable[[Any], Any], save: Callable[[Any, Path], None]) -> str:
    from .picture_files import open_picture

    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        image = open_picture(job.source)
        result = work(image)
    results, targets = [result], [job.target]
    if isinstance(result, list):
        results, targets = result, _numbered(job.target, len(result))
    for one, target in zip(results, targets, strict=True):
        save(one, target)
    remarks = "".join(f"\n  note: {note.message}" for note in notes)
    names, size = ", ".join(map(str, targets)), "x".join(map(str, getattr(results[0], "image", results[0]).size))
    return f"{job.source} -> {names} ({size}, {time.perf_counter() - start:.2f} s){remarks}"


def _extract_line_art(image: Any, extractor: Callable[[Any], Any]) -> Any:
    """A line drawing (PIL, mode L) of a picture (PIL, any mode); what is transparent counts as white paper."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
    pixels = torch.from_numpy(np.array(opaque)).movedim(-1, 0)[None].float() / 255
    with torch.inference_mode():
        line_art = extractor(pixels)[0, 0].clamp(0, 1) * 255
    return Image.fromarray(line_art.round().to(torch.uint8).numpy())


def _with_name(path: Any, error: BaseException) -> str:
    reason = str(error) or type(error).__name__
    return reason if str(path) in reason else f"{path}: {reason}"


def _report(problems: list[str], *, done: int = 0) -> None:
    """Say what went wrong, one line each, and end with exit code 1; do nothing where nothing did."""
    if not problems:
        return
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    if done:
        typer.echo(f"{done} done, {len(problems)} not done", err=True)
    raise typer.Exit(1)


@contextmanager
def _user_errors() -> Iterator[None]:
    """What a user can mend is one line, not a traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _optional_packages() -> Iterator[None]:
    """What trains and measures needs packages that a plain installation lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sketch_colorizer"):
            raise
        raise ValueError(f"this needs {error.name}: pip install 'sketch-colorizer[train]'") from None


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import without garbage collection, which goes through a million objects in vain: a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
