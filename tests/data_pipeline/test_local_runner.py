"""Shards by several processes: the same bytes, and an end that is heard of."""

import functools
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from data_pipeline import conversion, digit_shards, local_runner
from data_pipeline.labelled_picture import Source
from data_pipeline.local_runner import run_locally

# What other processes run must be found by its name: a reader of the package, not of this file.
_READ = functools.partial(
    digit_shards._compose,
    scans=np.ones((4, 28, 28), np.float32),
    classes=np.arange(4),
    **{"seed": 0, "same_class_fraction": 0.0, "scene_size": 64, "min_digits": 1},
)
_SOURCES = [Source(f"train_{k}", details=["train", k]) for k in range(40)]


def _write(folder, num_processes):
    run = functools.partial(run_locally, num_processes=num_processes)
    conversion.write_split(_READ, _SOURCES, str(folder), "train", num_shards=5, run=run)
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def test_run_locally_gives_the_same_bytes_for_any_number_of_processes(tmp_path, capfd):
    alone = _write(tmp_path / "one", 1)
    assert len(alone) == 6
    assert _write(tmp_path / "two", 2) == alone
    assert capfd.readouterr().err.count("40/40") == 2


def test_run_locally_says_that_a_process_was_killed_and_can_go_on(tmp_path):
    def kill_one():
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(OSError, match="ended by itself, perhaps for lack of memory"):
        _write(tmp_path / "killed", 2)
    killer.join()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert _write(tmp_path / "killed", 2) == _write(tmp_path / "undisturbed", 1)


def test_run_locally_hears_of_a_process_that_was_killed_while_it_held_the_lock(tmp_path):
    pool = local_runner._pool(2)

    def hold_and_kill():
        pool.counter.get_lock().acquire()  # For good, as one holds it who was killed.
        is_held.set()
        while not pool.executor._processes:
            time.sleep(0.01)
        time.sleep(0.5)  # The main thread is at its loop by now.
        os.kill(next(iter(pool.executor._processes)), signal.SIGKILL)

    is_held = threading.Event()
    killer = threading.Thread(target=hold_and_kill)
    killer.start()
    is_held.wait()
    with pytest.raises(OSError, match="ended by itself"):
        _write(tmp_path / "killed", 2)
    killer.join()
    assert _write(tmp_path / "killed", 2).keys() > {"manifest.json"}


def test_run_locally_refuses_a_negative_number():
    with pytest.raises(ValueError, match="num_processes must be at least 0, got -1"):
        run_locally([], num_processes=-1)
