"""Read-out: the embedding of a picture to an instance map with boxes, areas and scores."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.grouping import MODE_COSINE, group, nearest_mode

BACKGROUNDS = ("border", "largest", "none")


class Instances(NamedTuple):
    """The instances of one picture, largest first; K of them, rows 0..K − 1 for ids 1..K."""

    instance: tf.Tensor  # [H, W] int32, 0 background
    boxes: tf.Tensor  # [K, 4] int32: y_min, x_min, y_max, x_max in pixels, the last two exclusive
    areas: tf.Tensor  # [K] int32, pixels
    scores: tf.Tensor  # [K] float32 in [−1, 1]: mean cosine of the pixels to their mode
    num_loops: tf.Tensor  # scalar int32
    converged: tf.Tensor  # scalar bool


def read_out(
    embedding: tf.Tensor,
    *,
    concentration: float,
    mode_cosine: float = MODE_COSINE,
    max_loops: int = 50,
    max_points: int = 1024,
    min_area: int = 1,
    background: str = "border",
) -> Instances:
    """Returns the instances of a picture: converged grouping, every pixel to its nearest mode.

    Grouping runs on a regular grid of at most about max_points pixels; then all pixels, each with
    its own embedding, go to the nearest of the modes found. Modes that gather fewer than min_area
    pixels are dropped and their pixels go to the nearest mode that stays.

    Args:
      embedding: [H, W, D] float32, unit vectors.
      concentration: κ > 0.
      mode_cosine: cosine within which converged points are one mode.
      max_loops: loops at the most.
      max_points: points that are grouped, at the most about this many; an object smaller than
        the grid's cell may be missed.
      min_area: pixels an instance must have.
      background: which group is background, id 0. "border": the largest that touches the border;
        "largest"; "none": no group is.

    Returns:
      Instances. Memory linear in H·W·(D + number of modes).

    Raises:
      ValueError: if background is unknown, or as `group`.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"background must be one of {BACKGROUNDS}, got {background!r}")
    height, width = tf.shape(embedding)[0], tf.shape(embedding)[1]
    pixels = tf.reshape(embedding, [-1, embedding.shape[-1]])
    groups = group(
        _grid(embedding, max_points),
        concentration,
        max_loops=max_loops,
        mode_cosine=mode_cosine,
    )
    modes = _keep_large(pixels, groups.modes, min_area)
    mode = nearest_mode(pixels, modes)
    ranked, areas = _rank(tf.reshape(mode, [height, width]), tf.shape(modes)[0], background)
    cosine = tf.reduce_sum(pixels * tf.gather(modes, mode), axis=-1)
    return Instances(
        ranked,
        boxes=_boxes(ranked, tf.shape(areas)[0]),
        areas=areas,
        scores=_mean_by_instance(cosine, tf.reshape(ranked, [-1]), areas),
        num_loops=groups.num_loops,
        converged=groups.converged,
    )


def _grid(embedding: tf.Tensor, max_points: int) -> tf.Tensor:
    """Returns every s-th pixel of every s-th row as points, s the smallest that fits."""
    height, width = tf.shape(embedding)[0], tf.shape(embedding)[1]
    pixels = tf.cast(height * width, tf.float32)
    step = tf.cast(tf.math.ceil(tf.sqrt(pixels / max_points)), tf.int32)
    # A step can be larger than the short side; the grid still has a row and a column.
    rows, columns = (
        tf.range(tf.minimum(step // 2, (side - 1) // 2), side, step) for side in (height, width)
    )
    grid = tf.gather(tf.gather(embedding, rows, axis=0), columns, axis=1)
    return tf.reshape(grid, [-1, embedding.shape[-1]])


def _keep_large(pixels: tf.Tensor, modes: tf.Tensor, min_area: int) -> tf.Tensor:
    """Returns the modes that are nearest to min_area pixels or more; the largest in any case."""
    count = tf.shape(modes)[0]
    areas = tf.math.unsorted_segment_sum(
        tf.ones_like(pixels[:, 0], tf.int32), nearest_mode(pixels, modes), count
    )
    return tf.boolean_mask(modes, areas >= tf.minimum(min_area, tf.reduce_max(areas)))


def _rank(mode: tf.Tensor, num_modes: tf.Tensor, background: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the map with ids by falling area (0 the background), and the areas of ids 1..K."""
    areas = _count(mode, num_modes)
    order_key = areas
    if background != "none":
        may_be = areas
        if background == "border":
            edges = tf.concat([mode[0], mode[-1], mode[:, 0], mode[:, -1]], axis=0)
            may_be = tf.where(_count(edges, num_modes) > 0, areas, tf.zeros_like(areas))
        chosen = tf.one_hot(tf.argmax(may_be), num_modes, on_value=True, off_value=False)
        order_key = tf.where(chosen, tf.size(mode) + 1, areas)
    order = tf.argsort(order_key, direction="DESCENDING", stable=True)
    first_id = 1 if background == "none" else 0
    new_id = tf.scatter_nd(order[:, tf.newaxis], tf.range(num_modes) + first_id, [num_modes])
    sorted_areas = tf.gather(areas, order)
    return tf.gather(new_id, mode), sorted_areas[1 - first_id :]


def _count(ids: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    ids = tf.reshape(ids, [-1])
    return tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num)


def _boxes(instance: tf.Tensor, num_instances: tf.Tensor) -> tf.Tensor:
    """Returns [K, 4] int32, y_min, x_min, y_max, x_max; the last two one past the last pixel."""
    rows, columns = tf.meshgrid(
        tf.range(tf.shape(instance)[0]), tf.range(tf.shape(instance)[1]), indexing="ij"
    )
    ids = tf.reshape(instance, [-1])
    corners = []
    for reduce, offset in ((tf.math.unsorted_segment_min, 0), (tf.math.unsorted_segment_max, 1)):
        for axis in (rows, columns):
            corners.append(reduce(tf.reshape(axis, [-1]) + offset, ids, num_instances + 1)[1:])
    return tf.stack(corners, axis=-1)


def _mean_by_instance(values: tf.Tensor, ids: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    sums = tf.math.unsorted_segment_sum(values, ids, tf.shape(areas)[0] + 1)[1:]
    return sums / tf.cast(areas, values.dtype)
