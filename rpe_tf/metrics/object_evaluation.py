"""A folder or json of predicted objects, or class maps, against its ground truth."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rpe_tf.metrics import average_precision, coco_files, matching, mean_iou, proposal_recall
from rpe_tf.metrics.label_png import read_label_map
from rpe_tf.metrics.mask_overlap import Overlap, overlap, scores_of
from rpe_tf.metrics.object_files import (
    Item,
    Objects,
    read_predicted,
    read_truth,
    require_size,
)
from rpe_tf.metrics.picture_pool import map_pictures

TASKS = ("proposals", "semantic", "instances")
# The figure of a picture by which the best and the worst are told.
PICTURE_FIGURE = {"proposals": "ar_100", "semantic": "miou", "instances": "matching_50"}


class Protocol(NamedTuple):
    """What the figures depend on beside the files.

    Attributes:
      task: one of `TASKS`.
      min_score: of the predictions that matching scores and PQ count; None: all.
      is_class_free: whether classes are left aside where there are some.
    """

    task: str
    min_score: float | None = None
    is_class_free: bool = False


class PictureScore(NamedTuple):
    """The records of one picture, by the module that summarizes them."""

    name: str
    records: dict[str, Any]


def evaluate_items(
    items: Sequence[Item], protocol: Protocol, num_processes: int = 1
) -> dict[str, Any]:
    """Returns all figures; they depend on neither the order of files nor the processes.

    Args:
      items: of `object_files.list_items`, for the same task.
      protocol: see there.
      num_processes: >= 1.

    Returns:
      A dict for JSON: the keys of `proposal_recall.summarize` and `curve`; or `miou`,
      `pixel_accuracy`, `class_iou`, `trimap`; or the keys of `matching.summarize` and
      `average_precision.summarize`, and `by_class`; with `protocol` (`state_protocol`),
      `num_pictures` and `pictures`, a row of figures each. Figures of nothing are nan.

    Raises:
      ValueError: naming the file that is wrong, or as `state_protocol`.
    """
    stated = state_protocol(items, protocol)
    score = partial(score_item, protocol=protocol, with_classes=stated["with_classes"])
    scores = list(map_pictures(score, items, num_processes, "scoring"))
    summarize = {
        "proposals": _summarize_proposals,
        "semantic": _summarize_semantic,
        "instances": _summarize_instances,
    }[protocol.task]
    return {
        **summarize({key: [x.records[key] for x in scores] for key in scores[0].records}),
        "protocol": stated,
        "num_pictures": len(items),
        "pictures": [{"name": x.name, **picture_figures(x, protocol.task)} for x in scores],
    }


def state_protocol(items: Sequence[Item], protocol: Protocol) -> dict[str, Any]:
    """Returns what the figures depend on, with what was found in the files.

    Returns:
      The fields of `Protocol`; `predictions` and `ground_truth`, the folder or file that is read,
      `read` ("png" or "json", of the predictions); `with_classes`, whether objects are told apart
      by class, which both sides must have; `scored`, whether predictions have scores.

    Raises:
      ValueError: if class files are given for the truth and the predictions have none.
    """
    with_classes = _has_classes(items, protocol)
    is_told_apart = any(item.truth_classes is not None for item in items)
    is_wanted = protocol.task == "instances" and not protocol.is_class_free and is_told_apart
    if is_wanted and not with_classes:
        raise ValueError(
            f"{_source(items[0].predicted)} has no classes: give <name>_semantic.png beside each "
            "picture's instances, or a json with category_id; or leave classes aside (--class_free)"
        )
    return {
        **protocol._asdict(),
        "predictions": _source(items[0].predicted),
        "read": "png" if items[0].records is None else "json",
        "ground_truth": _source(items[0].truth),
        "with_classes": with_classes,
        "scored": _has_scores(items),
    }


def score_item(item: Item, protocol: Protocol, with_classes: bool) -> PictureScore:
    """Returns the records of one picture.

    Raises:
      ValueError: naming the file that is wrong.
    """
    if protocol.task == "semantic":
        return PictureScore(item.name, _score_classes(item))
    truth, predicted = read_item(item)
    found = overlap(truth.objects, predicted.objects, crowd=truth.crowd)
    if protocol.task == "proposals":
        record = proposal_recall.score_overlap(found, predicted.scores)
        return PictureScore(item.name, {"proposals": record})
    # Classes of the truth are looked up by id, and ids begin at 1.
    true_classes = np.concatenate([[0], truth.classes]) if with_classes else None
    classes = predicted.classes if with_classes else None
    counted = _of_score(found, predicted.scores, protocol.min_score)
    records = {
        "matching": matching.score_overlap(counted, true_classes, classes),
        "detections": average_precision.score_overlap(
            found, true_classes, predicted.scores, classes
        ),
    }
    return PictureScore(item.name, records)


def read_item(item: Item) -> tuple[Objects, Objects]:
    """Returns the true and the predicted objects of a picture.

    Raises:
      ValueError: naming the file that is wrong.
    """
    truth = read_truth(item)
    return truth, read_predicted(item, truth.objects.shape[-2:])


def read_classes(item: Item) -> tuple[np.ndarray, np.ndarray]:
    """Returns the true and the predicted class map of a picture, [H, W] int64, void −1.

    Raises:
      ValueError: naming the file that is wrong.
    """
    truth, predicted = read_label_map(item.truth), read_label_map(item.predicted)
    require_size(item, predicted.shape, truth.shape)
    known = predicted[truth >= 0]
    if known.size and known.min() < 0:
        raise ValueError(
            f"{item.predicted} is void where {item.truth} is not; give every pixel a class"
        )
    return truth, predicted


def picture_figures(score: PictureScore, task: str) -> dict[str, float]:
    """Returns the figures of one picture, `PICTURE_FIGURE` among them."""
    records = {key: [record] for key, record in score.records.items()}
    if task == "semantic":
        return {"miou": mean_iou.mean_iou(score.records["confusion"])}
    if task == "proposals":
        figures = proposal_recall.summarize(records["proposals"])
        names = ("ar_10", "ar_100", "num_true", "num_proposals")
    else:
        figures = matching.summarize(records["matching"])
        names = ("matching_50", "matching_70", "matching_90", "pq", "num_true", "num_predicted")
    return {name: figures[name] for name in names}


def _has_classes(items: Sequence[Item], protocol: Protocol) -> bool:
    """Returns whether objects are told apart by class: both sides must have classes."""
    if protocol.task != "instances" or protocol.is_class_free:
        return False
    is_true = all(x.picture is not None or x.truth_classes is not None for x in items)
    if items[0].records is not None:
        return is_true and all("category_id" in r for x in items for r in x.records)
    return is_true and all(x.predicted_classes is not None for x in items)


def _source(path: str) -> str:
    return path if coco_files.is_json(path) else os.path.dirname(path)


def _has_scores(items: Sequence[Item]) -> bool:
    records = [record for item in items for record in item.records or []]
    return bool(records) and "score" in records[0]


def _of_score(found: Overlap, scores: np.ndarray | None, min_score: float | None) -> Overlap:
    """Returns the overlap with the predictions of at least min_score alone."""
    if min_score is None:
        return found
    kept = scores_of(found, scores) >= min_score
    return found._replace(
        iou=found.iou[:, kept],
        predicted_ids=found.predicted_ids[kept],
        positions=found.positions[kept],
        void_share=found.void_share[kept],
        crowd_share=found.crowd_share[kept],
    )


def _score_classes(item: Item) -> dict[str, np.ndarray]:
    truth, predicted = read_classes(item)
    num_classes = int(max(truth.max(initial=0), predicted.max(initial=0))) + 1
    if num_classes > 256:
        raise ValueError(
            f"{item.truth} and {item.predicted} must hold classes 0..255, got {num_classes - 1}; "
            "are they instance ids?"
        )
    widths = mean_iou.TRIMAP_WIDTHS_PX
    return {
        "confusion": mean_iou.confusion_matrix(truth, predicted, num_classes),
        "trimap": mean_iou.trimap_confusion(truth, predicted, num_classes, widths),
    }


def _summarize_proposals(records: dict[str, list]) -> dict[str, Any]:
    found = records["proposals"]
    return {**proposal_recall.summarize(found), "curve": proposal_recall.curve(found)}


def _summarize_semantic(records: dict[str, list]) -> dict[str, Any]:
    confusion, trimap = (_add(records[key]) for key in ("confusion", "trimap"))
    iou = mean_iou.class_iou(confusion)
    return {
        "miou": mean_iou.mean_iou(confusion),
        "pixel_accuracy": mean_iou.pixel_accuracy(confusion),
        "class_iou": {c: float(iou[c]) for c in range(len(iou)) if not np.isnan(iou[c])},
        "trimap": {
            "width_px": list(mean_iou.TRIMAP_WIDTHS_PX),
            "miou": [mean_iou.mean_iou(band) for band in trimap],
        },
    }


def _add(confusions: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the sum of [..., C, C] whose C differ: each as large as its picture needs."""
    num_classes = max(confusion.shape[-1] for confusion in confusions)
    total = np.zeros((*confusions[0].shape[:-2], num_classes, num_classes), np.int64)
    for confusion in confusions:
        size = confusion.shape[-1]
        total[..., :size, :size] += confusion
    return total


def _summarize_instances(records: dict[str, list]) -> dict[str, Any]:
    precision = average_precision.by_class(records["detections"])
    quality = matching.pq_by_class(records["matching"])
    return {
        **matching.summarize(records["matching"]),
        **average_precision.summarize(records["detections"]),
        "by_class": {
            c: {**precision.get(c, {}), **quality.get(c, {})}
            for c in sorted({*precision, *quality})
        },
    }
