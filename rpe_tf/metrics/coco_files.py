"""COCO's json files: ground truth, and lists of predicted masks with scores and categories."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rpe_tf.metrics.rle import rle_decode


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
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise ValueError(f"{path} must be a COCO json with the keys images and annotations")
    pictures: dict[str, CocoPicture] = {}
    by_id: dict[Any, list[dict]] = {}
    for number, image in enumerate(content["images"]):
        _require_keys(path, f"images[{number}]", image, ("id", "file_name", "height", "width"))
        name = picture_name(image["file_name"])
        if name in pictures:
            raise ValueError(f"{path} has two pictures named {name}; names must differ")
        size = (int(image["height"]), int(image["width"]))
        pictures[name] = CocoPicture(image["id"], size, by_id.setdefault(image["id"], []))
    if not pictures:
        raise ValueError(f"{path} has no pictures")
    for number, annotation in enumerate(content["annotations"]):
        _require_keys(path, f"annotations[{number}]", annotation, ("image_id", "category_id"))
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
        _require_keys(path, f"record {number}", record, ("segmentation",))
        keys = [record[key] for key in ("image_id", "file_name") if key in record]
        if not keys or not all(isinstance(key, int | str) for key in keys):
            raise ValueError(f"{path}: record {number} must have file_name or image_id, got {keys}")
        score = record.get("score", 0)
        if not isinstance(score, int | float) or not np.isfinite(score):
            raise ValueError(f"{path}: record {number} must have a finite score, got {score!r}")
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
            mask = _decode(entry["segmentation"], size)
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise ValueError(f"{_of(path, entry)} has a spoilt segmentation ({error})") from error
        if mask.shape != tuple(size):
            raise ValueError(
                f"{_of(path, entry)} must have masks of {size[0]}x{size[1]} (HxW), the size of its "
                f"picture, got {mask.shape[0]}x{mask.shape[1]}"
            )
        masks[number] = mask
    return masks


def _decode(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, list):
        if not all(isinstance(ring, list) and len(ring) >= 6 for ring in segmentation):
            raise ValueError("polygons must be lists of at least 6 numbers, x and y in turn")
        from faster_coco_eval.core import mask as coco_mask  # Slow to load; polygons alone need it.

        parts = coco_mask.frPyObjects(segmentation, *size)
        return coco_mask.decode(parts).any(axis=-1)
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        runs = np.asarray(segmentation["counts"], np.int64)
        height, width = segmentation["size"]
        if np.any(runs < 0) or runs.sum() != height * width:
            raise ValueError(f"its runs do not fill {height}x{width} pixels")
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return pixels.reshape((height, width), order="F")
    if not isinstance(segmentation, dict):
        raise ValueError(f"it must be run lengths or polygons, got {type(segmentation).__name__}")
    return rle_decode(segmentation)


def _of(path: str, entry: dict) -> str:
    name = entry.get("file_name", entry.get("image_id"))
    return f"{path}: a record of picture {name!r}"


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as json ({error})") from error


def _require_keys(path: str, what: str, entry: Any, keys: Sequence[str]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: {what} must be a dict, got {type(entry).__name__}")
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ValueError(f"{path}: {what} lacks {', '.join(missing)}")
