"""Agreement of two partitions of the pixels, whatever their ids are called."""

import numpy as np

from rpe_tf.metrics.contingency import contingency


def adjusted_rand_index(
    truth: np.ndarray, predicted: np.ndarray, region: np.ndarray | None = None
) -> float:
    """Returns the Rand index of two partitions, corrected for chance (Hubert & Arabie, 1985).

    With n_ij the contingency table, a_i and b_j its sums over rows and columns, n its total
    and C(m) = m (m - 1) / 2 the number of pairs:

      I = sum C(n_ij),  A = sum C(a_i),  B = sum C(b_j),  E = A B / C(n)
      ARI = (I - E) / ((A + B) / 2 - E)

    The fraction is 0 / 0 only when both partitions are trivial and equal (one group, or every
    pixel alone, or a single pixel); they agree, so the answer is 1. When no pixel counts the
    answer is nan, to be left out of a mean by the caller.

    Args:
      truth: [H, W] or [N] integer ids; < 0 is void and never counts.
      predicted: integer ids of the same shape; a negative id is an id like any other.
      region: bool of the same shape, restricts the pixels; `truth > 0` leaves the background out.

    Returns:
      A float <= 1: 1 for equal partitions, 0 expected by chance, below 0 for worse than
      chance; nan when no pixel counts.

    Raises:
      ValueError: if shapes differ, a map is not of integers, or `region` is not bool.
    """
    table = contingency(truth, predicted, region)
    if not len(table.pixels):
        return float("nan")
    pairs_both = _num_pairs(table.pixels)
    pairs_truth = _num_pairs(_totals(table.rows, table.pixels))
    pairs_predicted = _num_pairs(_totals(table.columns, table.pixels))
    pairs_all = _num_pairs(table.pixels.sum(keepdims=True))
    # Python integers: for 512 x 512 pixels the product of two pair counts passes 2^63.
    product = pairs_truth * pairs_predicted
    denominator = (pairs_truth + pairs_predicted) * pairs_all - 2 * product
    if denominator == 0:
        return 1.0
    return 2 * (pairs_both * pairs_all - product) / denominator


def _totals(index: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    # Weights make bincount answer in float64, exact for any image's pixel count.
    return np.bincount(index, weights=pixels).astype(np.int64)


def _num_pairs(pixels: np.ndarray) -> int:
    return int((pixels * (pixels - 1) // 2).sum())
