"""Has a server run its model on picture files, and writes what `predict_main` writes.

The server is TensorFlow Serving, or its stand-in `export.serve_main`. Pictures are read here, so
that all formats are served and EXIF rotations hold, and are sent as PNG.

Example:
  python -m export.rest_client_main --url=http://localhost:8501/v1/models/digits \
    --images='scenes/*.png' --output_dir=out
"""

from absl import flags

from data_pipeline import command_line
from export import remote_model
from export.picture_predictions import predict_files
from export.pictures import list_pictures, require_other_folder
from rpe_tf.saved_model import read_loaded

_URL = flags.DEFINE_string(
    "url", None, "Of the model, http://HOST:PORT/v1/models/NAME, or of one version, …/versions/N."
)
_IMAGES = flags.DEFINE_string("images", None, "A picture, a folder, or a glob in quotes.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the results; made if absent.")
_TIMEOUT_SECONDS = flags.DEFINE_float(
    "timeout_seconds", 60.0, "Seconds that one picture may take, above 0.", lower_bound=1e-3
)


def main(argv: list[str]) -> int | None:
    """Predicts all pictures; returns 1 if one of them failed."""
    del argv
    paths = list_pictures(_IMAGES.value)
    require_other_folder(paths, _OUTPUT_DIR.value)
    served = remote_model.connect(_URL.value, timeout_seconds=_TIMEOUT_SECONDS.value)
    return predict_files(read_loaded(served, _URL.value), paths, _OUTPUT_DIR.value)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["url", "images", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
