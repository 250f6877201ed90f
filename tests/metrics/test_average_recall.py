"""Overlaps of squares with known areas; matchings solved by hand and by brute force."""

import itertools
import math
import warnings

import numpy as np
import pytest

from rpe_tf.metrics.average_recall import (
    IOU_THRESHOLDS,
    average_recall,
    count_matches,
    iou_matrix,
    match_recall,
    recall_at,
)


def _square(left, instance=1, dtype=np.int64):
    """A 10 x 10 square in 12 x 40 pixels."""
    label_map = np.zeros((12, 40), dtype)
    label_map[1:11, left : left + 10] = instance
    return label_map


def _most_matches(allowed):
    """Tries every assignment of rows to columns."""
    wide = allowed if allowed.shape[0] <= allowed.shape[1] else allowed.T
    rows = range(wide.shape[0])
    return max(
        sum(wide[row, column] for row, column in zip(rows, columns, strict=True))
        for columns in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )


def test_iou_thresholds_are_the_nearest_doubles():
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@pytest.mark.parametrize("shift", range(11))
def test_iou_matrix_of_shifted_squares(shift):
    # Intersection (10 - shift) x 10, union 200 minus it.
    expected = (10 - shift) * 10 / (200 - (10 - shift) * 10)
    overlap = iou_matrix(_square(5), _square(5 + shift))
    np.testing.assert_allclose(overlap.iou, [[expected]], rtol=1e-15)


def test_iou_matrix_rows_follow_returned_ids():
    truth = np.array([[9, 9, 4, 4, 0]])
    predicted = np.array([[300, 2, 2, 2, 2]])
    overlap = iou_matrix(truth, predicted)
    assert overlap.truth_ids.tolist() == [4, 9] and overlap.predicted_ids.tolist() == [2, 300]
    # 4 with 2: 2 / (2 + 4 - 2); 4 with 300: none; 9 with 2: 1 / (2 + 4 - 1); 9 with 300: 1 / 2.
    np.testing.assert_allclose(overlap.iou, [[2 / 4, 0], [1 / 5, 1 / 2]])


def test_iou_matrix_equals_mask_loop():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(-1, 4, (10, 10)), rng.integers(-1, 5, (10, 10))
    overlap = iou_matrix(truth, predicted)
    for i, truth_id in enumerate(overlap.truth_ids):
        for j, predicted_id in enumerate(overlap.predicted_ids):
            one, other = truth == truth_id, (predicted == predicted_id) & (truth >= 0)
            assert overlap.iou[i, j] == pytest.approx((one & other).sum() / (one | other).sum())


def test_iou_matrix_leaves_void_out_of_both_maps():
    truth = np.array([[1, 1, -1, -1, 0]])
    # Two right pixels and two in void: IoU 1. Instance 2 lies in void only: no column.
    overlap = iou_matrix(truth, np.array([[1, 1, 1, 2, 0]]))
    np.testing.assert_array_equal(overlap.iou, [[1.0]])
    assert overlap.predicted_ids.tolist() == [1]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
def test_iou_matrix_same_for_all_dtypes(dtype):
    overlap = iou_matrix(_square(5, 300, dtype), _square(7, 400, dtype))
    np.testing.assert_allclose(overlap.iou, [[80 / 120]])


@pytest.mark.parametrize(
    "truth_id, predicted_id, shape",
    [
        (0, 1, (0, 1)),
        (1, 0, (1, 0)),
        (0, 0, (0, 0)),
        (-1, 1, (0, 0)),
    ],
)
def test_iou_matrix_of_nothing_has_no_rows_or_columns(truth_id, predicted_id, shape):
    overlap = iou_matrix(np.full((3, 3), truth_id), np.full((3, 3), predicted_id))
    assert overlap.iou.shape == shape
    assert count_matches(overlap.iou).tolist() == [0] * len(IOU_THRESHOLDS)


def test_iou_matrix_rejects_two_shapes():
    with pytest.raises(ValueError, match="one shape"):
        iou_matrix(np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_count_matches_finds_more_than_greedy():
    # Greedy, or the largest sum, takes 0.95 and strands row 1; 0.4 and 0.3 are two matches.
    iou = np.array([[0.95, 0.4], [0.3, 0.0]])
    assert count_matches(iou, (0.25, 0.35, 0.96)).tolist() == [2, 1, 0]


def test_count_matches_equals_brute_force():
    rng = np.random.default_rng(3)
    for shape in ((1, 4), (4, 4), (5, 3)):
        iou = rng.random(shape)
        for threshold in (0.2, 0.5, 0.8):
            assert count_matches(iou, (threshold,))[0] == _most_matches(iou >= threshold)


def test_count_matches_permuted_instances():
    iou = np.random.default_rng(4).random((5, 6))
    np.testing.assert_array_equal(count_matches(iou[::-1, ::-1]), count_matches(iou))


def test_count_matches_threshold_is_reached_by_equal_iou():
    # 3 shared pixels of 5.
    iou = iou_matrix(np.array([[1, 1, 1, 1, 0]]), np.array([[0, 1, 1, 1, 1]])).iou
    assert count_matches(iou, (0.6, 0.65)).tolist() == [1, 0]


def test_recall_of_shifted_square_by_hand():
    # IoU 80 / 120 = 2/3 reaches 0.5, 0.55, 0.6, 0.65: four of the ten thresholds.
    iou = iou_matrix(_square(5), _square(7)).iou
    assert match_recall(iou).tolist() == [1] * 4 + [0] * 6
    assert recall_at(iou, 0.5) == 1 and recall_at(iou, 0.75) == 0
    assert average_recall(iou) == pytest.approx(4 / 10)


def test_recall_of_oversegmentation_by_hand():
    # One 10-pixel row cut into 6 + 4: IoU 0.6 and 0.4, only one may match.
    truth = np.ones((1, 10), int)
    iou = iou_matrix(truth, np.array([[1] * 6 + [2] * 4])).iou
    assert recall_at(iou, 0.3) == 1 and count_matches(iou, (0.3,))[0] == 1
    assert average_recall(iou) == pytest.approx(3 / 10)


def test_recall_of_undersegmentation_by_hand():
    # Two of 6 and 4 pixels merged: IoU 0.6 and 0.4; the merged one serves one of the two.
    iou = iou_matrix(np.array([[1] * 6 + [2] * 4]), np.ones((1, 10), int)).iou
    assert recall_at(iou, 0.3) == 1 / 2 and recall_at(iou, 0.65) == 0
    assert average_recall(iou) == pytest.approx((1 / 2) * 3 / 10)


def test_recall_is_one_for_equal_and_nan_for_no_truth():
    truth = np.arange(12).reshape(3, 4)
    assert average_recall(iou_matrix(truth, 20 * truth).iou) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(average_recall(np.zeros((0, 3))))
        assert math.isnan(recall_at(np.zeros((0, 0)), 0.5))
    assert average_recall(np.zeros((3, 0))) == 0


@pytest.mark.parametrize("iou", [np.zeros(3), [[1.1]], [[-0.1]], [[math.nan]]])
def test_count_matches_rejects_what_is_no_iou(iou):
    with pytest.raises(ValueError, match="iou must be a matrix"):
        count_matches(iou)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, math.nan])
def test_recall_at_rejects_threshold(threshold):
    with pytest.raises(ValueError, match="thresholds must be"):
        recall_at(np.ones((1, 1)), threshold)
