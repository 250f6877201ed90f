"""Fig. 4 and a table: our embedding beside the authors' on the scenes they published.

Both embeddings take the same loops of mean shift (Eq. 3) and the same read-out: greedy groups of
pixels within a cosine of 0.95 of the first pixel left over; the largest group is background.
"""

import os
from typing import NamedTuple

import numpy as np
import scipy.io
import tensorflow as tf

from rpe_tf.core.mean_shift import mean_shift
from rpe_tf.drawing import contact_sheet, embedding_to_rgb, paint_instances
from rpe_tf.figures.sphere import draw_spheres
from rpe_tf.metrics.instance_scores import score_image, summarize

_READ_OUT_COSINE = 0.95
_DRAWN_SCENES = (2, 23, 18, 28)


class Published(NamedTuple):
    """What the authors' file holds."""

    image: np.ndarray  # [30, 64, 64, 3] uint8
    instance: np.ndarray  # [30, 64, 64] int32
    embedding: np.ndarray  # [30, 64, 64, 3] after the last of 5 loops, κ = 25


def read_published(path: str) -> Published:
    """Returns scenes, truth and the authors' embedding after their last loop."""
    content = scipy.io.loadmat(path)
    image = np.rint(np.moveaxis(content["imgMat"], -1, 0) * 255).astype(np.uint8)
    instance = np.moveaxis(content["instanceMaskMat"][:, :, 0], -1, 0).astype(np.int32)
    embedding = np.moveaxis(content["predInstanceMaskMat"][0, -1], -1, 0)
    return Published(image, instance, embedding)


def greedy_instances(points: np.ndarray, cosine: float = _READ_OUT_COSINE) -> np.ndarray:
    """Returns the instance map [H, W] int32 of grouped points [H, W, D]; the largest group is 0."""
    x = points.reshape(-1, points.shape[-1])
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    group, count = np.full(len(x), -1), 0
    while (group < 0).any():
        first = int(np.argmax(group < 0))
        near = (group < 0) & (x @ x[first] >= cosine)
        near[first] = True
        group[near] = count
        count += 1
    background = np.bincount(group).argmax()
    return np.where(group == background, 0, group + 1).reshape(points.shape[:2]).astype(np.int32)


def grouped(embedding: np.ndarray, concentration: float, num_loops: int) -> np.ndarray:
    """Returns the pixels [H, W, D] of one scene after num_loops loops."""
    points = embedding.reshape(-1, embedding.shape[-1])
    moved = mean_shift(tf.constant(points), concentration, num_loops)
    return moved.numpy().reshape(embedding.shape)


def score(instance: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Returns the scores of grouped points [N, H, W, D] against the true maps [N, H, W]."""
    found = [greedy_instances(x) for x in points]
    return summarize([score_image(*pair) for pair in zip(instance, found, strict=True)])


def draw(
    published: Published, embedding: np.ndarray, shifted: np.ndarray, output_dir: str
) -> list[str]:
    """Returns the paths of the pictures written: scenes side by side, and one on the sphere.

    Args:
      published: the authors' file.
      embedding: ours of its scenes, [30, 64, 64, 3].
      shifted: the same after the loops.
      output_dir: an existing folder.
    """
    rows = [
        [
            published.image[k],
            paint_instances(published.instance[k]),
            embedding_to_rgb(published.embedding[k]),
            paint_instances(greedy_instances(published.embedding[k])),
            embedding_to_rgb(embedding[k]),
            embedding_to_rgb(shifted[k]),
            paint_instances(greedy_instances(shifted[k])),
        ]
        for k in _DRAWN_SCENES
    ]
    titles = ["scene", "truth", "authors, 5 loops", "their instances", "ours", "ours, grouped"]
    paths = [os.path.join(output_dir, name) for name in ("scenes.png", "sphere.png")]
    contact_sheet(rows, [*titles, "our instances"], 2).save(paths[0])
    k = _DRAWN_SCENES[0]
    stages = {"ours, before grouping": embedding[k], "ours, grouped": shifted[k]}
    draw_spheres(stages, published.instance[k], paths[1])
    return paths
