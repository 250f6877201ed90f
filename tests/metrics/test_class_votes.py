"""Classes of instances by votes."""

import numpy as np

from rpe_tf.metrics.class_votes import vote_classes


def test_vote_classes_takes_the_most_frequent_class_without_background_and_void():
    instance = np.array([[1, 1, 1, 1], [3, 3, 4, 4], [0, -1, 5, 5]])
    # Id 1: class 2 twice, 7 once. Id 3: 6 and 5 once each, so 5. Id 4: no vote.
    semantic = np.array([[2, 2, 7, 0], [6, 5, 0, -1], [9, 9, 8, 8]])
    assert vote_classes(instance, semantic).tolist() == [0, 2, 0, 5, 0, 8]


def test_vote_classes_of_no_instance():
    nothing = np.zeros([2, 3], np.int32)
    assert vote_classes(nothing, nothing + 1).tolist() == [0]
    assert vote_classes(nothing - 1, nothing + 1).tolist() == [0]
    assert vote_classes(np.zeros([0, 3], np.int32), np.zeros([0, 3], np.int32)).tolist() == [0]
