"""Measures the Space under load: clients that colour drawings at once for a minute, through the real API.

    python scripts/load_space.py    # 20 clients, 60 s; writes docs/space_load.json and the figures in docs/SPACE.md
    python scripts/load_space.py --seconds 5 --output /tmp/load.json

The server is a process of its own, so that its memory can be read. Every other call of a client comes with another dab
of colour, so that it is work and not the memory of the last one.
"""

import argparse
import json
import os
import platform
import random
import statistics
import threading
import time
from pathlib import Path

import httpx
import psutil
from space_process import running_space

ROOT = Path(__file__).parents[1]
START, END = "<!-- load:start -->", "<!-- load:end -->"
EXAMPLE = ROOT / "examples" / "cat.png"


def main() -> None:
    """Measure, and write down what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "space_load.json")
    arguments = parser.parse_args()
    with running_space() as (url, process):
        figures = measure(url, psutil.Process(process), clients=arguments.clients, seconds=arguments.seconds)
    arguments.output.write_text(json.dumps(figures, indent=2) + "\n")
    if arguments.output.parent == ROOT / "docs":
        page = ROOT / "docs" / "SPACE.md"
        page.write_text(with_figures(page.read_text(), figures))
    print(sentence(figures))


def measure(url: str, server: psutil.Process, *, clients: int, seconds: float) -> dict:
    """Let the clients loose; how many calls, how long each took, how they ended, and the server's memory."""
    with EXAMPLE.open("rb") as file:
        [path] = httpx.post(f"{url}/gradio_api/upload", files={"files": file}, timeout=120).json()
    for _ in range(3):  # what is loaded when it is first needed is no growth
        call(url, path, random.Random(0))
    ends: list[tuple[str, float]] = []
    memory, begin = [server.memory_info().rss], time.monotonic()

    def work(number: int) -> None:
        dice = random.Random(number)
        while time.monotonic() - begin < seconds:
            start = time.monotonic()
            how = call(url, path, dice)
            ends.append((how, time.monotonic() - start))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        memory.append(server.memory_info().rss)
    return summary(ends, memory, clients=clients, seconds=time.monotonic() - begin)


def call(url: str, path: str, dice: random.Random) -> str:
    """Colour the drawing once: "done", "queue full", or what else happened."""
    dab = [[dice.randrange(100, 900), dice.randrange(100, 900), f"#{dice.randrange(2**24):06x}", 8]]
    named = {
        "drawing": {"path": path, "meta": {"_type": "gradio.FileData"}},
        "hints": dab if dice.random() < 0.5 else [],
    }
    try:
        answer = httpx.post(f"{url}/gradio_api/call/v2/colorize", json=named, timeout=300)
        if answer.status_code == 503:
            time.sleep(0.5)
            return "queue full"
        event = answer.raise_for_status().json()["event_id"]
        with httpx.stream("GET", f"{url}/gradio_api/call/colorize/{event}", timeout=300) as events:
            lines = [line for line in events.iter_lines() if line.startswith("event: ") and "heartbeat" not in line]
    except httpx.HTTPError as error:
        return type(error).__name__
    return "done" if lines[-1:] == ["event: complete"] else "error"


def summary(ends: list[tuple[str, float]], memory: list[int], *, clients: int, seconds: float) -> dict:
    """The figures that are written down."""
    times = sorted(duration for how, duration in ends if how == "done")
    half = memory[len(memory) // 2 :]
    return {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "clients": clients,
        "seconds": round(seconds, 1),
        "calls": {how: sum(end == how for end, _ in ends) for how in sorted({end for end, _ in ends})},
        "seconds_median": round(statistics.median(times), 2) if times else None,
        "seconds_p95": round(times[int(0.95 * (len(times) - 1))], 2) if times else None,
        "memory_mb": {
            "before": memory[0] >> 20,
            "peak": max(memory) >> 20,
            "growth_in_second_half": (half[-1] - half[0]) >> 20,
        },
    }


def sentence(figures: dict) -> str:
    """The same in words."""
    calls, memory, machine = figures["calls"], figures["memory_mb"], figures["machine"]
    others = ", ".join(f"{count} {how}" for how, count in calls.items() if how != "done") or "no other ending"
    return (
        f"{figures['clients']} clients, {figures['seconds']:.0f} s, {machine['cores']} cores, load "
        f"{machine['load']:.0f} (other work included): {calls.get('done', 0)} drawings of 1024x1024 coloured, "
        f"{others}; median {figures['seconds_median']} s, 95 % within {figures['seconds_p95']} s. "
        f"Memory {memory['before']} MB before, {memory['peak']} MB at most, "
        f"{memory['growth_in_second_half']:+d} MB over the second half."
    )


def with_figures(text: str, figures: dict) -> str:
    """A page with the sentence between its markers."""
    before, rest = text.split(START)
    return f"{before}{START}\n{sentence(figures)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    main()
