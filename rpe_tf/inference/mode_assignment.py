"""The modes of a picture's pixels, and every pixel to its nearest once small modes are gone."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.grouping import Groups, group
from rpe_tf.inference.instance_tables import count
from rpe_tf.inference.merging import nearest

# Pixels that modes are found on, about: more tell no more of them, at a cost that grows with them.
_SAMPLED_PIXELS = 8192


def find_modes(
    pixels: tf.Tensor,
    concentration: float | tf.Tensor,
    *,
    max_loops: int | tf.Tensor,
    mode_cosine: float,
    min_area: int | tf.Tensor,
) -> Groups:
    """Returns the modes of pixels, found on every k-th of those that have a direction.

    k is such that some 8,192 are left, but at most half of min_area: an object that is large
    enough to be kept has two of them or more.

    Args:
      pixels: [N, D] float32, unit vectors or 0.
      concentration: κ > 0.
      max_loops: as `group`.
      mode_cosine: as `group`.
      min_area: pixels a mode must gather to be kept.

    Returns:
      Groups of the pixels that were looked at.
    """
    found = tf.boolean_mask(pixels, one_at_least(has_direction(pixels)))
    stride = (tf.shape(found)[0] + _SAMPLED_PIXELS - 1) // _SAMPLED_PIXELS
    stride = tf.maximum(tf.minimum(stride, min_area // 2), 1)
    return group(
        tf.gather(found, tf.range(0, tf.shape(found)[0], stride)),
        concentration,
        max_loops=max_loops,
        mode_cosine=mode_cosine,
    )


def has_direction(pixels: tf.Tensor) -> tf.Tensor:
    """Returns which of pixels [N, D] are not 0, [N] bool."""
    return tf.reduce_any(pixels != 0, axis=-1)


def one_at_least(is_found: tf.Tensor) -> tf.Tensor:
    """Returns is_found [N] bool, its first one true if none is: nothing is empty then.

    There must be a mode, and other runtimes take an empty tensor's shape otherwise.
    """
    is_first = tf.range(tf.shape(is_found)[0]) == 0
    return is_found | (is_first & ~tf.reduce_any(is_found))


class Assignment(NamedTuple):
    """What `assign_to_modes` returns."""

    mode: tf.Tensor  # [N] int32 in 0..M − 1, and M where a pixel has no direction
    cosine: tf.Tensor  # [N] float32, to that mode
    num_modes: tf.Tensor  # scalar int32, M


def assign_to_modes(pixels: tf.Tensor, modes: tf.Tensor, min_area: int | tf.Tensor) -> Assignment:
    """Returns the nearest mode of each pixel, of the modes that gather min_area pixels or more.

    Modes that gather fewer are dropped and their pixels go to the nearest that stays; if all do,
    the largest stays.

    Args:
      pixels: [N, D] float32, unit vectors or 0.
      modes: [M, D] float32, at least one.
      min_area: pixels a mode must gather.
    """
    is_found = has_direction(pixels)
    is_looked_at = one_at_least(is_found)
    place = tf.where(is_looked_at)
    found = tf.boolean_mask(pixels, is_looked_at)
    mode, cosine = nearest(found, modes)
    areas = count(mode, tf.shape(modes)[0])
    is_kept = areas >= tf.minimum(min_area, tf.reduce_max(areas))
    modes = tf.boolean_mask(modes, is_kept)
    row = tf.cumsum(tf.cast(is_kept, tf.int32)) - 1
    # Pixels of modes that stay are at their nearest already.
    is_moved = one_at_least(~tf.gather(is_kept, mode))
    moved = tf.where(is_moved)
    moved_mode, moved_cosine = nearest(tf.boolean_mask(found, is_moved), modes)
    mode = tf.tensor_scatter_nd_update(tf.gather(row, mode), moved, moved_mode)
    cosine = tf.tensor_scatter_nd_update(cosine, moved, moved_cosine)
    num_pixels, num_modes = tf.shape(pixels)[:1], tf.shape(modes)[0]
    every_mode = tf.tensor_scatter_nd_update(tf.fill(num_pixels, num_modes), place, mode)
    return Assignment(
        tf.where(is_found, every_mode, num_modes),
        tf.tensor_scatter_nd_update(tf.zeros_like(pixels[:, 0]), place, cosine),
        num_modes,
    )
