"""Shards written by this machine: one after another, or several at a time in processes."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Sequence
from concurrent import futures
from typing import Any, NamedTuple

from tqdm import tqdm

from data_pipeline import command_line
from data_pipeline.shard_writing import ShardJob, write_shard

# A process takes some seconds to load TensorFlow, which fewer pictures would not earn back.
_PICTURES_A_PROCESS = 1000

# Of a worker process: what it shares with the one that started it.
_shared: dict = {}


def run_locally(jobs: Sequence[ShardJob], num_processes: int = 1, unit: str = "pictures") -> None:
    """Writes all shards, showing count, rate and time to go on stderr.

    Args:
      jobs: shards to write.
      num_processes: at least 1, or 0: as many as there are cores, if the pictures are worth it.
      unit: what is counted, in the plural.

    Raises:
      ValueError: a source is bad and its job stops at that; or `num_processes` is negative.
      OSError: a worker process ended by itself, for lack of memory perhaps.
    """
    if num_processes < 0:
        raise ValueError(f"num_processes must be at least 0, got {num_processes}.")
    total = sum(len(job.sources) for job in jobs)
    if total == 0:
        return
    most = num_processes or min(os.cpu_count() or 1, total // _PICTURES_A_PROCESS)
    title = os.path.basename(jobs[0].path).split("-")[0]
    with command_line.progress_bar(total, title, unit) as progress:
        if min(most, len(jobs)) <= 1:
            for job in jobs:
                write_shard(job, progress.update)
        else:
            _run_in_processes(jobs, min(most, len(jobs)), progress)


class _Pool(NamedTuple):
    """Worker processes and what they share with this one."""

    executor: futures.ProcessPoolExecutor
    # Both are read here without a lock: a process that was killed may have held it.
    counter: Any  # of all pictures they have made
    is_ending: Any  # 1: what is still being written is not worth finishing


@functools.cache  # Kept for the next split: to load TensorFlow takes a process some seconds.
def _pool(num_processes: int) -> _Pool:
    # Not forked: a copy of a process that runs TensorFlow can hang.
    context = multiprocessing.get_context("spawn")
    counter, is_ending = context.Value("q", 0), context.RawValue("b", 0)
    executor = futures.ProcessPoolExecutor(
        num_processes, context, initializer=_start_worker, initargs=(counter, is_ending)
    )
    return _Pool(executor, counter, is_ending)


def _run_in_processes(jobs: Sequence[ShardJob], num_processes: int, progress: tqdm) -> None:
    pool = _pool(num_processes)
    before = _num_pictures(pool)
    try:
        running = {pool.executor.submit(_write_in_worker, job) for job in jobs}
        while running:
            finished, running = futures.wait(running, 0.2, futures.FIRST_EXCEPTION)
            progress.update(_num_pictures(pool) - before - progress.n)
            for future in finished:
                future.result()
    except BaseException as error:
        pool.is_ending.value = 1
        pool.executor.shutdown(wait=True, cancel_futures=True)
        _pool.cache_clear()
        if isinstance(error, futures.process.BrokenProcessPool):
            raise OSError(
                "a worker process ended by itself, perhaps for lack of memory or at a spoilt file; "
                "start the conversion again with a smaller --num_processes, it goes on with what "
                "is left"
            ) from error
        raise


def _num_pictures(pool: _Pool) -> int:
    return pool.counter.get_obj().value


def _start_worker(counter: object, is_ending: object) -> None:
    """Keeps what is shared, and ends this process when the one that started it has gone."""
    _shared.update(counter=counter, is_ending=is_ending)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _write_in_worker(job: ShardJob) -> None:
    write_shard(job, _count_in_worker)


def _count_in_worker() -> None:
    with _shared["counter"].get_lock():
        _shared["counter"].value += 1
    if _shared["is_ending"].value:
        raise InterruptedError("another shard failed")
