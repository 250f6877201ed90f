"""Scores of one image and of a set, solved by hand."""

import math
import warnings

import numpy as np
import pytest

from rpe_tf.metrics.instance_scores import ImageScore, score_image, summarize

_KEYS = {
    "ari_all",
    "ari_foreground",
    "recall_50",
    "recall_75",
    "average_recall",
    "precision_50",
    "num_instances_true",
    "num_instances_found",
    "count_error",
    "num_images",
}


def _scene():
    truth = np.zeros((6, 8), np.int32)
    truth[1:3, 1:4] = 1
    truth[1:5, 5:7] = 2
    return truth


def _assert_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value == pytest.approx(other[key], nan_ok=True), key


def test_score_image_perfect():
    score = score_image(_scene(), _scene())
    assert score.matched.tolist() == [2] * 10
    assert score[1:] == (2, 2, 1.0, 1.0)


def test_score_image_ignores_names_of_ids():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (9, 9)), rng.integers(0, 4, (9, 9))
    renamed = np.array([0, 900, 7, 3])[predicted]
    _assert_same(
        summarize([score_image(truth, predicted)]), summarize([score_image(truth, renamed)])
    )


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
def test_score_image_same_for_all_dtypes(dtype):
    predicted = np.roll(_scene(), 1, axis=0)
    _assert_same(
        summarize([score_image(_scene().astype(dtype), predicted.astype(dtype))]),
        summarize([score_image(_scene(), predicted)]),
    )


def test_score_image_void_does_not_matter():
    truth = _scene()
    truth[0] = -1
    predicted = _scene()
    predicted[0] = np.arange(8)  # In void: neither wrong instances nor wrong pixels.
    assert score_image(truth, predicted)[1:] == (2, 2, 1.0, 1.0)


def test_score_image_foreground_leaves_background_out():
    predicted = _scene()
    predicted[predicted == 0] = 1  # Background swallowed by instance 1.
    score = score_image(_scene(), predicted)
    assert score.ari_foreground == 1 and score.ari_all < 1
    assert score.matched[0] == 1  # Instance 2 only: 6 of 40 pixels are instance 1.


def test_score_image_empty_truth_and_empty_prediction():
    nothing = np.zeros((6, 8), np.int32)
    score = score_image(nothing, _scene())
    assert (score.num_truth, score.num_predicted, score.ari_all) == (0, 2, 0.0)
    assert math.isnan(score.ari_foreground)
    score = score_image(_scene(), nothing)
    assert (score.num_truth, score.num_predicted) == (2, 0)
    assert score.ari_all == 0 and score.ari_foreground == 0


def test_summarize_pools_instances_and_averages_ari():
    first = ImageScore(np.array([3] * 5 + [1] * 5), 3, 4, 0.5, math.nan)
    second = ImageScore(np.array([0] * 10), 1, 0, 1.0, 0.25)
    expected = {
        "ari_all": (0.5 + 1.0) / 2,
        "ari_foreground": 0.25,
        "recall_50": 3 / 4,
        "recall_75": 1 / 4,
        "average_recall": (5 * 3 / 4 + 5 * 1 / 4) / 10,
        "precision_50": 3 / 4,
        "num_instances_true": 3 + 1,
        "num_instances_found": 4 + 0,
        "count_error": (1 + 1) / 2,
        "num_images": 2,
    }
    _assert_same(summarize(iter([first, second])), expected)


def test_summarize_oversegmentation_by_hand():
    # 10 pixels cut into 8 + 2: IoU 0.8 reaches 0.5 to 0.8, seven thresholds of ten.
    summary = summarize([score_image(np.ones((1, 10), int), np.array([[1] * 8 + [2] * 2]))])
    assert summary["recall_50"] == summary["recall_75"] == 1
    assert summary["average_recall"] == pytest.approx(7 / 10)
    assert summary["precision_50"] == 1 / 2 and summary["count_error"] == 1


def test_summarize_keys_and_plain_numbers():
    summary = summarize([score_image(_scene(), _scene())])
    assert summary.keys() == _KEYS
    assert all(type(value) in (int, float) for value in summary.values())


def test_summarize_of_void_images_is_nan_without_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = summarize([score_image(np.full((2, 2), -1), np.ones((2, 2), int))])
    undefined = {key for key, value in summary.items() if math.isnan(value)}
    assert undefined == {
        "ari_all",
        "ari_foreground",
        "recall_50",
        "recall_75",
        "average_recall",
        "precision_50",
    }


def test_summarize_rejects_no_records():
    with pytest.raises(ValueError, match="at least one"):
        summarize([])
