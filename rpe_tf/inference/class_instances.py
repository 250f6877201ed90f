"""Read-out with a semantic map (§5.4): embedding and class logits to scored, classed instances."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference import instance_scoring
from rpe_tf.inference.components import connected_components
from rpe_tf.inference.grouping import MODE_COSINE, unit_or_zero
from rpe_tf.inference.instance_tables import boxes_of_pixels, count, mean_by_instance
from rpe_tf.inference.mode_assignment import assign_to_modes, find_modes, one_at_least
from rpe_tf.inference.score_threshold import keep_scored
from rpe_tf.inference.votes import vote_classes

# Of a picture, at the most; further ones, the smallest, become background. Tables of a batch are
# padded to as many rows.
MAX_INSTANCES = 4096


class ClassedInstances(NamedTuple):
    """The instances of one picture, largest first; K of them, rows 0..K − 1 for ids 1..K."""

    instance: tf.Tensor  # [H, W] int32, 0 background
    semantic: tf.Tensor  # [H, W] int32, the class of each pixel by the logits alone, 0 background
    boxes: tf.Tensor  # [K, 4] int32: y_min, x_min, y_max, x_max in pixels, the last two exclusive
    areas: tf.Tensor  # [K] int32, pixels
    scores: tf.Tensor  # [K] float32, of `instance_scoring.score`
    classes: tf.Tensor  # [K] int32 in 1..C − 1, by vote
    agreement: tf.Tensor  # [K] float32 in (0, 1], share of the votes for that class
    features: tf.Tensor  # [K, F] float32, of `instance_scoring.instance_features`
    num_loops: tf.Tensor  # scalar int32
    converged: tf.Tensor  # scalar bool


def read_out_classed(
    embedding: tf.Tensor,
    logit: tf.Tensor,
    *,
    concentration: float | tf.Tensor,
    mode_cosine: float = MODE_COSINE,
    max_loops: int | tf.Tensor = 50,
    min_area: int | tf.Tensor = 1,
    split_components: bool = True,
    scorer: dict | None = None,
    min_score: float | tf.Tensor | None = None,
) -> ClassedInstances:
    """Returns the instances of a picture, each with the class that most of its pixels have.

    The logits say which pixels are background. Only the others are grouped: a background of most
    of the picture would draw in the modes of objects that are not far from it, and cost the most.
    Each goes to its nearest mode, as in `label_map.read_out`. With split_components a group's
    connected parts are instances of their own, as two objects far apart may look alike to the
    embedding. Pixels of parts below min_area go to an instance they touch, if they do, and are
    background else.

    Args:
      embedding: [H, W, D] float32, unit vectors.
      logit: [H, W, C] float, C ≥ 2, class 0 the background.
      concentration: κ > 0.
      mode_cosine: cosine within which converged points are one mode.
      max_loops: loops at the most.
      min_area: pixels an instance must have.
      split_components: whether to cut groups into 4-connected parts.
      scorer: as `instance_scoring.check_scorer`; None for the score without one.
      min_score: that an instance must have, see `keep_scored`; None for any.

    Returns:
      ClassedInstances, at most MAX_INSTANCES of them. Memory linear in H·W·(C + D) and
      K·(H + W + C), and as `group`.

    Raises:
      ValueError: if C < 2, or as `instance_scoring.check_scorer` and `group`.
    """
    num_classes = logit.shape[-1]
    if num_classes is None or num_classes < 2:
        raise ValueError(f"logit must be of 2 classes or more, background first, got {num_classes}")
    instance_scoring.check_scorer(scorer)
    size = tf.shape(embedding)[:2]
    semantic = tf.argmax(logit, axis=-1, output_type=tf.int32)
    place, classes = _foreground(semantic)
    pixels = unit_or_zero(tf.gather(tf.reshape(embedding, [-1, embedding.shape[-1]]), place))
    # A zero vector belongs to no group, and pulls nobody: of a picture without foreground.
    pixels *= tf.cast(classes[:, tf.newaxis] > 0, tf.float32)
    groups = find_modes(
        *(pixels, concentration), max_loops=max_loops, mode_cosine=mode_cosine, min_area=min_area
    )
    assigned = assign_to_modes(pixels, groups.modes, min_area)
    group_id = tf.where(assigned.mode < assigned.num_modes, assigned.mode + 1, 0)
    ids, areas = _instances(group_id, place, size, assigned.num_modes, min_area, split_components)
    instance = _map_of(ids, place, size)
    votes = vote_classes(ids, classes, tf.size(areas), num_classes)
    found_boxes = boxes_of_pixels(ids, place, size, tf.size(areas))
    largest = areas
    if not split_components:
        largest = instance_scoring.largest_part(instance, tf.size(areas))
    logits = tf.gather(tf.reshape(logit, [-1, num_classes]), place)
    features = instance_scoring.instance_features(
        boxes=found_boxes,
        areas=areas,
        connectedness=_connectedness(ids, group_id, areas, largest),
        agreement=votes.agreement,
        probability=_probability(logits, ids, areas, votes.classes),
        cosine=mean_by_instance(assigned.cosine, ids, areas),
        picture_size=size,
    )
    found = ClassedInstances(
        instance,
        semantic,
        boxes=found_boxes,
        areas=areas,
        scores=instance_scoring.score(features, scorer),
        classes=votes.classes,
        agreement=votes.agreement,
        features=features,
        num_loops=groups.num_loops,
        converged=groups.converged,
    )
    return keep_scored(found, min_score)


def _foreground(semantic: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns place [P] in the map, row by row, and class [P] of its pixels that have one.

    All but the maps is computed of these: the background would be most of the work. Without any
    it is one pixel of class 0, as no tensor may be empty.
    """
    classes = tf.reshape(semantic, [-1])
    place = tf.cast(tf.where(one_at_least(classes > 0))[:, 0], tf.int32)
    return place, tf.gather(classes, place)


def _map_of(ids: tf.Tensor, place: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the map [H, W] with ids [P] at place [P], 0 elsewhere."""
    return tf.reshape(tf.scatter_nd(place[:, tf.newaxis], ids, [size[0] * size[1]]), size)


def _instances(
    group_id: tf.Tensor,
    place: tf.Tensor,
    size: tf.Tensor,
    num_groups: tf.Tensor,
    min_area: int | tf.Tensor,
    split_components: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns ids [P] by falling area, and the areas [K], of pixels at place in groups 1.. ."""
    if not split_components:
        return _rank(group_id, num_groups, min_area)
    group_map = _map_of(group_id, place, size)
    part = connected_components(group_map)
    kept, areas = _rank(tf.gather(tf.reshape(part, [-1]), place), tf.reduce_max(part), min_area)
    # Only parts can be left over beside an instance: groups below min_area are gone already.
    grown = _grow(_map_of(kept, place, size), group_map > 0)
    return _rank(tf.gather(tf.reshape(grown, [-1]), place), tf.size(areas), 1)


def _rank(ids: tf.Tensor, num: tf.Tensor, min_area: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns ids [P] by falling area, those below min_area 0, and the areas left."""
    areas = count(ids, num + 1)[1:]
    order = tf.argsort(areas, direction="DESCENDING", stable=True)
    num_kept = tf.math.count_nonzero(areas >= min_area, dtype=tf.int32)
    num_kept = tf.minimum(num_kept, MAX_INSTANCES)
    position = tf.scatter_nd(order[:, tf.newaxis], tf.range(num), [num])
    new_id = tf.where(position < num_kept, position + 1, tf.zeros_like(position))
    new_id = tf.concat([[0], new_id], axis=0)
    return tf.gather(new_id, ids), tf.gather(areas, order)[:num_kept]


def _grow(instance: tf.Tensor, is_foreground: tf.Tensor) -> tf.Tensor:
    """Returns the map with foreground of id 0 given to the instances that touch it, step by step.

    Of several neighbours the one above counts, else that to the left, right, below.
    """

    def step(instance: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.pad(instance, [[1, 1], [1, 1]])
        offered = padded[:-2, 1:-1]
        for other in (padded[1:-1, :-2], padded[1:-1, 2:], padded[2:, 1:-1]):
            offered = tf.where(offered > 0, offered, other)
        takes = is_foreground & (instance == 0) & (offered > 0)
        return tf.where(takes, offered, instance), tf.reduce_any(takes)

    grown, _ = tf.while_loop(
        lambda _, has_grown: has_grown,
        step,
        (instance, tf.constant(True)),
        shape_invariants=(tf.TensorShape([None, None]), tf.TensorShape([])),
    )
    return grown


def _connectedness(
    ids: tf.Tensor, group_id: tf.Tensor, areas: tf.Tensor, largest: tf.Tensor
) -> tf.Tensor:
    """Returns the pixels of the largest connected part over those of the group, [K] in [0, 1].

    Ids of instances and of groups are those of the pixels of the foreground.
    """
    group_areas = count(group_id, tf.reduce_max(group_id) + 1)
    # A mean, as pixels of other groups may have been taken in.
    of_pixels = tf.cast(tf.gather(group_areas, group_id), tf.float32)
    whole = mean_by_instance(of_pixels, ids, areas)
    return tf.minimum(tf.cast(largest, tf.float32) / whole, 1.0)


def _probability(
    logit: tf.Tensor, ids: tf.Tensor, areas: tf.Tensor, classes: tf.Tensor
) -> tf.Tensor:
    """Returns the mean probability [K] that its pixels give to the class of an instance."""
    num_classes = logit.shape[-1]
    probability = tf.nn.softmax(tf.cast(logit, tf.float32))
    means = mean_by_instance(probability, ids, areas)
    is_class = classes[:, tf.newaxis] == tf.range(num_classes)
    return tf.reduce_sum(means * tf.cast(is_class, means.dtype), axis=-1)
