"""Instance segmentation scores: one record an image, one summary a set of images."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rpe_tf.metrics.average_recall import IOU_THRESHOLDS, count_matches, iou_matrix
from rpe_tf.metrics.clustering import adjusted_rand_index


class ImageScore(NamedTuple):
    """What one image adds to the summary.

    Attributes:
      matched: [K] int64, true instances matched at each of `IOU_THRESHOLDS`.
      num_truth: true instances that have a pixel outside void.
      num_predicted: predicted instances that have a pixel outside void.
      ari_all: adjusted Rand index over all pixels but void, background one more group; or nan.
      ari_foreground: the same over pixels with truth > 0; or nan.
    """

    matched: np.ndarray
    num_truth: int
    num_predicted: int
    ari_all: float
    ari_foreground: float


def score_image(truth: np.ndarray, predicted: np.ndarray) -> ImageScore:
    """Returns the scores of one predicted instance map.

    Args:
      truth: [H, W] integer ids; 0 background, < 0 void, > 0 instances.
      predicted: integer ids of the same shape; ids > 0 are instances. Names of ids do not matter.

    Returns:
      The `ImageScore`.

    Raises:
      ValueError: if shapes differ or a map is not of integers.
    """
    overlap = iou_matrix(truth, predicted)
    return ImageScore(
        matched=count_matches(overlap.iou),
        num_truth=len(overlap.truth_ids),
        num_predicted=len(overlap.predicted_ids),
        ari_all=adjusted_rand_index(truth, predicted),
        ari_foreground=adjusted_rand_index(truth, predicted, np.asarray(truth) > 0),
    )


def summarize(records: Iterable[ImageScore]) -> dict[str, float | int]:
    """Returns the scores of a set of images.

    Recall and precision are pooled: matches of all images over instances of all images, so a
    crowded image weighs more than an empty one. Both adjusted Rand indices are means over the
    images where they are defined. A ratio of nothing is nan.

    Args:
      records: one `ImageScore` an image, in any order.

    Returns:
      A dict with `ari_all`, `ari_foreground` (at most 1); `recall_50`, `recall_75` (at IoU 0.5
      and 0.75), `average_recall` (mean of recall over `IOU_THRESHOLDS`) and `precision_50`, all
      in [0, 1]; `num_instances_true` and `num_instances_found` (totals); `count_error` (mean over
      images of |found - true|); `num_images`.

    Raises:
      ValueError: if there is no record.
    """
    records = list(records)
    if not records:
        raise ValueError(
            "summarize needs at least one ImageScore, got none; is the data set empty?"
        )
    matched = np.sum([record.matched for record in records], axis=0)
    num_truth = np.array([record.num_truth for record in records])
    num_predicted = np.array([record.num_predicted for record in records])
    matched_50 = matched[IOU_THRESHOLDS.index(0.5)]
    matched_75 = matched[IOU_THRESHOLDS.index(0.75)]
    return {
        "ari_all": _mean_where_defined([record.ari_all for record in records]),
        "ari_foreground": _mean_where_defined([record.ari_foreground for record in records]),
        "recall_50": _ratio(matched_50, num_truth.sum()),
        "recall_75": _ratio(matched_75, num_truth.sum()),
        "average_recall": _ratio(matched.mean(), num_truth.sum()),
        "precision_50": _ratio(matched_50, num_predicted.sum()),
        "num_instances_true": int(num_truth.sum()),
        "num_instances_found": int(num_predicted.sum()),
        "count_error": float(np.abs(num_predicted - num_truth).mean()),
        "num_images": len(records),
    }


def _mean_where_defined(values: Sequence[float]) -> float:
    # np.nanmean warns when nothing is defined; here that is an answer, nan.
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
