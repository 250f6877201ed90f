"""The pairwise loss of Eq. 2: one instance together, two instances at least a margin apart."""

from collections.abc import Callable

import tensorflow as tf

from rpe_tf.core.pair_sampling import pixel_weight

NORMALIZERS = ("groups", "pixels")


def pair_loss(
    embedding: tf.Tensor,
    instance: tf.Tensor,
    margin: float,
    normalizer: str = "groups",
    positive_weight: float = 1.0,
) -> tf.Tensor:
    """Returns the pairwise loss of an image (Eq. 2).

    L = (1/Z) Σ_ij w_i w_j (1[y_i = y_j] (1 − s_ij) + 1[y_i ≠ y_j] max(0, s_ij − α)),
    w_i = 1/|I_{y_i}|, i = j included. Its gradient is the true one of this formula.

    Args:
      embedding: x, [N, D] or [B, N, D] float, unit rows.
      instance: y, [N] or [B, N] int: 0 background (one more instance), −1 void (takes no part).
      margin: α in [0, 1], the largest similarity two instances may have at no cost.
      normalizer: Z. "groups": Σ w_i w_j = K², K instances present, so that the loss lies in
        [0, 1] at any size of the image. "pixels": the number of pixels that take part, as the
        paper writes it.
      positive_weight: factor on the pairs of one instance, ≥ 0. Under "groups" these make up at
        most 1/K of the loss.

    Returns:
      Scalar, or [B]; ≥ 0; 0 when all pairs agree and when every pixel is void. Memory N².

    Raises:
      ValueError: if margin is outside [0, 1] or normalizer is unknown.
    """
    check_loss_arguments(margin, normalizer)
    embedding, instance = tf.convert_to_tensor(embedding), tf.convert_to_tensor(instance)
    weight = pixel_weight(instance, embedding.dtype)
    same = tf.equal(instance[..., :, tf.newaxis], instance[..., tf.newaxis, :])
    columns = weight[..., tf.newaxis, :]
    # Σ_j w_j (1 − s_ij) over i's own instance is ½ (1 − x_iᵀ mean): no pair has to be looked at.
    mean = tf.matmul(tf.where(same, columns, tf.zeros_like(columns)), embedding)
    positive = 0.5 * weight * (1.0 - tf.reduce_sum(embedding * mean, axis=-1))
    push = tf.where(same, tf.zeros_like(columns), weight[..., tf.newaxis] * columns)
    total = positive_weight * tf.reduce_sum(positive, axis=-1) + _hinge(embedding, push, margin)
    if normalizer == "groups":
        scale = tf.square(tf.reduce_sum(weight, axis=-1))
    else:
        scale = tf.reduce_sum(tf.cast(instance >= 0, embedding.dtype), axis=-1)
    return tf.math.divide_no_nan(total, scale)


def _hinge(embedding: tf.Tensor, push: tf.Tensor, margin: float) -> tf.Tensor:
    """Returns Σ_ij push_ij max(0, s_ij − α) for a symmetric push, [...]."""

    @tf.custom_gradient
    def hinge(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        # s − α with the ½ inside the product: one pass over N² entries less.
        excess = tf.nn.relu(tf.matmul(0.5 * x, x, transpose_b=True) + (0.5 - margin))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # i and j share a pair's slope ½, and every pair stands twice: ∂/∂x_i = Σ_j push_ij x_j.
            active = tf.where(excess > 0, push, tf.zeros_like(push))
            return upstream[..., tf.newaxis, tf.newaxis] * tf.matmul(active, x)

        return tf.reduce_sum(push * excess, axis=[-2, -1]), gradient

    return hinge(embedding)


def check_loss_arguments(margin: float, normalizer: str) -> None:
    """Returns nothing; refuses arguments that Eq. 2 has no meaning for.

    Raises:
      ValueError: if margin is outside [0, 1] or normalizer is unknown.
    """
    if not 0.0 <= margin <= 1.0:
        raise ValueError(f"margin must be a similarity in [0, 1], got {margin}; default 0.5")
    if normalizer not in NORMALIZERS:
        raise ValueError(f"normalizer must be one of {NORMALIZERS}, got {normalizer!r}")
