"""Fig. 5: where the gradient at the embedding lies, with one loop of grouping and without.

The pair loss (Eq. 2) of the embedding itself, and of the points that one loop makes of it, are
taken back to the embedding of a trained net. Its length is constant, so only the part of a gradient
along the sphere counts. The paper sees it move to ambiguous pixels near borders: here the share of
its norm within 2 pixels of a true border.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib import colors
from matplotlib import pyplot as plt

from rpe_tf.core.pair_loss import pair_loss
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.drawing import overlay
from rpe_tf.figures.canvas import STYLES, save_figure
from rpe_tf.figures.trained_run import Example, TrainedNet, crop, fullest, num_instances
from rpe_tf.metrics.mean_iou import boundary_distance

BORDER_PX = 2
# Beside the net's own: that of the authors' program on digits.
AUTHORS_CONCENTRATION = 100.0
_DISTANCES_PX = np.arange(1, 11)
_TITLES = ("without a loop", "with one loop")
# Of colours, in parts of the largest norm.
_SCALE = colors.LogNorm(1e-3, 1.0, clip=True)


def gradient_norm(
    embedding: np.ndarray,
    instance: np.ndarray,
    margin: float,
    concentration: float,
    num_loops: int,
) -> np.ndarray:
    """Returns the norm [H, W] of the gradient at each pixel, the part along the sphere.

    Args:
      embedding: [H, W, D] float, unit vectors.
      instance: [H, W] int, −1 void: neither grouped nor scored.
      margin: α of the loss.
      concentration: κ of the loops.
      num_loops: T; the loss is that of the points after loop T alone.
    """
    points = tf.constant(embedding.reshape(-1, embedding.shape[-1]))
    labels = tf.constant(instance.ravel())
    with tf.GradientTape() as tape:
        tape.watch(points)
        moved = tiled_mean_shift(points, concentration, num_loops, mask=labels >= 0)
        loss = pair_loss(moved, labels, margin)
    x, gradient = points.numpy(), tape.gradient(loss, points).numpy()
    along = gradient - (gradient * x).sum(axis=-1, keepdims=True) * x
    return np.linalg.norm(along, axis=-1).reshape(instance.shape)


def border_share(norm: np.ndarray, instance: np.ndarray, within_px: float = BORDER_PX) -> float:
    """Returns the share of a gradient's norm that lies near borders; nan if it is 0 everywhere.

    Args:
      norm: [H, W] ≥ 0.
      instance: [H, W] int, −1 void, whose pixels do not count.
      within_px: distance to the nearest pixel of another label, in pixels, ≥ 1.
    """
    counts = np.where(instance >= 0, norm, 0.0)
    total = counts.sum()
    return (
        float(counts[boundary_distance(instance) <= within_px].sum() / total) if total else np.nan
    )


def pixels_of_half(norm: np.ndarray) -> int:
    """Returns the fewest pixels that hold half of a gradient's norm [H, W]; 0 if it is 0."""
    falling = np.sort(norm, axis=None)[::-1].cumsum()
    return int(np.searchsorted(falling, 0.5 * falling[-1]) + 1) if falling[-1] > 0 else 0


def measure(net: TrainedNet, examples: Sequence[Example]) -> dict:
    """Returns mean shares over the pictures that hold two groups, and in how many the share rises.

    `share_within_2px` is by loop and concentration, and so are the gradient's size and the pixels
    that hold half of it; `curve` is the share by distance, at the net's own concentration.

    Raises:
      ValueError: if no picture holds two groups.
    """
    shares, curves, sizes, halves = [], [], [], []
    for example in examples:
        example, embedding = crop(example, net.predict(example.image)["embedding"])
        labels = net.labels(example.instance)
        if len(np.unique(labels[labels >= 0])) < 2:
            continue
        norms = [gradient_norm(embedding, labels, net.margin, *x) for x in _variants(net)]
        shares.append([border_share(norm, labels) for norm in norms])
        sizes.append([norm.sum() for norm in norms])
        halves.append([pixels_of_half(norm) for norm in norms])
        curves.append([[border_share(n, labels, px) for px in _DISTANCES_PX] for n in norms[:2]])
    if not shares:
        raise ValueError("no picture of the shards has two groups; give --shards with instances")
    mean = np.nanmean(shares, axis=0)
    shares, keys = (
        np.array(shares),
        ("without_loop", "with_loop", "with_loop_authors_concentration"),
    )
    return {
        "num_pictures": len(shares),
        "concentration": net.concentration,
        "authors_concentration": AUTHORS_CONCENTRATION,
        "share_within_2px": dict(zip(keys, map(float, mean), strict=True)),
        "gradient_size": dict(zip(keys, map(float, np.mean(sizes, axis=0)), strict=True)),
        "pixels_of_half": dict(zip(keys, map(float, np.mean(halves, axis=0)), strict=True)),
        "share_rises_in": float(np.mean(shares[:, 1] > shares[:, 0])),
        "curve": {
            "distance_px": _DISTANCES_PX.tolist(),
            **dict(zip(keys, np.nanmean(curves, axis=0).tolist(), strict=False)),
        },
        "holds": bool(mean[1] > mean[0]),
    }


def draw(stem: str, net: TrainedNet, examples: Sequence[Example]) -> tuple[list[str], dict]:
    """Returns the paths of the figure and its numbers, see `measure`; stem as `save_figure`.

    Drawn is the picture with most instances.
    """
    numbers = measure(net, examples)
    shown = fullest(examples, 1)[0]
    shown, embedding = crop(shown, net.predict(shown.image)["embedding"])
    labels = net.labels(shown.instance)
    figure, panels = plt.subplots(1, 4, figsize=(12.5, 3.4), layout="constrained")
    panels[0].imshow(overlay(shown.image, shown.instance), interpolation="nearest")
    panels[0].set_title(f"{num_instances(shown.instance)} true instances", fontsize=9)
    for axes, title, variant in zip(panels[1:3], _TITLES, _variants(net), strict=False):
        norm = gradient_norm(embedding, labels, net.margin, *variant)
        image = axes.imshow(norm / max(norm.max(), 1e-30), cmap="cividis", norm=_SCALE)
        share, half = border_share(norm, labels), pixels_of_half(norm)
        text = f"{title}: {share:.0%} within {BORDER_PX} px,\nhalf of it in {half} pixels"
        axes.set_title(text, fontsize=9)
    figure.colorbar(image, ax=panels[2], shrink=0.8, extend="min", label="|∂L/∂x|, largest = 1")
    for axes in panels[:3]:
        axes.set(xticks=[], yticks=[])
    _draw_curve(panels[3], numbers)
    figure.suptitle("Gradient at the embedding (Fig. 5)", fontsize=11)
    return save_figure(figure, stem), numbers


def _draw_curve(axes: plt.Axes, numbers: dict) -> None:
    distance, *shares = numbers["curve"].values()
    for share, title, style in zip(shares, _TITLES, STYLES, strict=False):
        axes.plot(distance, share, **style, markersize=4, label=title)
    axes.set(
        xlabel="distance to the nearest border, pixels",
        ylabel="share of the gradient's norm",
        ylim=(0, 1.02),
    )
    axes.set_title(f"mean of {numbers['num_pictures']} pictures", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")


def _variants(net: TrainedNet) -> list[tuple[float, int]]:
    """Returns concentration and number of loops of each gradient that is measured."""
    return [(net.concentration, 0), (net.concentration, 1), (AUTHORS_CONCENTRATION, 1)]
