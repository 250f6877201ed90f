"""Sums over all pairs of points, tile by tile: no N×N matrix is stored.

A tile is where a block of rows meets a block of columns of an N×N factor. All factors here (K of
Eq. 3, the hinge of Eq. 2, their gradients) are symmetric: a tile off the diagonal is computed once
and serves its rows and, transposed, its columns, which spares its mirror image.

The points are cut into chunks of an odd number of blocks. A step takes two chunks (or one twice)
and turns the blocks of the second by some places, so that each block of rows meets one block of
columns: a batch of products, of which each core has its own and keeps its tile in its cache.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

# Points in a block, at the most: larger, and a tile leaves the cache before its next use.
_LARGEST_BLOCK = 600
# Tiles in a step, at the most, over all pictures; odd. 9 tiles are 13 MB of float32.
_MOST_TILES = 9

Blocks = Sequence[tf.Tensor]


def sum_over_pairs(
    tile: Callable[[Blocks, Blocks], tuple[tf.Tensor, tf.Tensor]],
    points: Sequence[tf.Tensor],
    width: int,
) -> tf.Tensor:
    """Returns Σ_j f(i, j) for every point i, f given by tiles.

    Args:
      tile: (rows, columns) → what the columns add to the rows, and what the rows add to the
        columns, [..., b, width] both. The arguments hold the given tensors cut to blocks
        [..., b, ·]. On the diagonal rows and columns are one and the second result is not used.
      points: tensors [B, N, ·] of one float dtype; what a last block lacks is filled with 0.
      width: last dimension of the sum.

    Returns:
      [B, N, width]. Memory N·width and a few times _MOST_TILES tiles.
    """
    batch, count = (_size(points[0], axis) for axis in (0, 1))
    num_blocks, num_chunks = _cut(batch, count)  # a chunk; chunks
    side = -(-count // (num_blocks * num_chunks))
    chunks = [_to_chunks(x, num_chunks, num_blocks, side) for x in points]
    sums = tf.TensorArray(
        points[0].dtype,
        size=num_chunks,
        element_shape=[_static(num_blocks), points[0].shape[0], _static(side), width],
        clear_after_read=False,
    )

    def add_tiles(
        rows: tf.Tensor, columns: tf.Tensor, turn: tf.Tensor, sums: tf.TensorArray
    ) -> tf.TensorArray:
        """Adds the tiles of two chunks, the blocks of the second turned by some places."""
        turned = [tf.roll(x[columns], -turn, axis=0) for x in chunks]
        to_rows, to_columns = tile([x[rows] for x in chunks], turned)
        sums = sums.write(rows, sums.read(rows) + to_rows)
        return sums.write(columns, sums.read(columns) + tf.roll(to_columns, turn, axis=0))

    def on_diagonal(step: tf.Tensor, sums: tf.TensorArray) -> tuple:
        rows = [x[step] for x in chunks]
        return step + 1, sums.write(step, tile(rows, rows)[0])

    def within_chunk(step: tf.Tensor, sums: tf.TensorArray) -> tuple:
        # Half-way round the circle of an odd number of blocks, each two have met once.
        chunk = step % num_chunks
        return step + 1, add_tiles(chunk, chunk, 1 + step // num_chunks, sums)

    def between_chunks(step: tf.Tensor, sums: tf.TensorArray) -> tuple:
        pair, turn = step // num_blocks, step % num_blocks
        rows = pair % num_chunks
        columns = (rows + 1 + pair // num_chunks) % num_chunks
        return step + 1, add_tiles(rows, columns, turn, sums)

    for one_step, num_steps in (
        (on_diagonal, num_chunks),
        (within_chunk, num_chunks * (num_blocks // 2)),
        (between_chunks, num_chunks * (num_chunks - 1) // 2 * num_blocks),
    ):
        _, sums = tf.while_loop(
            lambda step, _, end=num_steps: step < end,
            one_step,
            (tf.constant(0), sums),
            # Steps in flight together would each hold their own tiles.
            parallel_iterations=1,
            maximum_iterations=num_steps,
        )
    total = tf.reshape(sums.stack(), [num_chunks * num_blocks, batch, side, width])
    return tf.reshape(tf.transpose(total, [1, 0, 2, 3]), [batch, -1, width])[:, :count]


def _to_chunks(
    x: tf.Tensor, num_chunks: int | tf.Tensor, num_blocks: int | tf.Tensor, side: int | tf.Tensor
) -> tf.Tensor:
    """Returns [B, N, C] as [chunks, blocks, B, side, C]."""
    missing = num_chunks * num_blocks * side - _size(x, 1)
    padded = tf.pad(x, [[0, 0], [0, missing], [0, 0]])
    chunks = tf.reshape(padded, [_size(x, 0), num_chunks, num_blocks, side, x.shape[-1]])
    return tf.transpose(chunks, [1, 2, 0, 3, 4])


def _size(x: tf.Tensor, axis: int) -> int | tf.Tensor:
    """Returns the static size where it is known (XLA needs it), else the dynamic one."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _static(size: int | tf.Tensor) -> int | None:
    return size if isinstance(size, int) else None


def _cut(batch: int | tf.Tensor, count: int | tf.Tensor) -> tuple:
    """Returns how many blocks a chunk has, odd, and how many chunks there are."""
    is_static = isinstance(batch, int) and isinstance(count, int)
    largest, smallest = (max, min) if is_static else (tf.maximum, tf.minimum)
    needed = largest(-(-count // _LARGEST_BLOCK), 1)
    fits = largest(_MOST_TILES // largest(batch, 1), 1)
    num_blocks = smallest(needed + (needed + 1) % 2, fits - (fits + 1) % 2)
    return num_blocks, -(-needed // num_blocks)
