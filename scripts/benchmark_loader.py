"""Does the loader keep up? Samples per second that it delivers against what training the `tiny` model consumes.

    python scripts/benchmark_loader.py --data CORPUS [--image-size 128] [--batch-size 16] [--mixed-precision bf16]

On a CPU both are measured in CPU time of one core each, so that other work on the machine does not matter: a loader of
one worker beside a model of one thread, as the recipes have it. On a GPU both are measured by the clock, with --workers
workers, once with lines drawn by the workers and once by the GPU. The goal is a ratio of at least 2.
"""

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from sketch_colorizer import SketchColorizerConfig, SketchColorizerForClassification
from sketch_colorizer.training.data import ColorizationDataset, divide, load_corpus, measure_colors, with_line_art

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Measure both, print the ratio, and write it where asked for."""
    arguments = _parser().parse_args()
    on_gpu = torch.cuda.is_available()
    table, _ = divide(load_corpus(arguments.data, "train"))
    figures = {
        "device": torch.cuda.get_device_name() if on_gpu else "one CPU core",
        "image_size": arguments.image_size,
        "batch_size": arguments.batch_size,
        "mixed_precision": arguments.mixed_precision,
        "workers": arguments.workers if on_gpu else 1,
    }
    delivers = _by_the_clock if on_gpu else _by_cpu_time
    for where in ("loader", "device") if on_gpu else ("loader",):
        samples = ColorizationDataset(
            table, image_size=arguments.image_size, seed=0, share_without_hints=0.7, draws_lines=where == "loader"
        )
        figures[f"delivered_per_second_lines_on_{where}"] = delivers(samples, arguments)
    figures["consumed_per_second"] = _consumed(table, samples, arguments, on_gpu=on_gpu)
    best = max(value for key, value in figures.items() if key.startswith("delivered"))
    figures["ratio"] = best / figures["consumed_per_second"]
    figures = {key: round(value, 2) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps(figures, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


def _by_cpu_time(samples: ColorizationDataset, arguments: argparse.Namespace) -> float:
    """Samples that one worker makes in a second of one core."""
    torch.set_num_threads(1)
    step = max(1, len(samples) // arguments.samples)
    return arguments.samples / _seconds(
        lambda: [samples[1, (row * step) % len(samples)] for row in range(arguments.samples)], time.process_time
    )


def _by_the_clock(samples: ColorizationDataset, arguments: argparse.Namespace) -> float:
    """Samples that all workers deliver in a second, with their lines drawn."""
    loader = DataLoader(
        samples, batch_size=arguments.batch_size, shuffle=True, drop_last=True, num_workers=arguments.workers
    )
    batches, count = iter(loader), max(1, arguments.samples // arguments.batch_size)

    def deliver() -> None:
        for _ in range(count):
            with_line_art({key: value.cuda() for key, value in next(batches).items()})
        torch.cuda.synchronize()

    deliver()  # the workers' start is no part of it
    return count * arguments.batch_size / _seconds(deliver, time.perf_counter)


def _consumed(table, samples: ColorizationDataset, arguments: argparse.Namespace, *, on_gpu: bool) -> float:
    """Samples that the training steps of the `tiny` model take in a second, the data being there."""
    device, clock = ("cuda", time.perf_counter) if on_gpu else ("cpu", time.process_time)
    model = SketchColorizerForClassification(SketchColorizerConfig.from_preset("tiny"))
    model.fit_colors(*measure_colors(table, limit=50))
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    parts = [samples[index] for index in range(arguments.batch_size)]
    batch = with_line_art({key: torch.stack([part[key] for part in parts]).to(device) for key in parts[0]})
    precision = PRECISIONS[arguments.mixed_precision]

    def train(steps: int) -> None:
        for _ in range(steps):
            with torch.autocast(device, precision) if precision else contextlib.nullcontext():
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if on_gpu:
            torch.cuda.synchronize()

    train(2)
    return arguments.steps * arguments.batch_size / _seconds(lambda: train(arguments.steps), clock)


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="corpus folder or data set on the Hub")
    parser.add_argument("--image-size", type=int, default=128, help="[128]")
    parser.add_argument("--batch-size", type=int, default=16, help="[16]")
    parser.add_argument("--mixed-precision", choices=PRECISIONS, default="bf16", help="[bf16]")
    parser.add_argument("--workers", type=int, default=4, help="of the loader beside a GPU [4]")
    parser.add_argument("--samples", type=int, default=200, help="to deliver [200]")
    parser.add_argument("--steps", type=int, default=5, help="of training [5]")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser


if __name__ == "__main__":
    main()
