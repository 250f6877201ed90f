"""The best and the worst pictures of an evaluation of objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from rpe_tf.drawing import overlay, paint_instances
from rpe_tf.metrics import picture_sheets
from rpe_tf.metrics.object_evaluation import PICTURE_FIGURE, read_classes, read_item
from rpe_tf.metrics.object_files import Item, Objects


def best_and_worst(
    items: Sequence[Item], result: dict[str, Any], num_pictures: int
) -> dict[str, Image.Image]:
    """Returns two contact sheets as `picture_sheets.best_and_worst`.

    Columns: the truth, the prediction, and both: objects in both grey, true but not predicted
    white, predicted but not true red, and so another class; void of the truth is black. Of
    overlapping masks the one of the higher score is on top.

    Args:
      items: the pictures of the evaluation.
      result: of `object_evaluation.evaluate_items`.
      num_pictures: >= 1.
    """
    task = result["protocol"]["task"]
    by_name = {item.name: item for item in items}

    def draw(row: dict) -> list[np.ndarray]:
        truth, predicted = _maps(by_name[row["name"]], task)
        true, found = truth > 0, predicted > 0
        is_wrong = (truth == 0) & found
        if task == "semantic":
            is_wrong |= true & found & (truth != predicted)
        difference = picture_sheets.paint_difference(true, found, is_wrong)
        return [_painted(truth), _painted(predicted), difference]

    figure = PICTURE_FIGURE[task]
    return picture_sheets.best_and_worst(result["pictures"], figure, num_pictures, draw)


def _painted(labels: np.ndarray) -> np.ndarray:
    return overlay(paint_instances(np.zeros_like(labels)), labels)


def _maps(item: Item, task: str) -> tuple[np.ndarray, np.ndarray]:
    if task == "semantic":
        return read_classes(item)
    truth, predicted = read_item(item)
    truth_map = _as_map(truth)
    return truth_map, np.where(truth_map < 0, 0, _as_map(predicted))


def _as_map(objects: Objects) -> np.ndarray:
    """Returns one map of ids; of overlapping masks the best on top."""
    if objects.objects.ndim == 2:
        return objects.objects
    num_masks = len(objects.objects)
    scores = np.zeros(num_masks) if objects.scores is None else objects.scores
    labels = np.zeros(objects.objects.shape[1:], np.int64)
    for k in np.argsort(scores, kind="stable"):
        labels[objects.objects[k]] = k + 1
    return labels
