"""Sparse contingency table of two label maps: what clustering and overlap scores share."""

from typing import NamedTuple

import numpy as np


class Contingency(NamedTuple):
    """Cells that hold at least one pixel; ids may be any integers.

    Attributes:
      truth_ids: [T] the ids of the truth, ascending.
      predicted_ids: [P] the ids of the prediction, ascending.
      rows: [C] int64, index into `truth_ids` of each cell.
      columns: [C] int64, index into `predicted_ids` of each cell.
      pixels: [C] int64 >= 1, pixels that carry both ids.
    """

    truth_ids: np.ndarray
    predicted_ids: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    pixels: np.ndarray


def contingency(
    truth: np.ndarray, predicted: np.ndarray, region: np.ndarray | None = None
) -> Contingency:
    """Returns how many pixels carry each pair of ids, void left out.

    Void is truth < 0. A negative id in the prediction is an id like any other. An
    unsigned map has no void: whoever reads 16-bit files turns their void code into -1 first.

    Memory is linear in pixels, also when every pixel is its own instance.

    Args:
      truth: [H, W] or [N] integers of any width; < 0 is void.
      predicted: integers of the shape of `truth`.
      region: bool of the shape of `truth`; only its True pixels count. None: all pixels.

    Returns:
      The `Contingency`; all its arrays are empty when no pixel counts.

    Raises:
      ValueError: if shapes differ, a map is not of integers, or `region` is not bool.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    _require_label_maps(truth, predicted)
    counted = truth >= 0
    if region is not None:
        region = np.asarray(region)
        if region.dtype != np.bool_ or region.shape != truth.shape:
            raise ValueError(
                f"region must be bool of shape {truth.shape},"
                f" got {region.dtype} of shape {region.shape}."
            )
        counted &= region
    truth_ids, rows = np.unique(truth[counted], return_inverse=True)
    predicted_ids, columns = np.unique(predicted[counted], return_inverse=True)
    # One code a pair keeps the table sparse: T x P may be as large as pixels squared.
    num_columns = max(len(predicted_ids), 1)
    cells, pixels = np.unique(rows.astype(np.int64) * num_columns + columns, return_counts=True)
    return Contingency(
        truth_ids, predicted_ids, cells // num_columns, cells % num_columns, pixels.astype(np.int64)
    )


def _require_label_maps(truth: np.ndarray, predicted: np.ndarray) -> None:
    for name, labels in (("truth", truth), ("predicted", predicted)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} must hold integer ids, got {labels.dtype}; convert it first.")
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth and predicted must have one shape, got {truth.shape} and {predicted.shape}."
        )
