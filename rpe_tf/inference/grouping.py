"""Converged mean shift and its modes: from points on the sphere to groups (§4, read-out)."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.core.mean_shift import check_grouping_arguments
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift

# Points within this cosine of a mode belong to it. After convergence the points of a group
# coincide, so anything well inside the distance between two groups gives the same partition.
MODE_COSINE = 0.95


class Groups(NamedTuple):
    """What `group` returns."""

    instance: tf.Tensor  # [N] int32, the row of modes each point belongs to
    modes: tf.Tensor  # [M, D] float32 unit vectors, in the order found
    num_loops: tf.Tensor  # scalar int32, loops used
    converged: tf.Tensor  # scalar bool, whether the last loop moved no point by the tolerance


def group(
    embedding: tf.Tensor,
    concentration: float | tf.Tensor,
    *,
    tolerance: float = 1e-3,
    max_loops: int = 50,
    mode_cosine: float = MODE_COSINE,
    max_modes: int = 256,
) -> Groups:
    """Returns the modes of mean shift run to convergence, and the mode of every point.

    Modes are collected greedily: the first point without a group gives one, every point without a
    group within mode_cosine of it joins. The k-th mode is thus the lowest-numbered point that the
    first k − 1 leave over; each point ends at its nearest mode.

    Args:
      embedding: [N, D] float, unit rows.
      concentration: κ > 0.
      tolerance: loops end when no point moved by more, a distance on the unit sphere.
      max_loops: loops at the most.
      mode_cosine: cosine in [−1, 1] within which points join a mode.
      max_modes: modes at the most; points left over then join their nearest.

    Returns:
      Groups. Memory linear in N·D and N·M.

    Raises:
      ValueError: if max_loops < 0 or concentration ≤ 0.
    """
    check_grouping_arguments(concentration, max_loops, 1.0)
    points, num_loops, movement = _converge(embedding, concentration, tolerance, max_loops)
    modes = _collect_modes(points, mode_cosine, max_modes)
    instance = nearest_mode(points, modes)
    return Groups(instance, modes, num_loops, movement <= tolerance)


def nearest_mode(embedding: tf.Tensor, modes: tf.Tensor) -> tf.Tensor:
    """Returns the row of modes [M, D] with the largest cosine to each row of embedding [N, D].

    Returns:
      [N] int32; the first of equals. Memory N·M.
    """
    cosine = tf.matmul(embedding, modes, transpose_b=True)
    return tf.argmax(cosine, axis=-1, output_type=tf.int32)


def _converge(
    embedding: tf.Tensor, concentration: float | tf.Tensor, tolerance: float, max_loops: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the converged points, the loops used and the last loop's largest movement."""

    def one_loop(points: tf.Tensor, loop: tf.Tensor, _: tf.Tensor) -> tuple:
        moved = tiled_mean_shift(points, concentration, 1)
        # Row by row and then the largest: one slow point keeps the loop going.
        distance = tf.reduce_max(tf.norm(moved - points, axis=-1))
        return moved, loop + 1, distance

    return tf.while_loop(
        lambda points, loop, movement: (loop < max_loops) & (movement > tolerance),
        one_loop,
        (embedding, tf.constant(0), tf.constant(float("inf"), embedding.dtype)),
    )


def _collect_modes(points: tf.Tensor, mode_cosine: float, max_modes: int) -> tf.Tensor:
    """Returns [M, D], one point of each group, M ≤ max_modes."""
    dim = points.shape[-1]
    free = tf.ones_like(points[:, 0], tf.bool)
    modes = tf.zeros([0, dim], points.dtype)

    def next_mode(free: tf.Tensor, modes: tf.Tensor) -> tuple:
        first = tf.argmax(tf.cast(free, tf.int32), output_type=tf.int32)
        mode = tf.slice(points, [first, 0], [1, dim])
        near = tf.matmul(points, mode, transpose_b=True)[:, 0] >= mode_cosine
        # The mode itself leaves in any case, so that a zero vector cannot keep the loop alive.
        taken = near | (tf.range(tf.shape(points)[0]) == first)
        return free & ~taken, tf.concat([modes, mode], axis=0)

    _, modes = tf.while_loop(
        lambda free, modes: tf.reduce_any(free) & (tf.shape(modes)[0] < max_modes),
        next_mode,
        (free, modes),
        shape_invariants=(free.shape, tf.TensorShape([None, dim])),
    )
    return modes
