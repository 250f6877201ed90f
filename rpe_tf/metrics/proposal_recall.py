"""Average recall of ranked proposals against their number (§5.3), by COCO's matching."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rpe_tf.metrics.average_recall import IOU_THRESHOLDS
from rpe_tf.metrics.greedy_matching import match_greedily
from rpe_tf.metrics.mask_overlap import Overlap, overlap, rank

# The numbers of proposals a picture at which the curve is taken, and the reported ones.
CURVE = (1, 2, 3, 5, 10, 20, 30, 60, 100, 200, 500, 1000)
REPORTED, REPORTED_AT_50 = (10, 60, 100), (10, 60)


class ProposalRecord(NamedTuple):
    """The proposals of one picture; K `IOU_THRESHOLDS`, R proposals, at most the last of `CURVE`.

    Attributes:
      is_matched: [K, R] bool, whether a proposal, best first, takes a true object.
      num_truth: true objects outside void.
      num_proposals: proposals outside void.
    """

    is_matched: np.ndarray
    num_truth: int
    num_proposals: int


def score_picture(
    truth: np.ndarray,
    predicted: np.ndarray,
    scores: Sequence[float] | None = None,
    *,
    void: np.ndarray | None = None,
) -> ProposalRecord:
    """Returns which proposals of a picture find a true object, class-free.

    Args:
      truth: [H, W] integer ids, 0 background, < 0 void; or [T, H, W] bool masks.
      predicted: [P, H, W] bool masks of ids 1..P; or [H, W] integer ids, <= 0 no object.
      scores: of the predicted ids, that of id k at k − 1; equal ones are ranked as
        `mask_overlap.rank` does. None: all equal.
      void: [H, W] bool, further void.

    Returns:
      The `ProposalRecord`.

    Raises:
      ValueError: if shapes or types are others, or a score is missing or not finite.
    """
    return score_overlap(overlap(truth, predicted, void=void), scores)


def score_overlap(found: Overlap, scores: Sequence[float] | None = None) -> ProposalRecord:
    """Returns the record of a picture whose overlaps are known; arguments as `score_picture`."""
    best = rank(found, scores)[: CURVE[-1]]
    is_matched = match_greedily(found.iou[:, best], IOU_THRESHOLDS) >= 0
    return ProposalRecord(is_matched, len(found.truth_ids), len(found.predicted_ids))


def summarize(records: Iterable[ProposalRecord]) -> dict[str, float | int]:
    """Returns the average recall with the best 10, 60 and 100 proposals a picture.

    Recall is pooled: matched objects of all pictures over objects of all pictures.

    Returns:
      A dict with `ar_10`, `ar_60`, `ar_100` (mean over IoU 0.5:0.05:0.95), `ar_50_10`, `ar_50_60`
      (at IoU 0.5), in [0, 1], nan without a true object; `num_true`, `num_proposals` (totals) and
      `num_pictures`.

    Raises:
      ValueError: if there is no record.
    """
    records = list(records)
    recall = recall_table(records, CURVE)
    counts = {
        "num_true": sum(r.num_truth for r in records),
        "num_proposals": sum(r.num_proposals for r in records),
        "num_pictures": len(records),
    }
    columns = {number: recall[:, k] for k, number in enumerate(CURVE)}
    at_50 = IOU_THRESHOLDS.index(0.5)
    return {
        **{f"ar_{number}": float(columns[number].mean()) for number in REPORTED},
        **{f"ar_50_{number}": float(columns[number][at_50]) for number in REPORTED_AT_50},
        **counts,
    }


def curve(records: Iterable[ProposalRecord]) -> dict[str, list]:
    """Returns the recall against the number of proposals a picture, a list a column.

    Returns:
      `proposals` (`CURVE`), `ar` (mean over the IoU thresholds) and `ar_50` (at IoU 0.5).

    Raises:
      ValueError: if there is no record.
    """
    recall = recall_table(records, CURVE)
    return {
        "proposals": list(CURVE),
        "ar": recall.mean(axis=0).tolist(),
        "ar_50": recall[IOU_THRESHOLDS.index(0.5)].tolist(),
    }


def recall_table(records: Iterable[ProposalRecord], numbers: Sequence[int]) -> np.ndarray:
    """Returns the pooled recall at each of `IOU_THRESHOLDS` with the best n proposals a picture.

    Args:
      records: of the pictures.
      numbers: N numbers of proposals.

    Returns:
      [K, N] float64 in [0, 1]; nan without a true object.

    Raises:
      ValueError: if there is no record.
    """
    records = list(records)
    if not records:
        raise ValueError("recall needs at least one ProposalRecord, got none.")
    matched = sum(
        np.stack([record.is_matched[:, :n].sum(axis=1) for n in numbers], axis=1)
        for record in records
    )
    num_true = sum(record.num_truth for record in records)
    return matched / num_true if num_true else np.full(matched.shape, np.nan)
