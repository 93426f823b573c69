"""Measures how long a drawing takes and how much memory: warm, cold, small and huge; and how hard the network works.

    python scripts/benchmark_colorize.py                      # all cases, prints a table, writes docs/benchmarks.json
    python scripts/benchmark_colorize.py --cases 512x512 cold

Every case runs in a process of its own, so that its peak memory is its own. Times are medians; run it while nothing
else runs (the load before the start is recorded).
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL, LARGE, HUGE = (512, 512), (3840, 2160), (8000, 6000)
DRAWINGS = {"512x512": SMALL, "3840x2160": LARGE, "3840x2160 psd": LARGE, "3840x2160 ora": LARGE, "8000x6000": HUGE}
REPEATS = {
    "512x512": 21, "3840x2160": 7, "3840x2160 psd": 5, "3840x2160 ora": 5, "8000x6000": 3, "cold": 5, "network": 21
}  # fmt: skip
LIMITS = {  # what must hold on two cores with nothing else running
    "512x512": {"seconds": 0.15},
    "3840x2160": {"seconds": 1.5, "peak_gb": 1.2},
    "cold": {"seconds": 5.0},
}
MATRIX_SIZE = 2048
TORCH_PACKAGES = ("torch", "torchgen", "functorch", "sympy", "mpmath", "networkx")  # torch, and what only torch needs


def main() -> None:
    """Run the cases, each in its own process, print the table and write the JSON."""
    arguments = parse_arguments()
    if arguments.child:
        print(json.dumps(measure_case(arguments.child, Path(arguments.drawing), arguments)))
        return
    report = {"machine": describe_machine(arguments.threads), "cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.cases:
            drawing = Path(folder) / f"{case}.png"
            draw(*DRAWINGS.get(case, SMALL)).save(drawing)
            print(f"{case} ...", file=sys.stderr, flush=True)
            figures = measure_cold(drawing, arguments) if case == "cold" else run_child(case, drawing, arguments)
            report["cases"][case] = {**figures, "limits": LIMITS.get(case, {})}
    print_table(report)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
        print(f"written: {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(REPEATS), default=list(REPEATS))
    parser.add_argument("--model", help="model folder or Hub id [the embedded one]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads for everything [all cores]")
    parser.add_argument("--repeats", type=int, help="how often each case is timed [as the case needs]")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--drawing", help=argparse.SUPPRESS)
    return parser.parse_args()


def draw(width: int, height: int) -> Any:
    """A drawing of overlapping ellipses and a spiral, about as dense at every size, mode L."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (width, height), 255)
    canvas, pen = ImageDraw.Draw(image), max(2, round(min(width, height) / 200))
    for i in range(24):
        x, y = (i * 0.37 % 1) * width, (i * 0.61 % 1) * height
        radius = min(width, height) * (0.05 + 0.02 * (i % 7))
        canvas.ellipse([x - radius, y - radius * 0.7, x + radius, y + radius * 0.7], outline=0, width=pen)
    for i in range(12):
        inset = (0.04 + 0.03 * i) * min(width, height)
        canvas.arc([inset, inset, width - inset, height - inset], 30 * i, 30 * i + 150, fill=0, width=pen)
    return image


# --------------------------------------------------------------------------------------------------------------------
# Cases


def run_child(case: str, drawing: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One case in a fresh process."""
    command = [
        sys.executable,
        __file__,
        "--child",
        case,
        "--drawing",
        str(drawing),
        "--threads",
        str(arguments.threads),
    ]
    command += ["--model", arguments.model] if arguments.model else []
    command += ["--repeats", str(arguments.repeats)] if arguments.repeats else []
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(arguments.threads))
    if done.returncode:
        sys.exit(f"{case} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def child_environment(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def measure_case(case: str, drawing: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """In the child: the network alone, or a drawing from its file to the written PNG."""
    import torch

    from sketch_colorizer import ColorizationPipeline

    torch.set_num_threads(arguments.threads)
    pipeline = ColorizationPipeline.from_pretrained(arguments.model, device="cpu")
    repeats = arguments.repeats or REPEATS[case]
    return (
        measure_network(pipeline, drawing, repeats)
        if case == "network"
        else measure_warm(pipeline, drawing, repeats, suffix=f".{case.partition(' ')[2] or 'png'}")
    )


def measure_warm(pipeline: Any, drawing: Path, repeats: int, *, suffix: str) -> dict[str, Any]:
    """From the file to the written PNG, or file of layers, after one run that is not counted."""
    from sketch_colorizer import save_result

    result = drawing.with_name(f"{drawing.stem}_colorized{suffix}")

    def colorize() -> None:
        save_result(pipeline(drawing), result)

    colorize()
    return {**timed(colorize, repeats), "peak_gb": gigabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)}


def measure_cold(drawing: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The command `sketch-colorizer colorize` in a new process, and the part of it that importing torch takes.

    `seconds_import_torch` is `import torch` alone; `share_torch_modules` is the share of every module of torch, whoever
    asks for it, in the time of the same run.
    """
    program = Path(sys.executable).with_name("sketch-colorizer")
    command = [str(program), "colorize", str(drawing), "--overwrite"]
    command += ["--model", arguments.model] if arguments.model else []
    environment, repeats = child_environment(arguments.threads), arguments.repeats or REPEATS["cold"]
    runs = [run_command(command, environment) for _ in range(repeats)]
    imports = [run_command([sys.executable, "-c", "import torch"], environment) for _ in range(repeats)]
    shares = [torch_share([sys.executable, "-X", "importtime", *command], environment) for _ in range(repeats)]
    return {
        **summary([run["seconds"] for run in runs], sum(run["cpu_seconds"] for run in runs)),
        "peak_gb": max(run["peak_gb"] for run in runs),
        "seconds_import_torch": statistics.median(run["seconds"] for run in imports),
        "share_torch_modules": statistics.median(shares),
    }


def torch_share(command: list[str], environment: dict[str, str]) -> float:
    """The share of a Python program's time that the interpreter spends in importing torch's modules."""
    start = time.perf_counter()
    said = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    wall, microseconds = time.perf_counter() - start, 0
    for line in said.stderr.splitlines():  # import time: self [us] | cumulative | package
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[2].strip().partition(".")[0] in TORCH_PACKAGES:
            microseconds += int(fields[0])
    return microseconds / 1e6 / wall


def run_command(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Wall time, CPU time and peak memory of one program from its start to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    wall = time.perf_counter() - start
    return {"seconds": wall, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gb": gigabytes(usage.ru_maxrss)}


def measure_network(pipeline: Any, drawing: Path, repeats: int) -> dict[str, Any]:
    """One pass of the network for a 512x512 drawing: GFLOP, time, and the share of the matrix rate that it reaches."""
    import torch
    from PIL import Image
    from torch.utils.flop_counter import FlopCounterMode

    inputs = pipeline.processor(Image.open(drawing))
    pixel_values = inputs["pixel_values"].contiguous(memory_format=torch.channels_last)

    def run() -> None:
        pipeline.model(pixel_values=pixel_values, hint_values=inputs["hint_values"])

    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            run()
        figures, rate = timed(run, repeats), matrix_rate()
    gflop = counter.get_total_flops() / 1e9
    return {
        **figures,
        "gflop": gflop,
        "input": list(pixel_values.shape),
        "parameters": sum(parameter.numel() for parameter in pipeline.model.parameters()),
        "gflop_per_second": gflop / figures["seconds"],
        "matrix_gflop_per_second": rate,
        "share_of_matrix_rate": gflop / figures["seconds"] / rate,
    }


def matrix_rate() -> float:
    """GFLOP/s of a fp32 matrix product with the same threads: what this machine can do at best."""
    import torch

    first, second = torch.rand(2, MATRIX_SIZE, MATRIX_SIZE)
    product = torch.empty(MATRIX_SIZE, MATRIX_SIZE)
    torch.mm(first, second, out=product)
    return 2 * MATRIX_SIZE**3 / 1e9 / timed(lambda: torch.mm(first, second, out=product), 15)["seconds"]


def timed(work: Callable[[], None], repeats: int) -> dict[str, float | int]:
    """Run some work several times: see `summary`."""
    walls, before = [], time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        walls.append(time.perf_counter() - start)
    return summary(walls, time.process_time() - before)


def summary(walls: list[float], cpu: float) -> dict[str, float | int]:
    """Median and quartiles of the wall times, and the CPU time of one run."""
    low, high = (sorted(walls)[round(share * (len(walls) - 1))] for share in (0.25, 0.75))
    median = statistics.median(walls)
    return {"seconds": median, "low": low, "high": high, "cpu_seconds": cpu / len(walls), "runs": len(walls)}


def gigabytes(maxrss: int) -> float:
    """The operating system's peak memory in GB (1e9 bytes); it counts in KiB, macOS in bytes."""
    return maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


# --------------------------------------------------------------------------------------------------------------------
# Reporting


def describe_machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on."""
    from importlib.metadata import version

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
    }


def processor_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        names = [
            line.partition(":")[2].strip() for line in listing.read_text().splitlines() if line[:10] == "model name"
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def print_table(report: dict[str, Any]) -> None:
    """One line for each case, and whether it keeps its limits."""
    machine, cases = report["machine"], report["cases"]
    print(f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}")
    print(f"{'case':<14}{'median s':>10}{'quartiles':>18}{'CPU s':>9}{'peak GB':>9}  limits")
    for case, figures in cases.items():
        quartiles = f"{figures['low']:.3f} - {figures['high']:.3f}"
        peak = f"{figures['peak_gb']:.2f}" if "peak_gb" in figures else "-"
        line = f"{case:<14}{figures['seconds']:>10.3f}{quartiles:>18}{figures['cpu_seconds']:>9.3f}{peak:>9}"
        verdicts = (f"{k} <= {v}: {'kept' if figures[k] <= v else 'BROKEN'}" for k, v in figures["limits"].items())
        print(f"{line}  {', '.join(verdicts)}".rstrip())
    if "cold" in cases:
        alone, share = cases["cold"]["seconds_import_torch"], cases["cold"]["share_torch_modules"]
        print(f"cold: importing torch alone takes {alone:.2f} s; all of torch that is imported {share:.0%} of the time")
    if "network" in cases:
        print(describe_network(cases["network"]))
    if machine["load_before"] > 0.5:
        print(f"warning: the load was {machine['load_before']} before the start; wall times are too long")


def describe_network(figures: dict[str, Any]) -> str:
    """What one pass of the network costs, and how near it comes to the best that the machine can do."""
    share, rate = figures["share_of_matrix_rate"], figures["matrix_gflop_per_second"]
    return (
        f"network: {figures['parameters'] / 1e6:.2f} M parameters, {figures['gflop']:.2f} GFLOP at {figures['input']}; "
        f"{figures['gflop_per_second']:.0f} GFLOP/s, {share:.0%} of the fp32 matrix rate of {rate:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    main()
