"""Eq. 3, in the N×N form and tile by tile: the same claims for both."""

import functools

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error, on_circle, random_points, random_rotation

from rpe_tf.core import tiles
from rpe_tf.core.mean_shift import mean_shift
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift

FORMS = pytest.mark.parametrize("form", [mean_shift, tiled_mean_shift])


@pytest.fixture(params=[None, (1, 3), (5, 1), (3, 2)])
def cut(request, monkeypatch):
    """The blocks and chunks that are chosen, and as many as asked, which leave a rest."""
    if request.param:
        monkeypatch.setattr(tiles, "_cut", lambda batch, count: request.param)


@FORMS
def test_mean_shift_preset(form):
    # Points at 0° and 60°, κ = 2: S = ½, K = e^(−1), d = 1 + 1/e; m_0 = (x_0 + x_1/e)/d.
    # Normalised, x_0 turns towards x_1 by atan(sin 60° / (e + cos 60°)).
    turn = np.degrees(np.arctan2(np.sin(np.pi / 3), np.e + 0.5))
    found = form(tf.constant(on_circle(0, 60)), 2.0, 1)
    np.testing.assert_allclose(found, on_circle(turn, 60 - turn), atol=1e-14)


@FORMS
def test_mean_shift_step_size_preset(form):
    # η = ½ from 0° and 90° with κ = 1: K = 1/e, m_0 = (1, 1/e)/(1 + 1/e); y = ½ x_0 + ½ m_0.
    mean = np.array([1, 1 / np.e]) / (1 + 1 / np.e)
    y = 0.5 * np.array([1.0, 0.0]) + 0.5 * mean
    found = form(tf.constant(on_circle(0, 90)), 1.0, 1, 0.5)
    np.testing.assert_allclose(found[0], y / np.linalg.norm(y), atol=1e-14)


@FORMS
@pytest.mark.parametrize("num_loops, step_size", [(1, 1.0), (3, 1.0), (2, 0.4)])
def test_mean_shift_equals_the_oracle(form, num_loops, step_size, cut):
    x = random_points(13, 4)
    found = form(tf.constant(x), 7.0, num_loops, step_size)
    expected = oracles.mean_shift(x, 7.0, num_loops, step_size)
    np.testing.assert_allclose(found, expected, atol=1e-13)


@FORMS
def test_mean_shift_jacobian_random(form, cut):
    pull = tf.constant(np.random.default_rng(1).normal(size=(7, 3)))

    def loss(x):
        return tf.reduce_sum(pull * form(x, 36.0, 2, 0.7))

    assert gradient_error(loss, random_points(7, 3)) < 1e-6


def test_tiled_mean_shift_learns_concentration_and_step_size(cut):
    pull = tf.constant(np.random.default_rng(1).normal(size=(7, 3)))

    def loss(x, concentration, step_size):
        return tf.reduce_sum(pull * tiled_mean_shift(x, concentration, 2, step_size))

    assert gradient_error(loss, random_points(7, 3), 7.0, 0.6) < 1e-6


def test_tiled_mean_shift_jacobian_with_mask_and_weights(cut):
    weight = np.random.default_rng(2).uniform(0.5, 3, 7)
    mask = np.arange(7) % 4 > 0
    pull = tf.constant(np.random.default_rng(1).normal(size=(7, 3)))

    def loss(x):
        moved = tiled_mean_shift(x, 7.0, 2, mask=mask, point_weight=weight)
        return tf.reduce_sum(pull * moved)

    assert gradient_error(loss, random_points(7, 3)) < 1e-6


@FORMS
@pytest.mark.parametrize("x", [on_circle(0, 0, 0), on_circle(0, 180), np.zeros((3, 2))])
def test_mean_shift_corners_are_finite(form, x):
    # Equal points, opposite points (with κ = 0.01 their means nearly vanish), zero vectors.
    for concentration in (0.01, 36.0, 900.0):
        points = tf.constant(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(points)
            moved = form(points, concentration, 2)
        assert np.isfinite(moved).all()
        assert np.isfinite(tape.gradient(moved, points)).all()


@FORMS
def test_mean_shift_leaves_equal_and_single_points(form):
    for x in (on_circle(30, 30, 30), on_circle(30)):
        np.testing.assert_allclose(form(tf.constant(x), 36.0, 5), x, atol=1e-14)


@FORMS
@pytest.mark.parametrize("step_size", [1.0, 0.5])
def test_mean_shift_zero_vector_stays_and_pulls_nobody(form, step_size):
    x = random_points(6, 3)
    moved = form(tf.constant(np.insert(x, 2, 0.0, axis=0)), 7.0, 2, step_size).numpy()
    assert not moved[2].any()
    others = form(tf.constant(x), 7.0, 2, step_size)
    np.testing.assert_allclose(np.delete(moved, 2, axis=0), others, atol=1e-14)


@FORMS
def test_mean_shift_nan_spreads_and_does_not_hide(form):
    x = random_points(6, 3)
    x[2, 1] = np.nan
    assert np.isnan(form(tf.constant(x), 7.0, 1)).all()


def test_tiled_mean_shift_nan_stays_in_its_picture():
    x = np.stack([random_points(6, 3), random_points(6, 3, 1)])
    x[0, 2, 1] = np.nan
    moved = tiled_mean_shift(tf.constant(x), 7.0, 2).numpy()
    assert np.isnan(moved[0]).all()
    np.testing.assert_allclose(moved[1], tiled_mean_shift(x[1], 7.0, 2), atol=1e-14)


def test_tiled_mean_shift_weightless_point_moves_however_far():
    # 180° from all others at κ = 36: its kernels are about e^(−72), whose square float32 lacks.
    x = tf.constant(on_circle(0, 5, 180), tf.float32)
    moved = tiled_mean_shift(x, 36.0, 1, point_weight=[1.0, 1.0, 0.0]).numpy()
    np.testing.assert_allclose(np.linalg.norm(moved, axis=-1), 1.0, atol=1e-6)
    assert moved[2, 0] > 0.99
    # At κ = 900 nobody reaches it at all.
    moved = tiled_mean_shift(x, 900.0, 1, point_weight=[1.0, 1.0, 0.0]).numpy()
    np.testing.assert_array_equal(moved[2], x[2])


@FORMS
def test_mean_shift_zero_loops_is_the_identity(form):
    x = random_points(6, 3)
    np.testing.assert_array_equal(form(tf.constant(x), 36.0, 0), x)


@FORMS
def test_mean_shift_relations(form):
    x = random_points(12, 4)
    moved = form(tf.constant(x), 20.0, 3).numpy()
    order, turn = np.random.default_rng(1).permutation(12), random_rotation(4)
    np.testing.assert_allclose(form(tf.constant(x[order]), 20.0, 3), moved[order], atol=1e-13)
    np.testing.assert_allclose(form(tf.constant(x @ turn), 20.0, 3), moved @ turn, atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=-1), 1.0, atol=1e-14)
    # Three loops are one loop three times.
    once = functools.partial(form, concentration=20.0, num_loops=1)
    np.testing.assert_allclose(once(once(once(tf.constant(x)))), moved, atol=1e-13)


def test_mean_shift_separates_two_clusters():
    near = on_circle(-4, 0, 5, 86, 90, 93)
    moved = mean_shift(tf.constant(near), 36.0, 10).numpy()
    np.testing.assert_allclose(moved[:3], np.tile(moved[:1], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(moved[3:], np.tile(moved[3:4], (3, 1)), atol=1e-6)
    assert moved[0] @ moved[3] < 0.1


def test_mean_shift_converges_cubically_for_a_compact_cluster():
    # Without the normalisation's help: offsets of ε shrink to about ε³ in a loop.
    angles = np.array([-8.0, -3.0, 2.0, 9.0])
    spread = []
    x = tf.constant(on_circle(*angles))
    for _ in range(3):
        x = mean_shift(x, 36.0, 1)
        spread.append(float(np.ptp(np.arctan2(x[:, 1], x[:, 0]))))
    first = np.radians(np.ptp(angles))
    assert spread[0] < first and spread[1] < spread[0] * (spread[0] / first) ** 2


def test_tiled_mean_shift_batch_is_singles(cut):
    x = np.stack([random_points(13, 4, k) for k in range(3)])
    batch = tiled_mean_shift(tf.constant(x), 20.0, 2)
    for k in range(3):
        single = tiled_mean_shift(tf.constant(x[k]), 20.0, 2)
        np.testing.assert_allclose(batch[k], single, atol=1e-14)


def test_tiled_mean_shift_masked_is_sliced_and_stays(cut):
    x, mask = random_points(13, 4), np.arange(13) % 3 > 0
    moved = tiled_mean_shift(tf.constant(x), 20.0, 3, mask=mask).numpy()
    sliced = tiled_mean_shift(tf.constant(x[mask]), 20.0, 3)
    np.testing.assert_allclose(moved[mask], sliced, atol=1e-14)
    np.testing.assert_array_equal(moved[~mask], x[~mask])


def test_tiled_mean_shift_all_masked_stays():
    x = random_points(5, 3)
    moved = tiled_mean_shift(tf.constant(x), 36.0, 2, mask=np.zeros(5, bool))
    np.testing.assert_array_equal(moved, x)


@FORMS
def test_mean_shift_weight_stands_for_copies(form, cut):
    x, copies = random_points(6, 3), np.array([1, 3, 2, 1, 4, 2])
    weighted = form(tf.constant(x), 12.0, 3, point_weight=copies)
    repeated = form(tf.constant(np.repeat(x, copies, axis=0)), 12.0, 3)
    np.testing.assert_allclose(np.repeat(weighted, copies, axis=0), repeated, atol=1e-13)


def test_tiled_mean_shift_without_a_static_size():
    x = random_points(13, 4).astype(np.float32)
    spec = [tf.TensorSpec([None, None, 4])]
    shift = tf.function(lambda x: tiled_mean_shift(x, 20.0, 2), input_signature=spec)
    expected = tiled_mean_shift(x, 20.0, 2)
    np.testing.assert_allclose(shift(x[np.newaxis])[0], expected, atol=1e-6)


def test_tiled_mean_shift_compiles_with_xla():
    x = tf.constant(random_points(70, 4))

    def loss_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tiled_mean_shift(x, 20.0, 2) ** 3)
        return loss, tape.gradient(loss, x)

    plain = loss_and_gradient(x)
    compiled = tf.function(loss_and_gradient, jit_compile=True)(x)
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_tiled_mean_shift_groups_half_precision_in_float32(dtype):
    x = tf.cast(random_points(40, 4), dtype)
    moved = tiled_mean_shift(x, 36.0, 3)
    assert moved.dtype == dtype
    exact = tf.cast(tiled_mean_shift(tf.cast(x, tf.float32), 36.0, 3), dtype)
    np.testing.assert_array_equal(tf.cast(moved, tf.float32), tf.cast(exact, tf.float32))


@FORMS
def test_mean_shift_refuses(form):
    x = tf.constant(on_circle(0, 90))
    with pytest.raises(ValueError, match="num_loops must be"):
        form(x, 36.0, -1)
    with pytest.raises(ValueError, match="concentration must be"):
        form(x, 0.0, 1)
    for step_size in (0.0, 1.5):
        with pytest.raises(ValueError, match="step_size must be"):
            form(x, 36.0, 1, step_size)
