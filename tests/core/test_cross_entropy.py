"""The cross-entropy of a semantic map."""

import numpy as np
import pytest
import tensorflow as tf
from points import gradient_error

from rpe_tf.core.cross_entropy import cross_entropy


def test_cross_entropy_preset():
    # Logits 0, 0: ½ either class, log 2. Logits log 3, 0: ¾ and ¼, so log 4 for the second class.
    # Void takes no part, whatever its logits.
    logit = tf.constant([[[0.0, 0.0], [np.log(3.0), 0.0], [50.0, -50.0]]], tf.float64)
    found = cross_entropy(logit, tf.constant([[0, 1, -1]]))
    assert found.numpy() == pytest.approx([(np.log(2) + np.log(4)) / 2])


def test_cross_entropy_equals_the_loop():
    rng = np.random.default_rng(0)
    logit, semantic = rng.normal(0, 3, [3, 11, 4]), rng.integers(-1, 4, [3, 11])
    expected = [
        np.mean([np.log(np.exp(x).sum()) - x[c] for x, c in zip(*one, strict=True) if c >= 0])
        for one in zip(logit, semantic, strict=True)
    ]
    found = cross_entropy(tf.constant(logit), tf.constant(semantic, tf.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_cross_entropy_jacobian():
    rng = np.random.default_rng(1)
    logit, semantic = rng.normal(size=[2, 5, 3]), tf.constant(rng.integers(-1, 3, [2, 5]), tf.int32)
    assert gradient_error(lambda x: cross_entropy(x, semantic), logit) < 1e-6


def test_cross_entropy_without_void_pixels_is_that_of_the_rest():
    rng = np.random.default_rng(2)
    logit, semantic = rng.normal(size=[1, 9, 3]), rng.integers(0, 3, [1, 9]).astype(np.int32)
    semantic[0, 3:6] = -1
    kept = np.r_[0:3, 6:9]
    whole = cross_entropy(tf.constant(logit), tf.constant(semantic))
    part = cross_entropy(tf.constant(logit[:, kept]), tf.constant(semantic[:, kept]))
    np.testing.assert_allclose(whole, part, rtol=1e-12)


def test_cross_entropy_of_void_alone_is_0_and_has_gradient_0():
    logit = tf.Variable(np.ones([1, 4, 3]))
    with tf.GradientTape() as tape:
        loss = cross_entropy(logit, -tf.ones([1, 4], tf.int32))
    assert loss.numpy() == [0]
    assert not np.any(tape.gradient(loss, logit))


def test_cross_entropy_is_nan_for_a_class_out_of_range_in_that_image_alone():
    found = cross_entropy(tf.zeros([2, 2, 3]), tf.constant([[0, 3], [1, 2]]))
    assert np.isnan(found[0]) and found[1].numpy() == pytest.approx(np.log(3))
