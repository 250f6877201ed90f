"""Colour jitter as matrices: each change of colour is affine in RGB, so all are one product.

A colour matrix [3, 4] maps (r, g, b) in [0, 255] to M[:, :3] · (r, g, b) + M[:, 3]. Nothing is
clipped or rounded between two changes: that comes once, after the last.
"""

from __future__ import annotations

import math

import tensorflow as tf

WHITE = 255.0
# Grey as the eye weighs it (ITU-R BT.601), which is how JPEG has it too.
_LUMA = (0.299, 0.587, 0.114)


def brightness_matrix(amount: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix that adds the same to all channels: v + 255 · amount.

    Args:
      amount: scalar, a fraction of white; 0 changes nothing.

    Returns:
      [3, 4] float32.
    """
    return _affine(tf.eye(3), WHITE * tf.convert_to_tensor(amount, tf.float32))


def contrast_matrix(factor: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix that moves values away from mid-grey: factor · (v - 127.5) + 127.5.

    Mid-grey and not the picture's own mean: the mean would need a pass over the picture, and would
    make the colour of a pixel depend on what the crop leaves out.

    Args:
      factor: scalar, at least 0; 1 changes nothing, 0 leaves mid-grey.

    Returns:
      [3, 4] float32.
    """
    factor = tf.convert_to_tensor(factor, tf.float32)
    return _affine(factor * tf.eye(3), (1.0 - factor) * (WHITE / 2))


def saturation_matrix(factor: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix that blends with grey: factor · v + (1 - factor) · luma(v).

    Args:
      factor: scalar, at least 0; 1 changes nothing, 0 leaves grey (0.299 r + 0.587 g + 0.114 b).

    Returns:
      [3, 4] float32.
    """
    factor = tf.convert_to_tensor(factor, tf.float32)
    return _affine(factor * tf.eye(3) + (1.0 - factor) * tf.constant([_LUMA] * 3), 0.0)


def hue_matrix(radians: tf.Tensor | float) -> tf.Tensor:
    """Returns the rotation of RGB about the grey axis; a third of a turn takes red to green.

    Unlike a turn of the hue in HSV it is linear: brightness r + g + b stays, and so does grey.

    Args:
      radians: scalar; 0 changes nothing.

    Returns:
      [3, 4] float32.
    """
    radians = tf.convert_to_tensor(radians, tf.float32)
    cosine, sine = tf.cos(radians), tf.sin(radians)
    # Rodrigues' formula about (1, 1, 1) / √3.
    along = tf.fill([3, 3], (1.0 - cosine) / 3.0)
    across = tf.constant([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)
    return _affine(cosine * tf.eye(3) + along + sine * across, 0.0)


def compose_colors(*matrices: tf.Tensor) -> tf.Tensor:
    """Returns the matrix [3, 4] that does what the given ones do one after the other."""
    linear, offset = tf.eye(3), tf.zeros([3, 1])
    for matrix in matrices:
        linear = matrix[:, :3] @ linear
        offset = matrix[:, :3] @ offset + matrix[:, 3:]
    return tf.concat([linear, offset], axis=1)


def _affine(linear: tf.Tensor, offset: tf.Tensor | float) -> tf.Tensor:
    return tf.concat([linear, tf.fill([3, 1], offset)], axis=1)
