"""Figs. 1, 4, 11 and 19 to 21: from pictures through embedding and loops to instances.

An embedding is drawn as colours, directly for D = 3 and through three fixed random directions
beyond; all stages of a picture in one call, so that a colour means the same in each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.drawing import embedding_to_rgb, overlay, paint_instances
from rpe_tf.figures.canvas import SUFFIXES, draw_grid, save_figure
from rpe_tf.figures.sphere import draw_spheres
from rpe_tf.figures.trained_run import Example, TrainedNet, crop, fullest, num_instances
from rpe_tf.metrics.instance_scores import score_image

_OVERVIEW_LOOPS = (1, 3, 10)
_SHEET_LOOPS = (10,)


def median_angle(embedding: np.ndarray, instance: np.ndarray) -> float:
    """Returns how far pixels are from their instance's mean direction, in degrees.

    The median over the pixels of an instance, then the mean over instances: a few pixels that went
    to the wrong instance do not count, and each instance counts the same.

    Args:
      embedding: [H, W, D], unit vectors.
      instance: [H, W] int; < 0 is left out.

    Returns:
      In [0, 180]; nan if there is no pixel but void.
    """
    angles = []
    for k in np.unique(instance[instance >= 0]):
        points = embedding[instance == k].astype(np.float64)
        mean = points.mean(axis=0)
        cosine = points @ mean / max(np.linalg.norm(mean), 1e-12)
        angles.append(np.median(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))))
    return float(np.mean(angles)) if angles else float("nan")


def stages_of(net: TrainedNet, embedding: np.ndarray, loops: Sequence[int]) -> list[np.ndarray]:
    """Returns an embedding [H, W, D] and what it is after each number of loops, rising."""
    points, done, stages = tf.constant(embedding.reshape(-1, embedding.shape[-1])), 0, [embedding]
    for loop in loops:
        points, done = tiled_mean_shift(points, net.concentration, loop - done), loop
        stages.append(points.numpy().reshape(embedding.shape))
    return stages


def draw_overview(
    stem: str, net: TrainedNet, examples: Sequence[Example]
) -> tuple[list[str], dict]:
    """Returns the paths of Fig. 1, of the picture with most instances, and how that came out."""
    row, numbers = _row_of(net, fullest(examples, 1)[0], _OVERVIEW_LOOPS)
    del row[1]  # The truth.
    titles = _titles(net, _OVERVIEW_LOOPS)
    titles = [titles[0], *titles[2:-1], f"{numbers['num_found']} instances found"]
    figure = draw_grid([row], titles, "From pixels to instances (Fig. 1)", side=2.0, arrows=True)
    angles = numbers["median_angle_degrees"]
    numbers["holds"] = angles[-1] < angles[0] and numbers["num_found"] == numbers["num_true"]
    return save_figure(figure, stem), numbers


def draw_pictures(
    stem: str, net: TrainedNet, examples: Sequence[Example], num_pictures: int = 4
) -> tuple[list[str], dict]:
    """Returns the paths of a sheet of the pictures with most instances, and its numbers.

    Those are `median_angle` before and after the loops, and the adjusted Rand index of what is
    found, a value a picture.
    """
    made = [_row_of(net, x, _SHEET_LOOPS) for x in fullest(examples, num_pictures)]
    rows, numbers = zip(*made, strict=True)
    title = "Embeddings as colours, and instances (Figs. 11, 19 to 21)"
    figure = draw_grid(rows, _titles(net, _SHEET_LOOPS), title)
    keys = ("median_angle_degrees", "ari_all", "num_true", "num_found")
    table = {key: [x[key] for x in numbers] for key in keys}
    before, after = np.mean(table["median_angle_degrees"], axis=0)
    return save_figure(figure, stem), {**table, "holds": bool(after < before)}


def draw_sphere(stem: str, net: TrainedNet, examples: Sequence[Example]) -> tuple[list[str], dict]:
    """Returns the paths of Fig. 4, pixels on the sphere before and after 10 loops, and its numbers.

    Raises:
      ValueError: if the embedding has not three dimensions.
    """
    if net.embedding_dim != 3:
        raise ValueError(
            f"{net.path} has --embedding_dim={net.embedding_dim}; the sphere needs one of 3, "
            "see rpe_tf/recipes/digits_sphere.flags"
        )
    shown = fullest(examples, 1)[0]
    shown, embedding = crop(shown, net.predict(shown.image)["embedding"])
    before, after = stages_of(net, embedding, _SHEET_LOOPS)
    paths = [stem + suffix for suffix in SUFFIXES]
    for path in paths:
        stages = {"embedding": before, "after 10 loops": after}
        draw_spheres(stages, np.maximum(shown.instance, 0), path)
    labels = net.labels(shown.instance)
    angles = [median_angle(x, labels) for x in (before, after)]
    return paths, {"median_angle_degrees": angles, "holds": angles[1] < angles[0]}


def _row_of(
    net: TrainedNet, example: Example, loops: Sequence[int]
) -> tuple[list[np.ndarray], dict]:
    """Returns the pictures of `_titles`, and the numbers of the part that is shown."""
    found = net.predict(example.image)
    example, embedding, instance = crop(example, found["embedding"], found["instance"])
    stages = stages_of(net, embedding, loops)
    colors = np.split(embedding_to_rgb(np.concatenate(stages)), len(stages))
    truth, result = paint_instances(example.instance), overlay(example.image, instance)
    labels = net.labels(example.instance)
    return [example.image, truth, *colors, result], {
        "num_true": num_instances(example.instance),
        "num_found": num_instances(instance),
        "median_angle_degrees": [median_angle(x, labels) for x in stages],
        "ari_all": score_image(example.instance, instance).ari_all,
    }


def _titles(net: TrainedNet, loops: Sequence[int]) -> list[str]:
    after = [f"{n} loop{'s' * (n > 1)}" for n in loops]
    return ["picture", "truth", f"embedding, D = {net.embedding_dim}", *after, "instances"]
