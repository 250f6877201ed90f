"""The adjusted Rand index: by hand, against a pair loop and against scikit-learn."""

import itertools
import math

import numpy as np
import pytest

from rpe_tf.metrics.clustering import adjusted_rand_index


def _pair_loop_ari(truth, predicted):
    """Counts every pair of pixels: slow and obvious."""
    both = in_truth = in_predicted = total = 0
    for i, j in itertools.combinations(range(len(truth)), 2):
        both += truth[i] == truth[j] and predicted[i] == predicted[j]
        in_truth += truth[i] == truth[j]
        in_predicted += predicted[i] == predicted[j]
        total += 1
    expected = in_truth * in_predicted / total
    return (both - expected) / ((in_truth + in_predicted) / 2 - expected)


def test_adjusted_rand_index_by_hand():
    # Pairs together: both {01}: 1; truth {01}, {23}: 2; predicted {01}, {02}, {12}: 3; all: 6.
    expected = (1 - 2 * 3 / 6) / ((2 + 3) / 2 - 2 * 3 / 6)
    assert expected == 0.0
    assert adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 9])) == 0.0
    # Split one of two pairs: both {01}: 1; truth {01}, {23}: 2; predicted {01}: 1; all: 6.
    expected = (1 - 2 * 1 / 6) / ((2 + 1) / 2 - 2 * 1 / 6)
    got = adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_rand_index_equals_pair_loop(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    assert adjusted_rand_index(truth, predicted) == pytest.approx(
        _pair_loop_ari(truth, predicted), abs=1e-12
    )


@pytest.mark.parametrize("num_pixels, num_ids", [(50, 3), (200, 200), (5000, 10), (262_144, 9)])
def test_adjusted_rand_index_agrees_with_scikit_learn(num_pixels, num_ids):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(num_pixels)
    truth = rng.integers(0, num_ids, num_pixels)
    predicted = np.where(rng.random(num_pixels) < 0.7, truth, rng.integers(0, num_ids, num_pixels))
    assert adjusted_rand_index(truth, predicted) == pytest.approx(
        metrics.adjusted_rand_score(truth, predicted), abs=1e-12
    )


def test_adjusted_rand_index_ignores_names_of_ids():
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 4, (8, 8)), rng.integers(0, 4, (8, 8))
    renamed = np.array([70_000, -3, 0, 11])[predicted]
    assert adjusted_rand_index(truth, renamed) == adjusted_rand_index(truth, predicted)
    assert adjusted_rand_index(truth, predicted) == pytest.approx(
        adjusted_rand_index(predicted, truth)
    )


def test_adjusted_rand_index_leaves_void_out():
    truth, predicted = np.array([0, 0, 1, 1, -1, -1]), np.array([0, 0, 1, 2, 0, 7])
    assert adjusted_rand_index(truth, predicted) == adjusted_rand_index(truth[:4], predicted[:4])


def test_adjusted_rand_index_region_can_leave_background_out():
    truth, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 2, 1, 1, 2, 2])
    assert adjusted_rand_index(truth, predicted) < 1
    assert adjusted_rand_index(truth, predicted, truth > 0) == 1


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.uint8])
def test_adjusted_rand_index_same_for_all_dtypes(dtype):
    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(0, 9, (300, 300)), rng.integers(0, 9, (300, 300))
    assert adjusted_rand_index(truth.astype(dtype), predicted.astype(dtype)) == (
        adjusted_rand_index(truth, predicted)
    )


@pytest.mark.parametrize(
    "truth, predicted, expected",
    [
        ([3, 3, 3], [0, 0, 0], 1.0),  # One group in both.
        ([0, 1, 2], [5, 4, 3], 1.0),  # Every pixel alone in both.
        ([4], [2], 1.0),
        ([1, 1, 1], [0, 1, 2], 0.0),  # Trivial, but not equal.
        ([1, 1, 2, 2], [1, 1, 1, 1], 0.0),
    ],
)
def test_adjusted_rand_index_of_trivial_partitions(truth, predicted, expected):
    assert adjusted_rand_index(np.array(truth), np.array(predicted)) == expected


def test_adjusted_rand_index_without_pixels_is_nan():
    assert math.isnan(adjusted_rand_index(np.full(3, -1), np.zeros(3, int)))
    assert math.isnan(adjusted_rand_index(np.zeros(3, int), np.zeros(3, int), np.zeros(3, bool)))


def test_adjusted_rand_index_rejects_float_maps():
    with pytest.raises(ValueError, match="integer"):
        adjusted_rand_index(np.zeros(3), np.zeros(3, int))
