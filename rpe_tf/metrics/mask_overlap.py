"""Overlap of true with predicted objects: label maps, or masks that may overlap each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class Overlap(NamedTuple):
    """What the scores of objects need to know of a picture; T true objects, P predicted ones.

    Objects without a pixel outside void are absent. An id is the number in a label map; the
    masks of a stack have ids 1, 2, 3 …

    Attributes:
      iou: [T, P] float64 in [0, 1], void taken out.
      truth_ids: [T] int64, ascending.
      predicted_ids: [P] int64, ascending.
      positions: [P, 3] int64: area, first pixel and sum of pixel numbers; what breaks ties.
      void_share: [P] in [0, 1), share of a prediction's pixels that are void.
      crowd_share: [P] in [0, 1], share of a prediction's pixels outside void that are crowd.
    """

    iou: np.ndarray
    truth_ids: np.ndarray
    predicted_ids: np.ndarray
    positions: np.ndarray
    void_share: np.ndarray
    crowd_share: np.ndarray


def overlap(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    void: np.ndarray | None = None,
    crowd: np.ndarray | None = None,
) -> Overlap:
    """Returns the IoU of every true with every predicted object, void taken out of both.

    For two label maps the IoU is that of `average_recall.iou_matrix`.

    Args:
      truth: [H, W] integer ids, 0 background, < 0 void; or [T, H, W] bool masks.
      predicted: [H, W] integer ids, <= 0 no object; or [P, H, W] bool masks.
      void: [H, W] bool, further pixels to take out.
      crowd: [H, W] bool, regions of objects that were not drawn one by one; they are no truth
        and remain in the predictions.

    Returns:
      An `Overlap`. Memory linear in the pixels of all masks together.

    Raises:
      ValueError: if shapes or types are others.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    for name, objects in (("truth", truth), ("predicted", predicted)):
        _require_objects(name, objects)
    size = truth.shape[-2:]
    for name, pixels in (("predicted", predicted), ("void", void), ("crowd", crowd)):
        if pixels is not None and np.shape(pixels)[-2:] != size:
            raise ValueError(f"{name} must be of {size} pixels as truth, got {np.shape(pixels)}.")
    counted = np.ones(size, bool) if void is None else ~np.asarray(void, bool)
    if truth.ndim == 2:
        counted &= truth >= 0
    truth_ids, truth_rows = _sparse_rows(truth, counted)
    predicted_ids, predicted_rows = _sparse_rows(predicted, counted)
    shared = (truth_rows @ predicted_rows.T).toarray().astype(np.float64)
    areas = predicted_rows.sum(axis=1)
    union = truth_rows.sum(axis=1)[:, np.newaxis] + areas - shared
    return Overlap(
        shared / union,
        truth_ids,
        predicted_ids,
        _positions(predicted_rows),
        1 - areas / _full_areas(predicted, predicted_ids),
        _share_inside(predicted_rows, crowd),
    )


def rank(overlap: Overlap, scores: Sequence[float] | None) -> np.ndarray:
    """Returns the columns of an overlap from the highest score to the lowest.

    Of equal scores the larger object comes first, then the one that begins earlier: the order of
    the masks in a file does not matter.

    Args:
      overlap: of the picture.
      scores: by id: that of id k at k − 1. None: all equal.

    Returns:
      [P] int64, indices of `overlap.predicted_ids`.

    Raises:
      ValueError: if there are fewer scores than ids, or one is not finite.
    """
    area, first, total = overlap.positions.T
    return np.lexsort((total, first, -area, -scores_of(overlap, scores)))


def scores_of(overlap: Overlap, scores: Sequence[float] | None) -> np.ndarray:
    """Returns the score [P] float64 of each column of an overlap; 1 where scores is None.

    Raises:
      ValueError: as `rank`.
    """
    if scores is None:
        return np.ones(len(overlap.predicted_ids))
    found = values_of(overlap.predicted_ids, scores, "scores").astype(np.float64)
    if not np.isfinite(found).all():
        raise ValueError("scores must be finite, got nan or infinity.")
    return found


def values_of(ids: np.ndarray, values: Sequence, name: str) -> np.ndarray:
    """Returns [K] the values of ids, that of id k at k − 1.

    Raises:
      ValueError: if there are fewer values than the largest id.
    """
    values = np.asarray(values)
    largest = int(ids.max(initial=0))
    if values.ndim != 1 or len(values) < largest:
        raise ValueError(
            f"{name} must have an entry for each id 1..{largest}, got shape {values.shape}."
        )
    return values[ids - 1]


def _require_objects(name: str, objects: np.ndarray) -> None:
    is_map = objects.ndim == 2 and np.issubdtype(objects.dtype, np.integer)
    is_stack = objects.ndim == 3 and objects.dtype == np.bool_
    if not is_map and not is_stack:
        raise ValueError(
            f"{name} must be integer ids [H, W] or bool masks [K, H, W],"
            f" got {objects.dtype} of shape {objects.shape}."
        )


def _sparse_rows(objects: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, csr_array]:
    """Returns the ids that have a counted pixel, and [K, H · W] int64, 1 at their pixels."""
    if objects.ndim == 2:
        pixels = np.flatnonzero(counted & (objects > 0))
        of_pixel = objects.ravel()[pixels].astype(np.int64)
    else:
        # One mask after the other: no second stack beside the given one.
        parts = [np.flatnonzero(mask & counted) for mask in objects]
        pixels = np.concatenate([*parts, np.zeros(0, np.int64)])
        of_pixel = np.repeat(np.arange(1, len(parts) + 1), [len(part) for part in parts])
    ids, rows = np.unique(of_pixel, return_inverse=True)
    ones = np.ones(len(pixels), np.int64)
    return ids, csr_array((ones, (rows, pixels)), shape=(len(ids), counted.size))


def _positions(rows: csr_array) -> np.ndarray:
    rows.sort_indices()
    numbers = rows.indices.astype(np.int64)
    starts = rows.indptr[:-1]  # No row is empty, so each has a first pixel.
    totals = np.add.reduceat(numbers, starts) if len(starts) else np.zeros(0, np.int64)
    return np.stack([np.diff(rows.indptr), numbers[starts], totals], axis=1).astype(np.int64)


def _full_areas(objects: np.ndarray, ids: np.ndarray) -> np.ndarray:
    if objects.ndim == 3:
        return objects[ids - 1].sum(axis=(1, 2))
    found, areas = np.unique(objects, return_counts=True)
    return areas[np.searchsorted(found, ids)]


def _share_inside(rows: csr_array, region: np.ndarray | None) -> np.ndarray:
    if region is None:
        return np.zeros(rows.shape[0])
    return rows @ np.asarray(region, np.int64).ravel() / rows.sum(axis=1)
