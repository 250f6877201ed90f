"""Which pixels are drawn, and what they weigh."""

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core import pair_sampling

_SEED = tf.constant([[1, 2]])


def test_instance_rank_counts_the_ids_upwards():
    # Void first, then 2, 7 and an id past 16 bits.
    found = pair_sampling.instance_rank(tf.constant([[7, -1, 70000, 7, 2], [5, 5, 5, 5, 5]]))
    np.testing.assert_array_equal(found, [[2, 0, 3, 2, 1], [0, 0, 0, 0, 0]])


def test_instance_sum_preset():
    values = tf.constant([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[1.0, 1.0]] * 3])
    found = pair_sampling.instance_sum(values, tf.constant([[1, 0, 1], [0, 0, 0]]))
    expected = [[[3, 4], [6, 8], [0, 0]], [[3, 3], [0, 0], [0, 0]]]
    np.testing.assert_array_equal(found, expected)


def test_pixel_weight_preset():
    # Sizes: id 0 three pixels, id 7 one, id 300 two; void weighs nothing.
    found = pair_sampling.pixel_weight(tf.constant([0, 7, 0, -1, 300, 0, 300]))
    np.testing.assert_allclose(found, [1 / 3, 1, 1 / 3, 0, 1 / 2, 1 / 3, 1 / 2], rtol=1e-6)


def test_pixel_weight_of_each_instance_sums_to_one():
    instance = np.random.default_rng(0).integers(-1, 5, (3, 50))
    weight = pair_sampling.pixel_weight(tf.constant(instance), tf.float64).numpy()
    for ids, weights in zip(instance, weight, strict=True):
        for k in np.unique(ids):
            assert weights[ids == k].sum() == pytest.approx(1.0 if k >= 0 else 0.0)


def test_pixel_weight_of_all_void_is_zero():
    assert not pair_sampling.pixel_weight(tf.constant([-1, -1])).numpy().any()


def test_draw_pixels_draws_each_pixel_once_and_void_last():
    instance = tf.constant([[-1, 3, -1, 0, 0, 9, -1, 2]])
    drawn = pair_sampling.draw_pixels(instance, 5, _SEED).numpy()[0]
    assert sorted(drawn) == [1, 3, 4, 5, 7]
    drawn = pair_sampling.draw_pixels(instance, 6, _SEED).numpy()[0]
    assert len(set(drawn)) == 6 and {1, 3, 4, 5, 7} < set(drawn)


def test_draw_pixels_returns_at_most_all():
    assert pair_sampling.draw_pixels(tf.zeros([2, 7], tf.int32), 100, [[0, 1], [2, 3]]).shape == (
        2,
        7,
    )


def test_draw_pixels_is_uniform():
    # 2,000 draws of 10 out of 40: each pixel is expected 500 times, deviation √(2000·¼·¾) = 19.
    seeds = tf.stack([tf.range(2000), tf.range(2000)], axis=1)
    drawn = pair_sampling.draw_pixels(tf.zeros([2000, 40], tf.int32), 10, seeds)
    counts = np.bincount(drawn.numpy().ravel(), minlength=40)
    assert np.abs(counts - 500).max() < 5 * 19.4


def test_draw_pixels_depends_on_its_own_seed_alone():
    instance, seeds = tf.zeros([3, 30], tf.int32), tf.constant([[1, 2], [3, 4], [5, 6]])
    together = pair_sampling.draw_pixels(instance, 8, seeds)
    for k in range(3):
        alone = pair_sampling.draw_pixels(instance[k : k + 1], 8, seeds[k : k + 1])
        np.testing.assert_array_equal(np.sort(together[k]), np.sort(alone[0]))
    assert set(together[0].numpy()) != set(together[1].numpy())


def test_draw_pixels_refuses_none():
    with pytest.raises(ValueError, match="num_pixels must be at least 1"):
        pair_sampling.draw_pixels(tf.zeros([1, 4], tf.int32), 0, _SEED)


def _many_draws(instance, num_pixels, weights, count=1600):
    """Returns the pixels of many draws of one picture, [count, num_pixels]."""
    seeds = tf.stack([tf.range(count), tf.zeros([count], tf.int32)], axis=1)
    instance, weights = (np.tile(x, [count, 1]) for x in (instance, weights))
    return pair_sampling.draw_pixels(instance, num_pixels, seeds, weights).numpy()


def test_draw_pixels_by_weights_of_one_pixel_is_proportional():
    weights = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    drawn = _many_draws([0, 0, 5, 7, -1], 1, weights)
    # Void has no share, whatever its weight. Deviation at most √(1600 · ¼) = 20.
    expected = 1600 * np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    assert np.abs(np.bincount(drawn[:, 0], minlength=5) - expected).max() < 5 * 20


def test_draw_pixels_by_weights_draws_one_after_the_other_by_what_is_left():
    # Weights 1, 1, 2; two of three. Pixel 2 is left out with 0 then 1 or 1 then 0:
    # 2 · ¼ · (1/3) = 1/6. Pixel 0: 1 then 2: ¼ · (2/3) = 1/6; 2 then 1: ½ · ½ = ¼; 5/12 in all.
    drawn = _many_draws([0, 0, 0], 2, np.array([1.0, 1.0, 2.0]))
    left_out = 3 - drawn.sum(axis=1)  # of 0, 1 and 2
    expected = 1600 * np.array([5 / 12, 5 / 12, 1 / 6])
    assert np.abs(np.bincount(left_out) - expected).max() < 5 * 20


def test_draw_pixels_by_weights_takes_weight_0_last_but_before_void():
    drawn = _many_draws([0, -1, 0, 0, 0], 3, np.array([0.0, 1.0, 1e-8, 0.0, 1.0]), 500)
    assert all({2, 4} < set(row) and 1 not in row for row in drawn)
    # Which of the two of weight 0 is up to chance.
    assert 150 < (drawn == 0).sum() < 350
    everything = pair_sampling.draw_pixels([[0, -1, 0]], 3, _SEED, [[0.0, 1.0, 1.0]])
    assert sorted(everything.numpy()[0]) == [0, 1, 2]


def test_draw_pixels_by_weights_knows_no_scale_and_equals_uniform_at_equal_weights():
    instance = np.zeros([1, 50], np.int32)
    weights = np.random.default_rng(0).uniform(0.1, 1.0, [1, 50])
    for given, other in ((weights, weights * 1e-34), (np.ones([1, 50]), None)):
        a, b = (pair_sampling.draw_pixels(instance, 9, _SEED, w).numpy() for w in (given, other))
        assert set(a[0]) == set(b[0])


def test_draw_pixels_by_weights_that_are_all_0_is_uniform():
    drawn = _many_draws([0] * 10, 1, np.zeros(10))
    assert np.abs(np.bincount(drawn[:, 0], minlength=10) - 160).max() < 5 * np.sqrt(1600 * 0.09)
