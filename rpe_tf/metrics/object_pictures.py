"""Contact sheets of the best and the worst pictures of an evaluation, for a person to judge."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from rpe_tf.drawing import contact_sheet, overlay, paint_instances
from rpe_tf.metrics.object_evaluation import PICTURE_FIGURE, read_classes, read_item
from rpe_tf.metrics.object_files import Item, Objects

_WHITE, _RED, _GREY = (255, 255, 255), (220, 40, 40), (90, 90, 90)
# Larger pictures are drawn at every second, third … pixel.
_MAX_SIDE_PX = 400
_WORDS_PX, _MAX_LETTERS = 190, 28


def best_and_worst(
    items: Sequence[Item], result: dict[str, Any], num_pictures: int
) -> dict[str, Image.Image]:
    """Returns two contact sheets, `best` and `worst`, of up to num_pictures pictures each.

    Columns: the truth, the prediction, and both: objects in both grey, true but not predicted
    white, predicted but not true red, and so another class. Of overlapping masks the one of the
    higher score is on top.

    Args:
      items: the pictures of the evaluation.
      result: of `object_evaluation.evaluate_items`.
      num_pictures: >= 1.

    Returns:
      A dict of Pillow images; empty if no picture has a defined figure.
    """
    task = result["protocol"]["task"]
    figure = PICTURE_FIGURE[task]
    by_name = {item.name: item for item in items}
    rows = [row for row in result["pictures"] if not np.isnan(row[figure])]
    # PQ tells apart what the counts of matches do not.
    rows.sort(key=lambda row: (row[figure], np.nan_to_num(row.get("pq", 0.0)), row["name"]))
    if not rows:
        return {}
    chosen = {"worst": rows[:num_pictures], "best": rows[::-1][:num_pictures]}
    return {name: _sheet(by_name, pictures, task) for name, pictures in chosen.items()}


def _sheet(items: dict[str, Item], rows: Sequence[dict], task: str) -> Image.Image:
    figure = PICTURE_FIGURE[task]
    drawn = []
    for row in rows:
        truth, predicted = _maps(items[row["name"]], task)
        step = -(-max(truth.shape) // _MAX_SIDE_PX)
        truth, predicted = truth[::step, ::step], predicted[::step, ::step]
        difference = _difference(truth, predicted, task == "semantic")
        cells = [_painted(truth), _painted(predicted), difference]
        words = _written([row["name"][-_MAX_LETTERS:], f"{figure} {row[figure]:.3f}"])
        drawn.append([words, *cells])
    return contact_sheet(drawn, ["picture", "truth", "prediction", "difference"])


def _written(lines: Sequence[str]) -> np.ndarray:
    sheet = Image.new("RGB", (_WORDS_PX, 14 * len(lines)), "white")
    ImageDraw.Draw(sheet).text((0, 0), "\n".join(lines), fill="black")
    return np.asarray(sheet)


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


def _difference(truth: np.ndarray, predicted: np.ndarray, is_semantic: bool) -> np.ndarray:
    """Returns where truth and prediction agree, and where not; void of the truth is black."""
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[(truth > 0) & (predicted > 0)] = _GREY
    picture[(truth > 0) & (predicted <= 0)] = _WHITE
    picture[(truth == 0) & (predicted > 0)] = _RED
    if is_semantic:
        picture[(truth > 0) & (predicted > 0) & (truth != predicted)] = _RED
    return picture
