"""Writes the newest checkpoint of a run as the next version of a servable model.

Example:
  python -m export.export_main --run_dir=runs/digits --export_dir=exports/digits
"""

from absl import flags

from data_pipeline import command_line
from export.trained_run import restore_run
from export.version_folder import folder_size, write_version
from rpe_tf.run_folder import read_scores

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run.")
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", None, "Folder of the model, holding its numbered versions; made if absent."
)
_VERSION = flags.DEFINE_integer(
    "version",
    None,
    "Number of the version, at least 1; left out: one more than the largest there.",
    lower_bound=1,
)


def main(argv: list[str]) -> None:
    """Writes one version; raises ValueError or OSError on bad input."""
    del argv
    run = restore_run(_RUN_DIR.value)
    metrics = read_scores(_RUN_DIR.value)
    folder = write_version(run, _EXPORT_DIR.value, version=_VERSION.value, metrics=metrics)
    print(f"Wrote {folder} ({folder_size(folder) / 1e6:.1f} MB). Next:")
    print(
        f"  python -m export.verify_main --run_dir={_RUN_DIR.value} "
        f"--export_dir={_EXPORT_DIR.value}"
    )
    print(
        f"  python -m export.predict_main --model={_EXPORT_DIR.value} --images=PICTURES "
        "--output_dir=predictions"
    )


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["run_dir", "export_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
