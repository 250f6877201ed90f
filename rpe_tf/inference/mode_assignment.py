"""Every pixel to its nearest mode, once small modes are gone."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.grouping import Groups
from rpe_tf.inference.instance_tables import count
from rpe_tf.inference.merging import nearest


class Assignment(NamedTuple):
    """What `assign_to_modes` returns."""

    mode: tf.Tensor  # [N] int32 in 0..M − 1, and M where a pixel has no direction
    cosine: tf.Tensor  # [N] float32, to that mode
    num_modes: tf.Tensor  # scalar int32, M


def assign_to_modes(pixels: tf.Tensor, groups: Groups, min_area: int) -> Assignment:
    """Returns the nearest mode of each pixel, of the modes that gather min_area pixels or more.

    Modes that gather fewer are dropped and their pixels go to the nearest that stays; if all do,
    the largest stays.

    Args:
      pixels: [N, D] float32, unit vectors or 0.
      groups: of these pixels.
      min_area: pixels a mode must gather.
    """
    has_direction = groups.instance >= 0
    mode, _ = _nearest_mode(pixels, groups.modes, has_direction)
    areas = count(mode, tf.shape(groups.modes)[0] + 1)[:-1]
    is_kept = areas >= tf.minimum(min_area, tf.reduce_max(areas))
    modes = tf.boolean_mask(groups.modes, is_kept)
    mode, cosine = _nearest_mode(pixels, modes, has_direction)
    return Assignment(mode, cosine, tf.shape(modes)[0])


def _nearest_mode(
    pixels: tf.Tensor, modes: tf.Tensor, has_direction: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pixel's nearest mode [N], M where it has no direction, and its cosine."""
    mode, cosine = nearest(pixels, modes)
    return tf.where(has_direction, mode, tf.shape(modes)[0]), cosine
