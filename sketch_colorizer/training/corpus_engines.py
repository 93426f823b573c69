"""Where the work runs: in this process, on all cores, or on a Ray cluster; the same function, the same results."""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import cv2
import pyarrow as pa

ENGINES = ("pool", "process", "ray")
_MAX_DEATHS = 3  # of workers over one task
_RAY_BLOCKS = 20_000


class EngineSettings(NamedTuple):
    """Where to work: `workers` of a pool or of a Ray started here (None: all cores), `address` of a Ray cluster."""

    engine: str = "pool"
    workers: int | None = None
    address: str | None = None

    def check(self) -> None:
        """Raise ValueError for what cannot be."""
        if self.engine not in ENGINES:
            raise ValueError(f"the engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.address is not None and self.engine != "ray":
            raise ValueError(f"--address belongs to --engine ray, got --engine {self.engine}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"there must be at least 1 worker, got {self.workers}")
        if self.engine == "ray":
            _import_ray()


class WorkerDied(NamedTuple):
    """What is left of a task whose worker was killed again and again."""

    task: Any


def run_tasks(function: Callable[[Any], Any], tasks: Iterable[Any], settings: EngineSettings) -> Iterator[Any]:
    """Results of `function` over the tasks, in any order. A task whose worker is killed is given to another one.

    Function, tasks and results must pickle; what the function raises is raised here.
    """
    tasks = list(tasks)
    if not tasks:
        return iter(())
    if settings.engine == "ray":
        return _run_on_ray(function, tasks, settings)
    workers = min(settings.workers or len(os.sched_getaffinity(0)), len(tasks))
    return map(function, tasks) if settings.engine == "process" else _run_in_pool(function, tasks, workers)


def _run_in_pool(function: Callable[[Any], Any], tasks: list[Any], workers: int) -> Iterator[Any]:
    suspects: list[Any] = []
    yield from _drain(function, deque(tasks), workers, suspects.extend)
    for task in suspects:  # alone, so that it is known whose fault it is
        for _ in range(_MAX_DEATHS):
            died: list[Any] = []
            yield from _drain(function, deque([task]), 1, died.extend)
            if not died:
                break
        else:
            yield WorkerDied(task)


def _drain(
    function: Callable[[Any], Any], waiting: deque[Any], workers: int, on_death: Callable[[list[Any]], None]
) -> Iterator[Any]:
    """Work through a queue; when a worker dies, hand over what was under way and go on with fresh ones."""
    while waiting:
        running: dict[Any, Any] = {}
        others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running[pool.submit(function, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    del running[future]
                    yield result
        except BrokenProcessPool:
            on_death(list(running.values()))
            running.clear()
        finally:
            for worker in set(multiprocessing.active_children()) - others if running else ():
                worker.terminate()  # interrupted: nobody waits for the results, and half-written files have no name yet
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One core for each worker, and no worker that outlives its parent."""
    _use_one_core()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C too, and ends its workers
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _use_one_core() -> None:
    cv2.setNumThreads(1)
    pa.set_cpu_count(1)


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise ValueError("--engine ray needs Ray: pip install 'sketch-colorizer[ray]'") from None
    return ray


def _run_on_ray(function: Callable[[Any], Any], tasks: list[Any], settings: EngineSettings) -> Iterator[Any]:
    ray = _import_ray()
    started_here = not ray.is_initialized()
    if started_here:
        local = {} if settings.address else {"num_cpus": settings.workers, "include_dashboard": False}
        try:
            ray.init(address=settings.address, log_to_driver=False, logging_level="warning", **local)
        except ConnectionError as error:
            hint = "is it running? One that asks for a token wants RAY_AUTH_MODE=token, or the address auto"
            raise ValueError(f"no connection to the Ray cluster {settings.address}: {error}; {hint}") from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what dies is told by WorkerDied
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars, context.max_errored_blocks
    context.enable_progress_bars, context.max_errored_blocks = False, -1  # a deadly task takes no other one with it
    try:
        rows = [{"number": number, "task": pickle.dumps(task)} for number, task in enumerate(tasks)]
        todo = ray.data.from_items(rows, override_num_blocks=min(len(rows), _RAY_BLOCKS))
        lost = set(range(len(rows)))
        with warnings.catch_warnings(action="ignore"):  # of max_retries as of 2.64, which nothing else sets yet
            done = todo.map(_RayTask(function), max_retries=_MAX_DEATHS - 1)
        for row in done.iter_rows():
            result, error = pickle.loads(row["result"])
            if error is not None:
                raise error
            lost.remove(row["number"])
            yield result
        yield from (WorkerDied(tasks[number]) for number in sorted(lost))
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"Ray failed, what is done is kept: {reason}. Run the same command again") from None
    finally:
        context.enable_progress_bars, context.max_errored_blocks = before
        if started_here:
            ray.shutdown()


class _RayTask:
    """The function as Ray Data wants it: from a row to a row, which holds the result, or what was raised."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        _use_one_core()
        try:
            outcome = self.function(pickle.loads(row["task"])), None
        except Exception as error:  # a lost block would not tell which task raised what
            outcome = None, error
        return {"number": row["number"], "result": pickle.dumps(outcome)}
