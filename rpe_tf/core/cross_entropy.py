"""Cross-entropy of a semantic map (§5.4)."""

import tensorflow as tf


def cross_entropy(logit: tf.Tensor, semantic: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy of each image: the mean of −log softmax(logit)[class] over pixels.

    Args:
      logit: [B, N, C] float.
      semantic: [B, N] int32, classes 0..C − 1, −1 void (takes no part).

    Returns:
      [B] in logit's dtype, ≥ 0; 0 for an image of void alone; NaN where a class is C or more.
    """
    is_counted = semantic >= 0
    num_classes = tf.shape(logit)[-1]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.clip_by_value(semantic, 0, num_classes - 1), logits=logit
    )
    # The op's own answer to a class out of range differs from device to device.
    losses = tf.where(semantic < num_classes, losses, tf.constant(float("nan"), losses.dtype))
    losses = tf.where(is_counted, losses, tf.zeros_like(losses))
    num_pixels = tf.reduce_sum(tf.cast(is_counted, losses.dtype), axis=-1)
    return tf.reduce_sum(losses, axis=-1) / tf.maximum(num_pixels, 1.0)
