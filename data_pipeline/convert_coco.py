"""Writes shards of pictures annotated as COCO's instances are.

Example:
  python -m data_pipeline.convert_coco --input_dir=train2017 \\
      --annotations=annotations/instances_train2017.json --output_dir=/tmp/coco --split=train
"""

from __future__ import annotations

from absl import flags, logging

from data_pipeline import converter_command
from data_pipeline.coco import count_objects, list_coco, read_coco

flags.adopt_module_key_flags(converter_command)
_INPUT_DIR = flags.DEFINE_string("input_dir", None, "Folder of the pictures.")
_ANNOTATIONS = flags.DEFINE_string("annotations", None, "JSON file of the annotations.")
_SPLIT = flags.DEFINE_string("split", "train", "Name of the split.")
_SKIP_UNLABELLED = flags.DEFINE_bool(
    "skip_unlabelled", False, "Leave out pictures without any annotation."
)


def main(argv: list[str]) -> None:
    """Converts the set; raises ValueError on bad input."""
    del argv
    sources, classes = list_coco(
        _ANNOTATIONS.value, _INPUT_DIR.value, is_skipping_unlabelled=_SKIP_UNLABELLED.value
    )
    settings = {"input_dir": _INPUT_DIR.value, "annotations": _ANNOTATIONS.value}
    splits = {_SPLIT.value: sources}
    manifest = converter_command.convert_splits(
        read_coco, splits, classes=classes, settings=settings
    )
    entry = manifest["splits"][_SPLIT.value]
    skipped = {picture["name"] for picture in entry["skipped"]}
    annotated = count_objects(source for source in sources if source.name not in skipped)
    if annotated > entry["num_instances"]:
        logging.warning(
            "%d of %d annotated objects have no pixel: smaller ones cover them, or they are too "
            "small to fill one",
            *(annotated - entry["num_instances"], annotated),
        )


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["input_dir", "annotations"])
    converter_command.run_converter(main)


if __name__ == "__main__":
    run()
