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
from rpe_tf.inference.picture_scale import embedding_predictor
from rpe_tf.inference.pooling import (
    Proposals,
    pool_proposals,
    pooling_arguments,
    single_arguments,
)
from rpe_tf.metrics import proposal_recall
from rpe_tf.metrics.instance_scores import score_image, summarize

# Loops after which the points are drawn.
_DRAWN_LOOPS = (1, 5, 10)
# Proposals that are drawn.
_DRAWN_PROPOSALS = 10
# Figures of the pooled proposals among a run's own.
_POOLED_FIGURES = ("ar_10", "ar_60", "ar_100", "ar_50_10", "ar_50_60")


def loss_terms(training_model: keras.Model, batch: dict) -> dict[str, tf.Tensor]:
    """Returns the losses [B] of a batch by name: loss_loop_0 (the embedding) to loss_loop_T."""
    inputs = {name: batch[name] for name in ("image", "instance", "seed")}
    losses = tf.unstack(training_model(inputs, training=True), axis=-1)
    return {f"loss_loop_{loop}": loss for loop, loss in enumerate(losses)}


def make_predictor(
    model: keras.Model, read_out_arguments: dict
) -> Callable[[tf.Tensor], tuple[tf.Tensor, Instances]]:
    """Returns the compiled function from a picture [H, W, 3] uint8 to embedding and Instances."""
    predict = embedding_predictor(model, read_out_arguments)
    arguments = single_arguments(read_out_arguments)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def predictor(image: tf.Tensor) -> tuple[tf.Tensor, Instances]:
        embedding = predict(image[tf.newaxis])["embedding"][0]
        return embedding, read_out(embedding, **arguments)

    return predictor


def make_pooler(read_out_arguments: dict) -> Callable[[tf.Tensor], Proposals]:
    """Returns the compiled function from an embedding [H, W, D] to its pooled proposals.

    read_out_arguments: as `evaluate`.
    """
    arguments = pooling_arguments(read_out_arguments)
    return tf.function(
        lambda embedding: pool_proposals(embedding, **arguments), reduce_retracing=True
    )


def evaluate(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict
) -> dict[str, float]:
    """Returns the scores of the read-out over labelled pictures.

    Args:
      model: image → embedding.
      examples: batches of one picture, keys `image` and `instance`.
      read_out_arguments: keyword arguments of `rpe_tf.inference.label_map.read_out`; and
        `concentrations`, those whose instances are pooled, see `pool_proposals`; and `scales`, the
        one that the picture is read at.

    Returns:
      The keys of `rpe_tf.metrics.instance_scores.summarize`; with more than one concentration also
      `ar_10`, `ar_60`, `ar_100`, `ar_50_10` and `ar_50_60` of the pooled proposals, as
      `rpe_tf.metrics.proposal_recall.summarize`.
    """
    predictor, pool = make_predictor(model, read_out_arguments), make_pooler(read_out_arguments)
    is_pooled = len(set(pooling_arguments(read_out_arguments)["concentrations"])) > 1
    records, pooled = [], []
    for example in examples:
        embedding, instances = predictor(example["image"][0])
        truth = example["instance"][0].numpy()
        records.append(score_image(truth, instances.instance.numpy()))
        if is_pooled:
            pooled.append(_score_proposals(truth, pool(embedding)))
    scores = summarize(records)
    if is_pooled:
        recalls = proposal_recall.summarize(pooled)
        scores |= {name: recalls[name] for name in _POOLED_FIGURES}
    return scores


def proposal_masks(proposals: Proposals, most: int) -> np.ndarray:
    """Returns the masks of the first proposals, best first, [at most `most`, H, W] bool."""
    maps, source = proposals.maps.numpy(), proposals.source.numpy()[:most]
    return maps[source[:, 0]] == source[:, 1, np.newaxis, np.newaxis]


def _score_proposals(truth: np.ndarray, proposals: Proposals) -> proposal_recall.ProposalRecord:
    # No figure looks beyond the last of REPORTED, and masks are large.
    masks = proposal_masks(proposals, max(proposal_recall.REPORTED))
    return proposal_recall.score_picture(truth, masks, proposals.scores.numpy()[: len(masks)])


def draw(
    model: keras.Model, examples: Iterable[dict], read_out_arguments: dict, scale: int = 2
) -> Image.Image:
    """Returns a contact sheet, a row an example: what goes in, what the loops do, what comes out.

    Columns: picture, truth, embedding as RGB, the embedding after 1, 5 and 10 loops, instances
    over the picture, the 10 best proposals as outlines. Loops run on a grid of at most about 64×64
    pixels.
    """
    predictor, pool = make_predictor(model, read_out_arguments), make_pooler(read_out_arguments)
    rows = []
    for example in examples:
        image, truth = example["image"][0], example["instance"][0].numpy()
        embedding, instances = predictor(image)
        # One call colours all stages, so that a colour means the same in each of them.
        stages = _grouping_stages(embedding.numpy(), read_out_arguments["concentration"])
        colors = embedding_to_rgb(np.concatenate(stages))
        after = np.split(colors, len(stages))
        result = overlay(image.numpy(), instances.instance.numpy())
        outlines = outline_proposals(
            image.numpy(), proposal_masks(pool(embedding), _DRAWN_PROPOSALS)
        )
        rows.append([image.numpy(), paint_instances(truth), *after, result, outlines])
    titles = ["image", "truth", "embedding", *(f"{n} loops" for n in _DRAWN_LOOPS), "instances"]
    return contact_sheet(rows, [*titles, "proposals"], scale)


def outline_proposals(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Returns the picture with an outline of each mask, the best on top.

    Args:
      image: [H, W, 3] uint8.
      masks: [P, H, W] bool, best first.

    Returns:
      [H, W, 3] uint8.
    """
    for rank in reversed(range(len(masks))):
        # The id gives the colour, the same for a rank in all pictures.
        image = overlay(image, np.where(masks[rank], rank + 1, 0), opacity=0)
    return image


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
