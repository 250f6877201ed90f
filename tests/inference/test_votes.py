import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.votes import vote_classes


def vote(instance, semantic, num_instances, num_classes):
    found = vote_classes(
        tf.constant(instance, tf.int32), tf.constant(semantic, tf.int32), num_instances, num_classes
    )
    assert found.classes.dtype == tf.int32 and found.agreement.dtype == tf.float32
    return found.classes.numpy().tolist(), found.agreement.numpy().tolist()


def test_vote_classes_by_hand():
    instance = [[1, 1, 1, 2, 2], [1, 1, 2, 2, 0], [3, 3, 4, 4, 4]]
    semantic = [[2, 2, 1, 3, 3], [2, 1, 1, 1, 2], [0, -1, 0, 0, 1]]
    # Id 1: three of five pixels are 2. Id 2: two are 3, two are 1, of four: the smaller class. Id
    # 3: background and void have no vote. Id 4: one of three is 1, the others background.
    classes, agreement = vote(instance, semantic, 4, 4)
    assert classes == [2, 1, 0, 1]
    np.testing.assert_allclose(agreement, [3 / 5, 2 / 4, 0, 1 / 3])


def test_vote_classes_equal_a_count_for_300_instances():
    rng = np.random.default_rng(0)
    instance = rng.permutation(np.arange(6000) % 301).reshape(60, 100)
    semantic = rng.integers(-1, 7, instance.shape)
    classes, agreement = vote(instance, semantic, 300, 7)
    for row in range(300):
        of_row = semantic[instance == row + 1]
        counts = [np.sum(of_row == c) for c in range(1, 7)]
        assert classes[row] == 1 + int(np.argmax(counts))
        assert agreement[row] == pytest.approx(max(counts) / len(of_row))


def test_vote_classes_moves_with_the_pixels():
    rng = np.random.default_rng(1)
    instance, semantic = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    order = rng.permutation(200)
    plain = vote(instance.reshape(10, 20), semantic.reshape(10, 20), 4, 4)
    assert vote(instance[order].reshape(20, 10), semantic[order].reshape(20, 10), 4, 4) == plain


def test_vote_classes_without_instances_and_of_one_pixel():
    assert vote(np.zeros([3, 4]), np.ones([3, 4]), 0, 3) == ([], [])
    assert vote([[1]], [[2]], 1, 3) == ([2], [1.0])
