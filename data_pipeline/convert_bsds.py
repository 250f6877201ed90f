"""Writes shards of BSDS500, splits train, val and test, with every annotator.

Example:
  python -m data_pipeline.convert_bsds --input_dir=BSR/BSDS500/data --output_dir=/tmp/bsds
"""

from __future__ import annotations

from absl import flags

from data_pipeline import converter_command
from data_pipeline.bsds import list_bsds, read_bsds

flags.adopt_module_key_flags(converter_command)
_INPUT_DIR = flags.DEFINE_string("input_dir", None, "Folder with images and groundTruth.")


def main(argv: list[str]) -> None:
    """Converts the set; raises ValueError on bad input."""
    del argv
    settings = {"input_dir": _INPUT_DIR.value}
    converter_command.convert_splits(read_bsds, list_bsds(_INPUT_DIR.value), settings=settings)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flag_as_required("input_dir")
    converter_command.run_converter(main)


if __name__ == "__main__":
    run()
