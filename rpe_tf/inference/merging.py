"""Points that nearly coincide become one weighted point: what keeps grouping cheap.

The points that stay, representatives, cover all others: each point is within a cosine of one. They
are a maximal independent set of the graph of near points, found in rounds of matrix products.
"""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.core.sphere import normalize
from rpe_tf.inference.instance_tables import sum_by_id

# Points among which a round looks for new representatives, at the most.
_PICKS = 512
# Beyond this cosine rounding decides, even of a point with itself.
_LARGEST_COSINE = 1.0 - 1e-6
# Rows of a matrix of cosines that are held at a time, at the most.
_TILE_ROWS = 8192


class Merged(NamedTuple):
    """What `merge` returns."""

    points: tf.Tensor  # [M, D] unit vectors, the normalised mean of their members
    weight: tf.Tensor  # [M], the sum over their members
    member: tf.Tensor  # [N] int32, the row of points that each point has become part of


class Cover(NamedTuple):
    """What `cover` returns."""

    rows: tf.Tensor  # [M] int32, the representatives' rows of the points, in no set order
    member: tf.Tensor  # [N] int32 in 0..M − 1, the representative that covers each point


def merge(points: tf.Tensor, weight: tf.Tensor, cosine: tf.Tensor, max_points: int) -> Merged:
    """Returns fewer points that stand for the given ones.

    Args:
      points: [N, D] float32 unit vectors.
      weight: [N] float32, > 0.
      cosine: scalar in [−1, 1]; points merge with a representative at least this near.
      max_points: representatives at the most; points that none covers then join their nearest.

    Returns:
      Merged. Memory linear in N·D, and a few times _PICKS² and _TILE_ROWS·M, M their number.
    """
    rows, member = cover(points, cosine, max_points)
    num = tf.shape(rows)[0]
    sums = sum_by_id(weight[:, tf.newaxis] * points, member, num)
    return Merged(normalize(sums), sum_by_id(weight, member, num), member)


def cover(points: tf.Tensor, cosine: tf.Tensor, max_points: int) -> Cover:
    """Returns representatives such that each point is within cosine of its own.

    No two of them are within cosine of each other. With up to _PICKS points they are the ones that
    a walk over the points in their order would take: each that is near none taken before. A point
    belongs to the nearest one of the round in which it was first covered.

    Args:
      points: [N, D] float32 unit vectors, N ≥ 1.
      cosine: scalar in [−1, 1].
      max_points: M at the most; points that stay uncovered belong to the nearest.
    """
    cosine = tf.minimum(tf.cast(cosine, points.dtype), _LARGEST_COSINE)

    def one_round(
        free: tf.Tensor, best: tf.Tensor, rows: tf.Tensor, member: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        # Not -(-n // m): converters round quotients of negative numbers the other way.
        stride = (tf.shape(free)[0] + _PICKS - 1) // _PICKS
        position = tf.range(0, tf.shape(free)[0], stride)
        candidates = tf.gather(points, tf.gather(free, position))
        near = tf.matmul(candidates, candidates, transpose_b=True) >= cosine
        is_earlier = position[tf.newaxis, :] < position[:, tf.newaxis]
        # Near an earlier one: covered by it, or a case for the next round. The first always stays.
        stays = ~tf.reduce_any(near & is_earlier, axis=1)
        taken = tf.boolean_mask(position, stays)[: max_points - tf.shape(rows)[0]]
        new_rows = tf.gather(free, taken)
        index, found = nearest(tf.gather(points, free), tf.gather(points, new_rows))
        index = tf.where(found > best, index + tf.shape(rows)[0], tf.gather(member, free))
        member = tf.tensor_scatter_nd_update(member, free[:, tf.newaxis], index)
        best = tf.maximum(found, best)
        # A zero vector is not near itself; taken it is all the same.
        is_free = best < cosine
        is_free &= tf.scatter_nd(taken[:, tf.newaxis], tf.ones_like(taken), tf.shape(free)) == 0
        rows = tf.concat([rows, new_rows], axis=0)
        return tf.boolean_mask(free, is_free), tf.boolean_mask(best, is_free), rows, member

    every = tf.range(tf.shape(points)[0])
    _, _, rows, member = tf.while_loop(
        lambda free, best, rows, member: (tf.size(free) > 0) & (tf.size(rows) < max_points),
        one_round,
        (every, tf.fill(tf.shape(every), -2.0), tf.zeros([0], tf.int32), tf.zeros_like(every)),
        shape_invariants=(tf.TensorShape([None]),) * 4,
    )
    return Cover(rows, member)


def nearest(points: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each of points [N, D] the nearest row of others [M, D] and its cosine.

    Returns:
      [N] int32, the first of equals; [N]. Memory _TILE_ROWS·M.
    """

    def one_tile(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        cosine = tf.matmul(rows, others, transpose_b=True)
        index = tf.argmax(cosine, axis=-1, output_type=tf.int32)
        # Once more for the nearest alone, which is less than to look for the largest again.
        return index, tf.reduce_sum(rows * tf.gather(others, index), axis=-1)

    count = tf.shape(points)[0]
    num_tiles = tf.maximum((count + _TILE_ROWS - 1) // _TILE_ROWS, 1)
    side = (count + num_tiles - 1) // num_tiles
    padded = tf.pad(points, [[0, num_tiles * side - count], [0, 0]])
    indices, cosines = tf.map_fn(
        one_tile,
        tf.reshape(padded, [num_tiles, side, points.shape[-1]]),
        fn_output_signature=(tf.int32, points.dtype),
        parallel_iterations=1,
    )
    return tf.reshape(indices, [-1])[:count], tf.reshape(cosines, [-1])[:count]
