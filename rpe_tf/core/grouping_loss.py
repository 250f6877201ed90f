"""The end-to-end loss of §4.2: the pair loss of the embedding and of the points after each loop.

`grouping_loss` takes pixels as they come; `map_grouping_loss` takes pictures of them, so that it
can tell borders and distances.
"""

from collections.abc import Sequence

import tensorflow as tf

from rpe_tf.core.draw_weight import check_draw_arguments, draw_weight
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
    instance_weights: bool = True,
    group_all_pixels: bool = False,
    position: tf.Tensor | None = None,
    radius: float | None = None,
    weights: tf.Tensor | None = None,
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
      normalizer: "groups", "pixels" or "pairs", see `pair_loss`.
      positive_weight: factor on the pairs of one instance.
      instance_weights: whether every instance counts the same, see `pair_loss`; else every pixel.
      group_all_pixels: whether all pixels are grouped though the losses draw theirs.
      position: [B, N, 2] float, row and column of each pixel; needed with a radius.
      radius: within which two instances form pairs, see `pair_loss`. Grouping knows no radius.
      weights: [B, N] float ≥ 0 of the draw, see `draw_pixels`; None for uniform.

    Returns:
      [B, T + 1] of embedding's dtype, at least float32. Memory linear in the pixels grouped.

    Raises:
      ValueError: as `pair_loss`, `draw_pixels` and `tiled_mean_shift`.
    """

    def drawn(draw: int, *tensors: tf.Tensor | None) -> Sequence[tf.Tensor | None]:
        if num_pixels == 0:
            return tensors
        pixels = draw_pixels(instance, num_pixels, seed + [[0, draw]], weights)
        return [None if x is None else tf.gather(x, pixels, batch_dims=1) for x in tensors]

    # Not gathered where it plays no part.
    position = None if radius is None else position
    points, labels = embedding, instance
    if not group_all_pixels:
        points, labels, position = drawn(0, embedding, instance, position)
    points = tf.cast(points, tf.float64 if points.dtype == tf.float64 else tf.float32)
    losses = []
    for loop in range(num_loops + 1):
        if loop > 0:
            points = tiled_mean_shift(points, concentration, 1, step_size, mask=labels >= 0)
        scored = points, labels, position
        x, y, places = drawn(loop, *scored) if group_all_pixels else scored
        losses.append(
            pair_loss(
                *(x, y, margin, normalizer, positive_weight),
                instance_weights=instance_weights,
                position=places,
                radius=radius,
            )
        )
    return tf.stack(losses, axis=-1)


def map_grouping_loss(
    embedding: tf.Tensor,
    instance: tf.Tensor,
    seed: tf.Tensor,
    *,
    equal_draw: bool = False,
    border_fraction: float = 0.0,
    border_px: int = 2,
    foreground_only: bool = False,
    **loss_arguments: object,
) -> tf.Tensor:
    """Returns `grouping_loss` of pictures, whose pixels have neighbours and positions.

    Args:
      embedding: X^(0), [B, H, W, D] float, unit rows.
      instance: [B, H, W] int, 0 background, −1 void.
      seed: [B, 2] int32, one stateless seed per image.
      equal_draw: whether every instance gets about as many drawn pixels, see `draw_weight`.
      border_fraction: share of the draw kept for the band near borders, see `draw_weight`.
      border_px: reach of that band in pixels.
      foreground_only: whether the background takes no part, as void: for models that find it by
        other means. It then makes no borders either.
      **loss_arguments: of `grouping_loss` but position and weights; a radius is in pixels.

    Returns:
      [B, T + 1], as `grouping_loss`.

    Raises:
      ValueError: as `grouping_loss` and `draw_weight`; if all pixels are taken (num_pixels 0) and
        yet drawn by other than equal weights.
    """
    draw = dict(equal_draw=equal_draw, border_fraction=border_fraction, border_px=border_px)
    check_map_arguments(**draw, **loss_arguments)
    embedding, instance = tf.convert_to_tensor(embedding), tf.convert_to_tensor(instance)
    if foreground_only:
        instance = tf.where(instance == 0, -tf.ones_like(instance), instance)
    shape = tf.shape(instance)
    flat = [shape[0], shape[1] * shape[2]]
    weights = position = None
    if equal_draw or border_fraction:
        weights = tf.reshape(draw_weight(instance, **draw), flat)
    if loss_arguments.get("radius") is not None:
        places = tf.meshgrid(tf.range(shape[1]), tf.range(shape[2]), indexing="ij")
        position = tf.reshape(tf.cast(tf.stack(places, axis=-1), tf.float32), [1, flat[1], 2])
        position = tf.repeat(position, shape[0], axis=0)
    return grouping_loss(
        tf.reshape(embedding, [*flat, embedding.shape[-1]]),
        tf.reshape(instance, flat),
        seed,
        position=position,
        weights=weights,
        **loss_arguments,
    )


def check_map_arguments(
    *,
    num_pixels: int,
    equal_draw: bool = False,
    border_fraction: float = 0.0,
    border_px: int = 2,
    **_other_arguments,
) -> None:
    """Returns nothing; refuses ways to draw pixels that `map_grouping_loss` cannot follow.

    Takes all of that function's keyword arguments, and looks at those that say how it draws.

    Raises:
      ValueError: if border_fraction is outside [0, 1], border_px < 1, or num_pixels is 0 while
        equal_draw or border_fraction ask for a draw.
    """
    check_draw_arguments(border_fraction, border_px)
    if num_pixels == 0 and (equal_draw or border_fraction):
        raise ValueError(
            "equal_draw and border_fraction say how pixels are drawn, and num_pixels 0 takes all; "
            "give num_pixels above 0"
        )
