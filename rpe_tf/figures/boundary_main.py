"""Draws a run on boundaries and prints what its embedding encodes (Fig. 7, 14, 15 to 18).

Writes loss.png, disc.png, code.json, and a sheet a picture by the picture's name.

Example:
  python -m rpe_tf.figures.boundary_main --run_dir=runs/bsds --output_dir=runs/bsds/pictures
"""

from absl import flags

from data_pipeline import command_line
from rpe_tf.figures.boundary import draw_run
from rpe_tf.figures.boundary_code import table

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run on boundaries.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the pictures; made if absent.")
_SHARDS = flags.DEFINE_string(
    "shards", None, "Glob of the shards; default: the first of the run's eval_shards."
)
_NUM_PICTURES = flags.DEFINE_integer(
    "num_pictures", 8, "Pictures drawn, 0: all. The code is measured on all of them anyhow.", 0
)


def main(argv: list[str]) -> None:
    """Draws pictures, discs and losses; prints the table of R² and the paths."""
    del argv
    paths, code = draw_run(_RUN_DIR.value, _OUTPUT_DIR.value, _SHARDS.value, _NUM_PICTURES.value)
    print(table(code))
    if code["steps"]["before"] is None:
        print("no weights from before fine-tuning in this run: these rows are left out")
    print("files:", *paths, sep="\n  ")


if __name__ == "__main__":
    flags.mark_flags_as_required(["run_dir", "output_dir"])
    command_line.run(main)
