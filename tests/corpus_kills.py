"""`python corpus_kills.py PICTURES OUTPUT PAIRS`: builds a corpus, killed at ever later moments until it is complete.

A fresh interpreter forks for each attempt, so that an attempt costs no imports. A moment is a file that is written but
not yet on the disk, or on the disk but not yet under its name.
"""

import json
import os
import signal
import sys
from pathlib import Path

from corpus_heap import settings

from sketch_colorizer.training import corpus_atomic
from sketch_colorizer.training.corpus import build_corpus
from sketch_colorizer.training.corpus_engines import EngineSettings
from sketch_colorizer.training.corpus_sources import Source

STEP = 3  # moments that an attempt lives longer than the one before; odd, so that both kinds are met


def attempt(moment: int, arguments: list[str]) -> int:
    """Build in a process of its own that kills itself at this moment; the signal, or 0 where it lived to the end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = [moment]

    def dying(real):
        def call(*args):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call

    corpus_atomic.os.fsync, Path.replace = dying(os.fsync), dying(Path.replace)
    signal.alarm(120)
    pictures, output, pairs = arguments
    build_corpus([Source("heap", pictures)], output, settings(pairs=pairs), engine=EngineSettings("process"))
    os._exit(0)


def main() -> None:
    """Print the moments at which it was killed."""
    killed = []
    while code := attempt(STEP * len(killed), sys.argv[1:]):
        if code != -signal.SIGKILL or len(killed) > 200:
            raise SystemExit(f"attempt {len(killed)} ended with {code}")
        killed.append(STEP * len(killed))
    print(json.dumps(killed))


if __name__ == "__main__":
    main()
