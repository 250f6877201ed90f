"""Unit vectors, Eq. 1, and which margins can be met."""

import math

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error, on_circle, random_points, random_rotation

from rpe_tf.core import sphere


def test_similarity_preset():
    # cosines of 0°, 60°, 90°, 180° to 0° are 1, ½, 0, −1; s = ½ (1 + cosine).
    found = sphere.similarity(tf.constant(on_circle(0)), tf.constant(on_circle(0, 60, 90, 180)))
    np.testing.assert_allclose(found, [[1.0, 0.75, 0.5, 0.0]], atol=1e-15)


def test_similarity_equals_the_oracle():
    a, b = random_points(5, 4, 1), random_points(7, 4, 2)
    np.testing.assert_allclose(sphere.similarity(a, b), oracles.similarity(a, b), atol=1e-15)


def test_similarity_of_a_batch_is_that_of_its_parts():
    x = np.stack([random_points(5, 3, 1), random_points(5, 3, 2)])
    found = sphere.similarity(x, x)
    for k in range(2):
        np.testing.assert_allclose(found[k], sphere.similarity(x[k], x[k]))


def test_similarity_does_not_change_under_rotation():
    x, turn = random_points(6, 4), random_rotation(4)
    np.testing.assert_allclose(
        sphere.similarity(x @ turn, x @ turn), sphere.similarity(x, x), atol=1e-14
    )


def test_similarity_jacobian_is_not_clipped_at_the_ends():
    # s of equal and opposite points is 1 and 0; a clipped cosine would have slope 0 there.
    assert gradient_error(lambda a: sphere.similarity(a, a), on_circle(0, 0, 180)) < 1e-8


def test_normalize_preset():
    # 3-4-5 triangle; a zero vector has no direction and stays.
    found = sphere.normalize(tf.constant([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.0, 0.0]], atol=1e-7)


def test_normalize_jacobian():
    assert gradient_error(sphere.normalize, 0.3 * random_points(4, 3)) < 1e-8


@pytest.mark.parametrize("x", [[0.0, 0.0], [1e-30, 0.0], [1e-13, 1e-13], [1e15, 1e15]])
def test_normalize_has_a_finite_gradient(x):
    x = tf.constant([x])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(sphere.normalize(x) * [1.0, -1.0])
    assert np.isfinite(y) and np.isfinite(tape.gradient(y, x)).all()


def test_concentration_from_margin_preset():
    # 1/δ = (1 − α)/3, κ = δ²: α = ½ → δ = 6, κ = 36; α = 0 → 9; α = 0.75 → δ = 12.
    assert sphere.concentration_from_margin(0.5) == pytest.approx(36)
    assert sphere.concentration_from_margin(0.0) == pytest.approx(9)
    assert sphere.concentration_from_margin(0.75) == pytest.approx(144)


@pytest.mark.parametrize("margin", [-0.1, 1.0, 1.5, float("nan")])
def test_concentration_from_margin_refuses(margin):
    with pytest.raises(ValueError, match="margin must be in"):
        sphere.concentration_from_margin(margin)


@pytest.mark.parametrize(
    "num_groups, embedding_dim, expected",
    [
        (1, 64, 0.0),
        (2, 2, 0.0),  # ½ − ½
        (3, 64, 0.25),  # ½ − ¼
        (10, 64, 0.5 - 1 / 18),
        (4, 2, 0.5),  # a square: ½ (1 + cos 90°)
        (6, 2, 0.75),  # a hexagon: ½ (1 + cos 60°)
        (4, 3, 1 / 3),  # a tetrahedron
        (5, 3, 0.5),
        (6, 3, 0.5),  # an octahedron
        (8, 3, 0.6306),
        (10, 3, 0.7022),
        (12, 3, 0.7236),  # an icosahedron: ½ (1 + 1/√5)
        (10, 8, 0.5),  # D + 2 = 10: axes
        (65, 64, 0.5 - 1 / 128),
        (128, 64, 0.5),
        (500, 64, 0.5),
    ],
)
def test_smallest_margin_preset(num_groups, embedding_dim, expected):
    assert sphere.smallest_margin(num_groups, embedding_dim) == pytest.approx(expected, abs=1e-4)


def test_smallest_margin_of_many_groups_in_3_dimensions_is_fejes_toths_bound():
    # n = 13: ω = 13π/66; ¼ csc² ω.
    expected = 0.25 / math.sin(13 * math.pi / 66) ** 2
    assert sphere.smallest_margin(13, 3) == pytest.approx(expected)
    assert sphere.smallest_margin(13, 3) > sphere.smallest_margin(12, 3)


@pytest.mark.parametrize("embedding_dim", [2, 3, 8, 64])
def test_smallest_margin_rises_with_groups_and_falls_with_dimensions(embedding_dim):
    margins = [sphere.smallest_margin(n, embedding_dim) for n in range(1, 40)]
    assert margins == sorted(margins) and margins[-1] < 1
    for n, margin in enumerate(margins, start=1):
        assert sphere.smallest_margin(n, embedding_dim + 1) <= margin + 1e-4


@pytest.mark.parametrize("num_groups, embedding_dim", [(0, 3), (3, 1)])
def test_smallest_margin_refuses(num_groups, embedding_dim):
    with pytest.raises(ValueError, match="smallest_margin needs"):
        sphere.smallest_margin(num_groups, embedding_dim)
