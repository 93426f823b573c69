"""`sketch-colorizer publish`: a model, a data set or a Space on the Hugging Face Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .publishing import Publication

app = typer.Typer(
    help="Publish a model, a data set or a Space on the Hugging Face Hub, in one commit that also removes what an "
    "earlier version left behind.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they can show local variables
    context_settings={"help_option_names": ["-h", "--help"]},
)

RepoId = Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository on the Hub; created if need be.")]
Folder = Annotated[Path, typer.Argument(help="What to publish; it holds the card as README.md.")]
Tag = Annotated[str | None, typer.Option(help="Name of this version.", show_default="v and the package's version")]
Untagged = Annotated[bool, typer.Option("--no-tag", help="Give this version no name.")]
Private = Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")]
Message = Annotated[str | None, typer.Option("--message", "-m", help="The commit's message.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go where, and send nothing.")]


@app.command()
def model(
    repo_id: RepoId,
    folder: Annotated[Path | None, typer.Argument(help="Model folder.", show_default="the embedded model")] = None,
    *,
    card: Annotated[Path | None, typer.Option(help="Model card.", show_default="README.md of the folder")] = None,
    tag: Tag = None,
    no_tag: Untagged = False,
    private: Private = False,
    message: Message = None,
    dry_run: DryRun = False,
) -> None:
    """Weights, configuration, processor, card, and the code that loads them without this package."""

    with _errors_in_one_line():
        from .publishing import model_publication

        publication = model_publication(repo_id, folder, card=card)
        _publish(publication, tag=_tag(tag, no_tag), private=private, message=message, dry_run=dry_run)


@app.command()
def dataset(
    repo_id: RepoId,
    folder: Folder,
    *,
    tag: Tag = None,
    no_tag: Untagged = False,
    private: Private = False,
    message: Message = None,
    dry_run: DryRun = False,
) -> None:
    """A folder of Parquet shards with its card."""

    with _errors_in_one_line():
        from .publishing import dataset_publication

        publication = dataset_publication(repo_id, folder)
        _publish(publication, tag=_tag(tag, no_tag), private=private, message=message, dry_run=dry_run)


@app.command()
def space(
    repo_id: RepoId,
    folder: Folder,
    *,
    tag: Tag = None,
    no_tag: Untagged = False,
    private: Private = False,
    message: Message = None,
    dry_run: DryRun = False,
) -> None:
    """A folder with a Space's program, its requirements and its README.md."""

    with _errors_in_one_line():
        from .publishing import space_publication

        publication = space_publication(repo_id, folder)
        _publish(publication, tag=_tag(tag, no_tag), private=private, message=message, dry_run=dry_run)


def _tag(tag: str | None, no_tag: bool) -> str | None:
    return None if no_tag else tag or f"v{version('sketch-colorizer')}"


def _publish(publication: "Publication", *, tag: str | None, private: bool, message: str | None, dry_run: bool) -> None:
    """Send it, or with `dry_run` list every file with its size."""
    sizes = publication.sizes()
    count = f"{len(sizes)} files, {sum(sizes.values()):,} bytes"
    target = f"{publication.url}{f' as {tag}' if tag else ''}"
    if dry_run:
        for path, size in sizes.items():
            typer.echo(f"{size:>12,}  {path}")
        typer.echo(f"{count}, would go to {target}; nothing was sent")
        return
    from .publishing import publish

    commit = publish(publication, tag=tag, private=private, message=message)
    typer.echo(f"{count}, are now at {target} ({commit})")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
