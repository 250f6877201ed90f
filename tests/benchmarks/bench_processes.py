"""Images a second of a training in one process on two cores, and in two processes of one each.

  python -m tests.benchmarks.bench_processes --shards='shards/train-*' --json=processes.json

The recipe of digits at one global batch, with moments over all images of it, and with a norm that
needs none. Two processes stand for two hosts: they share the data, sum their gradients (and
moments, layer by layer) over the loopback at every step, and end with equal weights. The rate is
the median of the reports after the first.
"""

import json
import os
import pathlib
import statistics
import tempfile
from collections.abc import Sequence

from absl import app, flags

from rpe_tf import run_folder
from tests.clusters import finish, start_alone, start_hosts

_SHARDS = flags.DEFINE_string("shards", None, "Glob of digit shards to train on.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 60, "Steps of a row.", lower_bound=20)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Of all processes together.", lower_bound=2)
_JSON = flags.DEFINE_string("json", None, "File for the figures.")

_RECIPE = "rpe_tf/recipes/digits.flags"
_THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
_CORES = 2
_ROWS = (("batch", 1), ("batch", 2), ("group", 1), ("group", 2))


def images_per_second(norm: str, num_processes: int, folder: pathlib.Path) -> float:
    """Returns the rate of one training on _CORES cores.

    Raises:
      RuntimeError: if a process of it fails, with the end of what it said.
    """
    run_dir = folder / "run"
    arguments = [
        *(f"--flagfile={_RECIPE}", f"--run_dir={run_dir}", f"--train_shards={_SHARDS.value}"),
        *(f"--num_steps={_NUM_STEPS.value}", f"--batch_size={_BATCH_SIZE.value}"),
        *("--report_every=10", "--picture_every=0", "--embedding_only_fraction=0"),
        f"--norm={norm}",
    ]
    os.environ.update(dict.fromkeys(_THREADS, str(_CORES // num_processes)))
    if num_processes == 1:
        processes = [start_alone(*arguments)]
    else:
        processes = start_hosts(num_processes, folder / "own", *arguments)
    for process in processes:
        code, said = finish(process, timeout=3600)
        if code:
            raise RuntimeError(f"a training of {num_processes} processes failed: {said[-2000:]}")
    rows = run_folder.read_metrics(str(run_dir))
    return statistics.median(row["images_per_second"] for row in rows[1:])


def main(argv: Sequence[str]) -> None:
    """Prints a row a training, and writes the json."""
    del argv
    rates = []
    for norm, num_processes in _ROWS:
        with tempfile.TemporaryDirectory() as folder:
            rate = images_per_second(norm, num_processes, pathlib.Path(folder))
        rates.append({"norm": norm, "processes": num_processes, "images/s": rate})
        print(f"--norm={norm}, {num_processes} processes: {rate:.1f} images/s", flush=True)
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump(rates, file, indent=2)


if __name__ == "__main__":
    flags.mark_flag_as_required("shards")
    app.run(main)
