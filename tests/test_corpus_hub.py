"""A corpus on its way from the Hub and back: the real clients, over HTTP, against a Hub of our own."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from corpus_heap import encoded, paint
from local_hub import LocalHub

BUILD = [sys.executable, "-m", "sketch_colorizer.training.corpus_cli", "build"]
OPTIONS = ["--engine", "process", "--codec", "webp", "--size", "64", "--min-size", "48", "--license", "CC0-1.0"]
PUSH = """
import json, sys
from datasets import load_dataset
from sketch_colorizer.publishing import dataset_publication, publish
from sketch_colorizer.training.corpus_prior import stored_colors

def rows(name):
    stream = load_dataset(name, split="train", streaming=True)
    return [[row["path"], row["license"], row["image"].size] for row in stream]

load_dataset(sys.argv[1]).push_to_hub("user/back")
publish(dataset_publication("user/corpus", sys.argv[1]))
counts, sums = stored_colors("user/corpus")
assert stored_colors("user/back") is None  # push_to_hub of `datasets` takes the shards alone
print(json.dumps({"pushed": rows("user/back"), "published": rows("user/corpus"), "pixels": counts.sum().item()}))
"""


def parquet(seeds: range) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist([{"image": encoded(paint(seed)), "path": f"row-{seed}"} for seed in seeds]), buffer
    )
    return buffer.getvalue()


def tar(seeds: range) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for seed in seeds:
            info, data = tarfile.TarInfo(f"{seed}.png"), encoded(paint(seed))
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def run(command: list[str], hub: LocalHub, home: Path) -> str:
    done = subprocess.run(command, env=hub.environment(home), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_the_hub_to_a_corpus_and_back_to_the_hub(tmp_path):
    files = {
        "loose/1.png": encoded(paint(1)),
        "data/train-0.parquet": parquet(range(2, 5)),
        "pages.tar": tar(range(5, 8)),
    }
    with LocalHub() as hub:
        hub.add("dataset", "ann/drawings", files)
        out = tmp_path / "out"
        run([*BUILD, "hf://datasets/ann/drawings", "-o", str(out), *OPTIONS], hub, tmp_path)
        outcomes = {row["path"]: row["outcome"] for row in pq.read_table(out / "manifest.parquet").to_pylist()}
        assert set(outcomes) == {
            "loose/1.png",
            "row-2",
            "row-3",
            "row-4",
            *(f"pages.tar/{seed}.png" for seed in (5, 6, 7)),
        }
        there = json.loads(run([sys.executable, "-c", PUSH, str(out)], hub, tmp_path).splitlines()[-1])
    trained_on = {path for path, outcome in outcomes.items() if outcome == "train"}
    for rows in (there["pushed"], there["published"]):
        assert {path for path, *_ in rows} == trained_on
        assert all(license_ == "CC0-1.0" and size == [64, 51] for _, license_, size in rows)
    assert there["pixels"] == len(trained_on) * 64 * 51
