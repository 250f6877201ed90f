"""Eq. 2 with negative pairs within a radius, and each term over its own pairs."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error, on_circle, random_points

from rpe_tf.core import tiles
from rpe_tf.core.pair_loss import pair_loss

_NORMALIZERS = ["groups", "pixels", "pairs"]


@pytest.fixture(params=[None, (1, 3), (3, 2)])
def cut(request, monkeypatch):
    """The blocks and chunks that are chosen, and as many as asked, which leave a rest."""
    if request.param:
        monkeypatch.setattr(tiles, "_cut", lambda batch, count: request.param)


def _case(count=17, seed=0):
    """Returns points, ids of which −1 is void, and whole pixels of a 6×6 picture."""
    rng = np.random.default_rng(seed)
    return (
        random_points(count, 4, seed),
        rng.integers(-1, 4, count),
        rng.integers(0, 6, [count, 2]).astype(np.float64),
    )


def _gradient(x, *arguments, **options):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = pair_loss(x, *arguments, **options)
    return tape.gradient(loss, x).numpy()


def test_radius_preset():
    # Points at 0° (instance 0), 0° (1) and 60° (2), α = ½, one pixel each: w = 1, K = 3.
    # Excess: 0–1 is 1 − 0.5 = 0.5; 0–2 and 1–2 are ½(1 + ½) − 0.5 = 0.25. Every pair twice.
    # Places (0, 0), (3, 4), (0, 5): distances 0–1 5, 0–2 5, 1–2 √(9 + 1) = 3.16.
    x, instance = on_circle(0, 0, 60), np.array([0, 1, 2])
    position = np.array([[0, 0], [3, 4], [0, 5]])
    for radius, expected in ((5.0, 2 * (0.5 + 0.25 + 0.25)), (4.99, 2 * 0.25), (3.0, 0.0)):
        found = pair_loss(x, instance, 0.5, position=position, radius=radius)
        assert float(found) == pytest.approx(expected / 9)


def test_pairs_preset():
    # As test_pair_loss_preset: 0°, 60° (instance 0), 90° (1); positive sum 0.125, negative √3/4.
    # Weights: positive K = 2, negative K² − K = 2. Within radius 1, only 60°–90° is in reach, of
    # weight 2 · ½ · 1 = 1, and has all of the excess.
    x, instance = on_circle(0, 60, 90), np.array([0, 0, 1])
    found = pair_loss(x, instance, 0.5, "pairs")
    assert float(found) == pytest.approx(0.5 * (0.125 / 2 + np.sqrt(3) / 4 / 2))
    found = pair_loss(x, instance, 0.5, "pairs", 3.0)
    assert float(found) == pytest.approx(0.5 * (3.0 * 0.125 / 2 + np.sqrt(3) / 4 / 2))
    position = np.array([[0, 0], [0, 1], [0, 2]])
    found = pair_loss(x, instance, 0.5, "pairs", position=position, radius=1.0)
    assert float(found) == pytest.approx(0.5 * (0.125 / 2 + np.sqrt(3) / 4 / 1))


@pytest.mark.parametrize("normalizer", _NORMALIZERS)
@pytest.mark.parametrize("radius", [0.0, 1.0, 2.5, 4.0])
def test_radius_equals_the_oracle(normalizer, radius, cut):
    x, instance, position = _case()
    found = pair_loss(x, instance, 0.4, normalizer, 2.0, position=position, radius=radius)
    expected = oracles.pair_loss(x, instance, 0.4, normalizer, 2.0, position, radius)
    assert float(found) == pytest.approx(expected, abs=1e-14)


def test_pairs_equals_the_oracle_at_any_distance(cut):
    x, instance, _ = _case()
    found = pair_loss(x, instance, 0.4, "pairs", 2.0)
    assert float(found) == pytest.approx(oracles.pair_loss(x, instance, 0.4, "pairs", 2.0))


@pytest.mark.parametrize("normalizer", ["groups", "pairs"])
def test_radius_jacobian(normalizer):
    x, instance, position = _case(7, seed=2)
    # No pair may sit on the hinge, where the slope is not defined; some must be in reach.
    assert np.abs(oracles.similarity(x, x) - 0.3).min() > 1e-3
    options = {"position": position, "radius": 3.0}
    assert (_gradient(x, instance, 0.3, normalizer, **options) != 0).any()
    error = gradient_error(lambda x: pair_loss(x, instance, 0.3, normalizer, 2.0, **options), x)
    assert error < 1e-6


@pytest.mark.parametrize("normalizer", _NORMALIZERS)
@pytest.mark.parametrize("radius", [float("inf"), 1e3])
def test_radius_beyond_all_pixels_is_none(radius, normalizer):
    x, instance, position = _case()
    for result in (pair_loss, _gradient):
        limited = result(x, instance, 0.4, normalizer, position=position, radius=radius)
        np.testing.assert_allclose(limited, result(x, instance, 0.4, normalizer), atol=1e-14)


@pytest.mark.parametrize("normalizer", ["groups", "pixels"])
def test_radius_0_leaves_positive_pairs_only(normalizer):
    x, instance, _ = _case()
    position = np.stack([np.arange(17), np.zeros(17)], axis=-1)
    found = pair_loss(x, instance, 0.2, normalizer, position=position, radius=0.0)
    # At margin 1 no pair of two instances costs anything.
    assert float(found) == pytest.approx(float(pair_loss(x, instance, 1.0, normalizer)))
    assert float(found) < float(pair_loss(x, instance, 0.2, normalizer)) - 1e-3


def test_radius_relations():
    x, instance, position = _case()
    options = {"normalizer": "pairs", "radius": 2.5}
    loss = float(pair_loss(x, instance, 0.4, position=position, **options))
    order = np.random.default_rng(5).permutation(17)
    permuted = pair_loss(x[order], instance[order], 0.4, position=position[order], **options)
    assert float(permuted) == pytest.approx(loss)
    # Shifting all pixels changes no distance.
    shifted = pair_loss(x, instance, 0.4, position=position + [100, -50], **options)
    assert float(shifted) == pytest.approx(loss)
    keep = np.arange(17) % 3 > 0
    masked = pair_loss(x, np.where(keep, instance, -1), 0.4, position=position, **options)
    sliced = pair_loss(x[keep], instance[keep], 0.4, position=position[keep], **options)
    assert float(masked) == pytest.approx(float(sliced))


def test_radius_batch_is_singles(cut):
    cases = [_case(9, k) for k in range(3)]
    x, instance, position = (np.stack(parts) for parts in zip(*cases, strict=True))
    for places in (position, position[0]):
        batch = pair_loss(x, instance, 0.4, "pairs", position=places, radius=2.0)
        for k in range(3):
            own = places if places.ndim == 2 else places[k]
            single = pair_loss(x[k], instance[k], 0.4, "pairs", position=own, radius=2.0)
            assert float(batch[k]) == pytest.approx(float(single))


def test_radius_is_exact_on_large_pictures():
    # 30,000² passes 2²⁴: as |p|² − 2pᵀq + |q|² in float32 the distances of these places are lost.
    position = np.array([[30000, 30000], [30000, 30001], [30000, 30002]])
    x = tf.constant(on_circle(0, 0, 0), tf.float32)
    loss = pair_loss(x, np.array([0, 1, 2]), 0.5, position=position, radius=1.0)
    assert float(loss) == pytest.approx(4 * 0.5 / 9)  # 0–1 and 1–2, twice; not 0–2


def test_pairs_ignores_the_number_of_instances():
    # n instances of two pixels each, one direction for all: the excess of every pair is 1 − α.
    # "groups": (K² − K)/K² of it; "pairs": half of it.
    for n in (2, 5, 20):
        x, instance = on_circle(*[0] * (2 * n)), np.arange(2 * n) % n
        assert float(pair_loss(x, instance, 0.5, "pairs")) == pytest.approx(0.25)
        assert float(pair_loss(x, instance, 0.5)) == pytest.approx(0.5 * (1 - 1 / n))


@pytest.mark.parametrize("normalizer", _NORMALIZERS)
@pytest.mark.parametrize("instance", [[-1, -1, -1], [2, 2, 2], [2, -1, -1]])
def test_radius_edges(instance, normalizer):
    # All void, one instance, one pixel: no negative pair, and one direction costs nothing.
    x, position = on_circle(30, 30, 30), np.zeros([3, 2])
    for options in ({}, {"position": position, "radius": 1.0}):
        loss = pair_loss(x, np.array(instance), 0.5, normalizer, **options)
        assert float(loss) == pytest.approx(0.0, abs=1e-12)
        gradient = _gradient(x, np.array(instance), 0.5, normalizer, **options)
        # What is left lies along the points and vanishes on the sphere.
        np.testing.assert_allclose(gradient - (gradient * x).sum(-1, keepdims=True) * x, 0)


def test_radius_of_300_instances():
    x = random_points(600, 4).astype(np.float32)
    instance, position = np.arange(600) // 2, np.arange(1200).reshape(600, 2) % 37
    found = pair_loss(x, instance, 0.5, "pairs", position=position, radius=5.0)
    # Written out in float64: weight ½ · ½ for each pair.
    s = 0.5 * (1 + x.astype(np.float64) @ x.T)
    near = np.square(position[:, None] - position).sum(-1) <= 25
    same = instance[:, None] == instance
    negative = np.maximum(s - 0.5, 0)[near & ~same].mean()
    assert float(found) == pytest.approx(0.5 * ((1 - s)[same].mean() + negative), rel=1e-5)


def test_radius_nan_does_not_hide():
    x, instance, position = _case()
    x[np.argmax(instance >= 0)] = np.nan
    for normalizer in _NORMALIZERS:
        for radius in (None, 0.0, 2.0):
            loss = pair_loss(x, instance, 0.5, normalizer, position=position, radius=radius)
            assert np.isnan(float(loss))


def test_radius_in_a_graph_of_unknown_sizes_and_in_xla():
    x, instance, position = _case()
    expected = float(pair_loss(x, instance, 0.4, "pairs", position=position, radius=2.0))

    def loss(x, instance, position):
        return pair_loss(x, instance, 0.4, "pairs", position=position, radius=2.0)

    kinds = [tf.TensorSpec([None, None, 4], tf.float64), tf.TensorSpec([None, None], tf.int64)]
    kinds.append(tf.TensorSpec([None, None, 2], tf.float64))
    batch = [tf.constant(a[np.newaxis]) for a in (x, instance, position)]
    assert float(tf.function(loss, input_signature=kinds)(*batch)[0]) == pytest.approx(expected)
    compiled = tf.function(loss, jit_compile=True)(*batch[:2], batch[2][0])
    assert float(compiled[0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"radius": -1.0, "position": np.zeros([2, 2])}, "radius must be 0 or more, got -1"),
        ({"radius": float("nan"), "position": np.zeros([2, 2])}, "radius must be 0 or more"),
        ({"radius": 3.0}, "radius 3.0 needs the position of each pixel"),
        ({"radius": 3.0, "position": np.zeros([2, 3])}, r"position must be \[N, 2\] or .* \(2, 3"),
        ({"radius": 3.0, "position": np.zeros([1, 2, 2])}, r"position must be \[N, 2\] or"),
        ({"radius": 3.0, "position": np.zeros([2])}, r"position must be \[N, 2\] or"),
    ],
)
def test_radius_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        pair_loss(on_circle(0, 90), np.array([0, 1]), 0.5, **options)
