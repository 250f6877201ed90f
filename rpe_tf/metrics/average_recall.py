"""Overlap of instances in two label maps, and the recall of a one-to-one matching."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from rpe_tf.metrics.contingency import contingency

# 0.5:0.05:0.95. Divided, not accumulated, so that an IoU of 3/5 does reach the threshold 0.6.
IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))


class InstanceOverlap(NamedTuple):
    """Intersection over union of every true with every predicted instance.

    Attributes:
      iou: [T, P] float64 in [0, 1].
      truth_ids: [T] ids of the rows, ascending, all > 0.
      predicted_ids: [P] ids of the columns, ascending, all > 0.
    """

    iou: np.ndarray
    truth_ids: np.ndarray
    predicted_ids: np.ndarray


def iou_matrix(truth: np.ndarray, predicted: np.ndarray) -> InstanceOverlap:
    """Returns the IoU of every true instance with every predicted one.

    Instances are ids > 0. Void pixels (truth < 0) are taken out of both maps before anything
    is counted, as PASCAL VOC does; a predicted instance that lies in void only is therefore
    absent from the columns.

    Args:
      truth: [H, W] integer ids; 0 background, < 0 void.
      predicted: integer ids of the same shape; <= 0 is no instance.

    Returns:
      An `InstanceOverlap` of T rows and P columns, either of which may be 0.

    Raises:
      ValueError: if shapes differ or a map is not of integers.
    """
    table = contingency(truth, predicted)
    intersection = np.zeros((len(table.truth_ids), len(table.predicted_ids)))
    intersection[table.rows, table.columns] = table.pixels
    # Areas include the pixels shared with background, so they precede its removal.
    truth_area = intersection.sum(axis=1, keepdims=True)
    predicted_area = intersection.sum(axis=0, keepdims=True)
    iou = intersection / (truth_area + predicted_area - intersection)
    true_rows, predicted_columns = table.truth_ids > 0, table.predicted_ids > 0
    return InstanceOverlap(
        iou[true_rows][:, predicted_columns],
        table.truth_ids[true_rows],
        table.predicted_ids[predicted_columns],
    )


def count_matches(iou: np.ndarray, thresholds: Sequence[float] = IOU_THRESHOLDS) -> np.ndarray:
    """Returns how many true instances can be matched one to one, per threshold.

    A pair may be matched when its IoU >= threshold. Of all one-to-one matchings the largest
    counts. Between label maps there is only one above 0.5; at or below, a greedy choice could
    lose a match. One assignment problem a threshold, time cubic in the number of instances.

    Args:
      iou: [T, P] in [0, 1]; T or P may be 0.
      thresholds: K numbers in (0, 1].

    Returns:
      [K] int64 in 0..min(T, P).

    Raises:
      ValueError: if `iou` is not a matrix in [0, 1] or a threshold is outside (0, 1].
    """
    iou = np.asarray(iou, dtype=np.float64)
    if iou.ndim != 2 or not np.all((iou >= 0) & (iou <= 1)):
        raise ValueError(f"iou must be a matrix with values in [0, 1], got shape {iou.shape}.")
    counts = []
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise ValueError(f"IoU thresholds must be in (0, 1], got {threshold}.")
        allowed = iou >= threshold
        rows, columns = linear_sum_assignment(allowed, maximize=True)
        counts.append(np.count_nonzero(allowed[rows, columns]))
    return np.array(counts, dtype=np.int64)


def match_recall(iou: np.ndarray, thresholds: Sequence[float] = IOU_THRESHOLDS) -> np.ndarray:
    """Returns the matched fraction of the true instances, per threshold.

    Args:
      iou: [T, P] in [0, 1].
      thresholds: K numbers in (0, 1].

    Returns:
      [K] float64 in [0, 1]; nan when there is no true instance.

    Raises:
      ValueError: if `iou` is not a matrix in [0, 1] or a threshold is outside (0, 1].
    """
    matches = count_matches(iou, thresholds)
    num_truth = np.shape(iou)[0]
    return matches / num_truth if num_truth else np.full(len(matches), np.nan)


def recall_at(iou: np.ndarray, threshold: float) -> float:
    """Returns the matched fraction of the true instances at one IoU threshold.

    Args:
      iou: [T, P] in [0, 1].
      threshold: in (0, 1].

    Returns:
      A fraction in [0, 1]; nan when there is no true instance.

    Raises:
      ValueError: if `iou` is not a matrix in [0, 1] or the threshold is outside (0, 1].
    """
    return float(match_recall(iou, (threshold,))[0])


def average_recall(iou: np.ndarray) -> float:
    """Returns the mean recall over the IoU thresholds 0.5:0.05:0.95 (`IOU_THRESHOLDS`).

    Args:
      iou: [T, P] in [0, 1].

    Returns:
      A fraction in [0, 1]; nan when there is no true instance.

    Raises:
      ValueError: if `iou` is not a matrix in [0, 1].
    """
    return float(match_recall(iou).mean())
