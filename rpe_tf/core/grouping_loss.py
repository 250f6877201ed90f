"""The end-to-end loss of §4.2: the pair loss of the embedding and of the points after each loop."""

from collections.abc import Sequence

import tensorflow as tf

from rpe_tf.core.pair_loss import pair_loss
from rpe_tf.core.pair_sampling import draw_pixels
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift


def grouping_loss(
    embedding: tf.Tensor,
    instance: tf.Tensor,
    seed: tf.Tensor,
    *,
    margin: float,
    num_loops: int,
    concentration: float | tf.Tensor,
    num_pixels: int,
    step_size: float | tf.Tensor = 1.0,
    normalizer: str = "groups",
    positive_weight: float = 1.0,
    group_all_pixels: bool = False,
) -> tf.Tensor:
    """Returns the pair loss (Eq. 2) of X^(0) … X^(T), a column each; their sum is the loss (§4.2).

    Three ways. With num_pixels = 0 all pixels enter grouping and loss, which costs N² a loop. Else
    one draw of pixels enters grouping and loss alike, which costs num_pixels² a loop; or, with
    group_all_pixels, all pixels are grouped and each loop's loss draws its own, as the authors do.

    Args:
      embedding: X^(0), [B, N, D] float, unit rows.
      instance: [B, N] int, 0 background, −1 void (neither grouped nor scored).
      seed: [B, 2] int32, one stateless seed per image.
      margin: α in [0, 1].
      num_loops: T ≥ 0.
      concentration: κ > 0.
      num_pixels: pixels drawn per image; 0 for all.
      step_size: η in (0, 1].
      normalizer: "groups" or "pixels", see `pair_loss`.
      positive_weight: factor on the pairs of one instance.
      group_all_pixels: whether all pixels are grouped though the losses draw theirs.

    Returns:
      [B, T + 1] of embedding's dtype, at least float32. Memory linear in the pixels grouped.

    Raises:
      ValueError: as `pair_loss`, `draw_pixels` and `tiled_mean_shift`.
    """

    def drawn(draw: int, *tensors: tf.Tensor) -> Sequence[tf.Tensor]:
        if num_pixels == 0:
            return tensors
        positions = draw_pixels(instance, num_pixels, seed + [[0, draw]])
        return [tf.gather(x, positions, batch_dims=1) for x in tensors]

    points, labels = embedding, instance
    if not group_all_pixels:
        points, labels = drawn(0, embedding, instance)
    points = tf.cast(points, tf.float64 if points.dtype == tf.float64 else tf.float32)
    losses = []
    for loop in range(num_loops + 1):
        if loop > 0:
            points = tiled_mean_shift(points, concentration, 1, step_size, mask=labels >= 0)
        scored = drawn(loop, points, labels) if group_all_pixels else (points, labels)
        losses.append(pair_loss(*scored, margin, normalizer, positive_weight))
    return tf.stack(losses, axis=-1)
