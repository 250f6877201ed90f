"""Fig. 5: where a gradient lies, on gradients and embeddings made by hand."""

import numpy as np
import pytest

from rpe_tf.figures import border_gradient

# Two instances, the border between columns 4 and 5.
_INSTANCE = np.repeat([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]], 3, axis=0).astype(np.int32)


def test_border_share_by_hand():
    norm = np.zeros([3, 10])
    norm[1, 4], norm[1, 6], norm[1, 7], norm[1, 0] = 1.0, 2.0, 4.0, 1.0
    # Distances 1, 2, 3 and 5: within two pixels 3 of 8, within three 7 of 8.
    assert border_gradient.border_share(norm, _INSTANCE) == pytest.approx(3 / 8)
    assert border_gradient.border_share(norm, _INSTANCE, 3) == pytest.approx(7 / 8)


def test_border_share_leaves_void_out_and_is_nan_of_nothing():
    norm, instance = np.ones([3, 10]), _INSTANCE.copy()
    instance[:, 3:7] = -1
    # What is left: columns 0 to 2 and 7 to 9, two of each within two pixels of the void.
    assert border_gradient.border_share(norm, instance) == pytest.approx(4 / 6)
    assert np.isnan(border_gradient.border_share(np.zeros([3, 10]), _INSTANCE))


def test_pixels_of_half_by_hand():
    assert border_gradient.pixels_of_half(np.array([[4.0, 1.0], [2.0, 1.0]])) == 1
    assert border_gradient.pixels_of_half(np.ones([2, 4])) == 4
    assert border_gradient.pixels_of_half(np.zeros([2, 2])) == 0


def _angles_to_embedding(degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=-1).astype(np.float32)


def test_gradient_norm_without_loops_by_hand():
    # Two pixels of two instances at an angle t: L = 2 (½ + ½ cos t − α) / 4 where that is positive,
    # so ∂L/∂t = ¼ sin t, the norm along the circle at each.
    embedding = _angles_to_embedding(np.array([[0.0, 40.0]]))
    found = border_gradient.gradient_norm(embedding, np.array([[0, 1]]), 0.5, 36.0, 0)
    np.testing.assert_allclose(found, 0.25 * np.sin(np.radians(40.0)), rtol=1e-5)


def test_a_loop_takes_the_gradient_from_pixels_that_it_groups():
    # Each side a loose bundle of its own, one pixel of the left half way between the two.
    noise = np.random.default_rng(0).normal(0, 8, [3, 10])
    degrees = np.where(_INSTANCE == 1, 110.0, 0.0) + noise
    degrees[1, 4] = 55.0
    embedding = _angles_to_embedding(degrees)
    without, with_loop = (
        border_gradient.gradient_norm(embedding, _INSTANCE, 0.5, 36.0, loops) for loops in (0, 1)
    )
    share = [border_gradient.border_share(x, _INSTANCE) for x in (without, with_loop)]
    assert share[1] > share[0]
    assert with_loop[1, 4] / with_loop.sum() > without[1, 4] / without.sum()


def test_gradient_norm_is_zero_in_void():
    instance = _INSTANCE.copy()
    instance[0] = -1
    embedding = _angles_to_embedding(np.random.default_rng(0).uniform(0, 90, [3, 10]))
    found = border_gradient.gradient_norm(embedding, instance, 0.5, 36.0, 1)
    assert (found[0] == 0).all() and (found[1:] > 0).any()
