"""Compares an export, in a new process without our packages, with the checkpoint it came from.

Example:
  python -m export.verify_main --run_dir=runs/digits --export_dir=exports/digits
"""

import sys

import numpy as np
from absl import flags

from data_pipeline import command_line
from data_pipeline.picture_files import read_picture
from export.parity import COMPARISONS, Comparison, Difference, Measures, compare, smooth_pictures
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


def _cells(measures: Measures, comparison: Comparison) -> list[str]:
    read_outs = (f"{x:{comparison.form}}" for x in (measures.read_out, measures.of_bytes))
    return [f"{measures.embedding:.1e}", *read_outs]


def _table(differences: list[Difference], comparison: Comparison) -> str:
    rows = [["batch", "embedding", comparison.column, "bytes", "pictures"]]
    for row in differences:
        shape = "×".join(str(side) for side in row.shape[:3])
        rows.append([shape, *_cells(row.measures, comparison), row.name])
    return "\n".join(
        f"{batch:>16}  {embedding:>9}  {read_out:>8}  {of_bytes:>8}  {pictures}"
        for batch, embedding, read_out, of_bytes, pictures in rows
    )


def main(argv: list[str]) -> int | None:
    """Prints the table of differences; returns 1 where the export differs."""
    del argv
    folder = find_version(_EXPORT_DIR.value)
    run = restore_run(_RUN_DIR.value)
    print(f"Checkpoint of {_RUN_DIR.value}, step {run.step}, and {folder} in a process of its own")
    comparison = COMPARISONS[run.settings["task"]]
    differences = compare(run, folder, _batches())
    print(_table(differences, comparison))
    wrong = [row.name for row in differences if not row.measures.is_within(comparison.limits)]
    if wrong:
        limits = _cells(comparison.limits, comparison)
        print(
            f"error: {folder} differs from the checkpoint of {_RUN_DIR.value} on "
            f"{len(wrong)} of {len(differences)} batches ({', '.join(wrong)}); allowed are "
            f"{limits[0]} in the embedding, {limits[1]} in {comparison.column}, {limits[2]} from "
            "bytes. Export the run again.",
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
