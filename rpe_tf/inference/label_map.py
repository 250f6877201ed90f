"""Read-out: the embedding of a picture to an instance map with boxes, areas and scores."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.grouping import MODE_COSINE, unit_or_zero
from rpe_tf.inference.instance_tables import boxes, count, mean_by_instance
from rpe_tf.inference.mode_assignment import assign_to_modes, find_modes
from rpe_tf.inference.score_threshold import keep_scored

BACKGROUNDS = ("border", "largest", "none")
_BORDER, _, _NONE = range(len(BACKGROUNDS))


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
    concentration: float | tf.Tensor,
    mode_cosine: float = MODE_COSINE,
    max_loops: int | tf.Tensor = 50,
    min_area: int | tf.Tensor = 1,
    background: str | tf.Tensor = "border",
    min_score: float | tf.Tensor | None = None,
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
        "largest"; "none": no group is. Or its index in BACKGROUNDS, a scalar int32.
      min_score: that an instance must have, see `keep_scored`; None for any.

    Returns:
      Instances. Memory linear in H·W·D, and as `group`.

    Raises:
      ValueError: if background is unknown, or as `group`.
    """
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise ValueError(f"background must be one of {BACKGROUNDS}, got {background!r}")
        background = BACKGROUNDS.index(background)
    height, width = tf.shape(embedding)[0], tf.shape(embedding)[1]
    pixels = unit_or_zero(tf.reshape(embedding, [-1, embedding.shape[-1]]))
    groups = find_modes(
        *(pixels, concentration),
        max_loops=max_loops,
        mode_cosine=mode_cosine,
        min_area=min_area,
    )
    assigned = assign_to_modes(pixels, groups.modes, min_area)
    mode = tf.reshape(assigned.mode, [height, width])
    ranked, areas = _rank(mode, assigned.num_modes, background)
    found = Instances(
        ranked,
        boxes=boxes(ranked, tf.shape(areas)[0]),
        areas=areas,
        scores=mean_by_instance(assigned.cosine, tf.reshape(ranked, [-1]), areas),
        num_loops=groups.num_loops,
        converged=groups.converged,
    )
    return keep_scored(found, min_score)


def _rank(
    mode: tf.Tensor, num_modes: tf.Tensor, background: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the map with ids by falling area (0 the background), and the areas of ids 1..K.

    The mode num_modes is that of pixels without a direction: background too. background is an
    index in BACKGROUNDS.
    """
    areas = _count(mode, num_modes)
    edges = tf.concat([mode[0], mode[-1], mode[:, 0], mode[:, -1]], axis=0)
    is_chosen_from = (background != _BORDER) | (_count(edges, num_modes) > 0)
    may_be = tf.where(is_chosen_from, areas, tf.zeros_like(areas))
    # Compared, as converters fail on one_hot of a scalar.
    is_background = tf.range(num_modes) == tf.argmax(may_be, output_type=tf.int32)
    is_background &= background != _NONE
    order_key = tf.where(is_background, tf.size(mode) + 1, areas)
    order = tf.argsort(order_key, direction="DESCENDING", stable=True)
    first_id = tf.where(background == _NONE, 1, 0)
    new_id = tf.scatter_nd(order[:, tf.newaxis], tf.range(num_modes) + first_id, [num_modes])
    num_empty = tf.math.count_nonzero(areas == 0, dtype=tf.int32)
    sorted_areas = tf.gather(areas, order)[: num_modes - num_empty]
    return tf.gather(tf.concat([new_id, [0]], axis=0), mode), sorted_areas[1 - first_id :]


def _count(ids: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """Returns how many ids are 0..num − 1; num itself is left out."""
    return count(tf.reshape(ids, [-1]), num + 1)[:-1]
