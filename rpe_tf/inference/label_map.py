"""Read-out: the embedding of a picture to an instance map with boxes, areas and scores."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.grouping import MODE_COSINE, group, unit_or_zero
from rpe_tf.inference.merging import nearest

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
    min_area: int = 1,
    background: str = "border",
) -> Instances:
    """Returns the instances of a picture: converged grouping, every pixel to its nearest mode.

    All pixels are grouped; then each, with its own embedding, goes to the nearest of the modes
    found. Modes that gather fewer than min_area pixels are dropped and their pixels go to the
    nearest mode that stays. Pixels without a direction (zero, NaN) become background.

    Args:
      embedding: [H, W, D] float32, unit vectors.
      concentration: κ > 0.
      mode_cosine: cosine within which converged points are one mode.
      max_loops: loops at the most.
      min_area: pixels an instance must have.
      background: which group is background, id 0. "border": the largest that touches the border;
        "largest"; "none": no group is.

    Returns:
      Instances. Memory linear in H·W·D, and as `group`.

    Raises:
      ValueError: if background is unknown, or as `group`.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"background must be one of {BACKGROUNDS}, got {background!r}")
    height, width = tf.shape(embedding)[0], tf.shape(embedding)[1]
    pixels = unit_or_zero(tf.reshape(embedding, [-1, embedding.shape[-1]]))
    groups = group(pixels, concentration, max_loops=max_loops, mode_cosine=mode_cosine)
    has_direction = groups.instance >= 0
    mode, _ = _nearest_mode(pixels, groups.modes, has_direction)
    modes = _keep_large(mode, groups.modes, min_area)
    mode, cosine = _nearest_mode(pixels, modes, has_direction)
    ranked, areas = _rank(tf.reshape(mode, [height, width]), tf.shape(modes)[0], background)
    return Instances(
        ranked,
        boxes=_boxes(ranked, tf.shape(areas)[0]),
        areas=areas,
        scores=_mean_by_instance(cosine, tf.reshape(ranked, [-1]), areas),
        num_loops=groups.num_loops,
        converged=groups.converged,
    )


def _nearest_mode(
    pixels: tf.Tensor, modes: tf.Tensor, has_direction: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns each pixel's nearest mode [N], M where it has no direction, and its cosine."""
    mode, cosine = nearest(pixels, modes)
    return tf.where(has_direction, mode, tf.shape(modes)[0]), cosine


def _keep_large(mode: tf.Tensor, modes: tf.Tensor, min_area: int) -> tf.Tensor:
    """Returns the modes that min_area pixels or more belong to; the largest in any case."""
    areas = _count(mode, tf.shape(modes)[0])
    return tf.boolean_mask(modes, areas >= tf.minimum(min_area, tf.reduce_max(areas)))


def _rank(mode: tf.Tensor, num_modes: tf.Tensor, background: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the map with ids by falling area (0 the background), and the areas of ids 1..K.

    The mode num_modes is that of pixels without a direction: background too.
    """
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
    num_empty = tf.math.count_nonzero(areas == 0, dtype=tf.int32)
    sorted_areas = tf.gather(areas, order)[: num_modes - num_empty]
    return tf.gather(tf.concat([new_id, [0]], axis=0), mode), sorted_areas[1 - first_id :]


def _count(ids: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """Returns how many ids are 0..num − 1; num itself is left out."""
    ids = tf.reshape(ids, [-1])
    return tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num + 1)[:-1]


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
