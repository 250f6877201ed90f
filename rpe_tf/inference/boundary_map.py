"""From the logits of a boundary model to one map (§5.2), at one scale or several."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from rpe_tf.inference.picture_scale import at_scale, check_scales


def boundary_map(logit: tf.Tensor) -> tf.Tensor:
    """Returns the boundary map of the five logits: the mean of their probabilities (§5.2).

    Args:
      logit: [..., 5] float, of the four branches and of the fusion.

    Returns:
      [...] float32 in [0, 1].
    """
    return tf.reduce_mean(tf.sigmoid(tf.cast(logit, tf.float32)), axis=-1)


def multi_scale_map(
    map_of: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor, scales: Sequence[float]
) -> tf.Tensor:
    """Returns the mean of the maps of a picture at several scales, at its own size.

    Args:
      map_of: [B, h, w, 3] uint8 → [B, h, w] float32, for any size.
      image: [B, H, W, 3] uint8.
      scales: factors > 0 of the picture's sides, at least one; (1.0,) is the plain map.

    Returns:
      [B, H, W] float32.

    Raises:
      ValueError: if there is no scale, or one is not positive.
    """
    check_scales(scales)
    maps = []
    for scale in scales:
        if scale == 1.0:
            maps.append(map_of(image))
            continue
        maps.append(at_scale(lambda x: map_of(x)[..., tf.newaxis], image, scale)[..., 0])
    return tf.add_n(maps) / len(maps)
