"""Points on the sphere for the tests of core."""

import numpy as np


def random_points(count, dim, seed=0):
    """Returns [count, dim] float64 unit rows."""
    x = np.random.default_rng(seed).normal(size=(count, dim))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def on_circle(*degrees):
    """Returns points on the unit circle, [n, 2] float64."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=-1)


def random_rotation(dim, seed=0):
    """Returns an orthogonal [dim, dim] matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    return q * np.sign(np.diag(r))


def gradient_error(function, *arguments):
    """Returns the largest difference between the gradients and central differences."""
    import tensorflow as tf

    arguments = [tf.constant(x, tf.float64) for x in arguments]
    ours, numeric = tf.test.compute_gradient(function, arguments, delta=1e-6)
    return max(np.abs(a - b).max() for a, b in zip(ours, numeric, strict=True))
