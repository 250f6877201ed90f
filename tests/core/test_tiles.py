"""Sums over pairs: how the points are cut, and that every pair counts once in each direction."""

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core import tiles


def test_sum_over_pairs_preset():
    # f(i, j) = x_i x_j, a column of its own for i: with x = 1, 2, 3 the sums over j are 6 x_i.
    x = tf.constant([[[1.0], [2.0], [3.0]]])
    np.testing.assert_allclose(tiles.sum_over_pairs(outer, [x], 1)[0, :, 0], [6.0, 12.0, 18.0])


@pytest.mark.parametrize("count", [0, 1, 2, 7, 24, 45])
@pytest.mark.parametrize("cut", [(1, 1), (1, 2), (1, 5), (3, 1), (3, 2), (5, 3), (3, 4)])
def test_sum_over_pairs_meets_each_pair_once(cut, count, monkeypatch):
    monkeypatch.setattr(tiles, "_cut", lambda batch, count: cut)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, count, 1)))
    expected = x * tf.reduce_sum(x, axis=1, keepdims=True)
    np.testing.assert_allclose(tiles.sum_over_pairs(outer, [x], 1), expected, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 2, 8, 100])
@pytest.mark.parametrize("count", [0, 1, 600, 601, 4096, 16384, 10**6])
def test_cut_stays_within_its_limits(batch, count):
    num_blocks, num_chunks = tiles._cut(batch, count)
    assert num_blocks % 2 == 1 and num_blocks >= 1
    assert num_blocks * batch <= max(tiles._MOST_TILES, batch)
    assert -(-count // (num_blocks * num_chunks)) <= tiles._LARGEST_BLOCK
    dynamic = tiles._cut(tf.constant(batch), tf.constant(count))
    assert tuple(map(int, dynamic)) == (num_blocks, num_chunks)


def outer(rows, columns):
    (x,), (y,) = rows, columns
    kernel = tf.matmul(x, y, transpose_b=True)
    one = tf.ones_like(x)
    return tf.matmul(kernel, one), tf.matmul(kernel, one, transpose_a=True)
