"""The corpus builder on real pictures: written out as files and built anew, none is lost and no planted twin stays."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "rebuild_corpus.py"


def test_real_pictures_built_anew_are_the_same_number_without_their_planted_twins(corpus, tmp_path):
    # All of them: scripts/rebuild_corpus.py without --pictures; an hour on one core. Its figures are in docs/CORPUS.md.
    sample = ["--pictures", "66", "--twins", "6", "--options", "--codec webp --engine process"]
    command = [sys.executable, SCRIPT, corpus, *sample, "--output", tmp_path / "figures.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["pictures"], figures["records"], figures["planted"]) == (66, 66, 11)
    assert (figures["lost"], figures["twins_among_the_originals"]) == ({}, {})
    assert all(row["found"] == row["planted"] for row in figures["twins"].values())
