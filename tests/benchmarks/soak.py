"""Trains a tiny model for many steps, and tells whether its memory stays flat.

  python -m tests.benchmarks.soak --num_steps=2000

A training as a user starts it, with checkpoints, scores and pictures on the way. Its resident
memory is sampled; the median of the last quarter of the steps must not be more than 2 % above that
of the second. The first is not judged: TensorFlow's pools and caches fill there.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from rpe_tf import run_folder
from tests.stripes import write_stripes

_NUM_STEPS = flags.DEFINE_integer("num_steps", 2000, "Steps of the training.", lower_bound=100)
_TASK = flags.DEFINE_string("task", "proposals", "Task that is trained.")
_JSON = flags.DEFINE_string("json", None, "File for the samples: step and MiB of each.")

_ROOT = pathlib.Path(__file__).parents[2]
_MOST_GROWTH = 0.02
_SECONDS = 0.25  # Between samples.
_FLAGS = (
    *("--width=8", "--num_levels=2", "--embedding_dim=4", "--batch_size=4", "--num_pixels=64"),
    *("--crop_size=24,24", "--report_every=10", "--save_every=100", "--eval_every=200"),
)


def main(argv):
    """Prints the medians of each quarter; returns 1 if the last is too far above the second."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        write_stripes(folder)
        samples = sample_training(folder)
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump(samples, file)
    medians = quarters(samples, _NUM_STEPS.value)
    print("resident memory, medians of the quarters: " + ", ".join(f"{x:.1f}" for x in medians))
    growth = medians[3] / medians[1] - 1
    print(f"{_NUM_STEPS.value:,} steps: last quarter {growth:+.2%} of the second")
    return int(growth > _MOST_GROWTH)


def sample_training(folder):
    """[(step, MiB)] of a training on the shards in folder."""
    command = [
        *(sys.executable, "train_main.py", f"--task={_TASK.value}", f"--run_dir={folder}/run"),
        *(f"--train_shards={folder}/train-*", f"--eval_shards={folder}/train-*"),
        *(f"--num_steps={_NUM_STEPS.value}", *_FLAGS),
    ]
    log = pathlib.Path(folder, "log.txt")
    with open(log, "w", encoding="utf-8") as file:  # A pipe that nobody reads would stop it.
        process = subprocess.Popen(
            command, cwd=_ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, stderr=file
        )
    samples = []
    while process.poll() is None:
        rows = run_folder.read_metrics(f"{folder}/run")
        mib = _resident_mib(process.pid)
        if rows and mib and rows[-1]["step"] < _NUM_STEPS.value:
            samples.append((rows[-1]["step"], mib))
        time.sleep(_SECONDS)
    if process.returncode:
        raise RuntimeError(log.read_text(encoding="utf-8"))
    return samples


def quarters(samples, num_steps):
    """Medians of the samples of each quarter of the steps."""
    return [
        statistics.median(mib for step, mib in samples if k <= 4 * step / num_steps < k + 1)
        for k in range(4)
    ]


def _resident_mib(pid):
    """Resident memory of a process in MiB, None if it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        return None
    return int(fields["VmRSS"].split()[0]) / 1024 if "VmRSS" in fields else None


if __name__ == "__main__":
    app.run(main)
