"""Writes shards of PASCAL VOC, of SBD, or of both as the usual 10,582 and 1,449 pictures.

Examples:
  python -m data_pipeline.convert_voc --input_dir=VOCdevkit/VOC2012 \\
      --sbd_dir=benchmark_RELEASE/dataset --output_dir=/tmp/voc
  python -m data_pipeline.convert_voc --input_dir=VOCdevkit/VOC2007 --output_dir=/tmp/voc2007
"""

from __future__ import annotations

from absl import flags

from data_pipeline import converter_command
from data_pipeline.voc import CLASS_NAMES, list_voc, read_voc

flags.adopt_module_key_flags(converter_command)
_INPUT_DIR = flags.DEFINE_string(
    "input_dir", None, "Folder of the devkit with JPEGImages and ImageSets, if it is to be read."
)
_SBD_DIR = flags.DEFINE_string(
    "sbd_dir", None, "SBD's folder dataset with img and inst, if it is to be read."
)


def main(argv: list[str]) -> None:
    """Converts the set; raises ValueError on bad input."""
    del argv
    splits = list_voc(_INPUT_DIR.value, _SBD_DIR.value)
    settings = {"input_dir": _INPUT_DIR.value, "sbd_dir": _SBD_DIR.value}
    converter_command.convert_splits(read_voc, splits, classes=CLASS_NAMES, settings=settings)


def run() -> None:
    """Starts the command; the console entry point."""
    converter_command.run_converter(main)


if __name__ == "__main__":
    run()
