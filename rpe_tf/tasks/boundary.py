"""Boundary detection (§5.2): two groups, boundary and not, embedded by a branch on each stage.

The only place where losses, model, map and scores of this task meet.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from rpe_tf.drawing import contact_sheet, embedding_to_rgb
from rpe_tf.inference.boundary_map import boundary_map, multi_scale_map
from rpe_tf.metrics import boundary_pr, edge_thinning

NUM_BRANCHES = 4

# The benchmark has 99. A run's own scores are taken at a third of them, in a third of the time;
# `rpe_tf.metrics.evaluate_main` gives the published protocol.
_THRESHOLDS = boundary_pr.spread_thresholds(33)


def loss_terms(training_model: keras.Model, batch: dict) -> dict[str, tf.Tensor]:
    """Returns the losses [B] of a batch by name.

    Phase one: loss_branch_2 to loss_branch_5 (Eq. 2). Phase two: logistic_branch_2 to
    logistic_branch_5, and logistic_fusion.
    """
    inputs = {name: batch[name] for name in ("image", "boundary", "seed")}
    losses = tf.unstack(training_model(inputs, training=True), axis=-1)
    if len(losses) == NUM_BRANCHES:
        return {f"loss_branch_{k + 2}": loss for k, loss in enumerate(losses)}
    names = [*(f"logistic_branch_{k + 2}" for k in range(NUM_BRANCHES)), "logistic_fusion"]
    return dict(zip(names, losses, strict=True))


def make_predictor(
    model: keras.Model, read_out_arguments: dict
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns the compiled function from a picture [H, W, 3] uint8 to embedding and boundary map.

    read_out_arguments: `scales`, see `multi_scale_map`. The embedding is that of scale 1.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def predictor(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def map_of(batch: tf.Tensor) -> tf.Tensor:
            return boundary_map(model(batch, training=False)["logit"])

        found = multi_scale_map(map_of, image[tf.newaxis], read_out_arguments["scales"])
        return model(image[tf.newaxis], training=False)["embedding"][0], found[0]

    return predictor


def evaluate(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict
) -> dict[str, float]:
    """Returns the scores of the boundary map, thinned by non-maximum suppression.

    Args:
      model: of `boundary_model`.
      examples: batches of one picture, keys `image` and `annotator_boundary`.
      read_out_arguments: as `make_predictor`.

    Returns:
      The keys of `rpe_tf.metrics.boundary_pr.summarize`, at 33 thresholds.
    """
    predictor = make_predictor(model, read_out_arguments)
    # Not forked: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        counted = []
        for example in examples:
            _, found = predictor(example["image"][0])
            annotators = example["annotator_boundary"][0].numpy()
            thinned = edge_thinning.suppress_non_maxima(found.numpy())
            counted.append(pool.submit(boundary_pr.score_image, thinned, annotators, _THRESHOLDS))
        return boundary_pr.summarize([future.result() for future in counted], _THRESHOLDS)


def draw(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict, scale: int = 1
) -> Image.Image:
    """Returns a contact sheet, a row an example, of what Fig. 7 and 15 to 18 show.

    Columns: picture, mean of the annotators, map, map thinned, the embedding of each branch as RGB.
    """
    predictor = make_predictor(model, read_out_arguments)
    rows = []
    for example in examples:
        embedding, found = (x.numpy() for x in predictor(example["image"][0]))
        truth = example["annotator_boundary"][0].numpy().mean(axis=0)
        maps = (truth, found, edge_thinning.suppress_non_maxima(found))
        branches = np.split(embedding, NUM_BRANCHES, axis=-1)
        rows.append(
            [
                example["image"][0].numpy(),
                *(paint_map(x) for x in maps),
                *(embedding_to_rgb(x) for x in branches),
            ]
        )
    titles = ["image", "annotators", "boundary", "thinned"]
    titles += [f"branch {k + 2}" for k in range(NUM_BRANCHES)]
    return contact_sheet(rows, titles, scale)


def paint_map(boundary: np.ndarray) -> np.ndarray:
    """Returns a map [H, W] in [0, 1] as a picture [H, W, 3] uint8, boundaries dark on white."""
    return np.repeat(np.rint(255 * (1 - boundary)).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
