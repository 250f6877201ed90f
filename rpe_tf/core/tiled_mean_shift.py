"""Mean shift (Eq. 3) tile by tile: no N×N matrix is stored, neither forward nor backward.

With the weight c_i of point i (1, or 0 for a masked point), one loop and its gradient (App. B.1)
are, for the points as rows:

    u_i = Σ_j c_j K_ij x_j      d_i = Σ_j c_j K_ij      m_i = u_i / d_i
    y_i = (1 − η) x_i + η m_i   x_i ← y_i / |y_i|
    ∂L/∂x_i = (1 − η) g_i + c_i Σ_j K_ij h_j + κ Σ_j A_ij x_j,   h_j = η g_j / d_j
    A_ij = K_ij (c_i (x_iᵀ h_j − o_j) + c_j (x_jᵀ h_i − o_i)),   o_j = m_jᵀ h_j

with g the gradient at y. K and A = ∂L/∂S + (∂L/∂S)ᵀ over κ are symmetric (`tiles`). Kept for the
gradient are the points, u and d; each tile of K is computed again. In products of 2N²D flops a
loop costs 1.5 forward (½ S, 1 K X) and 3.5 backward (½ S, 1 A, 1 K H, 1 A X); the same row by row
would be 2 and 5.

At η = 1, the default, the degree drops out: x_i ← u_i / |u_i|, and o = 0, g being orthogonal to u.
So d is not computed there, whose column makes a product of 64 columns a seventh slower.

Tried and left, in times of this form's at N = 4,096, D = 64, float32 on two cores, each pair in one
run (`tests/benchmarks/bench_grouping.py` measures the code as it is): 256 rows by all columns, not
symmetric, forward 1.5; one tile of 1,024² a step, forward 1.0, gradient 1.1, for its products on
the diagonal serve one side only; rows by half of the columns, cyclically, forward 1.3; XLA 1.1 to
1.2; the degree as a 65th column also at η = 1, forward 1.2.
"""

import tensorflow as tf

from rpe_tf.core.mean_shift import check_grouping_arguments
from rpe_tf.core.sphere import normalize
from rpe_tf.core.tiles import Blocks, sum_over_pairs


def tiled_mean_shift(
    embedding: tf.Tensor,
    concentration: float | tf.Tensor,
    num_loops: int,
    step_size: float | tf.Tensor = 1.0,
    mask: tf.Tensor | None = None,
    point_weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the points after num_loops loops of mean shift (Eq. 3), in memory linear in N.

    Differentiable in embedding, concentration and step_size. A zero vector has no direction: it
    pulls nobody and stays. NaN spreads to all points of its picture.

    Args:
      embedding: X, [N, D] or [B, N, D] float, unit rows. Half precision is grouped in float32.
      concentration: κ = δ² > 0 of the von Mises-Fisher kernel; a scalar tensor can be learned.
      num_loops: T ≥ 0; 0 returns the input.
      step_size: η in (0, 1]; a scalar tensor can be learned.
      mask: [N] or [B, N] bool; points that are False pull nobody and stay where they are.
      point_weight: c, [N] or [B, N] float ≥ 0, how many points each point stands for; default 1.
        Taken as constant. With 0 a point moves but pulls nobody.

    Returns:
      Same shape and dtype as embedding. Memory O(N·D) a loop and a few tiles (`tiles`).

    Raises:
      ValueError: if num_loops < 0, or a Python number is outside its range.
    """
    check_grouping_arguments(concentration, num_loops, step_size)
    embedding = tf.convert_to_tensor(embedding)
    dtype = tf.float64 if embedding.dtype == tf.float64 else tf.float32
    points = tf.cast(embedding, dtype)
    moves = tf.reduce_any(points != 0, axis=-1, keepdims=True)
    if mask is not None:
        moves &= tf.convert_to_tensor(mask)[..., tf.newaxis]
    weight = tf.cast(moves, dtype)
    if point_weight is not None:
        weight *= tf.cast(point_weight, dtype)[..., tf.newaxis]
    is_single = points.shape.rank == 2
    if is_single:
        points, weight, moves = points[tf.newaxis], weight[tf.newaxis], moves[tf.newaxis]
    is_full_step = isinstance(step_size, int | float) and step_size == 1
    concentration = tf.convert_to_tensor(concentration, dtype)
    step_size = tf.convert_to_tensor(step_size, dtype)
    for _ in range(num_loops):
        moved = _one_loop(points, weight, concentration, step_size, is_full_step)
        # A point without weight, so far that every kernel is 0, finds no direction either.
        is_pulled = tf.reduce_any(moved != 0, axis=-1, keepdims=True)
        points = tf.where(moves & is_pulled, moved, points)
    return tf.cast(points[0] if is_single else points, embedding.dtype)


def _one_loop(
    points: tf.Tensor,
    weight: tf.Tensor,
    concentration: tf.Tensor,
    step_size: tf.Tensor,
    is_full_step: bool,
) -> tf.Tensor:
    """Returns the points after a loop, [B, N, D]; weight [B, N, 1]."""
    dim = points.shape[-1]

    @tf.custom_gradient
    def loop(x: tf.Tensor, c: tf.Tensor, kappa: tf.Tensor, eta: tf.Tensor) -> tuple:
        def tile(rows: Blocks, columns: Blocks) -> tuple[tf.Tensor, tf.Tensor]:
            kernel = _kernel(rows[0], columns[0], kappa)
            pulled, pulling = (_with_degree(*block, is_full_step) for block in (rows, columns))
            return tf.matmul(kernel, pulling), tf.matmul(kernel, pulled, transpose_a=True)

        sums = sum_over_pairs(tile, [x, c], dim if is_full_step else dim + 1)
        # η = 1 takes u for the mean: its length plays no part, and d may be read as 1.
        degree = tf.ones_like(c) if is_full_step else sums[..., dim:]
        mean = tf.math.divide_no_nan(sums[..., :dim], degree)
        shifted = mean if is_full_step else (1.0 - eta) * x + eta * mean
        # By the largest coordinate first: the square of a sum of far kernels would underflow.
        largest = tf.reduce_max(tf.abs(shifted), axis=-1, keepdims=True)
        scaled = tf.math.divide_no_nan(shifted, largest)
        moved = normalize(scaled)
        length = largest * tf.norm(scaled, axis=-1, keepdims=True)

        def gradient(upstream: tf.Tensor) -> tuple:
            # Without this a graph prepares the gradients of all its loops ahead, and holds them.
            with tf.control_dependencies([upstream]):
                x_again = tf.identity(x)
            # Jacobian of the normalisation, then App. B.1. Nothing N×N has been kept.
            along = tf.reduce_sum(upstream * moved, axis=-1, keepdims=True)
            g = tf.math.divide_no_nan(upstream - along * moved, length)
            h = tf.math.divide_no_nan(eta * g, degree)
            through_weight, through_cosine = _gradient_sums(
                *(x_again, c, kappa, h, mean, is_full_step)
            )
            points_gradient = c * through_weight + kappa * through_cosine
            if not is_full_step:
                points_gradient += (1.0 - eta) * g
            # Columns of ∂L/∂S sum to 0, so that the −1 in the exponent plays no part.
            return (
                points_gradient,
                None,
                0.5 * tf.reduce_sum(x_again * through_cosine),
                tf.reduce_sum(g * (mean - x_again)),
            )

        return moved, gradient

    return loop(points, weight, concentration, step_size)


def _gradient_sums(
    points: tf.Tensor,
    weight: tf.Tensor,
    concentration: tf.Tensor,
    h: tf.Tensor,
    mean: tf.Tensor,
    is_full_step: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns Σ_j K_ij h_j and Σ_j A_ij x_j, [B, N, D] each."""
    dim = points.shape[-1]
    if is_full_step:
        weighted, offset_h = weight * points, h
    else:
        # c (xᵀh − o) as one product of vectors with one coordinate more.
        weighted = weight * tf.concat([points, tf.ones_like(weight)], axis=-1)
        offset_h = tf.concat([h, -tf.reduce_sum(mean * h, axis=-1, keepdims=True)], axis=-1)

    def tile(rows: Blocks, columns: Blocks) -> tuple[tf.Tensor, tf.Tensor]:
        x, z = rows[0], columns[0]
        kernel = _kernel(x, z, concentration)
        # Both terms of A in one product: [c x, h] and [h, c x].
        left, right = tf.concat(rows[1:], axis=-1), tf.concat(columns[:0:-1], axis=-1)
        gradient = kernel * tf.matmul(left, right, transpose_b=True)
        return (
            tf.concat([tf.matmul(kernel, columns[2][..., :dim]), tf.matmul(gradient, z)], -1),
            tf.concat(
                [
                    tf.matmul(kernel, rows[2][..., :dim], transpose_a=True),
                    tf.matmul(gradient, x, transpose_a=True),
                ],
                -1,
            ),
        )

    sums = sum_over_pairs(tile, [points, weighted, offset_h], 2 * dim)
    return sums[..., :dim], sums[..., dim:]


def _kernel(x: tf.Tensor, z: tf.Tensor, concentration: tf.Tensor) -> tf.Tensor:
    """Returns exp(κ (x_iᵀ z_j − 1)), [B, b, b]; scale and shift come out of the product."""
    left = concentration * tf.concat([x, -tf.ones_like(x[..., :1])], axis=-1)
    right = tf.concat([z, tf.ones_like(z[..., :1])], axis=-1)
    return tf.exp(tf.matmul(left, right, transpose_b=True))


def _with_degree(x: tf.Tensor, weight: tf.Tensor, is_full_step: bool) -> tf.Tensor:
    """Returns c x, with a further column c, whose sum is the degree, where η < 1 needs it."""
    return weight * (x if is_full_step else tf.concat([x, tf.ones_like(weight)], axis=-1))
