"""Tasks for tests of the engines, in a module that a fresh worker imports quickly."""

import os
import signal
from pathlib import Path


def square(value: int, *, folder: Path, dies: int, times: int) -> int:
    """The square; but the first so many times that it gets one of the values, it kills its own process."""
    marks = len(list(folder.glob("death-*")))
    if value == dies and marks < times:
        (folder / f"death-{marks}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value * value
