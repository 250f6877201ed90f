"""Representatives cover all points, and are those of a plain walk over them."""

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core.sphere import normalize
from rpe_tf.inference import merging


def random_points(count, dim, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def walk(points, cosine):
    """Takes each point that is near none taken before."""
    taken = []
    for i, point in enumerate(points):
        if all(points[j] @ point < cosine for j in taken):
            taken.append(i)
    return taken


@pytest.mark.parametrize("cosine", [-1.0, 0.0, 0.5, 0.9, 1.0])
def test_representatives_are_those_of_a_walk(cosine):
    points = random_points(300, 3)
    assert sorted(merging.cover(points, cosine, 300).rows.numpy()) == walk(points, cosine)


def test_representatives_chain():
    # At 0°, 20°, 40°, 60°, 80° within 25°: the second is near the first, the third near the second
    # only, which is not taken; so 0°, 40°, 80°.
    angles = np.radians([0, 20, 40, 60, 80])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = merging.cover(points, np.cos(np.radians(25)), 5)
    assert found.rows.numpy().tolist() == [0, 2, 4]
    # The second is as near to the first as to the third, and belongs to the first of equals.
    assert found.member.numpy().tolist()[::2] == [0, 1, 2]


def test_representatives_of_more_points_than_a_round_takes(monkeypatch):
    monkeypatch.setattr(merging, "_PICKS", 16)
    monkeypatch.setattr(merging, "_TILE_ROWS", 50)
    points = random_points(500, 3)
    rows, member = merging.cover(points, 0.9, 500)
    chosen = points[rows]
    assert np.sum(chosen[member] * points, axis=1).min() >= 0.9  # each by its own
    among = chosen @ chosen.T - np.eye(len(chosen))
    assert among.max() < 0.9


def test_representatives_stop_at_the_most_asked():
    points = random_points(100, 8)
    rows, member = merging.cover(points, 0.99, 7)
    assert rows.shape == (7,)
    # The first round takes only as many as are asked for; the others join their nearest.
    np.testing.assert_array_equal(member, np.argmax(points @ points[rows].T, axis=1))


def test_points_left_over_after_several_rounds_join_the_nearest_of_all(monkeypatch):
    monkeypatch.setattr(merging, "_PICKS", 4)
    points = random_points(200, 8)
    rows, member = merging.cover(points, 0.9, 15)  # four rounds of at most four
    cosines = points @ points[rows].T
    is_covered = cosines[np.arange(200), member] >= 0.9
    assert 15 <= is_covered.sum() < 100
    nearest = np.argmax(cosines, axis=1)
    np.testing.assert_array_equal(member[~is_covered], nearest[~is_covered])


@pytest.mark.parametrize("count", [1, 49, 50, 51, 120])
def test_nearest_of_tiles_is_that_of_all(count, monkeypatch):
    monkeypatch.setattr(merging, "_TILE_ROWS", 50)
    points, others = random_points(count, 4), random_points(9, 4, 1)
    index, cosine = merging.nearest(tf.constant(points), tf.constant(others))
    assert index.dtype == tf.int32
    np.testing.assert_array_equal(index, np.argmax(points @ others.T, axis=1))
    np.testing.assert_allclose(cosine, (points @ others.T).max(axis=1), atol=1e-6)


def test_nearest_takes_the_first_of_equals():
    others = np.float32([[1, 0], [0, 1], [0, 1], [-1, 0]])
    points = tf.constant([[0.8, 0.6], [0.6, 0.8], [-1, 0], [0, 1]])
    assert merging.nearest(points, others)[0].numpy().tolist() == [0, 1, 3, 1]


def test_merge_preset():
    # Two points at ±5° with weights 1 and 3 become one of weight 4 at atan(½ tan 5°); 90° stays.
    angles = np.radians([-5.0, 5.0, 90.0])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    merged = merging.merge(tf.constant(points), tf.constant([1.0, 3.0, 2.0]), 0.9, 3)
    turn = np.arctan(0.5 * np.tan(angles[1]))
    expected = [[np.cos(turn), np.sin(turn)], [0, 1]]
    np.testing.assert_allclose(merged.points, expected, atol=1e-6)
    assert merged.weight.numpy().tolist() == [4, 2]
    assert merged.member.numpy().tolist() == [0, 0, 1]


def test_merge_keeps_the_weight_and_the_weighted_sum():
    points, weight = random_points(200, 3), np.random.default_rng(1).uniform(1, 2, 200)
    merged = merging.merge(tf.constant(points), tf.cast(weight, tf.float32), 0.8, 200)
    member = merged.member.numpy()
    sums = np.zeros([len(merged.weight), 3])
    np.add.at(sums, member, weight[:, np.newaxis] * points)
    np.testing.assert_allclose(merged.points, normalize(tf.constant(sums)), atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(merged.weight), weight.sum(), rtol=1e-5)
