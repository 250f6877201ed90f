"""What several annotators drew as boundaries, made one label map to train on."""

from __future__ import annotations

import tensorflow as tf

# Annotators who mean the same boundary draw it a pixel or two apart.
_SAME_WITHIN_PX = 2

AGREEMENTS = "drawn, or the number of annotators that must agree"


def check_agreement(agreement: str) -> None:
    """Raises ValueError unless agreement is "drawn" or a whole number of at least 1."""
    if agreement != "drawn" and not (agreement.isdecimal() and int(agreement) >= 1):
        raise ValueError(f"boundary agreement must be {AGREEMENTS} (1 or more), got {agreement!r}")


def boundary_label(
    annotator_boundary: tf.Tensor, agreement: str, seed: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns the boundary label map of one picture. Runs eagerly and inside tf.data.

    Args:
      annotator_boundary: bool [K, H, W], K ≥ 1.
      agreement: "1": boundary wherever any annotator drew one, which is what the authors train on.
        "2" and more: wherever one drew one and that many, the one among them, drew one within two
        pixels; if there are fewer annotators, all of them. What fewer agree on is void. "drawn":
        what one annotator drew, chosen evenly by the seed.
      seed: int32 [2], needed for "drawn" alone.

    Returns:
      int32 [H, W]: 1 boundary, 0 none, -1 void.

    Raises:
      ValueError: agreement is none of these, or "drawn" comes without a seed.
    """
    check_agreement(agreement)
    num = tf.shape(annotator_boundary)[0]
    if agreement == "drawn":
        if seed is None:
            raise ValueError('the agreement "drawn" needs a seed')
        chosen = tf.random.stateless_uniform(
            [], seed=seed, maxval=num, dtype=tf.int32, alg="philox"
        )
        return tf.cast(annotator_boundary[chosen], tf.int32)
    drawn = tf.cast(annotator_boundary, tf.int32)
    by_any = tf.reduce_max(drawn, axis=0)
    needed = int(agreement)
    if needed == 1:
        return by_any
    side = 2 * _SAME_WITHIN_PX + 1
    near = tf.nn.max_pool2d(
        tf.cast(drawn, tf.float32)[..., tf.newaxis], side, strides=1, padding="SAME"
    )[..., 0]
    agreeing = tf.reduce_sum(tf.cast(near, tf.int32), axis=0)
    return tf.where((by_any > 0) & (agreeing < tf.minimum(needed, num)), -1, by_any)


def instance_boundary(instance: tf.Tensor) -> tf.Tensor:
    """Returns the boundary of a label map: pixels whose right or lower neighbour has another id.

    Args:
      instance: int32 [H, W], -1 void.

    Returns:
      bool [1, H, W], as drawn by one annotator. Where a map meets void there is no boundary.
    """
    below = tf.concat([instance[1:], instance[-1:]], axis=0)
    right = tf.concat([instance[:, 1:], instance[:, -1:]], axis=1)
    differs = [(instance != other) & (other >= 0) for other in (below, right)]
    return ((differs[0] | differs[1]) & (instance >= 0))[tf.newaxis]
