"""The normalisation layers by name."""

from collections.abc import Callable

import keras
import tensorflow as tf

NORMS = ("batch", "group", "frozen_batch")


def normalization(norm: str, epsilon: float = 1e-3) -> Callable[..., keras.layers.Layer]:
    """Returns the constructor of the asked normalisation layer.

    "batch": moments of the batch in training, over all replicas. "group": eight groups of channels,
    independent of the batch. "frozen_batch": stored moments in training and testing alike, for
    pretrained weights; scale and shift stay too.

    Args:
      norm: one of NORMS.
      epsilon: added to the variance, > 0.

    Raises:
      ValueError: if norm is unknown.
    """
    if norm == "group":
        return lambda name: keras.layers.GroupNormalization(8, epsilon=epsilon, name=name)
    if norm == "batch":
        is_shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
        return lambda name: keras.layers.BatchNormalization(
            momentum=0.99, epsilon=epsilon, name=name, synchronized=is_shared
        )
    if norm == "frozen_batch":
        return lambda name: keras.layers.BatchNormalization(
            epsilon=epsilon, name=name, trainable=False
        )
    raise ValueError(f"norm must be one of {NORMS}, got {norm!r}")
