"""The pairwise loss of Eq. 2: one instance together, two instances at least a margin apart.

Over all pixels and in memory linear in them. The positive part needs no pairs (Prop. 1): over an
instance k, Σ_ij w_i w_j (1 − s_ij) = ½ (1 − |mean_k|²). The hinge takes one pass over the tiles of
A_ij = 1[y_i ≠ y_j, s_ij > α], which yields P_i = Σ_j A_ij w_j x_j and p_i = Σ_j A_ij w_j, hence

    value Σ_i w_i (½ x_iᵀ P_i + (½ − α) p_i)        gradient ∂/∂x_i = w_i P_i

the true gradient: i and j share a pair's slope ½, and every pair stands twice. Products of 2N²D
flops: ½ for s, s being symmetric, and 1 for P.
"""

import tensorflow as tf

from rpe_tf.core.pair_sampling import instance_rank, instance_sum, pixel_weight
from rpe_tf.core.tiles import Blocks, sum_over_pairs

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
      embedding: x, [N, D] or [B, N, D] float, unit rows. Half precision is taken to float32.
      instance: y, [N] or [B, N] int: 0 background (one more instance), −1 void (takes no part).
      margin: α in [0, 1], the largest similarity two instances may have at no cost.
      normalizer: Z. "groups": Σ w_i w_j = K², K instances present, so that the loss lies in
        [0, 1] at any size of the image. "pixels": the number of pixels that take part, as the
        paper writes it.
      positive_weight: factor on the pairs of one instance, ≥ 0. Under "groups" these make up at
        most 1/K of the loss.

    Returns:
      Scalar, or [B], of embedding's dtype, at least float32; ≥ 0; 0 when all pairs agree and when
      every pixel is void. NaN in a pixel, void or not, gives NaN. Memory linear in N (`tiles`).

    Raises:
      ValueError: if margin is outside [0, 1] or normalizer is unknown.
    """
    check_loss_arguments(margin, normalizer)
    embedding, instance = tf.convert_to_tensor(embedding), tf.convert_to_tensor(instance)
    embedding = tf.cast(embedding, tf.float64 if embedding.dtype == tf.float64 else tf.float32)
    if embedding.shape.rank == 2:
        return pair_loss(
            embedding[tf.newaxis], instance[tf.newaxis], margin, normalizer, positive_weight
        )[0]
    rank = instance_rank(instance)
    weight = pixel_weight(instance, embedding.dtype)[..., tf.newaxis]
    positive = _positive(embedding, rank, weight)
    total = positive_weight * positive + _hinge(embedding, rank, weight, margin)
    if normalizer == "groups":
        scale = tf.square(tf.reduce_sum(weight, axis=[-2, -1]))
    else:
        scale = tf.reduce_sum(tf.cast(instance >= 0, embedding.dtype), axis=-1)
    return tf.math.divide_no_nan(total, scale)


def _positive(embedding: tf.Tensor, rank: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns Σ_k ½ (1 − |mean_k|²), [B], as Σ_i ½ w_i (1 − x_iᵀ mean_{y_i})."""
    mean = tf.gather(instance_sum(weight * embedding, rank), rank, batch_dims=1)
    return 0.5 * tf.reduce_sum(
        weight[..., 0] * (1.0 - tf.reduce_sum(embedding * mean, axis=-1)), axis=-1
    )


def _hinge(embedding: tf.Tensor, rank: tf.Tensor, weight: tf.Tensor, margin: float) -> tf.Tensor:
    """Returns Σ_ij w_i w_j 1[y_i ≠ y_j] max(0, s_ij − α), [B]."""
    dim = embedding.shape[-1]

    def tile(rows: Blocks, columns: Blocks) -> tuple[tf.Tensor, tf.Tensor]:
        (x, v, y), (z, w, k) = rows, columns
        one = tf.ones_like(v)
        left, right = tf.concat([0.5 * x, (0.5 - margin) * one], -1), tf.concat([z, one], -1)
        excess = tf.matmul(left, right, transpose_b=True)
        pushes = (excess > 0) & tf.not_equal(y, tf.linalg.matrix_transpose(k))
        pushes = tf.cast(pushes, x.dtype)
        return (
            tf.matmul(pushes, w * right),
            tf.matmul(pushes, v * tf.concat([x, one], -1), transpose_a=True),
        )

    @tf.custom_gradient
    def hinge(x: tf.Tensor) -> tuple:
        # Ranks as floats are exact up to 2²⁴ instances.
        pushed = sum_over_pairs(tile, [x, weight, tf.cast(rank, x.dtype)[..., tf.newaxis]], dim + 1)
        pushed *= weight
        half = tf.reduce_sum(x * pushed[..., :dim], axis=[-2, -1])
        value = 0.5 * half + (0.5 - margin) * tf.reduce_sum(pushed[..., dim], axis=-1)
        return value, lambda upstream: upstream[:, tf.newaxis, tf.newaxis] * pushed[..., :dim]

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
