"""Matching in the order of the scores, by hand and against a loop."""

import numpy as np
import pytest

from rpe_tf.metrics.greedy_matching import match_greedily


def _slow(iou, threshold):
    free, taken = set(range(iou.shape[0])), []
    for column in range(iou.shape[1]):
        allowed = [t for t in free if iou[t, column] >= threshold]
        choice = max(allowed, key=lambda t: (iou[t, column], t), default=-1)
        free.discard(choice)
        taken.append(choice)
    return taken


def test_match_greedily_preset():
    iou = np.array([[0.6, 0.9, 0.7], [0.5, 0.3, 0.0]])
    # At 0.5 the first takes row 0 and leaves nothing to the others; at 0.7 it takes none.
    assert match_greedily(iou, (0.5, 0.7)).tolist() == [[0, -1, -1], [-1, 0, -1]]


def test_an_object_taken_leaves_the_second_best():
    assert match_greedily(np.array([[0.9, 0.8], [0.0, 0.6]]), (0.5,)).tolist() == [[0, 1]]


def test_the_threshold_itself_matches_and_the_last_of_equals_is_taken():
    assert match_greedily(np.array([[0.5], [0.5]]), (0.5,)).tolist() == [[1]]


@pytest.mark.parametrize("seed", range(5))
def test_match_greedily_equals_a_loop(seed):
    random = np.random.RandomState(seed)
    iou = random.randint(0, 11, (random.randint(1, 9), random.randint(1, 12))) / 10
    thresholds = (0.1, 0.5, 0.7, 1.0)
    expected = [_slow(iou, threshold) for threshold in thresholds]
    assert match_greedily(iou, thresholds).tolist() == expected


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_match_greedily_of_nothing(shape):
    assert match_greedily(np.zeros(shape), (0.5, 0.9)).tolist() == [[-1] * shape[1]] * 2


@pytest.mark.parametrize("thresholds", [(0.0,), (0.5, 1.5)])
def test_match_greedily_refuses(thresholds):
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        match_greedily(np.zeros((1, 1)), thresholds)
