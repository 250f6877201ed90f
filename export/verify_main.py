"""Compares an export, in a new process without our packages, with the checkpoint it came from.

All outputs of all signatures are compared. A row of the table is a signature, by the pictures on
which it differs most; signatures with parameters are asked with the run's own and with others.

Example:
  python -m export.verify_main --run_dir=runs/digits --export_dir=exports/digits
"""

import itertools
import sys

import numpy as np
from absl import flags

from data_pipeline import command_line
from data_pipeline.picture_files import read_picture
from export.graph_ops import refuse_python_ops
from export.parity import LIMITS, Difference, compare, smooth_pictures
from export.pictures import list_pictures
from export.trained_run import restore_run
from rpe_tf.saved_model import find_version

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the trained run.")
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", None, "Folder of the exported model (its newest version) or of one version."
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Pictures to compare on as well: a file, a folder or a glob in quotes."
)


def _batches() -> dict[str, np.ndarray]:
    """Returns the pictures to compare on, by name: two sizes, a batch and a single picture."""
    batches = {
        "random, batch of 2": smooth_pictures(0, 2, 61, 83),
        "random, single": smooth_pictures(1, 1, 128, 96),
    }
    if _IMAGES.value:
        for path in list_pictures(_IMAGES.value):
            batches[path] = read_picture(path)[np.newaxis]
    return batches


def _excess(row: Difference) -> float:
    """Returns the largest measure in parts of its limit; infinity for what has no limit but 0."""
    numbers, pixels, untied = row.measures
    parts = [numbers / LIMITS.numbers, pixels / LIMITS.pixels, np.inf if untied else 0.0]
    return float(np.max(np.nan_to_num(parts, nan=np.inf)))


def _table(differences: list[Difference]) -> str:
    lines = [f"{'signature':<28}  {'numbers':>7}  {'pixels':>7}  most on"]
    for case, rows in itertools.groupby(differences, key=lambda row: row.case):
        worst = max(rows, key=_excess)
        name, _, label = case.partition(":")
        shown = f"{name}, {label}" if label else name
        numbers, pixels, _ = worst.measures
        lines.append(f"{shown:<28}  {numbers:7.1e}  {pixels:7.3%}  {worst.batch}")
    return "\n".join(lines)


def main(argv: list[str]) -> int | None:
    """Prints the table of differences; returns 1 where the export differs."""
    del argv
    folder = find_version(_EXPORT_DIR.value)
    ops = refuse_python_ops(folder)
    run, batches = restore_run(_RUN_DIR.value), _batches()
    print(f"Checkpoint of {_RUN_DIR.value}, step {run.step}, and {folder} in a process of its own")
    print(f"{ops.total()} nodes of {len(ops)} ops, all of TensorFlow itself, none calls Python")
    for name, images in batches.items():
        print(f"{'×'.join(str(side) for side in images.shape[:3]):>16}  {name}")
    differences = compare(run, folder, batches)
    print(_table(differences))
    wrong = [row for row in differences if not row.measures.is_within(LIMITS)]
    if wrong:
        cases = dict.fromkeys(row.case for row in wrong)
        names = dict.fromkeys(row.batch for row in wrong)
        print(
            f"error: {folder} differs from the checkpoint of {_RUN_DIR.value} in "
            f"{', '.join(cases)} on {len(names)} of {len(batches)} batches ({', '.join(names)}); "
            f"allowed are {LIMITS.numbers:.0e} in numbers and, tied between two choices, "
            f"{LIMITS.pixels:.1%} of the pixels of a map. Export the run again.",
            file=sys.stderr,
        )
        return 1
    print("The export answers as the checkpoint.")
    return None


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["run_dir", "export_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
