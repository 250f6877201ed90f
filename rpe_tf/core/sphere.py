"""Unit vectors, calibrated similarity (Eq. 1), margins that can be met, concentration.

An embedding is a unit vector per pixel. Two pixels are compared by the cosine of their vectors,
or by the same cosine moved to [0, 1], the similarity of Eq. 1.
"""

import math

import tensorflow as tf

# Squared length under which a vector has no direction: it becomes 0 and gets no gradient.
_MIN_SQUARED_LENGTH = 1e-24

# Smallest largest similarity of n points on the 2-sphere (Tammes' problem, solved cases).
_TAMMES_SIMILARITY = {
    5: 0.5,
    6: 0.5,
    7: 0.6051,
    8: 0.6306,
    9: 0.6667,
    10: 0.7022,
    11: 0.7236,
    12: 0.7236,
}


def normalize(x: tf.Tensor) -> tf.Tensor:
    """Returns x scaled to unit length along the last axis; a zero vector stays zero.

    The gradient of |x| at 0 is not defined, and a plain x / |x| would send NaN to the whole net
    from one dead pixel. Here vectors shorter than 1e-12 become 0 and pass no gradient. NaN stays.

    Args:
      x: [..., D] float.

    Returns:
      [..., D], same dtype; each row has length 1 or 0.
    """
    squared_length = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    # Not `>`: NaN must come out as NaN, not as a vector without a direction.
    has_direction = ~(squared_length <= _MIN_SQUARED_LENGTH)
    # The inner `where` keeps the unused branch finite, or its NaN would leak into the gradient.
    safe = tf.where(has_direction, squared_length, tf.ones_like(squared_length))
    return tf.where(has_direction, x * tf.math.rsqrt(safe), tf.zeros_like(x))


def similarity(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the calibrated cosine similarity of every row of a with every row of b (Eq. 1).

    s_ij = ½ (1 + a_iᵀ b_j). It is not clipped: clipping would cut the gradient at s = 0 and 1.

    Args:
      a: [..., N, D] float, unit rows.
      b: [..., M, D] float, unit rows.

    Returns:
      [..., N, M] in [0, 1] up to rounding. Memory N·M.
    """
    return 0.5 * (1.0 + tf.matmul(a, b, transpose_b=True))


def concentration_from_margin(margin: float) -> float:
    """Returns the concentration κ = δ² of the kernel that fits a margin: 1/δ = (1 − α)/3.

    Args:
      margin: α in [0, 1).

    Returns:
      κ > 0; 36 at α = 0.5.

    Raises:
      ValueError: if margin is outside [0, 1).
    """
    if not 0.0 <= margin < 1.0:
        raise ValueError(
            f"margin must be in [0, 1) to give a concentration, got {margin}; "
            "0.5 is the paper's value for 64 dimensions"
        )
    return (3.0 / (1.0 - margin)) ** 2


def smallest_margin(num_groups: int, embedding_dim: int) -> float:
    """Returns the smallest margin α that num_groups directions can all keep in D dimensions.

    n ≤ D + 1: a simplex, ½ − 1/(2(n − 1)). D + 2 ≤ n ≤ 2D: ½, antipodal pairs on the axes.
    D = 2: ½ (1 + cos 2π/n). D = 3: Tammes' problem, solved for n ≤ 12, beyond that Fejes Tóth's
    bound ¼ / sin²(πn / (6(n − 2))). D > 3 and n > 2D: ½, a bound that no layout attains.
    The background counts as a group.

    Args:
      num_groups: n ≥ 1.
      embedding_dim: D ≥ 2.

    Returns:
      α in [0, 1).

    Raises:
      ValueError: if num_groups < 1 or embedding_dim < 2.
    """
    if num_groups < 1 or embedding_dim < 2:
        raise ValueError(
            "smallest_margin needs num_groups >= 1 and embedding_dim >= 2, "
            f"got {num_groups} and {embedding_dim}"
        )
    if num_groups == 1:
        return 0.0
    if num_groups <= embedding_dim + 1:
        return 0.5 - 0.5 / (num_groups - 1)
    if embedding_dim == 2:
        return 0.5 * (1.0 + math.cos(2.0 * math.pi / num_groups))
    if embedding_dim == 3:
        bound = 0.25 / math.sin(math.pi * num_groups / (6.0 * (num_groups - 2))) ** 2
        return _TAMMES_SIMILARITY.get(num_groups, bound)
    return 0.5
