"""Has a server run its model on picture files over gRPC, and writes what `predict_main` writes.

The server is TensorFlow Serving. Pictures are read here, so that all formats are served and EXIF
rotations hold, and are sent as PNG.

Example:
  python -m export.grpc_client_main --address=localhost:8500 --model_name=digits \
    --images='scenes/*.png' --output_dir=out
"""

from absl import flags

from data_pipeline import command_line
from export.picture_predictions import predict_files
from export.pictures import list_pictures, require_other_folder
from rpe_tf.saved_model import read_loaded

_ADDRESS = flags.DEFINE_string("address", "localhost:8500", "HOST:PORT of the server's gRPC.")
_MODEL_NAME = flags.DEFINE_string("model_name", None, "What the server calls the model.")
_VERSION = flags.DEFINE_integer(
    "version", None, "Number of the version, at least 1; left out: the newest.", lower_bound=1
)
_LABEL = flags.DEFINE_string("label", None, "Label of the version, such as stable.")
_IMAGES = flags.DEFINE_string("images", None, "A picture, a folder, or a glob in quotes.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the results; made if absent.")
_TIMEOUT_SECONDS = flags.DEFINE_float(
    "timeout_seconds", 60.0, "Seconds that one picture may take, above 0.", lower_bound=1e-3
)


def main(argv: list[str]) -> int | None:
    """Predicts all pictures; returns 1 if one of them failed."""
    del argv
    try:
        from export import grpc_client
    except ModuleNotFoundError as error:
        raise ValueError(f"gRPC needs {error.name}: pip install '.[serving]'") from error
    if _VERSION.value is not None and _LABEL.value is not None:
        raise ValueError("--version and --label exclude each other; give one of them")
    paths = list_pictures(_IMAGES.value)
    require_other_folder(paths, _OUTPUT_DIR.value)
    address = grpc_client.Address(
        *(_ADDRESS.value, _MODEL_NAME.value, _VERSION.value, _LABEL.value, _TIMEOUT_SECONDS.value)
    )
    served = read_loaded(grpc_client.connect(address), f"{_MODEL_NAME.value} at {_ADDRESS.value}")
    return predict_files(served, paths, _OUTPUT_DIR.value)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model_name", "images", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
