"""One-to-one matching in the order of the scores, as COCO and PASCAL VOC match detections."""

from collections.abc import Sequence

import numpy as np


def match_greedily(iou: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Returns which true object each prediction takes, per threshold.

    Predictions choose in the order of the columns: each takes, of the true objects not yet taken
    whose IoU with it is >= threshold, the one of the highest IoU (of equal ones the last, as COCO).

    Args:
      iou: [T, P] in [0, 1], columns from the best prediction to the worst.
      thresholds: K numbers in (0, 1].

    Returns:
      [K, P] int64 in 0..T − 1, −1 where a prediction takes none. Memory linear in K · (T + P).

    Raises:
      ValueError: if a threshold is outside (0, 1].
    """
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if not np.all((thresholds > 0) & (thresholds <= 1)):
        raise ValueError(f"IoU thresholds must be in (0, 1], got {thresholds.tolist()}.")
    num_true, num_predicted = iou.shape
    taken = np.full((len(thresholds), num_predicted), -1, np.int64)
    if not num_true:
        return taken
    is_free = np.ones((len(thresholds), num_true), bool)
    every = np.arange(len(thresholds))
    # Columns below the lowest threshold take nothing at any of them.
    for column in np.flatnonzero(iou.max(axis=0) >= thresholds.min(initial=1)):
        allowed = is_free & (iou[:, column] >= thresholds[:, np.newaxis])
        candidate = np.where(allowed, iou[:, column], -1.0)
        choice = num_true - 1 - np.argmax(candidate[:, ::-1], axis=1)
        has_choice = allowed[every, choice]
        taken[has_choice, column] = choice[has_choice]
        is_free[every[has_choice], choice[has_choice]] = False
    return taken
