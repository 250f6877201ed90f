"""COCO's instances: a JSON file of polygons and run lengths, and a folder of pictures.

Polygons and run lengths become pixels through faster-coco-eval, which draws them as COCO's own
program does. A crowd (a region of objects not told apart) is void where no object is.
"""

from __future__ import annotations

import json
import math
import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.mask_painting import paint_masks
from data_pipeline.picture_files import read_file, read_for_record, size_of


def list_coco(
    annotations: str, images_dir: str, *, is_skipping_unlabelled: bool = False
) -> tuple[list[Source], list[str]]:
    """Returns the pictures with their annotations, and the class names.

    Args:
      annotations: JSON file with `images`, `annotations` and `categories`.
      images_dir: folder that its `file_name` start from.
      is_skipping_unlabelled: whether pictures without annotations are left out.

    Returns:
      Sources sorted by name, the stem of the file name; and "background" followed by the
      categories in order of their ids.

    Raises:
      ValueError: the file is no such JSON, an id stands twice, or an annotation refers to an image
        or category that is not listed.
    """
    content = _read_json(annotations)
    categories = _by_id(annotations, content["categories"], "categories")
    index = {number: k for k, number in enumerate(sorted(categories), 1)}
    of_image = _annotations_by_image(annotations, content, index)
    listed: dict[str, list[dict]] = defaultdict(list)
    for image in content["images"]:
        if of_image[image["id"]] or not is_skipping_unlabelled:
            listed[posixpath.splitext(posixpath.basename(image["file_name"]))[0]].append(image)
    ids = Counter(image["id"] for image in content["images"])
    sources = [_source(images_dir, name, listed[name], of_image, ids) for name in sorted(listed)]
    return sources, ["background", *(categories[number]["name"] for number in index)]


def count_objects(sources: Iterable[Source]) -> int:
    """Returns how many objects are annotated in some pictures, crowds left out."""
    return sum(not x["is_crowd"] for source in sources for x in source.details["annotations"])


def read_coco(source: Source) -> LabelledPicture:
    """Returns a picture with its objects, numbered in the order of their annotations, and classes.

    Raises:
      ValueError: the picture cannot be read or is not of the size the JSON file says, or an
        annotation is no outline.
    """
    path, details = source.files[0], source.details
    image = read_for_record(path)
    size = (details["height"], details["width"])
    if size_of(image) != size:
        raise ValueError(
            f"{path} has (height, width) {size_of(image)}, the annotations say {size}; they are of "
            "another picture, or of it before it was rotated"
        )
    things = [x for x in details["annotations"] if not x["is_crowd"]]
    instance = paint_masks((_mask(x, size) for x in things), size)
    classes = np.array([0, *(x["class"] for x in things)], np.int32)
    semantic = classes[instance]
    for crowd in (x for x in details["annotations"] if x["is_crowd"]):
        is_void = _mask(crowd, size) & (instance <= 0)
        instance[is_void] = semantic[is_void] = -1
    return LabelledPicture(image, instance, semantic)


def _mask(annotation: dict, size: tuple[int, int]) -> np.ndarray:
    """Returns the mask [H, W] bool of one annotation."""
    # A small extension module, loaded where it is needed.
    from faster_coco_eval.core import mask as coco_mask

    outline = annotation["segmentation"]
    try:
        if isinstance(outline, list):
            _require_polygons(outline, size)
            rle = coco_mask.merge(coco_mask.frPyObjects(outline, *size))
        elif list(outline["size"]) != list(size):
            raise ValueError(f"its size is {outline['size']}, the picture's {list(size)}")
        elif isinstance(outline["counts"], list):
            _require_run_lengths(outline["counts"])
            rle = coco_mask.frPyObjects(outline, *size)
        else:
            rle = {"size": list(size), "counts": str(outline["counts"]).encode()}
        return coco_mask.decode(rle).astype(bool)
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise ValueError(f"annotation {annotation['id']} is no outline: {error}") from error


def _require_polygons(polygons: list, size: tuple[int, int]) -> None:
    for points in polygons:
        if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
            raise ValueError(f"a polygon needs x, y of three points or more, got {points!r:.80}")
        if not all(
            isinstance(x, int) or (isinstance(x, float) and math.isfinite(x)) for x in points
        ):
            raise ValueError(f"a polygon needs finite numbers, got {points!r:.80}")
        _require_near_picture(points, size)
    if not polygons:
        raise ValueError("it has no polygon")


def _require_near_picture(points: list, size: tuple[int, int]) -> None:
    """Raises ValueError where a point lies further outside than the picture is large.

    Outlines may reach beyond the border a little. Drawing takes memory by the length of the
    outline, in the picture or not, so that one wrong number would take all there is.
    """
    for name, length, values in (("x", size[1], points[::2]), ("y", size[0], points[1::2])):
        low, high = min(values), max(values)
        if low < -length or high > 2 * length:
            raise ValueError(
                f"{name} from {low!r:.20} to {high!r:.20} is far outside of the picture, where it "
                f"goes from 0 to {length}; is the outline of another picture, or in another unit?"
            )


def _require_run_lengths(counts: list) -> None:
    wrong = [x for x in counts if not isinstance(x, int) or x < 0]
    if wrong:
        raise ValueError(f"run lengths must be whole numbers from 0 on, got {wrong[0]!r}")


def _source(
    folder: str, name: str, images: list[dict], of_image: dict[int, list[dict]], ids: Counter
) -> Source:
    paths = tuple(os.path.join(folder, image["file_name"]) for image in images)
    image, problem = images[0], ""
    if len(images) > 1:
        problem = f"duplicate name {name!r}: {', '.join(paths[:3])}; rename one"
    elif ids[image["id"]] > 1:
        problem = f"{paths[0]}: image id {image['id']} stands twice in the annotations"
    elif posixpath.normpath(image["file_name"]).startswith(("/", "..")):
        problem = f"file name {image['file_name']!r} leaves the folder of the pictures"
    elif not tf.io.gfile.exists(paths[0]):
        problem = f"{paths[0]} is in the annotations, and there is no such file"
    details = {
        "height": image["height"],
        "width": image["width"],
        "annotations": of_image[image["id"]],
    }
    return Source(name, paths, details, problem)


def _annotations_by_image(path: str, content: dict, index: dict) -> dict[int, list[dict]]:
    """Returns what is needed of the annotations of each image, in the order of their ids."""
    of_image: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    annotations = _by_id(path, content["annotations"], "annotations")
    for number, annotation in sorted(annotations.items()):
        if annotation["image_id"] not in of_image:
            raise ValueError(
                f"{path}: annotation {number} is of image {annotation['image_id']}, which is not "
                "listed"
            )
        if annotation["category_id"] not in index:
            raise ValueError(
                f"{path}: annotation {number} is of category {annotation['category_id']}, which is "
                "not listed"
            )
        of_image[annotation["image_id"]].append(
            {
                "id": number,
                "class": index[annotation["category_id"]],
                "is_crowd": bool(annotation.get("iscrowd", 0)),
                "segmentation": annotation["segmentation"],
            }
        )
    return of_image


# What is read of each part, and its type. COCO's ids are numbers; others name images by words.
_KEYS = {
    "images": {"id": int | str, "file_name": str, "height": int, "width": int},
    "annotations": {
        **{"id": int, "image_id": int | str, "category_id": int},
        "segmentation": object,  # Looked at with its picture, so that it can be skipped.
    },
    "categories": {"id": int, "name": str},
}


def _read_json(path: str) -> dict:
    """Returns the content, of which the parts and keys that are read are sure to be there."""
    text = read_file(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # Of letters, of numbers too long, of depth.
        raise ValueError(f"{path} is no JSON ({error})") from error
    for part, keys in _KEYS.items():
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} must be COCO's instances JSON, it lacks the list {part!r}")
        for number, row in enumerate(rows):
            missing = [key for key in keys if key not in row]
            if missing:
                raise ValueError(f"{path}: {part}[{number}] lacks {missing}")
            wrong = [key for key, kind in keys.items() if not isinstance(row[key], kind)]
            if wrong:
                raise ValueError(
                    f"{path}: {wrong[0]!r} of {part}[{number}] cannot be {row[wrong[0]]!r:.80}"
                )
    if not content["images"]:
        raise ValueError(f"{path} lists no images")
    return content


def _by_id(path: str, rows: list[dict], part: str) -> dict[int, dict]:
    by_id = {row["id"]: row for row in rows}
    if len(by_id) < len(rows):
        twice = next(n for n, count in Counter(row["id"] for row in rows).items() if count > 1)
        raise ValueError(f"{path}: id {twice} stands twice among its {part}")
    return by_id
