"""Writes shards of pictures with one mask file an instance.

The folder is laid out as <id>/images/<id>.png with <id>/masks/*.png, such as the Data Science Bowl
2018, or as images/<id>.png with masks/<id>/*.png. Where masks overlap, the smaller one is in front.

Example:
  python -m data_pipeline.convert_mask_files --input_dir=stage1_train --output_dir=/tmp/nuclei
"""

from __future__ import annotations

from absl import flags

from data_pipeline import converter_command
from data_pipeline.mask_files import list_mask_files, read_mask_files

flags.adopt_module_key_flags(converter_command)
_INPUT_DIR = flags.DEFINE_string("input_dir", None, "Folder of the pictures and masks.")
_SPLIT = flags.DEFINE_string("split", "train", "Name of the split.")


def main(argv: list[str]) -> None:
    """Converts the folder; raises ValueError on bad input."""
    del argv
    splits = {_SPLIT.value: list_mask_files(_INPUT_DIR.value)}
    settings = {"input_dir": _INPUT_DIR.value}
    converter_command.convert_splits(read_mask_files, splits, settings=settings)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flag_as_required("input_dir")
    converter_command.run_converter(main)


if __name__ == "__main__":
    run()
