"""Measures batch_main against predict_main: pictures a second, by the clock and of the processors.

Each command is timed on all pictures and on two of them, one for each process; the difference is
what the others take, so that loading TensorFlow and the model does not count. predict_main draws
overlays besides.

Example:
  python -m tests.benchmarks.bench_batch --model=rpe_tf/pretrained/nuclei \
    --images='nuclei/images/*.png' --index=nuclei/index.csv
"""

import csv
import glob
import os
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from tests.benchmarks.measurement import machine_facts

_MODEL = flags.DEFINE_string("model", None, "Folder of an exported model.", required=True)
_IMAGES = flags.DEFINE_string("images", None, "Glob of pictures.", required=True)
_INDEX = flags.DEFINE_string(
    "index", None, "A csv with id and split: only pictures of the split val; optional."
)
_REPEATS = flags.DEFINE_integer("repeats", 1, "Rounds; of each figure the best counts.", 1)

_NUM_FIRST = 2
_PROCESSES = "--beam_option=--direct_num_workers=2"
_COMMANDS = {
    "predict_main": ["export.predict_main"],
    "batch_main, 1 process": ["export.batch_main", "--write=json,png"],
    "batch_main, 2 processes": [
        *("export.batch_main", "--write=json,png", "--num_shards=8", _PROCESSES),
        "--beam_option=--direct_running_mode=multi_processing",
    ],
}


def time_command(command: list[str], paths: list[str]) -> tuple[float, float]:
    """Returns the seconds by the clock and of the processors that a command takes on pictures."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/in")
        for path in paths:
            os.symlink(os.path.abspath(path), f"{folder}/in/{os.path.basename(path)}")
        images = [f"--images={folder}/in", f"--output_dir={folder}/out"]
        arguments = [x for x in command if len(paths) > _NUM_FIRST or "num_shards" not in x]
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments, f"--model={_MODEL.value}", *images],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)  # its own workers with it
        if status:
            raise ValueError(f"{arguments} failed: {error.decode()[-2000:]}")
        return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def list_pictures() -> list[str]:
    """Returns the pictures to predict."""
    paths = sorted(glob.glob(_IMAGES.value))
    if _INDEX.value:
        with open(_INDEX.value, newline="", encoding="utf-8") as file:
            chosen = {row["id"] for row in csv.DictReader(file) if row["split"] == "val"}
        paths = [x for x in paths if os.path.splitext(os.path.basename(x))[0] in chosen]
    if len(paths) <= _NUM_FIRST:
        raise ValueError(f"{_IMAGES.value} must name more than two pictures, got {len(paths)}")
    return paths


def main(argv: list[str]) -> None:
    """Prints a row a command."""
    del argv
    paths = list_pictures()
    seconds = {name: [] for name in _COMMANDS}
    for _ in range(_REPEATS.value):  # In turn, since other work comes and goes.
        for name, command in _COMMANDS.items():
            whole, start_up = (
                time_command(command, paths),
                time_command(command, paths[:_NUM_FIRST]),
            )
            seconds[name].append([a - b for a, b in zip(whole, start_up, strict=True)])
    print(f"{len(paths)} pictures; {machine_facts(('tensorflow', 'apache-beam'))}")
    print("| command | pictures/s | ratio | pictures a processor second | ratio |")
    print("|---|---|---|---|---|")
    rates = {
        name: [(len(paths) - _NUM_FIRST) / min(column) for column in zip(*rows, strict=True)]
        for name, rows in seconds.items()
    }
    for name, (clock, processor) in rates.items():
        base = rates["predict_main"]
        print(
            f"| {name} | {clock:.2f} | {clock / base[0]:.2f} | {processor:.2f} | "
            f"{processor / base[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
