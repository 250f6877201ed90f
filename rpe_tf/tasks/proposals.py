"""Object proposals (§5.3): class-free instances from one embedding, grouped by mean shift.

The only place where embedding loss, model, read-out and scores of this task meet.
"""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.drawing import contact_sheet, embedding_to_rgb, overlay, paint_instances
from rpe_tf.inference.label_map import Instances, read_out
from rpe_tf.metrics.instance_scores import score_image, summarize

# Loops after which the points are drawn.
_DRAWN_LOOPS = (1, 5, 10)


def loss_terms(training_model: keras.Model, batch: dict) -> dict[str, tf.Tensor]:
    """Returns the losses [B] of a batch by name: loss_loop_0 (the embedding) to loss_loop_T."""
    inputs = {name: batch[name] for name in ("image", "instance", "seed")}
    losses = tf.unstack(training_model(inputs, training=True), axis=-1)
    return {f"loss_loop_{loop}": loss for loop, loss in enumerate(losses)}


def make_predictor(
    model: keras.Model, read_out_arguments: dict
) -> Callable[[tf.Tensor], tuple[tf.Tensor, Instances]]:
    """Returns the compiled function from a picture [H, W, 3] uint8 to embedding and Instances."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def predictor(image: tf.Tensor) -> tuple[tf.Tensor, Instances]:
        embedding = model(image[tf.newaxis], training=False)[0]
        return embedding, read_out(embedding, **read_out_arguments)

    return predictor


def evaluate(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict
) -> dict[str, float]:
    """Returns the scores of the read-out over labelled pictures.

    Args:
      model: image → embedding.
      examples: batches of one picture, keys `image` and `instance`.
      read_out_arguments: keyword arguments of `rpe_tf.inference.label_map.read_out`.

    Returns:
      The keys of `rpe_tf.metrics.instance_scores.summarize`.
    """
    predictor = make_predictor(model, read_out_arguments)
    records = []
    for example in examples:
        _, instances = predictor(example["image"][0])
        records.append(score_image(example["instance"][0].numpy(), instances.instance.numpy()))
    return summarize(records)


def draw(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict, scale: int = 2
) -> Image.Image:
    """Returns a contact sheet, a row an example: what goes in, what the loops do, what comes out.

    Columns: picture, truth, embedding as RGB, the embedding after 1, 5 and 10 loops, instances
    over the picture. Loops run on a grid of at most about 64×64 pixels.
    """
    predictor = make_predictor(model, read_out_arguments)
    rows = []
    for example in examples:
        image, truth = example["image"][0], example["instance"][0].numpy()
        embedding, instances = predictor(image)
        # One call colours all stages, so that a colour means the same in each of them.
        stages = _grouping_stages(embedding.numpy(), read_out_arguments["concentration"])
        colors = embedding_to_rgb(np.concatenate(stages))
        after = np.split(colors, len(stages))
        result = overlay(image.numpy(), instances.instance.numpy())
        rows.append([image.numpy(), paint_instances(truth), *after, result])
    titles = ["image", "truth", "embedding", *(f"{n} loops" for n in _DRAWN_LOOPS), "instances"]
    return contact_sheet(rows, titles, scale)


def _grouping_stages(embedding: np.ndarray, concentration: float) -> list[np.ndarray]:
    """Returns [h, w, D] of a grid of pixels: as it is, and after each of _DRAWN_LOOPS loops."""
    step = -(-max(embedding.shape[:2]) // 64)
    grid = embedding[::step, ::step]
    points, done, stages = tf.constant(grid.reshape(-1, grid.shape[-1])), 0, [grid]
    for loops in _DRAWN_LOOPS:
        points = tiled_mean_shift(points, concentration, loops - done)
        stages.append(points.numpy().reshape(grid.shape))
        done = loops
    return [np.repeat(np.repeat(x, step, axis=0), step, axis=1) for x in stages]
