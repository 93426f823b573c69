"""One process at a time works in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def only_worker(folder: Path, occupied: str) -> Iterator[None]:
    """Hold the lock of a folder, which is made if need be; it ends with the process, however that ends.

    Raises ValueError, with the sentence `occupied`, where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / "lock", timeout=0).acquire()
    except Timeout:
        raise ValueError(occupied) from None
    with held:
        yield
