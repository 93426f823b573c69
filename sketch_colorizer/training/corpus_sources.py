"""Where a corpus comes from: folders, archives, Parquet files and Hub repositories, listed without being opened."""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..picture_files import READABLE_SUFFIXES

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
MAX_FILE_BYTES = 256 * 2**20  # of one picture


class FileEntry(NamedTuple):
    """A file that a source or an archive offers."""

    name: str  # within the source or archive, UTF-8, with / between folders
    key: str | int  # where it is: a path (bytes that are no UTF-8 as surrogates), a URL, a place in an archive
    kind: str  # "picture", "archive", "parquet", "metadata", "sidecar"
    size: int = 0
    stamp: str = ""  # changes when the file does
    reason: str | None = None  # why it is not even opened, a key of REASONS
    detail: str = ""


class Source(NamedTuple):
    """What stands between `corpus build` and its options: a place, and the name it has in the corpus."""

    name: str
    location: str
    given_name: bool = False

    @property
    def is_remote(self) -> bool:
        return is_remote(self.location)


class SourceChangedError(Exception):
    """A file is no longer what it was when the source was listed."""


def is_remote(location: str) -> bool:
    return "://" in location


def parse_sources(arguments: list[str]) -> list[Source]:
    """Sources from the command line: PLACE or NAME=PLACE; raises ValueError for one that is missing or ambiguous."""
    sources = [_parse_source(argument) for argument in arguments]
    places: dict[str, Source] = {}
    for source in sources:
        other = places.setdefault(source.name, source)
        if other.location != source.location and not (other.given_name and source.given_name):
            raise ValueError(
                f"{other.location} and {source.location} would both be called {source.name!r}: "
                f"write NAME={source.location} to give one of them another name"
            )
    return sources


def _parse_source(argument: str) -> Source:
    named = re.fullmatch(r"([^=/\\:]+)=(.+)", argument, re.DOTALL)
    if named and not Path(argument).exists():
        return Source(named[1], _existing(named[2]), given_name=True)
    location = _existing(argument)
    if is_remote(location):
        repository = re.match(r"hf://datasets/([^/@]+/[^/@]+)", location)
        return Source(repository[1] if repository else location.rstrip("/").rsplit("/", 1)[-1], location)
    name = Path(location).name
    suffix = next((s for s in (*ARCHIVE_SUFFIXES, ".parquet") if name.lower().endswith(s)), "")
    return Source(readable_name(name[: len(name) - len(suffix)] or name), location)


def _existing(location: str) -> str:
    if is_remote(location):
        return location
    path = Path(location).expanduser()
    if not path.exists():
        raise ValueError(
            f"there is no {location}: a source is a folder, an archive, a Parquet file or hf://datasets/..."
        )
    return str(path.resolve())


def readable_name(name: str) -> str:
    """UTF-8 for any file name: bytes that are none are written as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_safe_name(name: str) -> bool:
    """Whether a name inside an archive stays inside: relative, without `..`, drive letters or null bytes."""
    parts = name.replace("\\", "/").split("/")
    return bool(name) and "\0" not in name and not (parts[0] == "" or parts[0].endswith(":") or ".." in parts)


def kind_of(name: str) -> str | None:
    """What to make of a file by its name; None for what is no part of a corpus."""
    path = PurePosixPath(name.replace("\\", "/"))
    lower = path.name.lower()
    if path.name.startswith(".") or "__MACOSX" in path.parts:
        return None
    if lower in METADATA_NAMES:
        return "metadata"
    if path.suffix.lower() in READABLE_SUFFIXES:
        return "picture"
    if lower.endswith(ARCHIVE_SUFFIXES):
        return "archive"
    return {".parquet": "parquet", ".json": "sidecar"}.get(path.suffix.lower())


def list_source(source: Source) -> list[FileEntry]:
    """All files of a source that have to do with pictures, in the order of their names (bytes), links checked.

    Raises ValueError for a remote place that cannot be listed, and for a source without a picture.
    """
    if source.is_remote:
        entries = list(_list_remote(source.location))
    elif Path(source.location).is_dir():
        entries = list(_list_folder(source.location))
    else:
        entries = [_describe(source.location, Path(source.location).name, root=None)]
    entries = sorted((entry for entry in entries if entry), key=lambda entry: os.fsencode(str(entry.key)))
    if not any(entry.kind in ("picture", "archive", "parquet") for entry in entries):
        raise ValueError(f"{source.location} holds no pictures, archives or Parquet files")
    return entries


def _list_folder(root: str) -> Iterator[FileEntry | None]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in folders:
            path = f"{folder}/{name}"
            if Path(path).is_symlink() and not _leads_inside(path, root):
                yield FileEntry(_relative(path, root), path, "picture", reason="link", detail="a folder elsewhere")
        for name in files:
            yield _describe(f"{folder}/{name}", _relative(f"{folder}/{name}", root), root=root)


def _describe(path: str, name: str, *, root: str | None) -> FileEntry | None:
    kind, file = kind_of(name), Path(path)
    if kind is None:
        return None
    is_link = file.is_symlink()
    try:
        if root and is_link and not _leads_inside(path, root):
            return FileEntry(name, path, kind, reason="link", detail=readable_name(str(file.readlink())))
        status = file.stat()
    except OSError as error:
        return FileEntry(name, path, kind, reason="link" if is_link else "changed", detail=str(error.strerror))
    if not stat.S_ISREG(status.st_mode):
        return FileEntry(name, path, kind, reason="not_a_file")
    return FileEntry(name, path, kind, status.st_size, stamp_of(status))


def _leads_inside(path: str, root: str) -> bool:
    target = os.path.realpath(path)
    return target == root or target.startswith(root.rstrip("/") + "/")


def _relative(path: str, root: str) -> str:
    return readable_name(os.path.relpath(path, root))


def stamp_of(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _list_remote(url: str) -> Iterator[FileEntry | None]:
    import fsspec

    url = _pin(url)
    try:
        system, root = fsspec.url_to_fs(url)
        found: dict[str, Any] = system.find(root, detail=True)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"cannot list {url}: {' '.join(str(error).split())[:300]}") from None
    for path, info in found.items():
        name = path[len(root) :].lstrip("/") or path.rsplit("/", 1)[-1]
        if kind := kind_of(name):
            identity = [info.get(key) for key in ("size", "blob_id", "etag", "ETag", "sha256", "mtime", "LastModified")]
            stamp = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
            yield FileEntry(name, system.unstrip_protocol(path), kind, info.get("size") or 0, stamp)


def _pin(url: str) -> str:
    """Name the commit of a Hub repository, so that it cannot change while it is read."""
    if not url.startswith("hf://"):
        return url
    from huggingface_hub import HfApi, HfFileSystem

    try:
        place = HfFileSystem().resolve_path(url)
        commit = HfApi().repo_info(place.repo_id, repo_type=place.repo_type, revision=place.revision).sha
    except (OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"cannot read {url}: {' '.join(str(error).split())[:300]}") from None
    return f"hf://{place.repo_type}s/{place.repo_id}@{commit}/{place.path_in_repo}".rstrip("/")


def read_file(location: str, stamp: str) -> bytes:
    """The bytes of a file of a source; SourceChangedError where it is not the file that was listed."""
    if is_remote(location):
        import fsspec

        system, path = fsspec.url_to_fs(location)
        return system.cat_file(path)
    with Path(location).open("rb") as file:
        before = stamp_of(os.fstat(file.fileno()))
        data = file.read(MAX_FILE_BYTES + 1)
        after = stamp_of(os.fstat(file.fileno()))
    if stamp != before or stamp != after:
        raise SourceChangedError(f"{readable_name(location)} changed after the source was listed")
    return data


@contextmanager
def local_copy(location: str, stamp: str) -> Iterator[str]:
    """A path at which a file of a source can be opened; SourceChangedError where it changes in the meantime."""
    if is_remote(location):
        import fsspec

        system, path = fsspec.url_to_fs(location)
        with tempfile.TemporaryDirectory(prefix="sketch-colorizer-") as folder:
            target = f"{folder}/{path.rsplit('/', 1)[-1]}"
            system.get_file(path, target)
            yield target
        return
    try:
        if stamp_of(Path(location).stat()) != stamp:
            raise SourceChangedError(f"{readable_name(location)} changed after the source was listed")
        yield location
        if stamp_of(Path(location).stat()) != stamp:
            raise SourceChangedError(f"{readable_name(location)} changed while it was read")
    except FileNotFoundError:
        raise SourceChangedError(f"{readable_name(location)} is gone") from None
