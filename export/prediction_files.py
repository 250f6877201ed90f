"""The files made of one prediction: label map, overlay, COCO results, boundary map."""

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from PIL import Image

from rpe_tf.drawing import overlay
from rpe_tf.metrics.rle import rle_encode
from rpe_tf.saved_model import ClassedPrediction, PooledPrediction, Prediction


def write_pictures(output_dir: str, stem: str, image: np.ndarray, instance: np.ndarray) -> None:
    """Writes `<stem>_instances.png`, 16-bit ids, and `<stem>_overlay.png`.

    Args:
      output_dir: a folder.
      stem: of the file names.
      image: [H, W, 3] uint8.
      instance: [H, W] int32 ids in 0..65535.
    """
    write_instances(output_dir, stem, instance)
    picture = Image.fromarray(overlay(image, instance))
    path = os.path.join(output_dir, f"{stem}_overlay.png")
    write_whole(path, lambda file: picture.save(file, "PNG"))


def write_instances(output_dir: str, stem: str, instance: np.ndarray) -> None:
    """Writes `<stem>_instances.png`, 16-bit ids; instance: [H, W] int32 in 0..65535."""
    picture = Image.fromarray(instance.astype(np.uint16))
    path = os.path.join(output_dir, f"{stem}_instances.png")
    write_whole(path, lambda file: picture.save(file, "PNG"))


def write_semantic(output_dir: str, stem: str, semantic: np.ndarray) -> None:
    """Writes `<stem>_semantic.png`, 8-bit class ids; semantic: [H, W] int32 in 0..254."""
    picture = Image.fromarray(semantic.astype(np.uint8))
    path = os.path.join(output_dir, f"{stem}_semantic.png")
    write_whole(path, lambda file: picture.save(file, "PNG"))


def write_semantic_overlay(
    output_dir: str, stem: str, image: np.ndarray, semantic: np.ndarray
) -> None:
    """Writes `<stem>_overlay.png`, the classes [H, W] over the image [H, W, 3] uint8."""
    picture = Image.fromarray(overlay(image, semantic))
    path = os.path.join(output_dir, f"{stem}_overlay.png")
    write_whole(path, lambda file: picture.save(file, "PNG"))


def write_boundary(output_dir: str, stem: str, boundary: np.ndarray) -> None:
    """Writes `<stem>.png`, 8-bit grey, 255 · boundary rounded; boundary: [H, W] in [0, 1]."""
    picture = Image.fromarray(np.rint(255.0 * boundary).astype(np.uint8))
    write_whole(os.path.join(output_dir, f"{stem}.png"), lambda file: picture.save(file, "PNG"))


def coco_results(
    file_name: str, label_file: str, prediction: Prediction | ClassedPrediction
) -> list[dict]:
    """Returns a record for each instance, as COCO's results files have them, ready for JSON.

    Args:
      file_name: path of the picture.
      label_file: name of its label map, in which the record's `instance` is the id.
      prediction: of the picture.

    Returns:
      Dicts of `file_name`, `label_file`, `instance`, `category_id` (the class; 1 where the model
      has none), `segmentation` (compressed RLE), `bbox` [x, y, width, height] and `area` in pixels,
      `score`.
    """
    return [
        {
            "file_name": file_name,
            "label_file": label_file,
            "instance": int(row["id"]),
            "category_id": int(row["class"]) or 1,
            **_mask_record(prediction.instance == row["id"], row),
        }
        for row in prediction.table
    ]


def pooled_results(file_name: str, prediction: PooledPrediction) -> list[dict]:
    """Returns a record for each pooled proposal, best first, as COCO's results files have them.

    Args:
      file_name: path of the picture.
      prediction: of the picture.

    Returns:
      Dicts of `file_name`, `category_id` (1), `segmentation` (compressed RLE; the masks overlap),
      `bbox` [x, y, width, height] and `area` in pixels, `score` in [0, 1].
    """
    return [
        {
            "file_name": file_name,
            "category_id": 1,
            **_mask_record(prediction.maps[row["map"]] == row["id"], row),
        }
        for row in prediction.table
    ]


def _mask_record(mask: np.ndarray, row: np.void) -> dict:
    """Returns mask, box, area and score of a row of a table, ready for JSON."""
    y_min, x_min, y_max, x_max = (int(side) for side in row["box"])
    return {
        "segmentation": rle_encode(mask),
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": int(row["area"]),
        "score": float(row["score"]),
    }


def write_json(path: str, value: object) -> None:
    """Writes value as JSON, whole or not at all."""
    text = json.dumps(value, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def json_list(path: str) -> Iterator[Callable[[Iterable[object]], None]]:
    """Yields a function that adds items to a list in a JSON file, whole at the end or not at all.

    Items are written as they come, so that there may be more than memory holds.
    """
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "w") as file:
            separator = "["

            def add(items: Iterable[object]) -> None:
                nonlocal separator
                for item in items:
                    file.write(separator + json.dumps(item, ensure_ascii=False))
                    separator = ", "

            yield add
            file.write("[]\n" if separator == "[" else "]\n")
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)
        raise


def write_whole(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Calls write with an open file, which takes the place of path only once it is complete.

    The path may lie on any file system that TensorFlow knows.
    """
    # On shared storage two machines may write the same file.
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "wb") as file:
            write(file)
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except BaseException:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)
        raise
