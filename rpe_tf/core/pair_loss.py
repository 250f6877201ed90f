"""The pairwise loss of Eq. 2: one instance together, two instances at least a margin apart."""

import tensorflow as tf

from rpe_tf.core.pair_sampling import pixel_weight
from rpe_tf.core.sphere import similarity

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
    weight = pixel_weight(instance, embedding.dtype)
    same = tf.equal(instance[..., :, tf.newaxis], instance[..., tf.newaxis, :])
    s = similarity(embedding, embedding)
    pair = tf.where(same, positive_weight * (1.0 - s), tf.nn.relu(s - margin))
    total = tf.einsum("...i,...ij,...j->...", weight, pair, weight)
    if normalizer == "groups":
        scale = tf.square(tf.reduce_sum(weight, axis=-1))
    else:
        scale = tf.reduce_sum(tf.cast(instance >= 0, embedding.dtype), axis=-1)
    return tf.math.divide_no_nan(total, scale)


def check_loss_arguments(margin: float, normalizer: str) -> None:
    """Returns nothing; refuses arguments that Eq. 2 has no meaning for.

    Raises:
      ValueError: if margin is outside [0, 1] or normalizer is unknown.
    """
    if not 0.0 <= margin <= 1.0:
        raise ValueError(f"margin must be a similarity in [0, 1], got {margin}; default 0.5")
    if normalizer not in NORMALIZERS:
        raise ValueError(f"normalizer must be one of {NORMALIZERS}, got {normalizer!r}")
