"""The class of an instance: a vote of the semantic map over its pixels (§5.4)."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.instance_tables import count


class Votes(NamedTuple):
    """What `vote_classes` returns."""

    classes: tf.Tensor  # [K] int32 in 1..C − 1; 0 where no pixel has a class
    agreement: tf.Tensor  # [K] float32 in [0, 1], share of the pixels that have this class


def vote_classes(
    instance: tf.Tensor, semantic: tf.Tensor, num_instances: tf.Tensor, num_classes: int
) -> Votes:
    """Returns for each instance the class most of its pixels have, background and void aside.

    Args:
      instance: [H, W] int32 ids in 0..K, or [P] of some pixels.
      semantic: likewise, classes, 0 background, −1 void.
      num_instances: scalar int32, K.
      num_classes: C ≥ 2, background included.

    Returns:
      Votes, row k of id k + 1; of classes with equal votes the smaller. Memory K·C.
    """
    ids = tf.reshape(instance, [-1])
    voted = tf.maximum(tf.reshape(semantic, [-1]), 0)
    ballots = count(ids * num_classes + voted, (num_instances + 1) * num_classes)
    ballots = tf.reshape(ballots, [num_instances + 1, num_classes])[1:, 1:]
    most = tf.reduce_max(ballots, axis=-1)
    winner = tf.argmax(ballots, axis=-1, output_type=tf.int32) + 1
    areas = tf.maximum(count(ids, num_instances + 1)[1:], 1)
    return Votes(
        classes=tf.where(most > 0, winner, tf.zeros_like(winner)),
        agreement=tf.cast(most, tf.float32) / tf.cast(areas, tf.float32),
    )
