"""Peak memory and time of 512-class training at full size: the plain loss against the projected one.

python scripts/benchmark_loss.py [--device cuda] [--output docs/results/loss.json]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from sketch_colorizer.losses import expected_color_cost, projected_loss, soft_cross_entropy

SIDE, CHANNELS, BINS, NEIGHBORS = 256, 64, 512, 10


def plain_loss(features, weight, bias, indices, weights, pixel_weights, cost):
    log_probs = F.log_softmax(F.conv2d(features, weight[..., None, None], bias), dim=1)
    loss = soft_cross_entropy(log_probs, indices, weights, pixel_weights)
    return loss + 0.5 * expected_color_cost(log_probs, indices[:, 0], pixel_weights, cost)


def lean_loss(features, weight, bias, indices, weights, pixel_weights, cost):
    options = {"color_cost": cost, "color_cost_weight": 0.5}
    return projected_loss(features, weight, bias, indices, weights, pixel_weights, **options)


LOSSES = {"plain": plain_loss, "projected": lean_loss}


def measure(name: str, batch_size: int, device: str, repeats: int) -> dict:
    """Seconds of forward and backward (median) and the peak of memory above what the inputs take, in MiB."""
    # What the libraries themselves take the first time is nobody's loss
    measure_inputs(name, 1, 64, device, 1)
    return measure_inputs(name, batch_size, SIDE, device, repeats)


def measure_inputs(name: str, batch_size: int, side: int, device: str, repeats: int) -> dict:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(batch_size, CHANNELS, side, side, generator=generator).to(device)
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()  # as the network gives them
    weight, bias = (
        torch.randn(BINS, *rest, generator=generator).to(device).requires_grad_() for rest in ((CHANNELS,), ())
    )
    indices = torch.randint(BINS, (batch_size, NEIGHBORS, side, side), generator=generator).to(device)
    weights = torch.rand(indices.shape, generator=generator).to(device)
    pixel_weights = torch.rand(batch_size, side, side, generator=generator).to(device)
    cost = torch.rand(BINS, BINS, generator=generator).to(device)
    before, seconds = memory(device), []
    for _ in range(repeats):
        started = time.perf_counter()
        LOSSES[name](features, weight, bias, indices, weights, pixel_weights, cost).backward()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        features.grad = weight.grad = bias.grad = None
    return {"loss": name, "seconds": statistics.median(seconds), "peak_mib": memory(device) - before}


def memory(device: str) -> float:
    """The peak so far, MiB."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return torch.cuda.max_memory_allocated() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=LOSSES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.batch_size, arguments.device, arguments.repeats)))
        return
    rows = []
    for name in LOSSES:  # each in a process of its own, since a peak never comes down again
        command = [sys.executable, __file__, "--only", name, "--device", arguments.device]
        command += ["--batch-size", str(arguments.batch_size), "--repeats", str(arguments.repeats)]
        rows.append(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        )
        print("{loss:10} {seconds:7.3f} s {peak_mib:8.0f} MiB".format(**rows[-1]))
    plain, lean = rows
    result = {
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "shape": [arguments.batch_size, BINS, SIDE, SIDE],
        "memory_ratio": lean["peak_mib"] / plain["peak_mib"],
        "time_ratio": lean["seconds"] / plain["seconds"],
        "rows": rows,
    }
    print(f"memory {result['memory_ratio']:.3f}, time {result['time_ratio']:.2f} of the plain loss")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
