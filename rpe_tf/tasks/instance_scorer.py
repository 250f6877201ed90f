"""The regressor of an instance's score (§5.4): fitted on pictures the model was trained on.

What it predicts is the IoU of an instance with the true instance of its class that it overlaps
best, 0 if there is none, from the features of `rpe_tf.inference.instance_scoring`.
"""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import Ridge

from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.instance_scoring import FEATURES
from rpe_tf.inference.picture_scale import embedding_predictor
from rpe_tf.inference.pooling import single_arguments
from rpe_tf.metrics.average_recall import iou_matrix
from rpe_tf.metrics.class_votes import vote_classes


def fit(model: keras.Model, examples: Iterable[dict], read_out_arguments: dict) -> dict | None:
    """Returns the scorer fitted to what the read-out finds in labelled pictures.

    Args:
      model: image → dict of `embedding` and `logit`.
      examples: batches of one picture, keys `image`, `instance` and `semantic`.
      read_out_arguments: as `rpe_tf.tasks.instances.evaluate`; scorer and min_score among them are
        not used.

    Returns:
      As `fit_scorer`; None if no instance was found in any picture.
    """
    arguments = {**single_arguments(read_out_arguments), "scorer": None, "min_score": None}
    predict = embedding_predictor(model, read_out_arguments)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def find(image: tf.Tensor) -> ClassedInstances:
        predicted = predict(image[tf.newaxis])
        return read_out_classed(predicted["embedding"][0], predicted["logit"][0], **arguments)

    rows, targets = [], []
    for example in examples:
        found = find(example["image"][0])
        iou, is_counted = best_overlaps(
            example["instance"][0].numpy(),
            example["semantic"][0].numpy(),
            found.instance.numpy(),
            found.classes.numpy(),
        )
        rows.append(found.features.numpy()[is_counted])
        targets.append(iou[is_counted])
    if not sum(map(len, targets)):
        return None
    return fit_scorer(np.concatenate(rows), np.concatenate(targets))


def fit_scorer(features: np.ndarray, target_iou: np.ndarray) -> dict:
    """Returns the linear fit of the IoU, in the form of `instance_scoring.check_scorer`.

    Least squares plus the sum of squared weights. On pictures that were learnt by heart some
    features hardly vary; unpunished, their weights would be of any size, and so would the scores
    of other pictures. The features are of order 1 already, so they are not scaled: that would undo
    it.

    Args:
      features: [M, F] float of `instance_features`, M ≥ 1.
      target_iou: [M] float in [0, 1].

    Returns:
      `features` (their names), `weights` [F] and `bias`, plain lists and numbers, ready for JSON.

    Raises:
      ValueError: if shapes are others, or a value is not finite.
    """
    features, target_iou = np.asarray(features, np.float64), np.asarray(target_iou, np.float64)
    if features.shape != (len(target_iou), len(FEATURES)) or not len(target_iou):
        raise ValueError(
            f"features must be [M, {len(FEATURES)}] and target_iou [M], M ≥ 1, got "
            f"{features.shape} and {target_iou.shape}"
        )
    if not (np.isfinite(features).all() and np.isfinite(target_iou).all()):
        raise ValueError("features and target_iou must be finite, got nan or infinity")
    fitted = Ridge(alpha=1.0).fit(features, target_iou)
    return {
        "features": list(FEATURES),
        "weights": [float(x) for x in fitted.coef_],
        "bias": float(fitted.intercept_),
    }


def best_overlaps(
    instance: np.ndarray, semantic: np.ndarray, predicted: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each predicted instance its IoU with the best true one of its class.

    Args:
      instance: [H, W] integer true ids, 0 background, −1 void.
      semantic: [H, W] integer true classes.
      predicted: [H, W] integer ids in 0..K.
      classes: [K] integers, of the predicted instances.

    Returns:
      [K] float64 in [0, 1]; [K] bool, False for those that lie in void only.
    """
    overlap = iou_matrix(instance, predicted)
    true_classes = vote_classes(instance, semantic)[overlap.truth_ids]
    columns = overlap.predicted_ids - 1
    same = true_classes[:, np.newaxis] == classes[columns][np.newaxis, :]
    best, is_counted = np.zeros(len(classes)), np.zeros(len(classes), bool)
    best[columns] = np.max(overlap.iou * same, axis=0, initial=0.0)
    is_counted[columns] = True
    return best, is_counted
