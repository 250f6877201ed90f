"""Which pixels enter the pairs of Eq. 2, and what each of them weighs.

Every function takes one image [N] or a batch [B, N]; void pixels carry the id −1.
"""

import tensorflow as tf


def instance_rank(instance: tf.Tensor) -> tf.Tensor:
    """Returns which of its image's ids, counted upwards from 0, each pixel has; void counts too.

    Ranks are dense, so sums over instances need no more room than pixels, whatever the ids.

    Args:
      instance: [B, N] int.

    Returns:
      [B, N] int32 in [0, N).
    """
    order = tf.argsort(instance, axis=-1, stable=True)
    rising = tf.gather(instance, order, batch_dims=1)
    is_next = tf.cast(rising[:, 1:] != rising[:, :-1], tf.int32)
    rank = tf.cumsum(tf.pad(is_next, [[0, 0], [1, 0]])[:, : tf.shape(instance)[1]], axis=-1)
    return tf.gather(rank, tf.argsort(order, axis=-1), batch_dims=1)


def instance_sum(values: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """Returns the sums of values [B, N, C] over the pixels of each rank [B, N]: [B, N, C].

    Row r is the sum over rank r; rows beyond the last rank are 0.
    """
    batch, count = tf.shape(rank)[0], tf.shape(rank)[1]
    segment = rank + (tf.range(batch) * count)[:, tf.newaxis]
    return tf.reshape(
        tf.math.unsorted_segment_sum(values, segment, batch * count), tf.shape(values)
    )


def pixel_weight(instance: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Returns w_i = 1 / |I_{y_i}|, one over the size of the pixel's instance; 0 for void.

    Every instance, the background among them, so counts the same whatever its size.

    Args:
      instance: [N] or [B, N] int, ids ≥ 0, void < 0.
      dtype: float type of the result.

    Returns:
      Same shape, in [0, 1]; the weights of one instance sum to 1.
    """
    if instance.shape.rank == 1:
        return pixel_weight(instance[tf.newaxis], dtype)[0]
    rank = instance_rank(instance)
    sizes = instance_sum(tf.ones_like(instance, dtype)[..., tf.newaxis], rank)
    size = tf.gather(sizes[..., 0], rank, batch_dims=1)
    return tf.where(instance >= 0, 1.0 / size, tf.zeros_like(size))


def draw_pixels(
    instance: tf.Tensor, num_pixels: int, seed: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns the positions of num_pixels pixels of each image, drawn without replacement.

    Uniformly, or as if drawn one after the other, each time by the weights of those that are left.
    Where an image has fewer pixels that are not void, void ones fill the rest, so the caller keeps
    treating the id −1 as "takes no part". Each image is drawn with its own seed, so the draw
    depends neither on the batch nor on the replica it lands on.

    Args:
      instance: [B, N] int, void < 0.
      num_pixels: pixels to draw per image, ≥ 1; at most N are returned.
      seed: [B, 2] int32, one stateless seed per image.
      weights: [B, N] float ≥ 0, of any sum, see `rpe_tf.core.draw_weight`; None for uniform. Pixels
        of weight 0 are drawn when no other is left but void.

    Returns:
      [B, min(num_pixels, N)] int32 positions, for `tf.gather(..., batch_dims=1)`, in no order.

    Raises:
      ValueError: if num_pixels < 1.
    """
    if num_pixels < 1:
        raise ValueError(f"num_pixels must be at least 1, got {num_pixels}")
    instance, seed = tf.convert_to_tensor(instance), tf.convert_to_tensor(seed)
    count = tf.shape(instance)[1]

    def keys_of_one(seed_of_one: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([count], seed_of_one)

    keys = tf.map_fn(keys_of_one, seed, fn_output_signature=tf.float32)
    if weights is not None:
        keys = _weighted_keys(keys, tf.cast(weights, tf.float32))
    keys = tf.where(instance >= 0, keys, -float("inf"))
    return tf.math.top_k(keys, tf.minimum(num_pixels, count), sorted=False).indices


def _weighted_keys(uniform: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns keys whose largest are a draw by weights without replacement (Efraimidis, Spirakis).

    log(u)/w: minus the time until something comes that comes at the rate w. log(u) lies between −16
    and −1e-7 (one in 2²³ is at −∞, with void): at a rate of 1e-30 pixels of weight 0 keep their
    order by chance and still come after all others.
    """
    largest = tf.reduce_max(weights, axis=-1, keepdims=True)
    return tf.math.log(uniform) / tf.maximum(tf.math.divide_no_nan(weights, largest), 1e-30)
