"""Writes the newest checkpoint of a run as the next version of a servable model.

Or the weights of an export that is there already: its answers are the same, its signatures and the
files that describe it are those of this version of the program.

Beside the versions it leaves configuration files of TensorFlow Serving, for docs/serving.md.

Example:
  python -m export.export_main --run_dir=runs/digits --export_dir=exports/digits
"""

from absl import flags

from data_pipeline import command_line
from export.serving_config import write_serving_config
from export.trained_run import restore_export, restore_run
from export.version_folder import folder_size, write_version
from rpe_tf.run_folder import read_scores

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run.")
_FROM_EXPORT = flags.DEFINE_string(
    "from_export", None, "In place of --run_dir: folder of an exported model or of one version."
)
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
    if (_RUN_DIR.value is None) == (_FROM_EXPORT.value is None):
        raise ValueError("give either --run_dir or --from_export")
    if _FROM_EXPORT.value is not None:
        run, metrics = restore_export(_FROM_EXPORT.value)
    else:
        run, metrics = restore_run(_RUN_DIR.value), read_scores(_RUN_DIR.value)
    folder = write_version(run, _EXPORT_DIR.value, version=_VERSION.value, metrics=metrics)
    print(f"Wrote {folder} ({folder_size(folder) / 1e6:.1f} MB)")
    for path in write_serving_config(_EXPORT_DIR.value):
        print(f"Wrote {path}")
    print("Next:")
    if _RUN_DIR.value is not None:
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
    flags.mark_flag_as_required("export_dir")
    command_line.run(main)


if __name__ == "__main__":
    run()
