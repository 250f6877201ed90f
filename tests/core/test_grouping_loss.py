"""§4.2: the loss summed over the loops."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error, random_points

from rpe_tf.core.draw_weight import draw_weight
from rpe_tf.core.grouping_loss import grouping_loss, map_grouping_loss
from rpe_tf.core.pair_sampling import draw_pixels

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


def test_grouping_loss_without_instance_weights_equals_the_oracle():
    x = _embedding()
    found = grouping_loss(tf.constant(x), _INSTANCE, _SEED, **_ARGUMENTS, instance_weights=False)
    for k in range(2):
        used = _INSTANCE[k] >= 0
        points = oracles.mean_shift(x[k][used], 6.0, 2)
        expected = oracles.pair_loss(points, _INSTANCE[k][used], 0.4, instance_weights=False)
        assert float(found[k, 2]) == pytest.approx(expected, abs=1e-13)


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


def _maps():
    """Returns the same pixels as pictures of 3×3, and where each of them lies."""
    places = np.stack(np.meshgrid(range(3), range(3), indexing="ij"), axis=-1).reshape(9, 2)
    return _embedding().reshape(2, 3, 3, 3), _INSTANCE.reshape(2, 3, 3), places


@pytest.mark.parametrize("num_pixels", [0, 9])
@pytest.mark.parametrize("group_all_pixels", [False, True])
def test_map_grouping_loss_within_a_radius_equals_the_oracle(group_all_pixels, num_pixels):
    embedding, instance, places = _maps()
    found = map_grouping_loss(
        *(tf.constant(embedding), instance, _SEED),
        **{**_ARGUMENTS, "num_pixels": num_pixels, "group_all_pixels": group_all_pixels},
        normalizer="pairs",
        radius=1.0,
    )
    for k in range(2):
        used = _INSTANCE[k] >= 0
        for loop in range(3):
            # Grouping knows no radius, the pairs do.
            points = oracles.mean_shift(_embedding()[k][used], 6.0, loop)
            expected = oracles.pair_loss(
                *(points, _INSTANCE[k][used], 0.4, "pairs", 1.0, places[used], 1.0)
            )
            assert float(found[k, loop]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("group_all_pixels", [False, True])
def test_map_grouping_loss_of_a_draw_takes_the_places_of_the_drawn_pixels(group_all_pixels):
    embedding, instance, places = _maps()
    options = {"equal_draw": True, "border_fraction": 0.5, "border_px": 1}
    arguments = {**_ARGUMENTS, "num_loops": 1, "num_pixels": 5, "concentration": 1e6}
    found = map_grouping_loss(
        *(tf.constant(embedding), instance, _SEED),
        **{**arguments, **options, "group_all_pixels": group_all_pixels},
        radius=1.0,
    )
    weights = tf.reshape(draw_weight(instance, **options), [2, 9])
    for loop in range(2):
        # So sharp a kernel moves nothing; with all pixels grouped each loop has a draw of its own.
        seed = _SEED + [[0, loop if group_all_pixels else 0]]
        drawn = draw_pixels(_INSTANCE, 5, seed, weights).numpy()
        for k in range(2):
            expected = oracles.pair_loss(
                *(_embedding()[k][drawn[k]], _INSTANCE[k][drawn[k]], 0.4, "groups", 1.0),
                *(places[drawn[k]], 1.0),
            )
            assert float(found[k, loop]) == pytest.approx(expected, abs=1e-12)


def test_map_grouping_loss_knows_rows_from_columns():
    # 2×4 pixels, an instance each, of one direction a row: excess 1 − ½ along the rows, where 2 · 3
    # pairs are within 1 pixel, each twice; across, ½ − ½. K² = 64.
    embedding = tf.constant([[[[1.0, 0.0]] * 4, [[0.0, 1.0]] * 4]])
    instance = tf.reshape(tf.range(8), [1, 2, 4])
    arguments = {"margin": 0.5, "num_loops": 0, "concentration": 6.0, "num_pixels": 0}
    loss = map_grouping_loss(embedding, instance, _SEED[:1], radius=1.0, **arguments)
    assert float(loss[0, 0]) == pytest.approx(2 * (2 * 3) * 0.5 / 64)


def test_map_grouping_loss_by_default_is_that_of_the_pixels():
    embedding, instance, _ = _maps()
    arguments = {**_ARGUMENTS, "num_pixels": 5}
    found = map_grouping_loss(embedding, instance, _SEED, **arguments)
    expected = grouping_loss(_embedding(), _INSTANCE, _SEED, **arguments)
    np.testing.assert_array_equal(found, expected)


def test_map_grouping_loss_of_the_foreground_takes_the_background_for_void():
    embedding, instance, _ = _maps()
    for options in ({}, {"equal_draw": True, "border_fraction": 0.5, "radius": 1.0}):
        arguments = {**_ARGUMENTS, "num_pixels": 5, **options}
        found = map_grouping_loss(embedding, instance, _SEED, foreground_only=True, **arguments)
        void = np.where(instance == 0, -1, instance)
        np.testing.assert_array_equal(found, map_grouping_loss(embedding, void, _SEED, **arguments))
        assert not np.allclose(found, map_grouping_loss(embedding, instance, _SEED, **arguments))


def test_map_grouping_loss_of_void_alone_is_zero():
    embedding, instance, _ = _maps()
    options = {"equal_draw": True, "border_fraction": 0.5, "radius": 1.0, "normalizer": "pairs"}
    losses = map_grouping_loss(embedding, -1 + 0 * instance, _SEED, **_ARGUMENTS, **options)
    assert not losses.numpy().any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_pixels": 0, "equal_draw": True}, "num_pixels 0 takes all"),
        ({"num_pixels": 0, "border_fraction": 0.5}, "num_pixels 0 takes all"),
        ({"border_fraction": 2.0}, r"border_fraction must be in \[0, 1\], got 2"),
        ({"border_px": 0}, "border_px must be at least 1"),
        ({"radius": -1.0}, "radius must be 0 or more"),
    ],
)
def test_map_grouping_loss_refuses(options, message):
    embedding, instance, _ = _maps()
    with pytest.raises(ValueError, match=message):
        map_grouping_loss(embedding, instance, _SEED, **{**_ARGUMENTS, **options})
