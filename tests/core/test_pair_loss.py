"""Eq. 2."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error, on_circle, random_points, random_rotation

from rpe_tf.core import tiles
from rpe_tf.core.pair_loss import pair_loss


@pytest.fixture(params=[None, (1, 3), (5, 1), (3, 2)])
def cut(request, monkeypatch):
    """The blocks and chunks that are chosen, and as many as asked, which leave a rest."""
    if request.param:
        monkeypatch.setattr(tiles, "_cut", lambda batch, count: request.param)


def test_pair_loss_preset():
    # Points at 0°, 60° (instance 0) and 90° (instance 1), α = ½; w = ½, ½, 1.
    # s: 0°–60° ½(1 + ½) = 0.75; 0°–90° 0.5; 60°–90° ½(1 + √3/2) = 0.9330.
    # Positive, both orders: 2 · ½ · ½ · (1 − 0.75) = 0.125; i = j costs nothing.
    # Negative: 2 · ½ · 1 · (0.5 − 0.5) + 2 · ½ · 1 · (0.9330 − 0.5) = 0.4330.
    # K = 2 groups, K² = 4; N = 3 pixels.
    x, instance = tf.constant(on_circle(0, 60, 90)), tf.constant([0, 0, 1])
    total = 0.125 + (np.sqrt(3) / 4)
    assert float(pair_loss(x, instance, 0.5)) == pytest.approx(total / 4)
    assert float(pair_loss(x, instance, 0.5, "pixels")) == pytest.approx(total / 3)
    weighted = pair_loss(x, instance, 0.5, positive_weight=5.0)
    assert float(weighted) == pytest.approx((5 * 0.125 + np.sqrt(3) / 4) / 4)


@pytest.mark.parametrize("normalizer", ["groups", "pixels"])
@pytest.mark.parametrize("margin", [0.0, 0.5, 0.9, 1.0])
def test_pair_loss_equals_the_oracle(normalizer, margin, cut):
    x = random_points(17, 5)
    instance = np.random.default_rng(3).integers(-1, 4, 17)
    found = pair_loss(tf.constant(x), tf.constant(instance), margin, normalizer, 2.0)
    expected = oracles.pair_loss(x, instance, margin, normalizer, 2.0)
    assert float(found) == pytest.approx(expected, abs=1e-14)


def test_pair_loss_jacobian_random(cut):
    instance = tf.constant([0, 0, 1, 1, 1, 2, -1, 2])
    x = random_points(8, 3)
    # No pair may sit on the hinge, where the slope is not defined.
    assert np.abs(oracles.similarity(x, x) - 0.4).min() > 1e-3
    assert gradient_error(lambda x: pair_loss(x, instance, 0.4), x) < 1e-6


@pytest.mark.parametrize(
    "x", [on_circle(0, 0), on_circle(0, 180), on_circle(0, 90), np.zeros((2, 2))]
)
def test_pair_loss_gradient_is_finite_at_corners(x):
    # Equal points, opposite points, s exactly at the margin, zero vectors.
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = pair_loss(x, tf.constant([0, 1]), 0.5)
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_pair_loss_gradient_of_the_hinge_is_constant():
    # Not (s − α)₊ times the slope: a pair just above the margin is pushed as hard as any.
    for angle in (80.0, 30.0):
        x = tf.constant(on_circle(0, angle))
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = pair_loss(x, tf.constant([0, 1]), 0.5)
        # ∂L/∂x_1 = (2 · ½ x_0 − x_1) / K² whatever the angle; −x_1 is of the pair (1, 1), along
        # x_1 itself, and vanishes on the sphere.
        expected = (x[0] - x[1]) / 4
        np.testing.assert_allclose(tape.gradient(loss, x)[1], expected, atol=1e-12)


def test_pair_loss_relations():
    x = random_points(12, 4)
    instance = np.random.default_rng(1).integers(0, 3, 12)
    loss = float(pair_loss(tf.constant(x), tf.constant(instance), 0.5))
    order = np.random.default_rng(2).permutation(12)
    assert float(pair_loss(x[order], instance[order], 0.5)) == pytest.approx(loss)
    assert float(pair_loss(x @ random_rotation(4), instance, 0.5)) == pytest.approx(loss)
    assert float(pair_loss(x, instance * 100 + 7, 0.5)) == pytest.approx(loss)


def test_pair_loss_masked_is_sliced():
    x = random_points(12, 4)
    instance = np.random.default_rng(1).integers(0, 3, 12)
    keep = np.arange(12) % 3 > 0
    for normalizer in ("groups", "pixels"):
        masked = pair_loss(x, np.where(keep, instance, -1), 0.5, normalizer)
        sliced = pair_loss(x[keep], instance[keep], 0.5, normalizer)
        assert float(masked) == pytest.approx(float(sliced))


def test_pair_loss_batch_is_singles(cut):
    x = np.stack([random_points(9, 3, k) for k in range(3)])
    instance = np.random.default_rng(0).integers(-1, 3, (3, 9))
    batch = pair_loss(tf.constant(x), tf.constant(instance), 0.6)
    singles = [float(pair_loss(x[k], instance[k], 0.6)) for k in range(3)]
    np.testing.assert_allclose(batch, singles)


def test_pair_loss_ignores_the_size_of_an_instance():
    # The same two groups, one of them ten times as large.
    small = pair_loss(on_circle(0, 40), np.array([0, 1]), 0.5)
    large = pair_loss(on_circle(*([0] * 10), 40), np.array([0] * 10 + [1]), 0.5)
    assert float(large) == pytest.approx(float(small))


def test_pair_loss_edges():
    assert float(pair_loss(on_circle(0), np.array([0]), 0.5)) == 0.0  # one pixel
    assert float(pair_loss(on_circle(0, 0), np.array([3, 3]), 0.5)) == pytest.approx(0.0)
    assert float(pair_loss(on_circle(0, 90), np.array([-1, -1]), 0.5)) == 0.0  # all void
    assert float(pair_loss(on_circle(0, 90), np.array([0, 1]), 0.5)) == pytest.approx(0.0)
    x = tf.constant(on_circle(0, 90))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = pair_loss(x, tf.constant([-1, -1]), 0.5)
    assert not tape.gradient(loss, x).numpy().any()


def test_pair_loss_nan_does_not_hide():
    x = random_points(6, 3)
    x[4, 0] = np.nan
    for instance in ([0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0]):
        assert np.isnan(float(pair_loss(x, np.array(instance), 0.5)))


def test_pair_loss_takes_half_precision_to_float32():
    x, instance = tf.cast(random_points(40, 4), tf.bfloat16), tf.range(40) % 3
    found = pair_loss(x, instance, 0.5)
    assert found.dtype == tf.float32
    assert float(found) == float(pair_loss(tf.cast(x, tf.float32), instance, 0.5))


def test_pair_loss_compiles_with_xla():
    x, instance = tf.constant(random_points(700, 4)), tf.range(700) % 5 - 1

    def loss_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = pair_loss(x, instance, 0.5)
        return loss, tape.gradient(loss, x)

    compiled = tf.function(loss_and_gradient, jit_compile=True)(x)
    for a, b in zip(loss_and_gradient(x), compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_pair_loss_without_a_static_size():
    spec = [tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.int32)]
    loss = tf.function(lambda x, y: pair_loss(x, y, 0.5), input_signature=spec)
    x, instance = random_points(17, 3).astype(np.float32), np.arange(17, dtype=np.int32) % 4
    expected = float(pair_loss(x, instance, 0.5))
    assert float(loss(x[np.newaxis], instance[np.newaxis])[0]) == pytest.approx(expected, 1e-5)


def test_pair_loss_lies_in_0_1():
    for seed in range(5):
        x = random_points(30, 2, seed)
        instance = np.random.default_rng(seed).integers(0, 5, 30)
        assert 0.0 <= float(pair_loss(x, instance, 0.0)) <= 1.0


def test_pair_loss_refuses():
    x, instance = on_circle(0, 90), np.array([0, 1])
    for margin in (-0.01, 1.01, float("nan")):
        with pytest.raises(ValueError, match="margin must be"):
            pair_loss(x, instance, margin)
    with pytest.raises(ValueError, match="normalizer must be one of"):
        pair_loss(x, instance, 0.5, "mean")


def test_pair_loss_without_instance_weights_preset():
    # As test_pair_loss_preset with w = 1. Positive: 2 · (1 − 0.75) = 0.5; negative, both orders:
    # 2 · 0 + 2 · (½(1 + √3/2) − 0.5) = √3/2. Z: all 9 pairs, 3 pixels, or 5 and 4 pairs a term.
    x, instance = tf.constant(on_circle(0, 60, 90)), tf.constant([0, 0, 1])
    total = 0.5 + np.sqrt(3) / 2
    for normalizer, expected in [
        ("groups", total / 9),
        ("pixels", total / 3),
        ("pairs", 0.5 * (0.5 / 5 + np.sqrt(3) / 2 / 4)),
    ]:
        found = pair_loss(x, instance, 0.5, normalizer, instance_weights=False)
        assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize("radius", [None, 2.0])
@pytest.mark.parametrize("normalizer", ["groups", "pixels", "pairs"])
def test_pair_loss_without_instance_weights_equals_the_oracle(normalizer, radius, cut):
    x, rng = random_points(17, 5), np.random.default_rng(3)
    instance, position = rng.integers(-1, 4, 17), rng.integers(0, 4, [17, 2])
    options = {"position": position, "instance_weights": False}
    found = pair_loss(x, instance, 0.4, normalizer, 2.0, radius=radius, **options)
    reach = np.inf if radius is None else radius
    expected = oracles.pair_loss(x, instance, 0.4, normalizer, 2.0, radius=reach, **options)
    assert float(found) == pytest.approx(expected, abs=1e-13)
    weighted = pair_loss(x, instance, 0.4, normalizer, 2.0, position=position, radius=radius)
    assert abs(float(found) - float(weighted)) > 1e-3


def test_pair_loss_without_instance_weights_jacobian():
    instance, x = tf.constant([0, 0, 1, 1, 1, 2, -1, 2]), random_points(8, 3)
    error = gradient_error(lambda x: pair_loss(x, instance, 0.4, instance_weights=False), x)
    assert error < 1e-6


def test_pair_loss_without_instance_weights_of_equal_instances_is_the_same():
    x, instance = random_points(12, 4), np.arange(12) % 3
    for normalizer in ("groups", "pairs"):
        found = pair_loss(x, instance, 0.4, normalizer, instance_weights=False)
        assert float(found) == pytest.approx(float(pair_loss(x, instance, 0.4, normalizer)))
