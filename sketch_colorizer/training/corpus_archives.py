"""Archives of pictures (zip, tar, compressed tar): their members, read one by one and never unpacked to disk."""

import bz2
import errno
import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from .corpus_sources import MAX_FILE_BYTES, FileEntry, is_safe_name, kind_of, readable_name

_OPENERS = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_MAX_EXPANSION = 200  # times the size of a compressed tar: pictures do not shrink
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, KeyError)


class Archive(NamedTuple):
    """An open archive."""

    members: list[FileEntry]
    read: Callable[[FileEntry], bytes]


class BadArchiveError(Exception):
    """A file that cannot be opened as the archive that its name says it is."""


def is_plain(location: str) -> bool:
    """Whether members can be reached without going through all that comes before them."""
    return not location.lower().endswith(tuple(_OPENERS))


@contextmanager
def open_archive(path: str) -> Iterator[Archive]:
    """Open an archive file. Raises BadArchiveError; reading a member raises one of DAMAGE."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(_open_zip(path) if path.lower().endswith(".zip") else _open_tar(path))
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise BadArchiveError(" ".join(str(error).split())[:200] or type(error).__name__) from None
        yield archive


@contextmanager
def _open_zip(path: str) -> Iterator[Archive]:
    with zipfile.ZipFile(path) as file:
        listed = file.infolist()
        members = [
            _member(info.filename, info.file_size, index, is_link=(info.external_attr >> 28) == 0xA)
            for index, info in enumerate(listed)
            if not info.is_dir()
        ]

        def read(member: FileEntry) -> bytes:
            try:
                with file.open(listed[member.key]) as stream:
                    return stream.read(MAX_FILE_BYTES + 1)
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in a way that is not known
                raise OSError(str(error)) from None

        yield Archive([member for member in members if member], read)


@contextmanager
def _open_tar(path: str) -> Iterator[Archive]:
    with _uncompressed(path) as stream, tarfile.open(fileobj=stream, mode="r:") as file:
        members = [
            _member(info.name, info.size, info.offset_data, is_link=info.islnk() or info.issym())
            for info in file
            if info.isfile() or info.islnk() or info.issym()
        ]

        def read(member: FileEntry) -> bytes:
            stream.seek(member.key)
            data = stream.read(min(member.size, MAX_FILE_BYTES + 1))
            if len(data) < min(member.size, MAX_FILE_BYTES + 1):
                raise EOFError(f"the archive ends inside {member.name}")
            return data

        yield Archive([member for member in members if member], read)


@contextmanager
def _uncompressed(path: str) -> Iterator[IO[bytes]]:
    with Path(path).open("rb") as packed:
        opener = next((opener for suffix, opener in _OPENERS.items() if path.lower().endswith(suffix)), None)
        if opener is None:
            yield packed
            return
        packed.seek(0, 2)
        limit = packed.tell() * _MAX_EXPANSION
        packed.seek(0)
        with opener(packed) as stream, tempfile.TemporaryFile(prefix="sketch-colorizer-") as plain:
            while plain.tell() <= limit and (chunk := stream.read(1 << 20)):
                plain.write(chunk)
            if plain.tell() > limit:
                raise ValueError(f"it unpacks to more than {_MAX_EXPANSION} times its size")
            plain.seek(0)
            yield plain


def _member(name: str, size: int, key: int, *, is_link: bool) -> FileEntry | None:
    name = readable_name(name)
    kind = kind_of(name)
    if kind is None or kind in ("archive", "parquet"):
        return None
    reason = "unsafe_name" if not is_safe_name(name) else "link" if is_link else None
    if reason is None and size > MAX_FILE_BYTES:
        reason = "too_many_bytes"
    return FileEntry(name, key, kind, size, reason=reason)
