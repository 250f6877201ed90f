"""Matching scores of cell biology, TP / (TP + FP + FN), and panoptic quality (PQ)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from rpe_tf.metrics.mask_overlap import Overlap, overlap, values_of

THRESHOLDS = (0.5, 0.7, 0.9)
# A prediction that lies in crowd, for PQ in crowd or void, with more than this is no false one.
MOST_IGNORED = 0.5
# The one class where there are none.
CLASS_FREE = 1


class MatchingRecord(NamedTuple):
    """Counts of one picture, a row a class; C classes that occur in it, K `THRESHOLDS`.

    Attributes:
      classes: [C] int64, ascending.
      true_positives: [C, K] int64, matched pairs of IoU >= threshold.
      false_positives: [C, K] int64.
      num_truth: [C] int64.
      num_predicted: [C] int64.
      pq_pairs: [C] int64, matched pairs of IoU > 0.5.
      pq_false_positives: [C] int64, those mostly in void left out.
      pq_iou: [C] float64, sum of the IoU of the pairs of `pq_pairs`.
    """

    classes: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    num_truth: np.ndarray
    num_predicted: np.ndarray
    pq_pairs: np.ndarray
    pq_false_positives: np.ndarray
    pq_iou: np.ndarray


def score_matching(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    truth_classes: Mapping[int, int] | Sequence[int] | None = None,
    classes: Sequence[int] | None = None,
    void: np.ndarray | None = None,
    crowd: np.ndarray | None = None,
) -> MatchingRecord:
    """Returns the counts of one picture; class-free where no classes are given.

    Args:
      truth: [H, W] integer ids, 0 background, < 0 void; or [T, H, W] bool masks of ids 1..T.
      predicted: [H, W] integer ids, <= 0 no object; or [P, H, W] bool masks of ids 1..P.
      truth_classes: class of each true id, `truth_classes[id]`.
      classes: class of each predicted id, that of id k at k − 1.
      void: [H, W] bool, further void.
      crowd: [H, W] bool, see `mask_overlap.overlap`.

    Returns:
      The `MatchingRecord`.

    Raises:
      ValueError: if shapes or types are others, or a class is missing.
    """
    found = overlap(truth, predicted, void=void, crowd=crowd)
    return score_overlap(found, truth_classes, classes)


def score_overlap(
    found: Overlap,
    truth_classes: Mapping[int, int] | Sequence[int] | None = None,
    classes: Sequence[int] | None = None,
) -> MatchingRecord:
    """Returns the counts of one picture whose overlaps are known; arguments as `score_matching`.

    Matched pairs are of one class and one to one: as many as possible, and of those matchings
    the one of the greatest sum of IoU. Time cubic in the number of objects of a class.
    """
    of_truth, of_predicted = classes_of(found, truth_classes, classes)
    occurring = np.union1d(of_truth, of_predicted)
    rows = [_count_class(found, of_truth == c, of_predicted == c) for c in occurring]
    columns = [np.array(column) for column in zip(*rows, strict=True)] or _no_rows()
    return MatchingRecord(occurring, *columns)


def classes_of(
    found: Overlap,
    truth_classes: Mapping[int, int] | Sequence[int] | None,
    classes: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes [T] and [P] int64 of an overlap's rows and columns.

    Without `truth_classes` and `classes` all are `CLASS_FREE`.

    Raises:
      ValueError: if only one of the two is given, or a class is missing.
    """
    if (truth_classes is None) != (classes is None):
        raise ValueError("give the classes of truth and prediction, or neither; got one of them.")
    if truth_classes is None:
        return tuple(
            np.full(len(ids), CLASS_FREE, np.int64)
            for ids in (found.truth_ids, found.predicted_ids)
        )
    try:
        of_truth = [int(truth_classes[int(k)]) for k in found.truth_ids]
    except (KeyError, IndexError) as error:
        raise ValueError(f"truth_classes must have all ids {found.truth_ids.tolist()}.") from error
    of_predicted = values_of(found.predicted_ids, classes, "classes")
    return np.array(of_truth, np.int64), of_predicted.astype(np.int64)


def summarize(records: Iterable[MatchingRecord]) -> dict[str, float | int]:
    """Returns the scores of a set of pictures.

    Returns:
      A dict with, for each of `THRESHOLDS` as percent, `matching_50` (TP / (TP + FP + FN), pooled
      over pictures and classes) and `matching_50_precision`, `matching_50_recall`,
      `matching_50_f1`; `pq` = `sq` · `rq` a class (Σ IoU / TP, and F1, of pairs of IoU > 0.5), each
      the mean over the classes of `pq_by_class`; `num_true`, `num_predicted`, `num_pictures`.
      Figures are in [0, 1]; a ratio of nothing is nan.

    Raises:
      ValueError: if there is no record.
    """
    records = list(records)
    if not records:
        raise ValueError("summarize needs at least one MatchingRecord, got none.")
    tp = _total([r.true_positives.sum(axis=0) for r in records])
    fp = _total([r.false_positives.sum(axis=0) for r in records])
    num_true = int(sum(r.num_truth.sum() for r in records))
    summary: dict[str, float | int] = {}
    for k, threshold in enumerate(THRESHOLDS):
        key = f"matching_{round(100 * threshold)}"
        summary[key] = _ratio(tp[k], num_true + fp[k])
        summary[f"{key}_precision"] = _ratio(tp[k], tp[k] + fp[k])
        summary[f"{key}_recall"] = _ratio(tp[k], num_true)
        summary[f"{key}_f1"] = _ratio(2 * tp[k], tp[k] + fp[k] + num_true)
    by_class = pq_by_class(records)
    for name in ("pq", "sq", "rq"):
        values = [figures[name] for figures in by_class.values()]
        summary[name] = float(np.mean(values)) if values else float("nan")
    num_predicted = int(sum(r.num_predicted.sum() for r in records))
    counts = {"num_true": num_true, "num_predicted": num_predicted, "num_pictures": len(records)}
    return {**summary, **counts}


def pq_by_class(records: Iterable[MatchingRecord]) -> dict[int, dict[str, float]]:
    """Returns pq, sq and rq of each class that has a true object or a false positive.

    PQ = Σ IoU / (TP + FP/2 + FN/2), SQ = Σ IoU / TP, RQ = TP / (TP + FP/2 + FN/2); all 0 where
    nothing is matched.
    """
    totals: dict[int, np.ndarray] = {}
    for r in records:
        rows = np.stack([r.pq_pairs, r.pq_false_positives, r.num_truth, r.pq_iou], axis=1)
        for c, row in zip(r.classes.tolist(), rows, strict=True):
            totals[c] = totals.get(c, 0) + row
    by_class = {}
    for c, (tp, fp, num_true, iou) in sorted(totals.items()):
        if tp + fp + num_true:
            rq = 2 * tp / (tp + fp + num_true)
            sq = iou / tp if tp else 0.0
            by_class[c] = {"pq": float(sq * rq), "sq": float(sq), "rq": float(rq)}
    return by_class


def _count_class(found: Overlap, is_true: np.ndarray, is_predicted: np.ndarray) -> tuple:
    iou = found.iou[is_true][:, is_predicted]
    crowd, void = found.crowd_share[is_predicted], found.void_share[is_predicted]
    num_true, num_predicted = iou.shape
    true_positives, false_positives = [], []
    for threshold in THRESHOLDS:
        _, matched = _best_pairs(iou, iou >= threshold)
        true_positives.append(len(matched))
        false_positives.append(_count_others(matched, crowd <= MOST_IGNORED))
    rows, matched = _best_pairs(iou, iou > 0.5)
    pq_counted = void + (1 - void) * crowd <= MOST_IGNORED
    pq_false = _count_others(matched, pq_counted)
    counts = (true_positives, false_positives, num_true, num_predicted)
    return (*counts, len(matched), pq_false, iou[rows, matched].sum())


def _best_pairs(iou: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and columns of the largest matching, of greatest total IoU among such."""
    # All IoU together weigh less than one pair more.
    gain = np.where(allowed, 1 + iou / (2 * max(min(iou.shape), 1)), 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _count_others(matched: np.ndarray, counted: np.ndarray) -> int:
    others = counted.copy()
    others[matched] = False
    return int(others.sum())


def _no_rows() -> list[np.ndarray]:
    pairs, single = np.zeros((0, len(THRESHOLDS)), np.int64), np.zeros(0, np.int64)
    return [pairs, pairs, single, single, single, single, np.zeros(0)]


def _total(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.sum(rows, axis=0)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
