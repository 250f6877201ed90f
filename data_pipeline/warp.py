"""Geometry of one example: matrices from output to source, and one resampling by their product.

A pixel is an area: the one in row i, column j covers x from j to j + 1, y from i to i + 1. So its
centre is (j + 0.5, i + 0.5) and a picture of W columns spans 0 to W. Scaling about the origin then
keeps the picture's corner: doubling the size shifts nothing by half a pixel. Matrices [3, 3] map an
output point (x, y, 1) to the point of the source picture that is seen there.

The resampling is compiled by XLA where the output's size is static: plain TensorFlow writes each
intermediate result of this arithmetic to memory, which takes six times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

VOID = -1

# XLA compiles anew for every shape of its inputs, so pictures are handed over in flat buffers of
# a few lengths, in pixels: powers of two.
_BUFFER_LENGTHS = tuple(2**power for power in range(6, 30))
_WORD_BYTES = 8  # of what a gather reads
# 1.5 · 2^23: added to a whole number below 2^22 it leaves that number in the low bits. XLA's own
# conversion to integers guards against overflow and NaN in six more instructions.
_ROUNDING = 12582912.0
_ROUNDING_BITS = 0x4B400000


def scaling(factor: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix [3, 3] that shows the source `factor` times as large, about the origin."""
    shrink = 1.0 / tf.convert_to_tensor(factor, tf.float32)
    return _matrix([[shrink, 0.0, 0.0], [0.0, shrink, 0.0], [0.0, 0.0, 1.0]])


def rotation(radians: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix [3, 3] that turns the source about the origin, clockwise to the eye."""
    radians = tf.convert_to_tensor(radians, tf.float32)
    cosine, sine = tf.cos(radians), tf.sin(radians)
    return _matrix([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def translation(x: tf.Tensor | float, y: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix [3, 3] that shows at the origin the point (x, y) of the source."""
    return _matrix([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def horizontal_flip(is_flipped: tf.Tensor | bool, width: tf.Tensor | float) -> tf.Tensor:
    """Returns the matrix [3, 3] that swaps left and right of a picture `width` pixels wide.

    Args:
      is_flipped: scalar bool; if not, the matrix is the identity.
      width: scalar, in pixels.
    """
    one = tf.where(is_flipped, 1.0, 0.0)
    return _matrix([[1.0 - 2.0 * one, 0.0, one * width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def compose(*matrices: tf.Tensor) -> tf.Tensor:
    """Returns the product [3, 3]; the last matrix meets the output point, the first the source.

    What is given first is therefore done to the picture first: `compose(scaling(2.0), rotation(a))`
    turns the enlarged picture.
    """
    product = matrices[0]
    for matrix in matrices[1:]:
        product = product @ matrix
    return product


def resample(
    image: tf.Tensor,
    label_maps: dict[str, tf.Tensor],
    matrix: tf.Tensor,
    color: tf.Tensor,
    output_size: tuple[int, int] | tuple[tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the picture and its label maps as the matrices show them.

    The picture is read bilinearly at u - ½, colour is changed there, then it is clipped and
    rounded, once; labels are those of the pixel that u falls into. Outside of the source labels
    are void and the picture repeats its edge: the loss leaves void out, but the network sees it,
    and a constant would draw a contour there that belongs to no instance.

    Args:
      image: [H, W, 3] uint8, with at least one pixel.
      label_maps: [H, W] int32 each, any number of maps.
      matrix: [3, 3] float32, affine, from output points to source points.
      color: [3, 4] float32, see `data_pipeline.color`.
      output_size: (height, width), integers or scalar int32 tensors; integers are compiled.

    Returns:
      [height, width, 3] uint8, and the maps [height, width] int32, void -1.

    Raises:
      tf.errors.InvalidArgumentError: the picture has more than 2^29 pixels, or a map has not as
        many pixels as the picture.
    """
    height, width = output_size
    is_static = isinstance(height, int) and isinstance(width, int)
    sample_image, sample_labels = (
        (_sample_image_compiled, _sample_labels_compiled)
        if is_static
        else (_sample_image, _sample_labels)
    )
    size = tf.shape(image)[:2]
    length = _buffer_length(size)
    # Four pixels of three bytes fill three words, so rows are computed to a multiple of four.
    columns = -(-width // 4) * 4
    packed = sample_image(_words(image, length), size, matrix, color, (height, columns))
    # Apart, or XLA computes every pixel anew for each word that holds some of it.
    words = (_join_pixels_compiled if is_static else _join_pixels)(packed)
    warped = tf.reshape(tf.bitcast(words, tf.uint8), [height, columns, 3])[:, :width]
    if not label_maps:
        return warped, {}
    buffers = {
        name: _padded(tf.reshape(labels, [size[0] * size[1]]), length)
        for name, labels in label_maps.items()
    }
    return warped, sample_labels(buffers, size, matrix, (height, width))


def _matrix(rows: Sequence[Sequence[tf.Tensor | float]]) -> tf.Tensor:
    return tf.reshape(tf.stack([entry for row in rows for entry in row]), [3, 3])


def _buffer_length(size: tf.Tensor) -> tf.Tensor:
    """Returns the length, in pixels, of the shortest buffer for a picture of this size [2]."""
    # One row and pixel beyond the picture are read, with weight 0, and the word after those.
    needed = (size[0] + 1) * size[1] + _WORD_BYTES
    lengths = tf.constant(_BUFFER_LENGTHS)
    return tf.gather(lengths, tf.reduce_sum(tf.cast(lengths < needed, tf.int32)))


def _padded(flat: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return tf.concat([flat, tf.zeros([length - tf.size(flat)], flat.dtype)], axis=0)


def _words(image: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of the picture as int64 words."""
    flat = _padded(tf.reshape(image, [-1]), 3 * length)
    return tf.bitcast(tf.reshape(flat, [-1, _WORD_BYTES]), tf.int64)


def _source_points(
    matrix: tf.Tensor, output_size: tuple[int, int] | tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x and y [height, width] in the source of the centres of all output pixels."""
    x = tf.cast(tf.range(output_size[1]), tf.float32)[tf.newaxis, :] + 0.5
    y = tf.cast(tf.range(output_size[0]), tf.float32)[:, tf.newaxis] + 0.5
    return (
        matrix[0, 0] * x + (matrix[0, 1] * y + matrix[0, 2]),
        matrix[1, 0] * x + (matrix[1, 1] * y + matrix[1, 2]),
    )


def _sample_image(
    words: tf.Tensor,
    size: tf.Tensor,
    matrix: tf.Tensor,
    color: tf.Tensor,
    output_size: tuple[int, int] | tuple[tf.Tensor, tf.Tensor],
) -> tf.Tensor:
    """Returns [height, width] int32, r + 256 g + 65536 b of every pixel."""
    # Milliseconds for 321 x 481 on a busy core, TensorFlow 2.21 / 2.15: this 1.3 / 1.2. Reading
    # int32 words, three for two pixels: 1.3 / 0.9 (of the two LLVMs the older uses vector gathers).
    # Packing pixels into int32 first: 1.1 / 0.75, and 0.35 to pack; with weights of 8 bits and two
    # channels in a product no less. Reading bytes: 1.6 / 1.7. An output a channel: 3.4. This
    # without XLA: 9. ImageProjectiveTransformV3: 6.4, and 0.9 for colour.
    x, y = _source_points(matrix, output_size)
    last = tf.cast(size - 1, tf.float32)
    x = tf.clip_by_value(x - 0.5, 0.0, last[1])
    y = tf.clip_by_value(y - 0.5, 0.0, last[0])
    column, row = tf.floor(x), tf.floor(y)
    first_byte = 3 * (_to_int(row) * size[1] + _to_int(column))
    above = _between_two_pixels(words, first_byte, x - column)
    below = _between_two_pixels(words, first_byte + 3 * size[1], x - column)
    rgb = [a + (y - row) * (b - a) for a, b in zip(above, below, strict=True)]
    packed = tf.zeros([], tf.int32)
    for channel in range(3):
        weights = color[channel]
        value = (weights[0] * rgb[0] + weights[1] * rgb[1]) + (weights[2] * rgb[2] + weights[3])
        level = _to_int(tf.clip_by_value(value, 0.0, 255.0))
        packed = packed + tf.bitwise.left_shift(level, 8 * channel)
    return packed


def _between_two_pixels(
    words: tf.Tensor, first_byte: tf.Tensor, fraction: tf.Tensor
) -> list[tf.Tensor]:
    """Returns r, g, b float32 `fraction` of the way from the pixel at `first_byte` to the next."""
    index = tf.bitwise.right_shift(first_byte, 3)
    shift = tf.cast(8 * tf.bitwise.bitwise_and(first_byte, 7), tf.uint64)
    low, high = (tf.bitcast(tf.gather(words, index + k), tf.uint64) for k in (0, 1))
    # The six bytes of both pixels, moved to the low end. One left shift by 64 would be undefined.
    high = tf.bitwise.left_shift(high, tf.constant(1, tf.uint64))
    high = tf.bitwise.left_shift(high, tf.bitwise.bitwise_xor(shift, tf.constant(63, tf.uint64)))
    pair = tf.bitwise.bitwise_or(tf.bitwise.right_shift(low, shift), high)

    def byte(place: int) -> tf.Tensor:
        moved = tf.bitwise.right_shift(pair, tf.constant(8 * place, tf.uint64))
        # By way of int32: there is no vector instruction from uint64 to float.
        low_byte = tf.bitwise.bitwise_and(moved, tf.constant(255, tf.uint64))
        return tf.cast(tf.cast(low_byte, tf.int32), tf.float32)

    return [byte(k) + fraction * (byte(k + 3) - byte(k)) for k in range(3)]


def _join_pixels(packed: tf.Tensor) -> tf.Tensor:
    """Returns the bytes r, g, b of all pixels as int32 words: [N / 4, 3] from N pixels."""
    fours = tf.reshape(packed, [-1, 4])
    return tf.bitwise.bitwise_or(
        tf.bitwise.right_shift(fours[:, :3], [0, 8, 16]),
        tf.bitwise.left_shift(fours[:, 1:], [24, 16, 8]),
    )


def _sample_labels(
    buffers: dict[str, tf.Tensor],
    size: tf.Tensor,
    matrix: tf.Tensor,
    output_size: tuple[int, int] | tuple[tf.Tensor, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Returns the maps [height, width] int32 of the flat source maps."""
    x, y = (tf.floor(coordinate) for coordinate in _source_points(matrix, output_size))
    last = tf.cast(size - 1, tf.float32)
    column = tf.clip_by_value(x, 0.0, last[1])
    row = tf.clip_by_value(y, 0.0, last[0])
    is_covered = (x == column) & (y == row)
    index = _to_int(row) * size[1] + _to_int(column)
    return {
        name: tf.where(is_covered, tf.gather(labels, index), VOID)
        for name, labels in buffers.items()
    }


def _to_int(values: tf.Tensor) -> tf.Tensor:
    """Returns the nearest integers, int32, of numbers in [0, 2^22)."""
    return tf.bitcast(values + _ROUNDING, tf.int32) - _ROUNDING_BITS


_sample_image_compiled = tf.function(_sample_image, jit_compile=True, autograph=False)
_sample_labels_compiled = tf.function(_sample_labels, jit_compile=True, autograph=False)
_join_pixels_compiled = tf.function(_join_pixels, jit_compile=True, autograph=False)
