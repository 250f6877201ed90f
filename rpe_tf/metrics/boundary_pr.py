"""Precision and recall of boundary maps by the protocol of the BSDS benchmark: ODS, OIS, AP.

A map is cut at each threshold, thinned, and matched to every annotator. Recall counts the true
pixels of all annotators that are matched. Precision counts the predicted pixels that are matched
to any of them. F = 2PR / (P + R). A ratio with nothing below the line is 0, as in the benchmark:
no prediction gives P = 0, no truth R = 0, both empty F = 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from rpe_tf.metrics.boundary_matching import match_prepared, prepare_truth
from rpe_tf.metrics.edge_thinning import thin

# Fractions of the diagonal: BSDS benchmark.
MAX_DIST = 0.0075
NUM_THRESHOLDS = 99

# Points between two neighbouring thresholds where the best F is sought: BSDS benchmark.
_BETWEEN = np.linspace(0.0, 1.0, 100)
_RECALL_STEPS = np.linspace(0.0, 1.0, 101)


class BoundaryCounts(NamedTuple):
    """Pixels of one picture, or of several added up, [N] int64 each, one per threshold.

    Attributes:
      matched_truth: true pixels matched, all annotators together.
      truth: true pixels, all annotators together; the same at each threshold.
      matched_predicted: predicted pixels matched to at least one annotator.
      predicted: predicted pixels.
    """

    matched_truth: np.ndarray
    truth: np.ndarray
    matched_predicted: np.ndarray
    predicted: np.ndarray


def spread_thresholds(num: int = NUM_THRESHOLDS) -> np.ndarray:
    """Returns k / (num + 1) for k = 1..num, [num] float64 in (0, 1), ascending.

    Raises:
      ValueError: if num < 1.
    """
    if num < 1:
        raise ValueError(f"There must be at least one threshold, got {num}.")
    return np.linspace(1 / (num + 1), 1 - 1 / (num + 1), num)


def score_image(
    prediction: np.ndarray,
    annotators: np.ndarray,
    thresholds: Sequence[float] | np.ndarray | None = None,
    max_dist: float = MAX_DIST,
    is_thinned: bool = True,
    ignored: np.ndarray | None = None,
) -> BoundaryCounts:
    """Returns the counts of one picture.

    Args:
      prediction: [H, W] float in [0, 1]; a pixel is boundary where it is >= the threshold.
      annotators: [K, H, W], K >= 1, non-zero is boundary.
      thresholds: N numbers in [0, 1], ascending; none: the 99 of `spread_thresholds()`.
      max_dist: largest distance of partners, as a fraction of the picture's diagonal.
      is_thinned: whether the map is thinned after the cut; without, thick lines lose precision.
      ignored: [H, W] bool, pixels whose prediction is taken out after thinning; none by default.

    Returns:
      `BoundaryCounts` of N. Time linear in K and in the number of thresholds at which the map
      changes.

    Raises:
      ValueError: if shapes do not fit, a value or a threshold is outside [0, 1], thresholds do
        not ascend, or max_dist is negative.
    """
    prediction, annotators = np.asarray(prediction), np.asarray(annotators)
    thresholds = spread_thresholds() if thresholds is None else np.asarray(thresholds, float)
    _check(prediction, annotators, thresholds)
    if ignored is not None and np.shape(ignored) != prediction.shape:
        raise ValueError(
            f"ignored must have the shape of prediction, got {np.shape(ignored)} and "
            f"{prediction.shape}."
        )
    max_distance_px = max_dist * np.hypot(*prediction.shape)
    truths = [prepare_truth(truth, max_distance_px) for truth in annotators]
    num_truth = sum(truth.position.size for truth in truths)
    columns, last_pixels = [], None
    for threshold in thresholds:
        binary = prediction >= threshold
        num_pixels = np.count_nonzero(binary)
        # A map only loses pixels as the threshold rises: as many means the same.
        if num_pixels != last_pixels:
            binary = thin(binary) if is_thinned else binary
            if ignored is not None:
                binary = binary & ~ignored
            found = [match_prepared(binary, truth) for truth in truths]
            matched_truth = sum(np.count_nonzero(true) for _, true in found)
            matched_predicted = np.count_nonzero(np.any([own for own, _ in found], axis=0))
            column = (matched_truth, num_truth, matched_predicted, np.count_nonzero(binary))
            last_pixels = num_pixels
        columns.append(column)
    return BoundaryCounts(*np.array(columns, np.int64).T)


def far_inside(interior: np.ndarray, truth: np.ndarray, max_dist: float) -> np.ndarray:
    """Returns what the SBD benchmark ignores: inside an object, too far from its boundary to match.

    Args:
      interior: [H, W] bool, the pixels of the class.
      truth: [H, W] bool, its boundary.
      max_dist: as for `score_image`.

    Returns:
      [H, W] bool.
    """
    if not truth.any():
        return interior.copy()
    distance = ndimage.distance_transform_edt(~truth)
    return interior & (distance > max_dist * np.hypot(*truth.shape))


def _check(prediction: np.ndarray, annotators: np.ndarray, thresholds: np.ndarray) -> None:
    if annotators.ndim != 3 or not len(annotators) or prediction.shape != annotators.shape[1:]:
        raise ValueError(
            "prediction must be [H, W] and annotators [K, H, W] of the same size with K >= 1, got "
            f"{prediction.shape} and {annotators.shape}."
        )
    if not np.all((prediction >= 0) & (prediction <= 1)):  # NaN fails too.
        raise ValueError("prediction must be in [0, 1]; divide an 8-bit map by 255.")
    is_valid = thresholds.ndim == 1 and thresholds.size and np.all(np.diff(thresholds) > 0)
    if not is_valid or thresholds[0] < 0 or thresholds[-1] > 1:
        raise ValueError(f"thresholds must ascend within [0, 1], got {thresholds}.")


def score_humans(annotators: np.ndarray, max_dist: float = MAX_DIST) -> BoundaryCounts | None:
    """Returns each annotator's counts against all the others, added up, as one threshold.

    Args:
      annotators: [K, H, W], non-zero is boundary.
      max_dist: as for `score_image`.

    Returns:
      `BoundaryCounts` of 1; None if K < 2.

    Raises:
      ValueError: as `score_image`.
    """
    annotators = np.asarray(annotators) != 0
    if len(annotators) < 2:
        return None
    # Boundaries of annotators are lines already; thinning would move them.
    return add_counts(
        score_image(own.astype(float), np.delete(annotators, k, axis=0), [0.5], max_dist, False)
        for k, own in enumerate(annotators)
    )


def add_counts(counts: Sequence[BoundaryCounts]) -> BoundaryCounts:
    """Returns the sum of counts, all at the same thresholds, at least one."""
    return BoundaryCounts(*(np.sum(parts, axis=0) for parts in zip(*counts, strict=True)))


def precision_recall_f(counts: BoundaryCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns precision, recall and F, each [N] float64 in [0, 1]; 0 where nothing is below."""
    precision = _ratio(counts.matched_predicted, counts.predicted)
    recall = _ratio(counts.matched_truth, counts.truth)
    return precision, recall, f_measure(precision, recall)


def f_measure(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Returns the harmonic mean 2PR / (P + R), 0 where both are 0."""
    precision, recall = np.asarray(precision), np.asarray(recall)
    return _ratio(2 * precision * recall, precision + recall)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above / np.where(below == 0, 1, below)


def best_point(thresholds: np.ndarray, counts: BoundaryCounts) -> dict[str, float]:
    """Returns threshold, precision, recall and f where F is largest.

    Between neighbouring thresholds precision and recall are interpolated linearly, at 100 points,
    as the benchmark does. Of equal F the lowest threshold.
    """
    precision, recall, f = precision_recall_f(counts)
    curves = np.stack([np.asarray(thresholds, float), precision, recall])
    if len(f) > 1:
        left, right = curves[:, :-1, np.newaxis], curves[:, 1:, np.newaxis]
        curves = (left + (right - left) * _BETWEEN).reshape(3, -1)
        f = f_measure(curves[1], curves[2])
    best = int(np.argmax(f))
    values = (*curves[:, best], f[best])
    names = ("threshold", "precision", "recall", "f")
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def average_precision(counts: BoundaryCounts) -> float:
    """Returns the area under precision over recall, sampled at recall 0, 0.01, ..., 1.

    Linear between the thresholds' points; recalls that no threshold reaches count as precision 0.
    Of thresholds with equal recall the lowest counts. 0 with fewer than two different recalls.
    """
    precision, recall, _ = precision_recall_f(counts)
    distinct, first = np.unique(recall, return_index=True)
    if distinct.size < 2:
        return 0.0
    sampled = np.interp(_RECALL_STEPS, distinct, precision[first], left=0.0, right=0.0)
    return float(sampled.sum() * 0.01)


def summarize(
    counts: Sequence[BoundaryCounts], thresholds: Sequence[float] | np.ndarray | None = None
) -> dict[str, float]:
    """Returns the figures of merit of some pictures, all in [0, 1].

    ODS is the best F of all counts together, at one threshold for all pictures. OIS adds up each
    picture's counts at its own best threshold first. OIS may be below ODS: a picture's own F does
    not weigh it as the sum does, and ODS lies between thresholds, OIS on them.

    Args:
      counts: of each picture, from `score_image`, at least one.
      thresholds: those the counts are of; none: the 99 of `spread_thresholds()`.

    Returns:
      ods, ods_threshold, ods_precision, ods_recall, ois, ois_precision, ois_recall, ap.

    Raises:
      ValueError: if there are no counts, or not of as many thresholds.
    """
    thresholds = spread_thresholds() if thresholds is None else thresholds
    if not counts or any(len(one.truth) != len(thresholds) for one in counts):
        raise ValueError(f"counts must be of at least one picture at {len(thresholds)} thresholds.")
    total = add_counts(counts)
    ods = best_point(thresholds, total)
    best = [int(np.argmax(precision_recall_f(one)[2])) for one in counts]
    own = add_counts(
        BoundaryCounts(*(part[k : k + 1] for part in one))
        for one, k in zip(counts, best, strict=True)
    )
    precision, recall, f = (float(value[0]) for value in precision_recall_f(own))
    return {
        "ods": ods["f"],
        "ods_threshold": ods["threshold"],
        "ods_precision": ods["precision"],
        "ods_recall": ods["recall"],
        "ois": f,
        "ois_precision": precision,
        "ois_recall": recall,
        "ap": average_precision(total),
    }
