"""Writes shards of MNIST, splits train and test, a digit a picture.

Scenes of several digits: `python -m data_pipeline.make_digits --source=mnist`.

Example:
  python -m data_pipeline.convert_mnist --input_dir=mnist --output_dir=/tmp/mnist
"""

from __future__ import annotations

from absl import flags

from data_pipeline import converter_command
from data_pipeline.digits import CLASS_NAMES
from data_pipeline.mnist import list_mnist, mnist_digest, read_mnist

flags.adopt_module_key_flags(converter_command)
_INPUT_DIR = flags.DEFINE_string(
    "input_dir", None, "Folder of the four MNIST idx files, plain or .gz."
)


def main(argv: list[str]) -> None:
    """Converts the set; raises ValueError on bad input."""
    del argv
    settings = {"input_dir": _INPUT_DIR.value, "scans_sha256": mnist_digest(_INPUT_DIR.value)}
    splits = list_mnist(_INPUT_DIR.value)
    converter_command.convert_splits(read_mnist, splits, classes=CLASS_NAMES, settings=settings)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flag_as_required("input_dir")
    converter_command.run_converter(main)


if __name__ == "__main__":
    run()
