"""Gaussian blurring mean shift on the sphere (Eq. 3), with the N×N matrices written out.

This is the form to read beside the paper, and the one the tiled form is tested against. Pixels
are rows here (columns in the paper): S = X Xᵀ, K = exp(κ (S − 1)), d = K 1, q = 1/d, and the
paper's Y = X ((1 − η) I + η K diag(q)) becomes Y = (1 − η) X + η diag(q) K X, K being symmetric.
"""

import tensorflow as tf

from rpe_tf.core.sphere import normalize


def mean_shift(
    embedding: tf.Tensor,
    concentration: float,
    num_loops: int,
    step_size: float = 1.0,
    point_weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the points after num_loops loops of mean shift (Eq. 3).

    A zero vector has no direction: it pulls nobody and stays. NaN spreads to all points.

    Args:
      embedding: X, [N, D] or [B, N, D] float, unit rows.
      concentration: κ = δ² > 0 of the von Mises-Fisher kernel; 36 at margin 0.5.
      num_loops: T ≥ 0; 0 returns the input.
      step_size: η in (0, 1]; 1 is full blurring mean shift.
      point_weight: c, [N] or [B, N] float ≥ 0, how many points each point stands for; default 1.

    Returns:
      Same shape and dtype, unit rows. Memory N² a loop.

    Raises:
      ValueError: if num_loops < 0, or a Python number is outside its range.
    """
    check_grouping_arguments(concentration, num_loops, step_size)
    points = tf.convert_to_tensor(embedding)
    has_direction = tf.reduce_any(points != 0, axis=-1, keepdims=True)
    weight = tf.cast(has_direction, points.dtype)
    if point_weight is not None:
        weight *= tf.cast(point_weight, points.dtype)[..., tf.newaxis]
    for _ in range(num_loops):
        cosine = tf.matmul(points, points, transpose_b=True)  # S
        # exp of at most 0: never overflows, whatever the concentration.
        kernel = tf.exp(concentration * (cosine - 1.0))
        degree = tf.matmul(kernel, weight)  # d
        kernel_mean = tf.math.divide_no_nan(tf.matmul(kernel, weight * points), degree)
        moved = normalize((1.0 - step_size) * points + step_size * kernel_mean)
        points = tf.where(has_direction, moved, points)
    return points


def check_grouping_arguments(
    concentration: float | tf.Tensor, num_loops: int, step_size: float | tf.Tensor
) -> None:
    """Returns nothing; refuses what Eq. 3 has no meaning for. Tensors are not looked into.

    Raises:
      ValueError: if num_loops < 0, concentration ≤ 0 or step_size is outside (0, 1].
    """
    if num_loops < 0:
        raise ValueError(f"num_loops must be 0 or more, got {num_loops}")
    if isinstance(concentration, int | float) and not concentration > 0:
        raise ValueError(f"concentration must be above 0, got {concentration}; 36 fits margin 0.5")
    if isinstance(step_size, int | float) and not 0 < step_size <= 1:
        raise ValueError(f"step_size must be in (0, 1], got {step_size}; 1 is the paper's")
