"""Confusion, mean IoU and the trimap, solved by hand and against loops."""

import math

import numpy as np
import pytest

from rpe_tf.metrics.mean_iou import (
    boundary_distance,
    class_iou,
    confusion_matrix,
    mean_iou,
    pixel_accuracy,
    trimap_band,
    trimap_confusion,
)


def _blocks(seed, num_labels=4, low=-1):
    random = np.random.RandomState(seed)
    return np.kron(random.randint(low, num_labels, (5, 6)), np.ones((3, 2), int))


def _slow_distance(labels):
    """Every pixel against every other one."""
    distance = np.full(labels.shape, np.inf)
    for i, j in np.ndindex(*labels.shape):
        for k, m in np.ndindex(*labels.shape):
            if labels[i, j] != labels[k, m]:
                distance[i, j] = min(distance[i, j], math.hypot(i - k, j - m))
    return distance


def test_confusion_matrix_preset():
    truth = np.array([[0, 0, 1], [1, 2, -1]])
    predicted = np.array([[0, 1, 1], [1, 0, 2]])
    confusion = confusion_matrix(truth, predicted, 4)
    assert confusion.dtype == np.int64
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    # Class 0: 1 right, 2 true, 2 predicted: 1 / (2 + 2 - 1). Class 1: 2 / (2 + 3 - 2). Class 2:
    # 0 / 1. Class 3 occurs nowhere.
    np.testing.assert_allclose(class_iou(confusion), [1 / 3, 2 / 3, 0, np.nan])
    assert mean_iou(confusion) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert pixel_accuracy(confusion) == 3 / 5


def test_confusion_matrix_equals_a_loop():
    truth, predicted = _blocks(0), np.maximum(_blocks(1), 0)
    expected = np.zeros((4, 4), int)
    for i, j in np.ndindex(*truth.shape):
        if truth[i, j] >= 0:
            expected[truth[i, j], predicted[i, j]] += 1
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, 4), expected)


def test_confusion_matrix_of_two_pictures_is_the_sum():
    truth, predicted = _blocks(2), np.maximum(_blocks(3), 0)
    whole = confusion_matrix(truth, predicted, 4)
    parts = [confusion_matrix(truth[rows], predicted[rows], 4) for rows in np.s_[:7, 7:]]
    np.testing.assert_array_equal(whole, sum(parts))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_confusion_matrix_of_all_dtypes(dtype):
    truth = np.full((20, 20), 3, dtype)
    assert confusion_matrix(truth, truth, 5)[3, 3] == 400


def test_predictions_in_void_do_not_matter():
    truth, predicted = np.array([[-1, 1]]), np.array([[99, 1]])
    assert confusion_matrix(truth, predicted, 2).tolist() == [[0, 0], [0, 1]]


def test_all_void_is_undefined():
    confusion = confusion_matrix(np.full((3, 3), -1), np.zeros((3, 3), int), 2)
    assert confusion.sum() == 0
    assert math.isnan(mean_iou(confusion)) and math.isnan(pixel_accuracy(confusion))
    assert np.isnan(class_iou(confusion)).all()


def test_one_class_over_all():
    confusion = confusion_matrix(np.ones((3, 3), int), np.ones((3, 3), int), 2)
    assert mean_iou(confusion) == pixel_accuracy(confusion) == 1


def test_class_iou_of_a_stack():
    confusions = np.random.RandomState(0).randint(0, 9, (3, 4, 4))
    np.testing.assert_array_equal(class_iou(confusions), [class_iou(one) for one in confusions])


def test_boundary_distance_preset():
    # Columns 0 0 0 1: the first is 3 from the 1, and a picture's frame is no boundary.
    truth = np.array([[0, 0, 0, 1]] * 5)
    np.testing.assert_array_equal(boundary_distance(truth), [[3, 2, 1, 1]] * 5)


@pytest.mark.parametrize("seed", range(4))
def test_boundary_distance_equals_all_pairs(seed):
    labels = _blocks(seed)
    np.testing.assert_allclose(boundary_distance(labels), _slow_distance(labels))


def test_void_is_a_label_of_its_own_whatever_its_number():
    truth = np.array([[1, 1, -1, -1, -7, -7, 1, 1]])
    np.testing.assert_array_equal(boundary_distance(truth), [[2, 1, 1, 2, 2, 1, 1, 2]])
    np.testing.assert_array_equal(trimap_band(truth, 1), [[0, 1, 0, 0, 0, 0, 1, 0]])


def test_without_a_boundary_there_is_no_band():
    truth = np.full((4, 4), 2)
    assert np.isinf(boundary_distance(truth)).all()
    assert not trimap_band(truth, 1000).any()
    assert trimap_confusion(truth, truth, 3, (1, 40)).sum() == 0
    assert boundary_distance(np.array([[5]])).tolist() == [[np.inf]]


def test_trimap_confusion_preset():
    truth = np.array([[0, 0, 0, 1, 1, 1]])
    predicted = np.array([[1, 0, 0, 0, 1, 1]])
    one, three = trimap_confusion(truth, predicted, 2, (1, 3))
    # Within 1: columns 2 and 3. Within 3: all.
    assert one.tolist() == [[1, 0], [1, 0]]
    assert three.tolist() == [[2, 1], [1, 2]]


@pytest.mark.parametrize("seed", range(3))
def test_trimap_confusion_equals_the_confusion_within_each_band(seed):
    truth, predicted = _blocks(seed), np.maximum(_blocks(seed + 9), 0)
    widths = (1, 1.5, 2, 4)
    found = trimap_confusion(truth, predicted, 4, widths)
    for width, confusion in zip(widths, found, strict=True):
        kept = np.where(trimap_band(truth, width), truth, -1)
        np.testing.assert_array_equal(confusion, confusion_matrix(kept, predicted, 4))
    everything = trimap_confusion(truth, predicted, 4, (1000,))[0]
    np.testing.assert_array_equal(everything, confusion_matrix(truth, predicted, 4))


def test_trimap_turns_with_the_picture():
    truth, predicted = _blocks(5), np.maximum(_blocks(6), 0)
    turned = trimap_confusion(np.rot90(truth), np.rot90(predicted), 4, (1, 2, 3))
    np.testing.assert_array_equal(turned, trimap_confusion(truth, predicted, 4, (1, 2, 3)))


@pytest.mark.parametrize(
    "truth, predicted, num_classes, words",
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), 2, "one shape"),
        (np.zeros(4, int), np.zeros(4, int), 2, "one shape"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), 2, "truth must hold integer"),
        (np.zeros((2, 2), int), np.zeros((2, 2)), 2, "predicted must hold integer"),
        (np.full((2, 2), 255), np.zeros((2, 2), int), 21, "void as −1"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), 2, "predicted must hold classes 0..1"),
    ],
)
def test_confusion_matrix_refuses(truth, predicted, num_classes, words):
    with pytest.raises(ValueError, match=words):
        confusion_matrix(truth, predicted, num_classes)
    with pytest.raises(ValueError, match=words):
        trimap_confusion(truth, predicted, num_classes, (1,))


@pytest.mark.parametrize("widths", [(0, 1), (2, 1), (1, 1), 3])
def test_trimap_refuses_widths(widths):
    with pytest.raises(ValueError, match="rising"):
        trimap_confusion(np.zeros((2, 2), int), np.zeros((2, 2), int), 1, widths)


def test_trimap_band_refuses_width_0():
    with pytest.raises(ValueError, match="width must be > 0"):
        trimap_band(np.zeros((2, 2), int), 0)
