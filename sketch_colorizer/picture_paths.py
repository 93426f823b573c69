"""Which pictures a list of files, folders and patterns means, and where the result of each one goes."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .picture_files import READABLE_SUFFIXES, WRITABLE, check_writable_suffix


class Job(NamedTuple):
    """A picture to read and the file to write."""

    source: Path
    target: Path


class Plan(NamedTuple):
    """What to do, and in one line each what cannot be done."""

    jobs: list[Job]
    problems: list[str]


def plan_jobs(
    patterns: Iterable[str],
    *,
    marker: str,
    output: str | None = None,
    overwrite: bool = False,
    suffix: str | None = None,
    suffixes: Iterable[str] = WRITABLE,
) -> Plan:
    """Pair each picture with its result: NAME_marker.png next to it or in the folder `output`, or the file `output`.

    `suffix`, one of `suffixes`, stands in the place of .png. Two pictures never share a result, a result that is there
    already is a problem unless `overwrite`, and results of earlier runs are not taken for drawings. Raises ValueError
    where `output` or `suffix` cannot serve.
    """
    sources, problems = _find_pictures(list(patterns), marker)
    if suffix is not None:
        check_writable_suffix(f"*{suffix}", suffixes)
    folder = _output_folder(output, len(sources) + len(problems), suffix, suffixes)
    ending = f"_{marker}{suffix or '.png'}"
    jobs: list[Job] = []
    taken: set[Path] = set()
    for source in sources:
        single = output is not None and folder is None
        target = Path(output) if single else _free_name(source, folder or source.parent, ending, taken)
        taken.add(target)
        if target.exists() and target.samefile(source):
            problems.append(f"{source}: the result would replace the drawing itself; choose another name")
        elif target.exists() and not overwrite:
            problems.append(f"{source}: {target} exists already; --overwrite replaces it")
        else:
            jobs.append(Job(source, target))
    return Plan(jobs, problems)


def _find_pictures(patterns: list[str], marker: str) -> tuple[list[Path], list[str]]:
    sources: dict[Path, None] = {}  # in order, each once
    problems = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            found = [
                file for file in sorted(path.iterdir()) if _is_picture(file) and not file.stem.endswith(f"_{marker}")
            ]
            problem = f"{pattern}: no pictures in this folder ({', '.join(sorted(READABLE_SUFFIXES))})"
        elif path.exists():
            found, problem = [path], ""
        elif not glob.has_magic(pattern):
            found, problem = [], f"{pattern} does not exist"
        else:
            matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207, patterns may be absolute
            found = [file for file in map(Path, matches) if _is_picture(file)]
            problem = f"{pattern}: no picture matches"
        sources.update(dict.fromkeys(found))
        problems += [problem] if not found else []
    originals = {source.with_suffix("") for source in sources}
    ending = f"_{marker}"
    return [
        source
        for source in sources
        if not (source.stem.endswith(ending) and source.with_name(source.stem.removesuffix(ending)) in originals)
    ], problems


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _output_folder(output: str | None, num_pictures: int, suffix: str | None, suffixes: Iterable[str]) -> Path | None:
    """The folder that `output` means, made where it is missing; None where it means a file, or nothing."""
    if output is None:
        return None
    path = Path(output)
    if path.suffix and not path.is_dir() and not output.endswith(("/", "\\")):
        check_writable_suffix(path, suffixes)
        if suffix not in (None, path.suffix.lower()):
            raise ValueError(f"{output} is no {suffix} file; name a folder, or leave the format to the name")
        if num_pictures > 1:
            raise ValueError(f"{output} is one file, but there are {num_pictures} pictures; name a folder")
        _make_folder(path.parent)
        return None
    _make_folder(path)
    return path


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {path}: {error.strerror}") from None


def _free_name(source: Path, folder: Path, ending: str, taken: set[Path]) -> Path:
    target, number = folder / f"{source.stem}{ending}", 1
    while target in taken:
        number += 1
        target = folder / f"{source.stem}-{number}{ending}"
    return target
