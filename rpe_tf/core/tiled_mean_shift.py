"""Mean shift (Eq. 3) tile by tile: no N×N matrix is stored, neither forward nor backward.

A tile is a block of rows of the kernel. `tf.while_loop` walks over the tiles; the custom gradient
(App. B.1) keeps the points, degrees and lengths of a loop and computes each tile again.

With the weight c_i of point i (1, or 0 for a masked point), h_j = η g_j / d_j, and m_j the kernel
mean, one loop and its gradient are, for row i:

    d_i = Σ_j c_j K_ij      m_i = Σ_j c_j K_ij x_j / d_i      y_i = (1 − η) x_i + η m_i
    ∂L/∂S_ij = κ K_ij c_i (x_iᵀ h_j − m_jᵀ h_j)
    ∂L/∂x_i = (1 − η) g_i + c_i Σ_j K_ij h_j + Σ_j (∂L/∂S_ij + ∂L/∂S_ji) x_j

K is symmetric, so a tile of rows holds all that its own rows need, and nothing is accumulated
over tiles. Products of 2N²D flops a loop: 2 forward, 5 backward.
"""

from collections.abc import Callable

import tensorflow as tf

from rpe_tf.core.mean_shift import check_grouping_arguments
from rpe_tf.core.sphere import normalize

# Entries of one N×N factor that a tile may hold: 2 Mi float32 values are 8 MiB.
_TILE_ENTRIES = 2 * 1024 * 1024


def tiled_mean_shift(
    embedding: tf.Tensor,
    concentration: float | tf.Tensor,
    num_loops: int,
    step_size: float | tf.Tensor = 1.0,
    mask: tf.Tensor | None = None,
    point_weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the points after num_loops loops of mean shift (Eq. 3), in memory linear in N.

    Differentiable in embedding, concentration and step_size.

    Args:
      embedding: X, [N, D] or [B, N, D] float, unit rows. Half precision is grouped in float32.
      concentration: κ = δ² > 0 of the von Mises-Fisher kernel; a scalar tensor can be learned.
      num_loops: T ≥ 0; 0 returns the input.
      step_size: η in (0, 1]; a scalar tensor can be learned.
      mask: [N] or [B, N] bool; points that are False pull nobody and stay where they are.
      point_weight: c, [N] or [B, N] float ≥ 0, how many points each point stands for; default 1.
        Taken as constant.

    Returns:
      Same shape and dtype as embedding. Memory O(N·D) a loop and one tile of kernel rows.

    Raises:
      ValueError: if num_loops < 0, or a Python number is outside its range.
    """
    check_grouping_arguments(concentration, num_loops, step_size)
    embedding = tf.convert_to_tensor(embedding)
    dtype = tf.float64 if embedding.dtype == tf.float64 else tf.float32
    points = tf.cast(embedding, dtype)
    weight = tf.ones_like(points[..., 0])
    if point_weight is not None:
        weight *= tf.cast(point_weight, dtype)
    if mask is not None:
        weight = tf.where(mask, weight, tf.zeros_like(weight))
    is_single = points.shape.rank == 2
    if is_single:
        points, weight = points[tf.newaxis], weight[tf.newaxis]
    concentration = tf.convert_to_tensor(concentration, dtype)
    step_size = tf.convert_to_tensor(step_size, dtype)
    for _ in range(num_loops):
        moved = _one_loop(points, weight, concentration, step_size)
        points = moved if mask is None else tf.where(weight[..., tf.newaxis] > 0, moved, points)
    return tf.cast(points[0] if is_single else points, embedding.dtype)


@tf.custom_gradient
def _one_loop(
    points: tf.Tensor, weight: tf.Tensor, concentration: tf.Tensor, step_size: tf.Tensor
) -> tuple[tf.Tensor, Callable]:
    weighted = tf.concat([weight[..., tf.newaxis] * points, weight[..., tf.newaxis]], axis=-1)

    def forward_tile(rows: tf.Tensor) -> tf.Tensor:
        kernel = _kernel(rows, points, concentration)
        return tf.matmul(kernel, weighted)  # the last column is the degree

    summed = _map_tiles(forward_tile, points)
    degree = summed[..., -1:]
    kernel_mean = tf.math.divide_no_nan(summed[..., :-1], degree)
    shifted = (1.0 - step_size) * points + step_size * kernel_mean
    length = tf.norm(shifted, axis=-1, keepdims=True)
    moved = normalize(shifted)

    def gradient(upstream: tf.Tensor) -> tuple:
        # Jacobian of the normalisation, then App. B.1. Nothing N×N has been kept.
        along = tf.reduce_sum(upstream * moved, axis=-1, keepdims=True)
        g = tf.math.divide_no_nan(upstream - along * moved, length)
        mean = tf.math.divide_no_nan(length * moved - (1.0 - step_size) * points, step_size)
        from_kernel, from_cosine = _gradient_by_tiles(
            points, weight, concentration, tf.math.divide_no_nan(step_size * g, degree), mean
        )
        points_gradient = (1.0 - step_size) * g + from_kernel + from_cosine
        # Columns of ∂L/∂S sum to 0, so that the −1 in the exponent plays no part.
        concentration_gradient = 0.5 * tf.reduce_sum(points * from_cosine) / concentration
        step_size_gradient = tf.reduce_sum(g * (mean - points))
        return points_gradient, None, concentration_gradient, step_size_gradient

    return moved, gradient


def _gradient_by_tiles(
    points: tf.Tensor,
    weight: tf.Tensor,
    concentration: tf.Tensor,
    scaled_upstream: tf.Tensor,
    mean: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the two sums over j of ∂L/∂x_i: through K as a weight, and through S."""
    dim = tf.shape(points)[-1]
    weight = weight[..., tf.newaxis]
    offset = tf.reduce_sum(mean * scaled_upstream, axis=-1, keepdims=True)  # m_jᵀ h_j
    along_columns = [tf.linalg.matrix_transpose(x) for x in (weight, offset)]

    def backward_tile(rows: tf.Tensor) -> tf.Tensor:
        x, h, c, b = tf.split(rows, [dim, dim, 1, 1], axis=-1)
        all_weight, all_offset = along_columns
        kernel = _kernel(x, points, concentration)
        to_column = c * (tf.matmul(x, scaled_upstream, transpose_b=True) - all_offset)
        to_row = all_weight * (tf.matmul(h, points, transpose_b=True) - b)
        from_cosine = tf.matmul(concentration * kernel * (to_column + to_row), points)
        return tf.concat([c * tf.matmul(kernel, scaled_upstream), from_cosine], axis=-1)

    rows = tf.concat([points, scaled_upstream, weight, offset], axis=-1)
    from_kernel, from_cosine = tf.split(_map_tiles(backward_tile, rows), 2, axis=-1)
    return from_kernel, from_cosine


def _kernel(rows: tf.Tensor, points: tf.Tensor, concentration: tf.Tensor) -> tf.Tensor:
    cosine = tf.matmul(rows, points, transpose_b=True)
    return tf.exp(concentration * (cosine - 1.0))


def _map_tiles(function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """Returns function applied to tiles of rows [B, N, C], put together again as [B, N, C']."""
    batch, count = (_size(rows, axis) for axis in (0, 1))
    tile = _tile_size(batch, count)
    num_tiles = -(-count // tile)
    padded = tf.pad(rows, [[0, 0], [0, num_tiles * tile - count], [0, 0]])
    results = tf.TensorArray(rows.dtype, size=num_tiles, element_shape=[rows.shape[0], None, None])

    def one_tile(index: tf.Tensor, results: tf.TensorArray) -> tuple:
        block = tf.slice(padded, [0, index * tile, 0], [-1, tile, -1])
        block = tf.ensure_shape(block, [rows.shape[0], None, rows.shape[2]])
        return index + 1, results.write(index, function(block))

    _, results = tf.while_loop(
        lambda index, _: index < num_tiles,
        one_tile,
        (tf.constant(0), results),
        # One tile at a time: tiles in flight together would each hold their own kernel rows.
        parallel_iterations=1,
        maximum_iterations=num_tiles,
    )
    tiles = tf.transpose(results.stack(), [1, 0, 2, 3])
    return tf.reshape(tiles, [batch, num_tiles * tile, tf.shape(tiles)[-1]])[:, :count]


def _size(x: tf.Tensor, axis: int) -> int | tf.Tensor:
    """Returns the static size where it is known (XLA needs it), else the dynamic one."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _tile_size(batch: int | tf.Tensor, count: int | tf.Tensor) -> int | tf.Tensor:
    """Returns the rows of a tile, between 64 and all of them, within the memory of a tile."""
    if isinstance(batch, int) and isinstance(count, int):
        return max(min(_TILE_ENTRIES // max(batch * count, 1), count), min(64, count), 1)
    fits = _TILE_ENTRIES // tf.maximum(batch * count, 1)
    return tf.maximum(tf.maximum(tf.minimum(fits, count), tf.minimum(64, count)), 1)
