"""COCO's json files: ground truth, and lists of predicted masks with scores and categories."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rpe_tf.metrics.rle import rle_decode

# What is read of a true picture and of its annotations, and its type.
_IMAGE = {"id": int | str, "file_name": str, "height": int, "width": int}
_ANNOTATION = {"image_id": int | str, "category_id": int}
# What Pillow reads of a picture file, too; masks take a byte a pixel each.
_MAX_PIXELS = 178_956_970
_LARGEST = 1e300


class CocoPicture(NamedTuple):
    """A picture of a COCO ground truth.

    Attributes:
      image_id: as in the file.
      size: (H, W) in pixels.
      annotations: its annotations as in the file, those without a segmentation left out.
    """

    image_id: int | str
    size: tuple[int, int]
    annotations: list[dict]


def is_json(path: str) -> bool:
    """Returns whether a path is that of a json file, as opposed to a folder."""
    return path.lower().endswith(".json") and not os.path.isdir(path)


def picture_name(file_name: str) -> str:
    """Returns the name of a picture: its file name without folders and suffix."""
    return os.path.splitext(os.path.basename(file_name.replace("\\", "/")))[0]


def read_ground_truth(path: str) -> dict[str, CocoPicture]:
    """Returns the pictures of a COCO ground truth by name (file name without suffix).

    Raises:
      ValueError: naming the file, if it is no such json, has no picture, or one name twice.
    """
    content = _read_json(path)
    lists = [content.get(key) for key in ("images", "annotations")] if _is_dict(content) else []
    if not lists or not all(isinstance(rows, list) for rows in lists):
        raise ValueError(f"{path} must be a COCO json with the lists images and annotations")
    pictures: dict[str, CocoPicture] = {}
    by_id: dict[Any, list[dict]] = {}
    for number, image in enumerate(content["images"]):
        _require_values(path, f"images[{number}]", image, _IMAGE)
        name = picture_name(image["file_name"])
        if name in pictures:
            raise ValueError(f"{path} has two pictures named {name}; names must differ")
        size = (image["height"], image["width"])
        if min(size) < 1 or size[0] * size[1] > _MAX_PIXELS:
            raise ValueError(
                f"{path}: picture {name} of {size[0]}x{size[1]} (HxW) must have 1 to "
                f"{_MAX_PIXELS:,} pixels"
            )
        pictures[name] = CocoPicture(image["id"], size, by_id.setdefault(image["id"], []))
    if not pictures:
        raise ValueError(f"{path} has no pictures")
    for number, annotation in enumerate(content["annotations"]):
        _require_values(path, f"annotations[{number}]", annotation, _ANNOTATION)
        if annotation["image_id"] not in by_id:
            raise ValueError(
                f"{path}: annotations[{number}] is of image_id {annotation['image_id']!r}, which "
                "images lacks"
            )
        if annotation.get("segmentation"):
            by_id[annotation["image_id"]].append(annotation)
    return pictures


def read_records(path: str) -> list[dict]:
    """Returns the predicted masks of a json file, a list of COCO results.

    Each has `file_name` or `image_id`, and `segmentation`; either all or none have a `score`, and
    either all or none a `category_id`.

    Raises:
      ValueError: naming the file, if it is no such list or a score is not finite.
    """
    records = _read_json(path)
    if not isinstance(records, list):
        raise ValueError(f"{path} must be a list of records, got {type(records).__name__}")
    for number, record in enumerate(records):
        _require_values(path, f"record {number}", record, {"segmentation": dict | list})
        keys = [record[key] for key in ("image_id", "file_name") if key in record]
        if not keys or not all(isinstance(key, int | str) for key in keys):
            raise ValueError(f"{path}: record {number} must have file_name or image_id, got {keys}")
        score = record.get("score", 0)
        # Not by math.isfinite, which a whole number may be too large for.
        if not isinstance(score, int | float) or not abs(score) <= _LARGEST:
            raise ValueError(f"{path}: record {number} must have a finite score, got {score!r}")
        if not _is_value(record.get("category_id", 0), int):
            raise ValueError(
                f"{path}: record {number} must have a whole number as its category_id, got "
                f"{record['category_id']!r:.80}"
            )
    for key in ("score", "category_id"):
        num_with = sum(key in record for record in records)
        if 0 < num_with < len(records):
            raise ValueError(
                f"{path}: {num_with} of {len(records)} records have a {key}; all must, or none"
            )
    return records


def group_by_picture(
    path: str, records: Sequence[dict], names: Mapping[Any, str]
) -> dict[str, list[dict]]:
    """Returns the records of each picture, in their order; pictures without one are absent.

    Args:
      path: of the records' file, for messages.
      records: of `read_records`.
      names: name by image_id, and by name.

    Raises:
      ValueError: naming file and record, if its picture is unknown.
    """
    groups: dict[str, list[dict]] = {}
    for number, record in enumerate(records):
        keys = [record[key] for key in ("image_id", "file_name") if key in record]
        known = [names[key] for key in keys if key in names]
        known += [names[n] for n in (picture_name(str(key)) for key in keys) if n in names]
        if not known:
            raise ValueError(
                f"{path}: record {number} is of picture {keys[0]!r}, which the ground truth lacks; "
                "its file_name without suffix, or its image_id, must be that of a true picture"
            )
        groups.setdefault(known[0], []).append(record)
    return groups


def decode_masks(path: str, entries: Sequence[dict], size: tuple[int, int]) -> np.ndarray:
    """Returns the masks [K, H, W] bool of annotations or records.

    Args:
      path: of their file, for messages.
      entries: dicts with `segmentation`: compressed or plain run lengths, or polygons.
      size: (H, W) of the picture.

    Raises:
      ValueError: naming file and picture, if a mask is of another size or not one of these.
    """
    masks = np.zeros((len(entries), *size), bool)
    for number, entry in enumerate(entries):
        try:
            masks[number] = _decode(entry["segmentation"], size)
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise ValueError(f"{_of(path, entry)} has a spoilt segmentation ({error})") from error
    return masks


def _decode(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    # First of all, since decoding takes memory for the size that is stated.
    if _is_dict(segmentation) and list(segmentation.get("size", size)) != list(size):
        got = "x".join(str(side) for side in segmentation["size"])
        raise ValueError(
            f"it must have {size[0]}x{size[1]} (HxW), the size of its picture, got {got:.80}"
        )
    if isinstance(segmentation, list):
        if not segmentation or not all(_is_ring(ring, size) for ring in segmentation):
            raise ValueError(
                "polygons must be lists of at least 6 numbers, x and y in turn, none of them "
                "further outside of the picture than it is large"
            )
        from faster_coco_eval.core import mask as coco_mask  # Slow to load; polygons alone need it.

        parts = coco_mask.frPyObjects(segmentation, *size)
        return coco_mask.decode(parts).any(axis=-1)
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        height, width = segmentation["size"]
        counts = segmentation["counts"]
        is_run = [isinstance(run, int) and 0 <= run <= height * width for run in counts]
        if not all(is_run) or sum(counts) != height * width:
            raise ValueError(f"its runs do not fill {height}x{width} pixels")
        runs = np.array(counts, np.int64)
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return pixels.reshape((height, width), order="F")
    if not isinstance(segmentation, dict):
        raise ValueError(f"it must be run lengths or polygons, got {type(segmentation).__name__}")
    return rle_decode(segmentation)


def _is_ring(ring: Any, size: tuple[int, int]) -> bool:
    """Returns whether a list is a polygon: drawing one takes memory by its length, seen or not."""
    if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
        return False
    if not all(isinstance(value, int | float) for value in ring):
        return False
    # NaN is in no range.
    return all(
        -side <= value <= 2 * side
        for values, side in ((ring[::2], size[1]), (ring[1::2], size[0]))
        for value in values
    )


def _of(path: str, entry: dict) -> str:
    name = entry.get("file_name", entry.get("image_id"))
    return f"{path}: a record of picture {name!r}"


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as json ({error})") from error


def _require_values(path: str, what: str, entry: Any, kinds: Mapping[str, Any]) -> None:
    """Raises ValueError where an entry lacks a key, or has a value of another type there."""
    if not _is_dict(entry):
        raise ValueError(f"{path}: {what} must be a dict, got {type(entry).__name__}")
    missing = [key for key in kinds if key not in entry]
    if missing:
        raise ValueError(f"{path}: {what} lacks {', '.join(missing)}")
    wrong = [key for key, kind in kinds.items() if not _is_value(entry[key], kind)]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} of {what} cannot be {entry[wrong[0]]!r:.80}")


def _is_value(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):  # Which Python counts among the whole numbers.
        return False
    # Beyond 64 bits a whole number fits no array.
    return isinstance(value, kind) and (not isinstance(value, int) or abs(value) < 2**63)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)
