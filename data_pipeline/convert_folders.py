"""Writes shards of a folder of pictures and a folder of their label maps.

A label map numbers the instances of its picture: 0 is background; void is 255 in files of 8 bits,
65535 in files of 16, -1 where numbers have a sign. With --label_coding=class_and_id its numbers are
class · 1000 + instance, as in Cityscapes.

Examples:
  python -m data_pipeline.convert_folders --images=nuclei/images --labels=nuclei/labels \\
      --split_file=nuclei/index.csv --output_dir=/tmp/nuclei
  python -m data_pipeline.convert_folders --images=leftImg8bit/train --labels=gtFine/train \\
      --image_suffix=_leftImg8bit --label_suffix=_gtFine_instanceIds \\
      --label_coding=class_and_id --output_dir=/tmp/cityscapes
"""

from __future__ import annotations

import functools

from absl import flags

from data_pipeline import converter_command, folders, splits
from data_pipeline.class_and_id import CITYSCAPES_CLASSES, CITYSCAPES_THINGS
from data_pipeline.labelled_picture import Source

flags.adopt_module_key_flags(converter_command)
_IMAGES = flags.DEFINE_string("images", None, "Folder of the pictures, sub-folders included.")
_LABELS = flags.DEFINE_string(
    "labels", None, "Folder of the instance maps: PNG, TIFF or NPY of the pictures' names."
)
_CLASSES_DIR = flags.DEFINE_string(
    "classes_dir", None, "Folder of class maps: 0 background, void 255 in files of 8 bits."
)
_IMAGE_SUFFIX = flags.DEFINE_string(
    "image_suffix", "", "What ends a picture's name, such as _leftImg8bit or .jpg."
)
_LABEL_SUFFIX = flags.DEFINE_string(
    "label_suffix", "", "What ends an instance map's name in its place."
)
_CLASS_SUFFIX = flags.DEFINE_string(
    "class_suffix", "", "What ends a class map's name in its place."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file of class names, one a line, the background first."
)
_LABEL_CODING = flags.DEFINE_enum(
    "label_coding",
    "ids",
    ["ids", "class_and_id"],
    "Numbers of the label maps: ids of instances, or class * 1000 + instance, a class alone below "
    "1000. Classes are those Cityscapes trains on, or with --class_names those of the file.",
)
_THING_CLASSES = flags.DEFINE_list(
    "thing_classes",
    None,
    "For class_and_id, the numbers of classes that have instances; one alone is a group, so void. "
    f"Default without --class_names: Cityscapes' {','.join(map(str, CITYSCAPES_THINGS))}.",
)
_RENUMBER = flags.DEFINE_bool("renumber", False, "Number instances 1, 2, ...; ids end at 65534.")
_SPLIT = flags.DEFINE_string(
    "split", None, "Name of the split, by default train; or the one of --split_file to write."
)
_SPLIT_FILE = flags.DEFINE_string(
    "split_file", None, "CSV with columns id (file name without ending) and split; writes each."
)
_VAL_FRACTION = flags.DEFINE_float(
    "val_fraction", 0.0, "Share in [0, 1) of the pictures for the split val, chosen by their names."
)


def main(argv: list[str]) -> None:
    """Converts the folders; raises ValueError on bad input."""
    del argv
    class_index, things, names = _classes()
    read = functools.partial(
        folders.read_pair,
        class_index=class_index,
        things=things,
        is_renumbering=_RENUMBER.value,
    )
    # Each of these changes what is read, so a change must make the shards anew.
    settings = {
        "images": _IMAGES.value,
        "labels": _LABELS.value,
        "classes_dir": _CLASSES_DIR.value,
        "label_coding": _LABEL_CODING.value,
        "thing_classes": list(things),
        "renumber": _RENUMBER.value,
    }
    converter_command.convert_splits(read, _splits(), classes=names, settings=settings)


def _classes() -> tuple[dict[int, int] | None, tuple[int, ...], list[str]]:
    """Returns index by class of the coding, the classes with instances, and names by index."""
    names = folders.read_class_names(_CLASS_NAMES.value) if _CLASS_NAMES.value else []
    if _LABEL_CODING.value == "ids":
        if _THING_CLASSES.value:
            raise ValueError("--thing_classes needs --label_coding=class_and_id")
        return None, (), names
    if _CLASSES_DIR.value:
        raise ValueError("--label_coding=class_and_id has the classes; leave out --classes_dir")
    if names and not _THING_CLASSES.value:
        raise ValueError("--label_coding=class_and_id with --class_names needs --thing_classes")
    things = _thing_classes()
    if names:
        return {k: k for k in range(len(names))}, things, names
    index = {number: k for k, number in enumerate(CITYSCAPES_CLASSES, 1)}
    return index, things, ["background", *CITYSCAPES_CLASSES.values()]


def _thing_classes() -> tuple[int, ...]:
    try:
        return tuple(int(x) for x in _THING_CLASSES.value or CITYSCAPES_THINGS)
    except ValueError as error:
        raise ValueError(
            f"--thing_classes must be numbers separated by commas, got {_THING_CLASSES.value}"
        ) from error


def _splits() -> dict[str, list[Source]]:
    sources = folders.list_pairs(
        folders.FileKind(_IMAGES.value, _IMAGE_SUFFIX.value),
        folders.FileKind(_LABELS.value, _LABEL_SUFFIX.value),
        _CLASSES_DIR.value and folders.FileKind(_CLASSES_DIR.value, _CLASS_SUFFIX.value),
    )
    if not _SPLIT_FILE.value:
        return splits.split_by_hash(sources, _SPLIT.value or "train", _VAL_FRACTION.value)
    if _VAL_FRACTION.value:
        raise ValueError("--split_file and --val_fraction exclude each other")
    return splits.split_by_file(sources, _SPLIT_FILE.value, _SPLIT.value)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["images", "labels"])
    converter_command.run_converter(main)


if __name__ == "__main__":
    run()
