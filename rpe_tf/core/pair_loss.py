"""The pairwise loss of Eq. 2: one instance together, two instances at least a margin apart.

Over all pixels and in memory linear in them. The positive part needs no pairs (Prop. 1): over an
instance, with W = Σ_i w_i, Σ_ij w_i w_j (1 − s_ij) = ½ (W² − |Σ_i w_i x_i|²). The hinge takes one
pass over the tiles of A_ij = 1[y_i ≠ y_j, s_ij > α], which yields P_i = Σ_j A_ij w_j x_j and
p_i = Σ_j A_ij w_j, hence

    value Σ_i w_i (½ x_iᵀ P_i + (½ − α) p_i)        gradient ∂/∂x_i = w_i P_i

the true gradient: i and j share a pair's slope ½, and every pair stands twice. Products of 2N²D
flops: ½ for s, s being symmetric, and 1 for P. A radius adds |p_i − p_j| ≤ r to the conditions of
A, and no product.
"""

import tensorflow as tf

from rpe_tf.core.pair_sampling import instance_rank, instance_sum, pixel_weight
from rpe_tf.core.tiles import Blocks, sum_over_pairs

NORMALIZERS = ("groups", "pixels", "pairs")


def pair_loss(
    embedding: tf.Tensor,
    instance: tf.Tensor,
    margin: float,
    normalizer: str = "groups",
    positive_weight: float = 1.0,
    *,
    instance_weights: bool = True,
    position: tf.Tensor | None = None,
    radius: float | None = None,
) -> tf.Tensor:
    """Returns the pairwise loss of an image (Eq. 2).

    L = (1/Z) Σ_ij w_i w_j (1[y_i = y_j] (1 − s_ij) + 1[y_i ≠ y_j] max(0, s_ij − α)),
    w_i = 1/|I_{y_i}|, i = j included. Its gradient is the true one of this formula. With a radius,
    pairs of two instances count only where |p_i − p_j| ≤ r: a net that is the same everywhere
    cannot tell equal-looking instances apart, and need not where they are far from each other.

    Args:
      embedding: x, [N, D] or [B, N, D] float, unit rows. Half precision is taken to float32.
      instance: y, [N] or [B, N] int: 0 background (one more instance), −1 void (takes no part).
      margin: α in [0, 1], the largest similarity two instances may have at no cost.
      normalizer: Z. "groups": Σ w_i w_j = K², K instances present, so that the loss lies in
        [0, 1] at any size of the image; without instance_weights N². "pixels": N, the number of
        pixels that take part, as the paper writes it. "pairs": each of the two terms has a Z of
        its own, twice the Σ w_i w_j of its pairs: both are means over pairs and weigh the same,
        whatever K and the radius.
      positive_weight: factor on the pairs of one instance, ≥ 0. Under "groups" these make up at
        most 1/(2K) of the loss.
      instance_weights: whether w_i = 1/|I_{y_i}|, which lets every instance count the same; else
        w_i = 1, and large instances hide small ones.
      position: p, [N, 2] or [B, N, 2], of each pixel, row and column. Taken as constant; plays no
        part without a radius.
      radius: r ≥ 0, in the unit of position, inclusive; None for no limit. "groups" and "pixels"
        keep their Z, so that the loss falls with the number of pairs in reach.

    Returns:
      Scalar, or [B], of embedding's dtype, at least float32; ≥ 0; 0 when all pairs agree and when
      every pixel is void. NaN in a pixel, void or not, gives NaN. Memory linear in N (`tiles`).

    Raises:
      ValueError: if margin is outside [0, 1], normalizer is unknown, radius is below 0 or comes
        without a position, or position does not hold two coordinates.
    """
    check_loss_arguments(margin, normalizer, radius)
    embedding, instance = tf.convert_to_tensor(embedding), tf.convert_to_tensor(instance)
    embedding = tf.cast(embedding, tf.float64 if embedding.dtype == tf.float64 else tf.float32)
    position = _checked_position(position, radius, embedding)
    if embedding.shape.rank == 2:
        loss = pair_loss(
            *(embedding[tf.newaxis], instance[tf.newaxis], margin, normalizer, positive_weight),
            instance_weights=instance_weights,
            position=position,
            radius=radius,
        )
        return loss[0]
    rank = instance_rank(instance)
    counts = tf.cast(instance >= 0, embedding.dtype)
    weight = pixel_weight(instance, embedding.dtype) if instance_weights else counts
    weight = weight[..., tf.newaxis]
    positive, same = _positive(embedding, rank, weight)
    positive *= positive_weight
    negative, reach = _hinge(embedding, rank, weight, margin, position, radius)
    all_pairs = tf.square(tf.reduce_sum(weight, axis=[-2, -1]))
    divide = tf.math.divide_no_nan
    if normalizer == "pairs":
        if reach is None:
            reach = all_pairs - same
        return 0.5 * (divide(positive, same) + divide(negative, reach))
    if normalizer == "groups":
        return divide(positive + negative, all_pairs)
    return divide(positive + negative, tf.reduce_sum(counts, axis=-1))


def _positive(
    embedding: tf.Tensor, rank: tf.Tensor, weight: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns Σ_ij w_i w_j 1[y_i = y_j] (1 − s_ij), [B], and these pairs' Σ w_i w_j, [B].

    As Σ_i ½ w_i (W − x_iᵀ S) with W = Σ_j w_j and S = Σ_j w_j x_j over the instance of pixel i.
    """
    sums = instance_sum(weight * tf.concat([embedding, tf.ones_like(weight)], axis=-1), rank)
    sums = tf.gather(sums, rank, batch_dims=1)
    total = sums[..., -1]
    apart = total - tf.reduce_sum(embedding * sums[..., :-1], axis=-1)
    positive = 0.5 * tf.reduce_sum(weight[..., 0] * apart, axis=-1)
    return positive, tf.reduce_sum(weight[..., 0] * total, axis=-1)


def _hinge(
    embedding: tf.Tensor,
    rank: tf.Tensor,
    weight: tf.Tensor,
    margin: float,
    position: tf.Tensor | None,
    radius: float | None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns Σ_ij w_i w_j 1[y_i ≠ y_j] max(0, s_ij − α), [B], of the pairs within the radius.

    And with a radius the Σ w_i w_j of these pairs, [B].
    """
    dim = embedding.shape[-1]

    def tile(rows: Blocks, columns: Blocks) -> tuple[tf.Tensor, tf.Tensor]:
        (x, v, y), (z, w, k) = rows[:3], columns[:3]
        one = tf.ones_like(v)
        left, right = tf.concat([0.5 * x, (0.5 - margin) * one], -1), tf.concat([z, one], -1)
        excess = tf.matmul(left, right, transpose_b=True)
        counts = tf.not_equal(y, tf.linalg.matrix_transpose(k))
        if radius is not None:
            counts &= _is_near(rows[3], columns[3], radius)
        pushes = tf.cast((excess > 0) & counts, x.dtype)
        to_rows = tf.matmul(pushes, w * right)
        to_columns = tf.matmul(pushes, v * tf.concat([x, one], -1), transpose_a=True)
        if radius is None:
            return to_rows, to_columns
        counts = tf.cast(counts, x.dtype)
        return (
            tf.concat([to_rows, tf.matmul(counts, w)], -1),
            tf.concat([to_columns, tf.matmul(counts, v, transpose_a=True)], -1),
        )

    @tf.custom_gradient
    def hinge(x: tf.Tensor) -> tuple:
        # Ranks as floats are exact up to 2²⁴ instances.
        points = [x, weight, tf.cast(rank, x.dtype)[..., tf.newaxis]]
        width = dim + 1
        if radius is not None:
            points, width = [*points, position], dim + 2
        pushed = weight * sum_over_pairs(tile, points, width)
        half = tf.reduce_sum(x * pushed[..., :dim], axis=[-2, -1])
        value = 0.5 * half + (0.5 - margin) * tf.reduce_sum(pushed[..., dim], axis=-1)
        reach = tf.reduce_sum(pushed[..., dim + 1 :], axis=[-2, -1])

        def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            return upstream[:, tf.newaxis, tf.newaxis] * pushed[..., :dim]

        return (value, reach), gradient

    value, reach = hinge(embedding)
    return value, None if radius is None else reach


def _is_near(p: tf.Tensor, q: tf.Tensor, radius: float) -> tf.Tensor:
    """Returns whether |p_i − q_j| ≤ radius, [..., b, b] bool."""
    # By differences: the products of |p|² − 2pᵀq + |q|² are not exact on large pictures.
    squares = [
        tf.math.squared_difference(p[..., k : k + 1], tf.linalg.matrix_transpose(q[..., k : k + 1]))
        for k in range(2)
    ]
    return squares[0] + squares[1] <= radius * radius


def check_loss_arguments(margin: float, normalizer: str, radius: float | None = None) -> None:
    """Returns nothing; refuses arguments that Eq. 2 has no meaning for.

    Raises:
      ValueError: if margin is outside [0, 1], normalizer is unknown or radius is below 0.
    """
    if not 0.0 <= margin <= 1.0:
        raise ValueError(f"margin must be a similarity in [0, 1], got {margin}; default 0.5")
    if normalizer not in NORMALIZERS:
        raise ValueError(f"normalizer must be one of {NORMALIZERS}, got {normalizer!r}")
    if radius is not None and not radius >= 0.0:
        raise ValueError(f"radius must be 0 or more, got {radius}; None for pairs at any distance")


def _checked_position(
    position: tf.Tensor | None, radius: float | None, embedding: tf.Tensor
) -> tf.Tensor | None:
    """Returns the position in embedding's dtype and rank; None where there is no radius."""
    if radius is None:
        return None
    if position is None:
        raise ValueError(f"radius {radius} needs the position of each pixel; give position=")
    position = tf.cast(position, embedding.dtype)
    if position.shape[-1] != 2 or not 2 <= position.shape.rank <= embedding.shape.rank:
        raise ValueError(
            "position must be [N, 2] or [B, N, 2], a row and a column for each pixel of embedding "
            f"{embedding.shape}, got {position.shape}"
        )
    return tf.broadcast_to(position, tf.concat([tf.shape(embedding)[:-1], [2]], axis=0))
