"""Pictures of a batch, answered one by one: tables padded and cut, maps as PNG, maps stacked.

TensorFlow's own ops alone, so that a server without Python runs them.
"""

from collections.abc import Sequence

import tensorflow as tf

# A 1×1 PNG, decoded in place of an empty batch: `tf.map_fn` cannot stack zero rows of unknown size.
_BLANK_PNG = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()


def at_least_one_png(image_bytes: tf.Tensor) -> tf.Tensor:
    """Returns image_bytes [N] itself, and for N = 0 a PNG of one pixel [1]."""
    missing = tf.maximum(1 - tf.shape(image_bytes)[0], 0)
    return tf.concat([image_bytes, tf.fill([missing], tf.constant(_BLANK_PNG))], axis=0)


def pad_tables(tables: dict[str, tf.Tensor], num_rows: int) -> dict[str, tf.Tensor]:
    """Returns tables [K, …] by name with rows of 0 after them, [num_rows, …]; K ≤ num_rows."""
    padded = {}
    for name, table in tables.items():
        padding = [[0, num_rows - tf.shape(table)[0]]] + [[0, 0]] * (table.shape.rank - 1)
        padded[name] = tf.ensure_shape(tf.pad(table, padding), [num_rows, *table.shape[1:]])
    return padded


def first_rows(
    rows: dict[str, tf.Tensor],
    num_images: tf.Tensor,
    tables: Sequence[str],
    count: str = "num_instances",
) -> dict[str, tf.Tensor]:
    """Returns the rows of the batch itself, tables cut to the most instances of a picture.

    Args:
      rows: outputs [N or more, …] by name.
      num_images: N.
      tables: the names of those that hold a row an instance, [N or more, K, …].
      count: the name of the output that says how many rows hold one; not looked at without tables.
    """
    rows = {name: x[:num_images] for name, x in rows.items()}
    if not tables:
        return rows
    most = tf.reduce_max(tf.concat([rows[count], [0]], axis=0))
    return {name: x[:, :most] if name in tables else x for name, x in rows.items()}


def encode_map(label: tf.Tensor, dtype: tf.DType = tf.uint16) -> tf.Tensor:
    """Returns a map [H, W] of numbers ≥ 0 as a grey PNG, scalar string; uint16 or uint8 samples."""
    return tf.io.encode_png(tf.cast(label, dtype)[:, :, tf.newaxis])


def stack_maps(
    map_bytes: tf.Tensor, height: tf.Tensor, width: tf.Tensor, dtype: tf.DType = tf.uint16
) -> tf.Tensor:
    """Returns the maps of `encode_map` [N] as [N, H, W] int32, padded with −1 to the largest sides.

    Args:
      map_bytes: [N] string, samples of dtype.
      height: [N] int32, of each map.
      width: [N] int32, of each map.
      dtype: of the samples.
    """
    sides = tf.reduce_max(height), tf.reduce_max(width)

    def decode(png: tf.Tensor) -> tf.Tensor:
        label = tf.cast(tf.io.decode_png(png, channels=1, dtype=dtype)[:, :, 0], tf.int32)
        shape = tf.shape(label)
        below, right = sides[0] - shape[0], sides[1] - shape[1]
        return tf.pad(label, [[0, below], [0, right]], constant_values=-1)

    return tf.map_fn(decode, map_bytes, fn_output_signature=tf.TensorSpec([None, None], tf.int32))
