"""Writes the newest checkpoint of a run as the next version of a servable model.

Example:
  python -m export.export_main --run_dir=runs/digits --export_dir=exports/digits
"""

import json
import os
import sys

import tensorflow as tf
from absl import app, flags

from export.trained_run import restore_run
from export.version_folder import folder_size, write_version

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


def _read_metrics(run_dir: str) -> dict:
    """Returns metrics.json of the run, empty where there is none."""
    path = os.path.join(run_dir, "metrics.json")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}); evaluate the run again") from error


def _export() -> str:
    run = restore_run(_RUN_DIR.value)
    metrics = _read_metrics(_RUN_DIR.value)
    return write_version(run, _EXPORT_DIR.value, version=_VERSION.value, metrics=metrics)


def main(argv: list[str]) -> None:
    """Writes one version; on bad input prints one line and exits with 1."""
    del argv
    try:
        folder = _export()
    except (ValueError, OSError, tf.errors.OpError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
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
    """Parses the flags and calls main."""
    flags.mark_flags_as_required(["run_dir", "export_dir"])
    app.run(main)


if __name__ == "__main__":
    run()
