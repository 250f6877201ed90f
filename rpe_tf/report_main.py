"""Writes the report of a run: one HTML file with curves, scores, pictures and settings.

Example:
  python -m rpe_tf.report_main --run_dir=runs/mine --shards='shards/val-*'
"""

from absl import flags

from data_pipeline import command_line
from data_pipeline.shards import list_shards
from rpe_tf.report import NUM_LOOKED, write_report

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a run.")
_SHARDS = flags.DEFINE_string(
    "shards",
    None,
    "Labelled pictures, a glob in quotes; left out: the first --eval_shards of the run.",
)
_SCORES = flags.DEFINE_string("scores", None, "Json that evaluate_main wrote. Default: none.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Of the HTML file; left out: report.html in the run's folder."
)
_NUM_LOOKED = flags.DEFINE_integer(
    "num_looked",
    NUM_LOOKED,
    "First pictures among which the best and the worst are, at the most; 0: none.",
    lower_bound=0,
)


def main(argv: list[str]) -> None:
    """Writes the report and prints its path."""
    del argv
    path = write_report(
        _RUN_DIR.value,
        shards=list_shards(_SHARDS.value) if _SHARDS.value else None,
        scores_path=_SCORES.value,
        output=_OUTPUT.value,
        num_looked=_NUM_LOOKED.value,
    )
    print(f"wrote {path}")


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["run_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
