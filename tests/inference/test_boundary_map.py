"""The boundary map of one scale and of several."""

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.boundary_map import boundary_map, multi_scale_map


def test_boundary_map_is_the_mean_of_the_five_probabilities():
    # σ(0) = ½, σ(± log 3) = ¾ and ¼, σ(± 100) = 1 and 0.
    logit = tf.constant([[0.0, np.log(3.0), -np.log(3.0), 100.0, -100.0]])
    expected = (0.5 + 0.75 + 0.25 + 1 + 0) / 5
    np.testing.assert_allclose(boundary_map(logit), [expected], rtol=1e-6)


def green(image):
    """A map that shows what it was given."""
    return tf.cast(image[..., 1], tf.float32) / 255


@pytest.mark.parametrize("size", [(40, 64), (7, 5), (1, 9), (1, 1)])
def test_multi_scale_map_has_the_size_of_the_picture(size):
    image = tf.constant(np.random.default_rng(0).integers(0, 256, [2, *size, 3]), tf.uint8)
    assert multi_scale_map(green, image, [0.5, 1.0, 1.7]).shape == (2, *size)


def test_multi_scale_map_of_scale_one_is_the_map():
    image = tf.constant(np.random.default_rng(0).integers(0, 256, [1, 9, 7, 3]), tf.uint8)
    np.testing.assert_array_equal(multi_scale_map(green, image, [1.0]), green(image))


def test_multi_scale_map_is_the_mean_and_stays_in_place():
    # A ramp is a ramp at every scale, but for the borders; and its mean with itself the ramp.
    ramp = np.repeat(np.arange(0, 160, 4)[np.newaxis, :, np.newaxis], 3, axis=-1)
    image = tf.constant(np.repeat(ramp, 40, axis=0)[np.newaxis], tf.uint8)
    seen = []

    def map_of(x):
        seen.append(tuple(x.shape[1:3]))
        return green(x)

    found = multi_scale_map(map_of, image, [0.5, 1.0, 2.0])
    assert seen == [(20, 20), (40, 40), (80, 80)]
    np.testing.assert_allclose(found[0, 4:-4, 4:-4], green(image)[0, 4:-4, 4:-4], atol=1 / 255)
    twice = multi_scale_map(lambda x: tf.fill(tf.shape(x)[:3], float(len(seen))), image, [1.0, 2.0])
    np.testing.assert_array_equal(twice, np.full([1, 40, 40], 3.0))


def test_multi_scale_map_averages_halves():
    def map_of(x):
        return tf.fill(tf.shape(x)[:3], 1.0 if x.shape[1] == 8 else 0.0)

    image = tf.zeros([1, 8, 8, 3], tf.uint8)
    np.testing.assert_allclose(multi_scale_map(map_of, image, [1.0, 0.5, 1.5, 2.0]), 0.25)


@pytest.mark.parametrize("scales", [[], [1.0, 0.0], [-1.0]])
def test_multi_scale_map_impossible_scales_raise(scales):
    with pytest.raises(ValueError, match="scales must be at least one number above 0"):
        multi_scale_map(green, tf.zeros([1, 4, 4, 3], tf.uint8), scales)
