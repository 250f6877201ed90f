"""Instances below a score are given up."""

from typing import TypeVar

import tensorflow as tf

# Fields that hold a row an instance, where there are such.
_TABLES = ("boxes", "areas", "scores", "classes", "agreement", "features")

Found = TypeVar("Found", bound=tuple)


def keep_scored(found: Found, min_score: float | tf.Tensor | None) -> Found:
    """Returns the instances of a score of min_score or more; pixels of others become background.

    The order stays, by falling area; ids close up. The semantic map stays as it is.

    Args:
      found: of a picture, `label_map.Instances` or `class_instances.ClassedInstances`.
      min_score: in the units of the scores; None: all are kept, and nothing is added to the graph.
    """
    if min_score is None:
        return found
    is_kept = found.scores >= min_score
    new_id = tf.where(is_kept, tf.cumsum(tf.cast(is_kept, tf.int32)), 0)
    tables = {
        name: tf.boolean_mask(getattr(found, name), is_kept)
        for name in _TABLES
        if name in found._fields
    }
    instance = tf.gather(tf.concat([[0], new_id], axis=0), found.instance)
    return found._replace(instance=instance, **tables)
