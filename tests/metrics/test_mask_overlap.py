"""Overlap of label maps and of masks, void taken out, and the order of equal scores."""

import numpy as np
import pytest

from rpe_tf.metrics.average_recall import iou_matrix
from rpe_tf.metrics.mask_overlap import overlap, rank
from tests.metrics.scenes import disc_scene


def _masks(labels):
    """The stack of ids 1, 2 …; ids without pixels are empty masks."""
    return np.stack([labels == k for k in range(1, labels.max() + 1)])


def _with_void(seed):
    truth, predicted = disc_scene(seed)
    truth[20:40, 30:60] = -1
    return truth, predicted


@pytest.mark.parametrize("seed", range(3))
def test_overlap_of_label_maps_equals_iou_matrix(seed):
    truth, predicted = _with_void(seed)
    found, expected = overlap(truth, predicted), iou_matrix(truth, predicted)
    np.testing.assert_array_equal(found.iou, expected.iou)
    np.testing.assert_array_equal(found.truth_ids, expected.truth_ids)
    np.testing.assert_array_equal(found.predicted_ids, expected.predicted_ids)


@pytest.mark.parametrize("seed", range(3))
def test_masks_and_label_maps_overlap_alike(seed):
    truth, predicted = _with_void(seed)
    expected = overlap(truth, predicted)
    found = overlap(_masks(np.maximum(truth, 0)), _masks(predicted), void=truth < 0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_masks_that_overlap_each_other():
    truth = np.zeros((2, 4, 4), bool)
    truth[0, :, :2] = truth[1, :2] = True  # 8 pixels each, 4 of them shared.
    predicted = np.ones((1, 4, 4), bool)
    assert overlap(truth, predicted).iou.tolist() == [[8 / 16], [8 / 16]]
    assert overlap(truth, truth).iou.tolist() == [[1, 4 / 12], [4 / 12, 1]]


def test_masked_equals_sliced():
    truth, predicted = disc_scene(4)
    void = np.zeros(truth.shape, bool)
    void[:, 50:] = True
    masked, sliced = overlap(truth, predicted, void=void), overlap(truth[:, :50], predicted[:, :50])
    np.testing.assert_array_equal(masked.iou, sliced.iou)


def test_shares_of_void_and_crowd():
    truth = np.zeros((1, 10), int)
    truth[0, :2] = -1
    predicted = np.array([[1, 1, 1, 1, 1, 2, 2, 0, 3, 3]])
    crowd = np.zeros((1, 10), bool)
    crowd[0, 4:6] = True
    found = overlap(truth, predicted, crowd=crowd)
    # Of 1, 2 of 5 pixels are void; of the other 3, 1 is crowd. Of 2, 1 of 2 pixels is.
    np.testing.assert_allclose(found.void_share, [2 / 5, 0, 0])
    np.testing.assert_allclose(found.crowd_share, [1 / 3, 1 / 2, 0])
    assert found.iou.shape == (0, 3)


def test_what_lies_in_void_only_is_absent():
    truth = np.array([[-1, -1, 1, 1]])
    found = overlap(truth, np.array([[7, 7, 9, 9]]))
    assert found.predicted_ids.tolist() == [9] and found.iou.tolist() == [[1]]
    assert found.void_share.tolist() == [0]


@pytest.mark.parametrize("empty", [np.zeros((5, 6), int), np.zeros((0, 5, 6), bool)])
def test_overlap_of_nothing(empty):
    other = np.ones((5, 6), int)
    assert overlap(empty, empty).iou.shape == (0, 0)
    assert overlap(other, empty).iou.shape == (1, 0)
    assert overlap(empty, other).iou.shape == (0, 1)
    assert rank(overlap(other, empty), None).tolist() == []


def test_all_void_leaves_nothing():
    assert overlap(np.full((5, 6), -1), np.ones((5, 6), int)).iou.shape == (0, 0)


def test_one_pixel():
    assert overlap(np.ones((1, 1), int), np.ones((1, 1, 1), bool)).iou.tolist() == [[1]]


def test_rank_by_score_then_size_then_place():
    labels = np.array([[1, 2, 3, 3, 4, 4]])
    found = overlap(np.zeros_like(labels), labels)
    assert found.predicted_ids[rank(found, None)].tolist() == [3, 4, 1, 2]
    assert found.predicted_ids[rank(found, [0.1, 0.9, 0.1, 0.5])].tolist() == [2, 4, 3, 1]


def test_rank_does_not_depend_on_the_order_of_masks():
    # All of 5 pixels, so that their places decide.
    masks = np.argsort(np.random.RandomState(0).rand(9, 16)).reshape(9, 4, 4) < 5
    shuffled = np.random.RandomState(1).permutation(9)
    scores = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3])
    truth = np.zeros((4, 4), int)
    order = rank(overlap(truth, masks), scores)
    other = rank(overlap(truth, masks[shuffled]), scores[shuffled])
    np.testing.assert_array_equal(shuffled[other], order)


@pytest.mark.parametrize(
    "truth, predicted, choices, words",
    [
        (np.zeros((2, 2)), np.zeros((2, 2), int), {}, "truth must be integer ids"),
        (np.zeros((2, 2), int), np.zeros((1, 2, 2), int), {}, "predicted must be integer ids"),
        (np.zeros((2, 2), int), np.zeros((2, 3), int), {}, "predicted must be of"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), {"void": np.zeros((3, 2), bool)}, "void"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), {"crowd": np.zeros((3, 2))}, "crowd"),
    ],
)
def test_overlap_refuses(truth, predicted, choices, words):
    with pytest.raises(ValueError, match=words):
        overlap(truth, predicted, **choices)


@pytest.mark.parametrize("scores, words", [([1.0], "each id 1..2"), ([1.0, np.nan], "finite")])
def test_rank_refuses(scores, words):
    found = overlap(np.zeros((1, 2), int), np.array([[1, 2]]))
    with pytest.raises(ValueError, match=words):
        rank(found, scores)
