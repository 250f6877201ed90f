import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.instance_tables import boxes, count, mean_by_instance, sum_by_id


def test_sum_by_id_adds_rows_of_equal_ids():
    values = tf.constant([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    found = sum_by_id(values, tf.constant([2, 0, 2]), tf.constant(4))
    np.testing.assert_array_equal(found, [[10, 20], [0, 0], [101, 202], [0, 0]])


def test_count_counts_each_id():
    found = count(tf.constant([3, 0, 3, 3]), tf.constant(5))
    assert found.numpy().tolist() == [1, 0, 0, 3, 0] and found.dtype == tf.int32


def test_mean_by_instance_leaves_out_the_background():
    ids, areas = tf.constant([0, 1, 2, 1]), tf.constant([2, 1])
    found = mean_by_instance(tf.constant([9.0, 1.0, 5.0, 4.0]), ids, areas)
    np.testing.assert_allclose(found, [(1 + 4) / 2, 5 / 1])
    rows = tf.constant([[9.0, 9], [1, 2], [5, 6], [4, 8]])
    np.testing.assert_allclose(mean_by_instance(rows, ids, areas), [[2.5, 5], [5, 6]])
    assert mean_by_instance(rows, ids * 0, tf.zeros([0], tf.int32)).shape == (0, 2)


def test_boxes_by_hand():
    instance = np.zeros([4, 6], np.int32)
    instance[1, 2:5], instance[3, 0], instance[0, 5], instance[2, 5] = 1, 2, 3, 3
    # y_min, x_min, y_max, x_max; of 3 the two pixels are two rows apart.
    expected = [[1, 2, 2, 5], [3, 0, 4, 1], [0, 5, 3, 6]]
    found = boxes(tf.constant(instance), tf.constant(3))
    assert found.numpy().tolist() == expected and found.dtype == tf.int32


def test_boxes_of_300_scattered_instances():
    rng = np.random.default_rng(0)
    instance = rng.permutation(np.arange(5000) % 301).reshape(50, 100)
    found = boxes(tf.constant(instance, tf.int32), tf.constant(300)).numpy()
    for row in range(300):
        ys, xs = np.nonzero(instance == row + 1)
        assert found[row].tolist() == [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 4)])
def test_boxes_of_all_and_of_none(shape):
    ones = tf.ones(shape, tf.int32)
    assert boxes(ones, tf.constant(1)).numpy().tolist() == [[0, 0, *shape]]
    assert boxes(0 * ones, tf.constant(0)).shape == (0, 4)
