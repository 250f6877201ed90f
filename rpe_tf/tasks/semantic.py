"""Semantic segmentation (§5.4): classes by cross-entropy, with the embedding loss or without.

The only place where losses, model and scores of this task meet.
"""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from rpe_tf.drawing import contact_sheet, embedding_to_rgb, overlay, paint_instances
from rpe_tf.metrics import mean_iou

# Half widths of the band round true boundaries that a run's own scores are taken in, in pixels.
_TRIMAP_WIDTHS = (3, 10)


def loss_terms(training_model: keras.Model, batch: dict) -> dict[str, tf.Tensor]:
    """Returns the losses [B] of a batch by name: cross_entropy, loss_loop_0 to loss_loop_T."""
    inputs = {name: batch[name] for name in ("image", "instance", "semantic", "seed")}
    losses = tf.unstack(training_model(inputs, training=True), axis=-1)
    has_classes = any(layer.name == "cross_entropy" for layer in training_model.layers)
    names = ["cross_entropy"] if has_classes else []
    names += [f"loss_loop_{loop}" for loop in range(len(losses) - len(names))]
    return dict(zip(names, losses, strict=True))


def make_predictor(model: keras.Model) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns the compiled function from a picture [H, W, 3] uint8 to embedding and classes."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def predictor(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = model(image[tf.newaxis], training=False)
        semantic = tf.argmax(found["logit"][0], axis=-1, output_type=tf.int32)
        return found["embedding"][0], semantic

    return predictor


def evaluate(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict
) -> dict[str, float]:
    """Returns the scores of the semantic map over labelled pictures.

    Args:
      model: of `semantic_model`.
      examples: batches of one picture, keys `image` and `semantic`.
      read_out_arguments: none.

    Returns:
      `miou`, `pixel_accuracy`, and `miou_within_3px` and so on: in bands round true boundaries.
    """
    del read_out_arguments
    predictor, num_classes = make_predictor(model), model.output["logit"].shape[-1]
    whole = np.zeros([num_classes, num_classes], np.int64)
    bands = np.zeros([len(_TRIMAP_WIDTHS), num_classes, num_classes], np.int64)
    for example in examples:
        found = predictor(example["image"][0])[1].numpy()
        truth = example["semantic"][0].numpy()
        whole += mean_iou.confusion_matrix(truth, found, num_classes)
        bands += mean_iou.trimap_confusion(truth, found, num_classes, _TRIMAP_WIDTHS)
    return {
        "miou": mean_iou.mean_iou(whole),
        "pixel_accuracy": float(np.trace(whole) / max(whole.sum(), 1)),
        **{
            f"miou_within_{width}px": mean_iou.mean_iou(band)
            for width, band in zip(_TRIMAP_WIDTHS, bands, strict=True)
        },
    }


def draw(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict, scale: int = 1
) -> Image.Image:
    """Returns a contact sheet, a row an example: picture, true classes, embedding, classes."""
    del read_out_arguments
    predictor = make_predictor(model)
    rows = []
    for example in examples:
        image = example["image"][0]
        embedding, semantic = (x.numpy() for x in predictor(image))
        rows.append(
            [
                image.numpy(),
                paint_instances(example["semantic"][0].numpy()),
                embedding_to_rgb(embedding),
                overlay(image.numpy(), semantic),
            ]
        )
    return contact_sheet(rows, ["image", "true classes", "embedding", "classes"], scale)
