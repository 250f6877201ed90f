"""Logistic loss of two classes of very unequal size (§5.2: boundary and not)."""

import tensorflow as tf


def balanced_logistic_loss(logit: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns the logistic loss of each image, either class counting one half.

    ½ · (mean over label 1 of −log σ(logit)) + ½ · (mean over label 0 of −log(1 − σ(logit))). It is
    the class-balanced loss that boundary detectors train with, but for a factor an image: theirs
    weights either class with the other's share of the pixels.

    Args:
      logit: [B, N] float.
      label: [B, N] int32, 1, 0 or −1 (void: takes no part).

    Returns:
      [B] in logit's dtype, ≥ 0; a class without pixels adds nothing.
    """
    terms = []
    for value, sign in ((1, -1.0), (0, 1.0)):
        is_class = tf.cast(tf.equal(label, value), logit.dtype)
        losses = tf.nn.softplus(sign * logit) * is_class
        num_pixels = tf.maximum(tf.reduce_sum(is_class, axis=-1), 1.0)
        terms.append(0.5 * tf.reduce_sum(losses, axis=-1) / num_pixels)
    return tf.add_n(terms)
