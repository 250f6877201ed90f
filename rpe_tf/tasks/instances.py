"""Semantic instances (§5.4): grouping cuts the foreground, the semantic map votes on the classes.

The only place where model, read-out, scorer and scores of this task meet; its losses are those of
`semantic`.
"""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from rpe_tf.drawing import contact_sheet, embedding_to_rgb, overlay, paint_instances
from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.picture_scale import embedding_predictor
from rpe_tf.inference.pooling import single_arguments
from rpe_tf.metrics import average_precision, matching, mean_iou
from rpe_tf.metrics.class_votes import vote_classes


def make_predictor(
    model: keras.Model, read_out_arguments: dict
) -> Callable[[tf.Tensor], tuple[tf.Tensor, ClassedInstances]]:
    """Returns the compiled function from a picture [H, W, 3] uint8 to embedding and instances.

    read_out_arguments: as `evaluate`.
    """
    predict = embedding_predictor(model, read_out_arguments)
    arguments = single_arguments(read_out_arguments)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def predictor(image: tf.Tensor) -> tuple[tf.Tensor, ClassedInstances]:
        found = predict(image[tf.newaxis])
        embedding, logit = found["embedding"][0], found["logit"][0]
        return embedding, read_out_classed(embedding, logit, **arguments)

    return predictor


def evaluate(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict
) -> dict[str, float]:
    """Returns the scores of the instances, and of the semantic map.

    Args:
      model: of `semantic_model`.
      examples: batches of one picture, keys `image`, `instance` and `semantic`.
      read_out_arguments: keyword arguments of `read_out_classed`; and `scales`, the one that the
        picture is read at.

    Returns:
      The keys of `rpe_tf.metrics.average_precision.summarize` and
      `rpe_tf.metrics.matching.summarize`, and `miou`.
    """
    predictor = make_predictor(model, read_out_arguments)
    num_classes = model.output["logit"].shape[-1]
    confusion = np.zeros([num_classes, num_classes], np.int64)
    detections, matches = [], []
    for example in examples:
        _, found = predictor(example["image"][0])
        truth, semantic = (example[name][0].numpy() for name in ("instance", "semantic"))
        truth_classes, classes = vote_classes(truth, semantic), found.classes.numpy()
        predicted = found.instance.numpy()
        arguments = (truth, truth_classes, predicted, found.scores.numpy(), classes)
        detections.append(average_precision.score_picture(*arguments))
        matches.append(
            matching.score_matching(truth, predicted, truth_classes=truth_classes, classes=classes)
        )
        confusion += mean_iou.confusion_matrix(semantic, found.semantic.numpy(), num_classes)
    return {
        **average_precision.summarize(detections),
        **matching.summarize(matches),
        "miou": mean_iou.mean_iou(confusion),
    }


def draw(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict, scale: int = 1
) -> Image.Image:
    """Returns a contact sheet, a row an example.

    Columns: picture, true instances, embedding as RGB, found classes, found instances.
    """
    predictor = make_predictor(model, read_out_arguments)
    rows = []
    for example in examples:
        image = example["image"][0].numpy()
        embedding, found = predictor(example["image"][0])
        rows.append(
            [
                image,
                paint_instances(example["instance"][0].numpy()),
                embedding_to_rgb(embedding.numpy()),
                overlay(image, found.semantic.numpy()),
                overlay(image, found.instance.numpy()),
            ]
        )
    titles = ["image", "true instances", "embedding", "classes", "instances"]
    return contact_sheet(rows, titles, scale)
