"""How good an instance is likely to be, from its shape and its agreement with the semantic map.

§5.4: a linear regressor of size, connectedness, box aspect, area over box, height and agreement.
It is fitted by `rpe_tf.tasks.instance_scorer`; here it is a product with a list of weights.
"""

import tensorflow as tf

from rpe_tf.inference.components import connected_components
from rpe_tf.inference.instance_tables import count

# Columns of `instance_features`, by the names that a scorer carries.
FEATURES = (
    "log_size",  # logarithm of the share of the picture's pixels
    "connectedness",  # pixels of the largest connected part over those of the whole group
    "log_aspect",  # logarithm of box height over box width
    "extent",  # pixels over pixels of the box
    "height",  # of the box over that of the picture
    "agreement",  # share of the pixels whose class is the instance's
    "probability",  # of the instance's class, mean over the pixels
    "cosine",  # of a pixel to its mode, mean over the pixels
)


def instance_features(
    *,
    boxes: tf.Tensor,
    areas: tf.Tensor,
    connectedness: tf.Tensor,
    agreement: tf.Tensor,
    probability: tf.Tensor,
    cosine: tf.Tensor,
    picture_size: tf.Tensor,
) -> tf.Tensor:
    """Returns the features [K, F] float32 of instances, columns as FEATURES.

    Args:
      boxes: [K, 4] int32, y_min, x_min, y_max, x_max in pixels, the last two exclusive.
      areas: [K] int32, pixels, > 0.
      connectedness: [K] float32 in [0, 1], as the next three a column of its own.
      agreement: [K] float32 in [0, 1].
      probability: [K] float32 in [0, 1].
      cosine: [K] float32 in [−1, 1].
      picture_size: [2] int32, height and width in pixels.
    """
    size = tf.cast(picture_size, tf.float32)
    area = tf.cast(areas, tf.float32)
    sides = tf.cast(boxes[:, 2:] - boxes[:, :2], tf.float32)
    height, width = sides[:, 0], sides[:, 1]
    columns = {
        "log_size": tf.math.log(area / (size[0] * size[1])),
        "connectedness": connectedness,
        "log_aspect": tf.math.log(height / width),
        "extent": area / (height * width),
        "height": height / size[0],
        "agreement": agreement,
        "probability": probability,
        "cosine": cosine,
    }
    return tf.stack([columns[name] for name in FEATURES], axis=-1)


def score(features: tf.Tensor, scorer: dict | None = None) -> tf.Tensor:
    """Returns the scores [K] float32 of instances.

    With a scorer: bias + Σ_f weight_f · feature_f, the IoU to be expected; it may leave [0, 1], as
    bounds would make ties. Without: probability · cosine, in [−1, 1].

    Args:
      features: [K, F] float32 of `instance_features`.
      scorer: as `check_scorer`; None for none.

    Raises:
      ValueError: as `check_scorer`.
    """
    if scorer is None:
        probability, cosine = (FEATURES.index(name) for name in ("probability", "cosine"))
        return features[:, probability] * features[:, cosine]
    check_scorer(scorer)
    weights = tf.constant(scorer["weights"], features.dtype)
    return tf.reduce_sum(features * weights, axis=-1) + float(scorer["bias"])


def check_scorer(scorer: dict | None) -> None:
    """Raises ValueError unless scorer is None or holds this version's features.

    Args:
      scorer: `features`, the names in FEATURES in that order, `weights`, a number for each, `bias`,
        a number; plain lists, ready for JSON.
    """
    if scorer is None:
        return
    missing = [key for key in ("features", "weights", "bias") if key not in scorer]
    if missing:
        raise ValueError(f"a scorer needs features, weights and bias, {missing} missing; fit anew")
    if tuple(scorer["features"]) != FEATURES or len(scorer["weights"]) != len(FEATURES):
        raise ValueError(
            f"a scorer must have a weight for each of {FEATURES}, got {len(scorer['weights'])} for "
            f"{scorer['features']}; fit it with this version"
        )


def largest_part(instance: tf.Tensor, num_instances: tf.Tensor) -> tf.Tensor:
    """Returns the pixels [K] int32 of the largest 4-connected part of each instance.

    Args:
      instance: [H, W] int32 ids in 0..K; each of 1..K has a pixel.
      num_instances: scalar int32, K.
    """
    part = tf.reshape(connected_components(instance), [-1])
    num_parts = tf.reduce_max(part)
    areas = count(part, num_parts + 1)[1:]
    # All pixels of a part write the same, so that their order does not matter.
    owner = tf.tensor_scatter_nd_update(
        tf.zeros([num_parts + 1], tf.int32), part[:, tf.newaxis], tf.reshape(instance, [-1])
    )[1:]
    by_area = tf.argsort(areas, direction="DESCENDING", stable=True)
    by_owner = tf.gather(by_area, tf.argsort(tf.gather(owner, by_area), stable=True))
    owner, areas = tf.gather(owner, by_owner), tf.gather(areas, by_owner)
    is_first = owner != tf.concat([[0], owner[:-1]], axis=0)
    return tf.ensure_shape(tf.boolean_mask(areas, is_first)[:num_instances], [None])
