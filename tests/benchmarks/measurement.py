"""What the benchmark reads off its own process: seconds, memory, rate of matrix products."""

import ctypes
import gc
import importlib.metadata
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

PRODUCT_SIDE = 2048

_SAMPLE_EVERY_S = 0.005
_MOST_REPEATS = 5
_REPEATS_BUDGET_S = 20.0
# From here on the first call is the figure: what it does once is small beside this.
_SLOW_CALL_S = 60.0


class Timing(NamedTuple):
    """What `time_calls` returns."""

    seconds: float  # median
    repeats: int  # calls it is the median of
    result: Any  # of the last call


class PeakMemory:
    """Samples the resident memory of this process until it is stopped."""

    def __init__(self) -> None:
        """Starts the samples."""
        self._peak = resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_EVERY_S):
            self._peak = max(self._peak, resident_bytes())

    def stop(self) -> int:
        """Returns the largest resident memory seen, in bytes."""
        self._stop.set()
        self._thread.join()
        return max(self._peak, resident_bytes())


def resident_bytes() -> int:
    """Returns the memory this process has resident."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def time_calls(call: Callable[[], Any]) -> Timing:
    """Returns the median time of some calls after a first one, which traces and compiles.

    At most 5 calls, none begun once 20 s are spent. A first call of more than 60 s stands alone.
    """
    start = time.perf_counter()
    result = call()
    first = time.perf_counter() - start
    if first > _SLOW_CALL_S:
        return Timing(first, 1, result)
    times = []
    while len(times) < _MOST_REPEATS and sum(times) < _REPEATS_BUDGET_S:
        # Else the last result would count as memory of the next call.
        del result
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return Timing(statistics.median(times), len(times), result)


def product_seconds(square_product: Callable[[], Any]) -> list[float]:
    """Returns the seconds of 10 products of two square matrices, after a first one.

    Args:
      square_product: computes one product of side PRODUCT_SIDE.
    """
    square_product()
    times = []
    for _ in range(10):
        start = time.perf_counter()
        square_product()
        times.append(time.perf_counter() - start)
    return times


def product_gflops(seconds: list[float]) -> float:
    """Returns the median rate of such products, in GFLOP/s."""
    return 2 * PRODUCT_SIDE**3 / statistics.median(seconds) / 1e9


def release_memory() -> None:
    """Gives freed memory back to the system, so that what comes next cannot use it unseen."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library alone
    if trim is not None:
        trim(0)


def machine_facts(packages: Sequence[str]) -> dict:
    """Returns what the figures depend on: processor, cores, Python, versions of the packages."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **versions,
    }
