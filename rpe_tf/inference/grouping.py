"""Converged mean shift and its modes: from points on the sphere to groups (§4, read-out).

Points that nearly coincide merge before the first loop and after each one (`merging`), at a quarter
of the kernel's width: closer than that the kernel cannot tell them apart. An embedding that was
trained has a few hundred such places, however many pixels it has, so only the merging looks at all
of them, in time linear in their number. On digit scenes of 4,096 pixels and an embedding that is
not settled (D = 8) the adjusted Rand index between its partition and that of the plain loops is
0.997 and 0.987; half the width is faster and follows them less closely.
"""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.core.mean_shift import check_grouping_arguments, mean_shift
from rpe_tf.core.sphere import normalize
from rpe_tf.inference.merging import Merged, cover, merge, nearest

# Points within this cosine of a mode belong to it. After convergence the points of a group
# coincide, so anything well inside the distance between two groups gives the same partition.
MODE_COSINE = 0.95
# Weighted points that take part in the loops, at the most. Pixels far from all of these join the
# nearest: that is where the partition of points without any clusters can differ.
MAX_REPRESENTATIVES = 2048
# Radius in which points merge, in widths 1/√κ of the kernel.
_MERGE_RADIUS = 0.25


class Groups(NamedTuple):
    """What `group` returns."""

    instance: tf.Tensor  # [N] int32, the row of modes each point belongs to; −1: no direction
    modes: tf.Tensor  # [M, D] float32 unit vectors, at least one, in no set order
    num_loops: tf.Tensor  # scalar int32, loops used
    converged: tf.Tensor  # scalar bool, whether the last loop moved no point by the tolerance


def group(
    embedding: tf.Tensor,
    concentration: float | tf.Tensor,
    *,
    tolerance: float = 1e-3,
    max_loops: int | tf.Tensor = 50,
    mode_cosine: float = MODE_COSINE,
    max_modes: int = MAX_REPRESENTATIVES,
) -> Groups:
    """Returns the modes of mean shift run to convergence, and the mode of every point.

    Modes are collected greedily: the first point without a group gives one, every point without a
    group within mode_cosine of it joins; each point ends at the mode nearest to where it converged.

    Args:
      embedding: [N, D] float, unit rows. A zero vector and one with NaN or infinity belong to no
        group, and pull nobody.
      concentration: κ > 0.
      tolerance: loops end when no point moved by more, a distance on the unit sphere.
      max_loops: loops at the most.
      mode_cosine: cosine in [−1, 1] within which points join a mode.
      max_modes: modes at the most; points left over then join their nearest.

    Returns:
      Groups; one zero mode if no point has a direction. Memory linear in N·D, and M² of the M ≤
      MAX_REPRESENTATIVES weighted points.

    Raises:
      ValueError: if max_loops < 0 or concentration ≤ 0; tensors are not looked into.
    """
    if isinstance(max_loops, int) and max_loops < 0:
        raise ValueError(f"max_loops must be 0 or more, got {max_loops}; 50 is the default")
    check_grouping_arguments(concentration, 0, 1.0)
    points = unit_or_zero(embedding)
    has_direction = tf.reduce_any(points != 0, axis=-1)
    # One at least, so that no matrix is empty.
    is_first = tf.range(tf.shape(points)[0]) == 0
    is_grouped = has_direction | (is_first & ~tf.reduce_any(has_direction))
    grouped = tf.boolean_mask(points, is_grouped)
    cosine = 1.0 - _MERGE_RADIUS**2 / (2.0 * tf.cast(concentration, points.dtype))
    merged = merge(grouped, tf.ones_like(grouped[:, 0]), cosine, MAX_REPRESENTATIVES)
    ends, num_loops, movement = _converge(merged, concentration, cosine, tolerance, max_loops)
    modes = tf.gather(ends.points, cover(ends.points, mode_cosine, max_modes).rows)
    mode, _ = nearest(tf.gather(ends.points, ends.member), modes)
    position = tf.maximum(tf.cumsum(tf.cast(is_grouped, tf.int32)) - 1, 0)
    instance = tf.gather(tf.gather(mode, merged.member), position)
    instance = tf.where(has_direction, instance, -tf.ones_like(instance))
    return Groups(instance, modes, num_loops, movement <= tolerance)


def unit_or_zero(embedding: tf.Tensor) -> tf.Tensor:
    """Returns embedding [N, D] as float32 unit rows; rows that are not finite as 0."""
    points = tf.cast(embedding, tf.float32)
    is_finite = tf.reduce_all(tf.math.is_finite(points), axis=-1, keepdims=True)
    return normalize(tf.where(is_finite, points, tf.zeros_like(points)))


def _converge(
    merged: Merged,
    concentration: float | tf.Tensor,
    cosine: tf.Tensor,
    tolerance: float,
    max_loops: int | tf.Tensor,
) -> tuple[Merged, tf.Tensor, tf.Tensor]:
    """Returns where the points end, the loops used and the last loop's largest movement.

    The member of what is returned is that of the points given.
    """
    num, dim = tf.shape(merged.points)[0], merged.points.shape[-1]

    def one_loop(points: tf.Tensor, weight: tf.Tensor, member: tf.Tensor, loop: tf.Tensor, _):
        moved = mean_shift(points, concentration, 1, point_weight=weight)
        # Row by row and then the largest: one slow point keeps the loop going.
        distance = tf.reduce_max(tf.norm(moved - points, axis=-1))
        fewer = merge(moved, weight, cosine, MAX_REPRESENTATIVES)
        return fewer.points, fewer.weight, tf.gather(fewer.member, member), loop + 1, distance

    # One loop, not a second one for the few points at the end, though their merging costs more than
    # it saves: of a loop without work OpenVINO gives back other scalars than it was given.
    points, weight, member, num_loops, movement = tf.while_loop(
        lambda points, weight, member, loop, movement: (loop < max_loops) & (movement > tolerance),
        one_loop,
        (merged.points, merged.weight, tf.range(num), tf.constant(0), tf.constant(float("inf"))),
        shape_invariants=(
            tf.TensorShape([None, dim]),
            *(tf.TensorShape([None]),) * 2,
            *(tf.TensorShape([]),) * 2,
        ),
    )
    return Merged(points, weight, member), num_loops, movement
