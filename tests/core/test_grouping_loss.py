"""§4.2: the loss summed over the loops."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error, random_points

from rpe_tf.core.grouping_loss import grouping_loss

_INSTANCE = np.array([[0, 0, 1, 1, -1, 2, 2, 0, 1], [0, 0, 0, 0, 3, 3, 3, -1, -1]])
_SEED = tf.constant([[1, 2], [3, 4]])
_ARGUMENTS = {"margin": 0.4, "num_loops": 2, "concentration": 6.0, "num_pixels": 9}


def _embedding():
    return np.stack([random_points(9, 3, k) for k in range(2)])


@pytest.mark.parametrize("num_pixels", [0, 9])
@pytest.mark.parametrize("group_all_pixels", [False, True])
def test_grouping_loss_of_all_pixels_equals_the_oracle(group_all_pixels, num_pixels):
    # Every pixel is drawn, so the draw plays no part; void neither pulls nor scores.
    x = _embedding()
    arguments = {**_ARGUMENTS, "num_pixels": num_pixels, "group_all_pixels": group_all_pixels}
    found = grouping_loss(tf.constant(x), _INSTANCE, _SEED, **arguments)
    assert found.shape == (2, 3)
    for k in range(2):
        for loop in range(3):
            used = _INSTANCE[k] >= 0
            points = oracles.mean_shift(x[k][used], 6.0, loop)
            expected = oracles.pair_loss(points, _INSTANCE[k][used], 0.4)
            assert float(found[k, loop]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("group_all_pixels", [False, True])
def test_grouping_loss_jacobian(group_all_pixels):
    def loss(x):
        return tf.reduce_sum(
            grouping_loss(
                *(x, _INSTANCE, _SEED),
                **{**_ARGUMENTS, "num_pixels": 6},
                step_size=0.8,
                positive_weight=2.0,
                group_all_pixels=group_all_pixels,
            )
        )

    assert gradient_error(loss, _embedding()) < 1e-6


def test_grouping_loss_of_a_draw_is_that_of_the_drawn_pixels():
    from rpe_tf.core.pair_sampling import draw_pixels

    x = _embedding()
    found = grouping_loss(tf.constant(x), _INSTANCE, _SEED, **{**_ARGUMENTS, "num_pixels": 5})
    positions = draw_pixels(tf.constant(_INSTANCE), 5, _SEED).numpy()
    for k in range(2):
        drawn = positions[k]
        expected = oracles.pair_loss(
            oracles.mean_shift(x[k][drawn], 6.0, 2), _INSTANCE[k][drawn], 0.4
        )
        assert float(found[k, 2]) == pytest.approx(expected, abs=1e-13)


def test_grouping_loss_draws_afresh_for_each_loop():
    # With one pixel a group the loss of a draw tells which pixels were drawn.
    x = tf.constant(random_points(60, 3)[np.newaxis])
    instance = tf.range(60)[tf.newaxis]
    arguments = {"margin": 0.4, "concentration": 1e6, "num_pixels": 10, "group_all_pixels": True}
    losses = grouping_loss(x, instance, _SEED[:1], num_loops=3, **arguments)[0].numpy()
    # So sharp a kernel moves nothing: the loops differ by their draw alone.
    assert len(set(np.round(losses, 9))) == 4


def test_grouping_loss_of_void_alone_is_zero():
    instance = -np.ones((2, 9), np.int32)
    losses = grouping_loss(tf.constant(_embedding()), instance, _SEED, **_ARGUMENTS)
    assert not losses.numpy().any()


def test_grouping_loss_of_half_precision_is_float32():
    x = tf.cast(_embedding(), tf.float16)
    assert grouping_loss(x, _INSTANCE, _SEED, **_ARGUMENTS).dtype == tf.float32


@pytest.mark.parametrize(
    "name, value", [("margin", 1.2), ("num_pixels", -1), ("concentration", -1.0)]
)
def test_grouping_loss_refuses(name, value):
    with pytest.raises(ValueError, match=name):
        grouping_loss(tf.constant(_embedding()), _INSTANCE, _SEED, **{**_ARGUMENTS, name: value})
