"""What the loops of grouping do to one pixel: its similarity to all others, and its path.

The path is followed among a sample of the pixels, by the plain form of mean shift, and seen in the
plane of the two directions in which the sample varies most.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from rpe_tf.core.mean_shift import mean_shift
from rpe_tf.core.sphere import similarity
from rpe_tf.drawing import instance_colors

# Pixels among which a path is followed: each loop costs their square.
SAMPLED_PIXELS = 600
# The loops end when no point of the sample moves by more, as in grouping to convergence.
_TOLERANCE = 1e-3
_BACKGROUND_COLOR = (0.7, 0.7, 0.7)


class Path(NamedTuple):
    """A pixel among a sample of S others, in the plane of the sample's principal components."""

    start: np.ndarray  # [S, 2] float32, the sample before the first loop
    end: np.ndarray  # [S, 2], after the last
    path: np.ndarray  # [L + 1, 2], the pixel before the first loop and after each of L
    sampled: np.ndarray  # [S] int64, rows of the flattened picture
    shares: np.ndarray  # [2] float32 in [0, 1], of the sample's variance, along each axis


def similarity_map(embedding: tf.Tensor, pixel: tuple[int, int]) -> np.ndarray:
    """Returns the similarity of a pixel with every pixel (Eq. 1), [H, W] float32 in [0, 1].

    Args:
      embedding: [H, W, D] float32 unit vectors.
      pixel: (y, x).
    """
    rows = tf.reshape(embedding, [-1, embedding.shape[-1]])
    found = similarity(embedding[pixel][tf.newaxis], rows)
    return np.clip(found.numpy().reshape(embedding.shape[:2]), 0.0, 1.0)


def follow(
    embedding: tf.Tensor,
    is_grouped: np.ndarray,
    pixel: tuple[int, int],
    concentration: float,
    max_loops: int,
) -> Path:
    """Returns the path of a pixel over the loops, which end early where nothing moves any more.

    Args:
      embedding: [H, W, D] float32 unit vectors.
      is_grouped: [H, W] bool, pixels that take part in the grouping; at least one.
      pixel: (y, x); it moves among SAMPLED_PIXELS of these, which the seed 0 draws.
      concentration: κ > 0.
      max_loops: 0 or more.
    """
    candidates = np.flatnonzero(is_grouped)
    size = min(SAMPLED_PIXELS, len(candidates))
    sampled = np.sort(np.random.default_rng(0).choice(candidates, size, replace=False))
    rows = tf.reshape(embedding, [-1, embedding.shape[-1]])
    # The pixel is the last of the points, whether it was drawn too or not.
    points = tf.concat([tf.gather(rows, sampled), embedding[pixel][tf.newaxis]], axis=0)
    stages = [points.numpy()]
    for _ in range(max_loops):
        stages.append(mean_shift(stages[-1], concentration, 1).numpy())
        if np.linalg.norm(stages[-1] - stages[-2], axis=1).max() <= _TOLERANCE:
            break
    mean, axes, shares = principal_plane(stages[0][:-1])
    start, end = ((stage[:-1] - mean) @ axes for stage in (stages[0], stages[-1]))
    path = (np.stack([stage[-1] for stage in stages]) - mean) @ axes
    return Path(start, end, path, sampled, shares)


def principal_plane(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean [D] of points [N, D], two axes [D, 2], and their shares [2] of the variance.

    The axes are orthonormal, the directions of most variance; 0 where the points have none.
    """
    mean = points.mean(axis=0)
    _, lengths, axes = np.linalg.svd(points - mean, full_matrices=False)
    variances = np.pad(lengths**2, (0, 2))
    shares = variances[:2] / max(variances.sum(), 1e-12)
    return mean, np.pad(axes, [(0, 2), (0, 0)])[:2].T, shares.astype(np.float32)


def draw_path(found: Path, instance: np.ndarray) -> Image.Image:
    """Returns the plane as a picture: the sample before and after the loops, and the pixel's path.

    Args:
      found: of `follow`.
      instance: [H, W] ids, whose colours the points have, grey for 0.
    """
    ids = instance.ravel()[found.sampled]
    palette = np.concatenate([[_BACKGROUND_COLOR], instance_colors(max(ids.max(), 1)) / 255])
    colors = palette[ids]
    figure = Figure(figsize=(5.2, 5.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*found.start.T, c=colors, s=7, alpha=0.45, linewidths=0, label="before")
    axes.scatter(*found.end.T, c=colors, s=55, edgecolors="black", linewidths=0.7, label="after")
    loops = len(found.path) - 1
    axes.plot(*found.path.T, "k-o", markersize=4, linewidth=1.5, label=f"the pixel, {loops} loops")
    axes.plot(*found.path[0], "kx", markersize=11, markeredgewidth=2.5, label="where it began")
    names = [f"component {k + 1} ({share:.0%} of the variance)" for k, share in _numbered(found)]
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9, framealpha=0.85)
    return _rendered(figure)


def _numbered(found: Path) -> list[tuple[int, float]]:
    return list(enumerate(found.shares.tolist()))


def _rendered(figure: Figure) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
