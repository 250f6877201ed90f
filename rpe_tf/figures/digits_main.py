"""Draws a run on digit scenes and prints its scores as a table.

Example:
  python -m rpe_tf.figures.digits_main --run_dir=runs/digits --output_dir=runs/digits/pictures
"""

import os
import time

from absl import flags

from data_pipeline import command_line
from rpe_tf import run_folder
from rpe_tf.figures.digits import draw_run, table

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the pictures; made if absent.")
_STARTED = flags.DEFINE_float(
    "started", None, "Seconds since 1970 at which the demo began; its length goes to metrics.json."
)
_NUM_SCENES = flags.DEFINE_integer("num_scenes", 6, "Scenes a split that are drawn.", 1)


def main(argv: list[str]) -> None:
    """Draws scenes, the loss, and for D = 3 the sphere; prints the table and the paths."""
    del argv
    paths = draw_run(_RUN_DIR.value, _OUTPUT_DIR.value, _NUM_SCENES.value)
    scores = run_folder.read_scores(_RUN_DIR.value)
    if _STARTED.value is not None:
        scores["total_seconds"] = round(time.time() - _STARTED.value, 1)
        run_folder.write_json(os.path.join(_RUN_DIR.value, "metrics.json"), scores)
    print(table(scores))
    print("pictures:", *paths, sep="\n  ")


if __name__ == "__main__":
    flags.mark_flags_as_required(["run_dir", "output_dir"])
    command_line.run(main)
