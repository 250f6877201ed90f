"""Checks shards from end to end: damage, records, labels, and what their manifest says.

Exit code 1 if anything is wrong, 0 else.

Example:
  python -m data_pipeline.inspect_main --shards='/tmp/digits/train-*' --picture=/tmp/sheet.png
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from data_pipeline import augment, augmentation_flags, command_line, inspection, shards
from data_pipeline.label_statistics import describe_statistics, find_segments
from data_pipeline.labelled_picture import LabelledPicture
from data_pipeline.shard_writing import write_json
from rpe_tf import drawing

flags.adopt_module_key_flags(augmentation_flags)
_SHARDS = flags.DEFINE_string(
    "shards", None, "Shards: a glob, or several separated by commas, such as '/data/train-*'."
)
_JSON = flags.DEFINE_string("json", None, "File for counts, statistics and faults; optional.")
_PICTURE = flags.DEFINE_string(
    "picture", None, "PNG file for pictures with their labels drawn in; optional."
)
_NUM_PICTURES = flags.DEFINE_integer("num_pictures", 12, "Pictures drawn.", lower_bound=1)
_NUM_AUGMENTED = flags.DEFINE_integer(
    "num_augmented",
    0,
    "Versions of each drawn beside it, changed as in training.",
    0,
)

_SHOWN_NAMES, _SHOWN_FAULTS = 5, 50
_SIDE_PX = 320  # Longest side of a picture drawn.
_STRIP_PX = 16  # Of text above each.
_NUMBER_PX = 12
_MAX_NUMBERS = 60  # More would cover the picture; the largest instances have theirs.
_MIN_NUMBERED_PX = 40  # Area, as shown; a number would hide a smaller instance.


def main(argv: list[str]) -> int:
    """Checks the shards and returns the exit code; raises ValueError where there are none."""
    del argv
    paths = shards.list_shards(_SHARDS.value)
    for path in filter(None, (_JSON.value, _PICTURE.value)):
        tf.io.gfile.makedirs(os.path.dirname(path) or ".")  # Fails before the work, not after.
    found = inspection.inspect_shards(paths)
    if found.statistics:
        print(describe_statistics(found.statistics, found.classes))
    for note, names in sorted(found.notes.items()):
        print(f"{len(names)} pictures with {note}: {_some(names, _SHOWN_NAMES, ', ')}")
    if _JSON.value:
        write_json(_JSON.value, inspection.summarize(found))
    if _PICTURE.value:
        pictures = list(inspection.spread_pictures(found, _NUM_PICTURES.value))
        augmented = [
            _augmented(picture, number, _NUM_AUGMENTED.value)
            for number, (_, picture) in enumerate(pictures)
        ]
        _write_sheet(pictures, augmented, found.classes, _PICTURE.value)
    if not found.faults:
        print(f"{len(paths)} shards: no fault")
        return 0
    print(f"{len(found.faults)} faults:", file=sys.stderr)
    print(_some(found.faults, _SHOWN_FAULTS, "\n"), file=sys.stderr)
    return 1


def _some(lines: Sequence[str], num: int, separator: str) -> str:
    more = [f"and {len(lines) - num} more"] if len(lines) > num else []
    return separator.join([*lines[:num], *more])


def _augmented(picture: LabelledPicture, number: int, num: int) -> list[LabelledPicture]:
    """Returns versions of a picture as training would see them; its number and theirs draw them."""
    augmentation = augmentation_flags.augmentation_from_flags()
    example = {"image": tf.constant(picture.image), "instance": tf.constant(picture.instance)}
    versions = []
    for k in range(num if augmentation else 0):
        seeded = example | {"seed": tf.constant([number, k])}
        version = augment.augment(seeded, augmentation, crop_size=None, stride=1)
        versions.append(LabelledPicture(version["image"].numpy(), version["instance"].numpy()))
    return versions


def _write_sheet(
    pictures: Sequence[tuple[str, LabelledPicture]],
    augmented: Sequence[Sequence[LabelledPicture]],
    classes: Sequence[str],
    path: str,
) -> None:
    if not pictures:
        print(f"there is no picture to draw, so {path} is not written", file=sys.stderr)
        return
    content = io.BytesIO()
    draw_sheet(pictures, classes, augmented).save(content, "PNG")
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content.getvalue())


def draw_sheet(
    pictures: Sequence[tuple[str, LabelledPicture]],
    classes: Sequence[str],
    augmented: Sequence[Sequence[LabelledPicture]] = (),
) -> Image.Image:
    """Returns a sheet of pictures, each beside its instances with their ids.

    Columns of classes, and of how many annotators drew a boundary at each pixel, are there if any
    of the pictures has such. Large pictures are reduced, small ones enlarged.

    Args:
      pictures: name and content, at least one; images are arrays.
      classes: class names, index = semantic id.
      augmented: for each picture, equally many versions to draw beside it.
    """
    columns = ["image", "instances"]
    if any(picture.semantic is not None for _, picture in pictures):
        columns.append("classes")
    if any(picture.annotator_boundary is not None for _, picture in pictures):
        columns.append("annotators")
    num_augmented = len(augmented[0]) if augmented else 0
    columns += [f"augmented {k + 1}" for k in range(num_augmented)]
    groups = []
    for number, (name, picture) in enumerate(pictures):
        cells = _cells(name, picture, classes)
        for k in range(num_augmented):
            cells[f"augmented {k + 1}"] = _overlaid(augmented[number][k])
        blank = np.full_like(cells["image"], 255)
        groups.append([cells.get(column, blank) for column in columns])
    # About as wide as high, so that a screen shows it whole.
    num_beside = max(1, round((len(groups) / len(columns)) ** 0.5))
    groups += [[np.full((1, 1, 3), 255, np.uint8)] * len(columns)] * (-len(groups) % num_beside)
    rows = [
        [cell for group in groups[k : k + num_beside] for cell in group]
        for k in range(0, len(groups), num_beside)
    ]
    return drawing.contact_sheet(rows, columns * num_beside)


def _overlaid(picture: LabelledPicture) -> np.ndarray:
    height, width = picture.instance.shape
    pick = _shown_pixels(height, width)
    shown = drawing.overlay(_shown_image(picture.image, pick), picture.instance[pick])
    return _under_words(shown, [(f"{width} x {height} px", 0)])


def _cells(name: str, picture: LabelledPicture, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns what is drawn of a picture, by column."""
    height, width = picture.instance.shape
    pick = _shown_pixels(height, width)
    image, instance = _shown_image(picture.image, pick), picture.instance[pick]
    num = len(np.unique(picture.instance[picture.instance > 0]))
    cells = {
        "image": _under_words(image, [(name, 0)]),
        "instances": _under_words(
            _numbered(image, instance), [(f"{num} instances, {width} x {height} px", 0)]
        ),
    }
    if picture.semantic is not None:
        found = np.unique(picture.semantic[picture.semantic > 0])
        names = [(classes[k] if k < len(classes) else f"class {k}", k) for k in found]
        painted = drawing.paint_instances(picture.semantic[pick])
        cells["classes"] = _under_words(painted, names)
    if picture.annotator_boundary is not None:
        share = picture.annotator_boundary.mean(axis=0)
        # Else thin lines would be lost between the pixels shown.
        share = ndimage.maximum_filter(share, max(1, round(max(height, width) / _SIDE_PX)))
        grey = np.rint(255 * share[pick]).astype(np.uint8)
        words = [(f"boundaries of {len(picture.annotator_boundary)}", 0)]
        cells["annotators"] = _under_words(np.repeat(grey[..., np.newaxis], 3, axis=2), words)
    return cells


def _shown_pixels(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns to index with, so that the longer side is at most `_SIDE_PX`."""
    longest = max(height, width)
    scale = max(1, _SIDE_PX // longest) if longest <= _SIDE_PX else _SIDE_PX / longest
    shown = (max(1, round(side * scale)) for side in (height, width))
    rows, columns = (
        (np.arange(n) + 0.5) * side // n for n, side in zip(shown, (height, width), strict=True)
    )
    return np.ix_(rows.astype(int), columns.astype(int))


def _shown_image(image: np.ndarray, pick: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    size = (pick[1].size, pick[0].size)
    if size[0] >= image.shape[1]:
        return image[pick]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _numbered(image: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """Returns the image with its instances tinted, the ids of the largest written inside them."""
    sheet = Image.fromarray(drawing.overlay(image, instance))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_NUMBER_PX)
    ids, position, areas = find_segments(np.maximum(instance, 0))
    boxes = ndimage.find_objects(position.reshape(instance.shape) + 1)
    is_numbered = (ids > 0) & (areas >= _MIN_NUMBERED_PX)
    largest_first = [k for k in np.argsort(-areas, kind="stable") if is_numbered[k]]
    for k in largest_first[:_MAX_NUMBERS]:
        # With a margin, so that the edge of the picture counts as a border.
        mask = np.pad(instance[boxes[k]] == ids[k], 1)
        distance = ndimage.distance_transform_edt(mask)
        row, column = np.unravel_index(distance.argmax(), mask.shape)
        place = (boxes[k][1].start + column - 1, boxes[k][0].start + row - 1)
        colors = {"fill": "white", "stroke_width": 1, "stroke_fill": "black"}
        draw.text(place, str(ids[k]), font=font, anchor="mm", **colors)
    return np.asarray(sheet)


def _under_words(picture: np.ndarray, words: Sequence[tuple[str, int]]) -> np.ndarray:
    """Returns the picture under a dark strip of words, each after the colour of its id if not 0."""
    height, width = picture.shape[:2]
    sheet = Image.new("RGB", (width, height + _STRIP_PX))
    draw, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(_NUMBER_PX), 2
    for word, number in words:
        if number:
            color = drawing.paint_instances(np.array([[number]]))[0, 0]
            draw.rectangle((left, 3, left + 8, 11), fill=tuple(color.tolist()))
            left += 11
        draw.text((left, 1), word, fill="white", font=font)
        left += int(draw.textlength(f"{word}  ", font=font))
    sheet.paste(Image.fromarray(picture), (0, _STRIP_PX))
    return np.asarray(sheet)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flag_as_required("shards")
    flags.register_validator(
        "picture", lambda path: not path or path.endswith(".png"), "--picture must end in .png"
    )
    command_line.run(main)


if __name__ == "__main__":
    run()
