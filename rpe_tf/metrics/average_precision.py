"""AP^r, the average precision of instance masks, by PASCAL VOC's protocol (§5.4)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rpe_tf.metrics.greedy_matching import match_greedily
from rpe_tf.metrics.mask_overlap import Overlap, overlap, rank, scores_of
from rpe_tf.metrics.matching import MOST_IGNORED, classes_of

# 0.1:0.1:0.9, over which AP^r_vol is the mean.
THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))
REPORTED = (0.5, 0.6, 0.7, 0.8, 0.9)


class DetectionRecord(NamedTuple):
    """The detections of one picture; T true objects, P detections, K `THRESHOLDS`.

    Attributes:
      truth_classes: [T] int64.
      classes: [P] int64.
      scores: [P] float64.
      is_matched: [K, P] bool, whether a detection takes a true object of its class.
      is_ignored: [P] bool, whether it is no false positive where it takes none.
    """

    truth_classes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    is_matched: np.ndarray
    is_ignored: np.ndarray


def score_picture(
    truth: np.ndarray,
    truth_classes: Mapping[int, int] | Sequence[int] | None,
    predicted: np.ndarray,
    scores: Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
    *,
    void: np.ndarray | None = None,
    crowd: np.ndarray | None = None,
) -> DetectionRecord:
    """Returns which detections of a picture find a true object of their class.

    Void pixels are taken out of truth and prediction before anything is counted; a detection that
    lies in void only is absent. One more than half inside crowd is never a false positive.

    Args:
      truth: [H, W] integer ids, 0 background, < 0 void; or [T, H, W] bool masks of ids 1..T.
      truth_classes: class of each true id, `truth_classes[id]`. None: class-free.
      predicted: [P, H, W] bool masks of ids 1..P; or [H, W] integer ids, <= 0 no object.
      scores: of the predicted ids, that of id k at k − 1. None: all 1.
      classes: of the predicted ids, likewise. None: class-free.
      void: [H, W] bool, further void.
      crowd: [H, W] bool, see `mask_overlap.overlap`.

    Returns:
      The `DetectionRecord`.

    Raises:
      ValueError: if shapes or types are others, a score or class is missing, or scores are not
        finite.
    """
    found = overlap(truth, predicted, void=void, crowd=crowd)
    return score_overlap(found, truth_classes, scores, classes)


def score_overlap(
    found: Overlap,
    truth_classes: Mapping[int, int] | Sequence[int] | None,
    scores: Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
) -> DetectionRecord:
    """Returns the record of a picture whose overlaps are known; arguments as `score_picture`."""
    of_truth, of_predicted = classes_of(found, truth_classes, classes)
    order = rank(found, scores)
    # Another class is out of reach, so one matching serves all classes.
    is_same = of_truth[:, np.newaxis] == of_predicted[order]
    iou = np.where(is_same, found.iou[:, order], 0.0)
    return DetectionRecord(
        of_truth,
        of_predicted[order],
        scores_of(found, scores)[order],
        match_greedily(iou, THRESHOLDS) >= 0,
        found.crowd_share[order] > MOST_IGNORED,
    )


def summarize(records: Iterable[DetectionRecord]) -> dict[str, float]:
    """Returns the mean over the classes of AP^r.

    Returns:
      A dict with `ap_r_50`, `ap_r_60` … `ap_r_90`, and `ap_r_vol`, the mean over the thresholds
      0.1:0.1:0.9. In [0, 1]; nan if there is no true object. Classes without a true object have no
      recall and are left out.

    Raises:
      ValueError: if there is no record.
    """
    table = list(by_class(records).values())
    keys = [*(_key(threshold) for threshold in REPORTED), "ap_r_vol"]
    return {
        key: float(np.mean([row[key] for row in table])) if table else float("nan") for key in keys
    }


def by_class(records: Iterable[DetectionRecord]) -> dict[int, dict[str, float]]:
    """Returns the figures of `summarize` for each class that has a true object.

    The detections of all pictures are sorted by score. Those of one score enter together, so that
    neither the order of pictures nor of detections matters.

    Raises:
      ValueError: if there is no record.
    """
    records = list(records)
    if not records:
        raise ValueError("AP^r needs at least one DetectionRecord, got none.")
    truth_classes, classes, scores, is_ignored = (
        np.concatenate([getattr(record, name) for record in records])
        for name in ("truth_classes", "classes", "scores", "is_ignored")
    )
    is_matched = np.concatenate([record.is_matched for record in records], axis=1)
    table = {}
    for c, num_true in zip(*np.unique(truth_classes, return_counts=True), strict=True):
        own = classes == c
        figures = [
            average_precision(scores[own][counted], matched[counted], int(num_true))
            for matched in is_matched[:, own]
            for counted in [matched | ~is_ignored[own]]
        ]
        row = {_key(t): figures[THRESHOLDS.index(t)] for t in REPORTED}
        table[int(c)] = {**row, "ap_r_vol": float(np.mean(figures))}
    return table


def average_precision(scores: np.ndarray, is_matched: np.ndarray, num_true: int) -> float:
    """Returns the area under the interpolated precision-recall curve, as VOC since 2010.

    AP = Σ (r_k − r_{k−1}) · max_{j >= k} p_j, k over the distinct scores from high to low.

    Args:
      scores: [D] finite.
      is_matched: [D] bool, right (True) or false detections.
      num_true: true objects; if 0 the result is nan.

    Returns:
      A number in [0, 1]; 0 if there are no detections.
    """
    if not num_true:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(is_matched[order])
    # A threshold takes all detections of a score or none.
    is_last = np.append(np.diff(scores[order]) != 0, True)[: len(order)]
    right, taken = right[is_last], np.flatnonzero(is_last) + 1
    recall, precision = right / num_true, right / taken
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * highest))


def _key(threshold: float) -> str:
    return f"ap_r_{round(100 * threshold)}"
