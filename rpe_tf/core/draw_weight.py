"""How likely each pixel of a label map is drawn for the pairs of Eq. 2.

By default all the same, as the authors draw. Small instances then get few pixels or none, and most
pairs are of pixels deep inside, which any embedding tells apart. These weights, for
`rpe_tf.core.pair_sampling.draw_pixels`, draw instances evenly, or more where two of them meet.
"""

import tensorflow as tf

from rpe_tf.core.pair_sampling import pixel_weight


def draw_weight(
    instance: tf.Tensor,
    *,
    equal_draw: bool = False,
    border_fraction: float = 0.0,
    border_px: int = 2,
) -> tf.Tensor:
    """Returns the weight of each pixel in the draw, f b_i / Σ b + (1 − f) a_i / Σ a.

    a_i is 1, with equal_draw 1/|I_{y_i}|; b_i is a_i in the band near borders, else 0. Where there
    is no band the draw is by a_i. The shares hold for a draw that is small against the band; a
    band that runs out leaves its share to the others. The pair loss takes all drawn pixels of an
    instance as equal, and so gives its border the same extra share.

    Args:
      instance: [B, H, W] int, void < 0.
      equal_draw: whether every instance, the background among them, gets about the same number of
        pixels whatever its size.
      border_fraction: f in [0, 1], share of the draw that is kept for the band, beside the pixels
        of the band that the rest of the draw meets.
      border_px: reach of the band, see `near_other_instance`.

    Returns:
      [B, H, W] float32 ≥ 0, 0 for void; of sum 1 where a pixel is not void.

    Raises:
      ValueError: if border_fraction is outside [0, 1] or border_px < 1.
    """
    check_draw_arguments(border_fraction, border_px)
    instance = tf.convert_to_tensor(instance)
    shape = tf.shape(instance)
    ids = tf.reshape(instance, [shape[0], -1])
    weight = pixel_weight(ids) if equal_draw else tf.cast(ids >= 0, tf.float32)
    weight = _with_sum_1(weight)
    if border_fraction:
        band = tf.reshape(near_other_instance(instance, border_px), tf.shape(ids))
        at_border = _with_sum_1(tf.where(band, weight, 0.0))
        has_band = tf.reduce_any(band, axis=-1, keepdims=True)
        mixed = border_fraction * at_border + (1.0 - border_fraction) * weight
        weight = tf.where(has_band, mixed, weight)
    return tf.reshape(weight, shape)


def near_other_instance(instance: tf.Tensor, border_px: int) -> tf.Tensor:
    """Returns which pixels have a pixel of another instance within border_px rows and columns.

    The background is an instance; void is not, and void pixels are not near any. It is where the
    largest and the smallest id of the square window of side 2·border_px + 1 differ.

    Args:
      instance: [B, H, W] int below 2²⁴, void < 0.
      border_px: ≥ 1, in pixels; 1 for the two pixels on either side of a border, corners included.

    Returns:
      [B, H, W] bool.

    Raises:
      ValueError: if border_px < 1.
    """
    check_draw_arguments(0.0, border_px)
    instance = tf.convert_to_tensor(instance)
    ids, is_used = tf.cast(instance, tf.float32), instance >= 0
    largest = _largest_in_window(tf.where(is_used, ids, -float("inf")), border_px)
    smallest = -_largest_in_window(tf.where(is_used, -ids, -float("inf")), border_px)
    return is_used & (largest > smallest)


def check_draw_arguments(border_fraction: float, border_px: int) -> None:
    """Returns nothing; refuses what a draw has no meaning for.

    Raises:
      ValueError: if border_fraction is outside [0, 1] or border_px < 1.
    """
    if not 0.0 <= border_fraction <= 1.0:
        raise ValueError(f"border_fraction must be in [0, 1], got {border_fraction}; 0 for none")
    if border_px < 1:
        raise ValueError(f"border_px must be at least 1 pixel, got {border_px}")


def _with_sum_1(weight: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(weight, tf.reduce_sum(weight, axis=-1, keepdims=True))


def _largest_in_window(x: tf.Tensor, reach: int) -> tf.Tensor:
    """Returns the largest of the square window round each pixel of x [B, H, W]."""
    pooled, side = x[..., tf.newaxis], 2 * reach + 1
    # Rows, then columns: 2 · side comparisons a pixel in place of side².
    for window in ([side, 1], [1, side]):
        pooled = tf.nn.max_pool2d(pooled, window, strides=1, padding="SAME")
    return pooled[..., 0]
