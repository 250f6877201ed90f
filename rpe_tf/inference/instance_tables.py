"""Tables of the instances of a label map: counts, sums, means and boxes, a row an instance.

By `tensor_scatter_nd_add` and `_update`: the `unsorted_segment_*` ops become, in other runtimes, a
matrix of instances times the pixels of the largest, or are not there at all.
"""

import tensorflow as tf


def sum_by_id(values: tf.Tensor, ids: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """Returns the sums of values [N, …] over equal ids, [num, …].

    Args:
      values: [N, …] of a number type.
      ids: [N] int32 in 0..num − 1.
      num: scalar int32.
    """
    shape = tf.concat([[num], tf.shape(values)[1:]], axis=0)
    zeros = tf.zeros(shape, values.dtype)
    return tf.tensor_scatter_nd_add(zeros, ids[:, tf.newaxis], values)


def count(ids: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """Returns [num] int32, how many of ids [N] int32 in 0..num − 1 there are of each."""
    return sum_by_id(tf.ones_like(ids), ids, num)


def mean_by_instance(values: tf.Tensor, ids: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    """Returns the means of values [N, …] float over the pixels of instances 1..K, [K, …].

    Args:
      values: [N, …] float, a row a pixel.
      ids: [N] int32 in 0..K.
      areas: [K] int32, pixels of each instance, all > 0.
    """
    sums = sum_by_id(values, ids, tf.size(areas) + 1)[1:]
    ones = tf.ones([tf.rank(values) - 1], tf.int32)
    shape = tf.concat([[tf.size(areas)], ones], axis=0)
    return sums / tf.reshape(tf.cast(areas, values.dtype), shape)


def boxes(instance: tf.Tensor, num_instances: tf.Tensor) -> tf.Tensor:
    """Returns the boxes [K, 4] int32 of instances 1..K: y_min, x_min, y_max, x_max in pixels.

    The last two are one past the last pixel. Memory K·(H + W), of which rows and columns each
    instance is in.

    Args:
      instance: [H, W] int32 ids in 0..K; each of 1..K has a pixel.
      num_instances: scalar int32, K.
    """
    ids = tf.reshape(instance, [-1])
    return boxes_of_pixels(ids, tf.range(tf.size(ids)), tf.shape(instance), num_instances)


def boxes_of_pixels(
    ids: tf.Tensor, place: tf.Tensor, size: tf.Tensor, num_instances: tf.Tensor
) -> tf.Tensor:
    """Returns `boxes` of instances that lie within some pixels.

    Args:
      ids: [P] int32 ids in 0..K; each of 1..K is there.
      place: [P] int32, of these pixels in the map, row by row.
      size: [2] int32, H and W of the map.
      num_instances: scalar int32, K.
    """
    (y_min, y_max), (x_min, x_max) = (
        _extent(ids, position, num_instances, side)
        for position, side in ((place // size[1], size[0]), (place % size[1], size[1]))
    )
    return tf.stack([y_min, x_min, y_max, x_max], axis=-1)


def _extent(
    ids: tf.Tensor, position: tf.Tensor, num_instances: tf.Tensor, side: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each instance the first position, and one past the last, [K] int32 each."""
    is_there = tf.tensor_scatter_nd_update(
        tf.zeros([num_instances + 1, side], tf.int32),
        tf.stack([ids, position], axis=-1),
        tf.ones_like(ids),  # the same for all pixels, so that their order does not matter
    )[1:]
    past = tf.reduce_max(is_there * tf.range(1, side + 1), axis=-1)
    return side - tf.reduce_max(is_there * tf.range(side, 0, -1), axis=-1), past
