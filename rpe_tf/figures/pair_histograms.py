"""Fig. 12: the similarity of positive and of negative pairs after each of 10 loops of grouping.

The histograms sharpen: both entropies fall. Their overlap need not: a pixel that lies nearer to
another instance is drawn into that one, and its pairs end among those of the other kind.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt

from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.figures.canvas import BLUE, RED, save_figure
from rpe_tf.figures.trained_run import Example, TrainedNet, crop

NUM_LOOPS = 10
_NUM_BINS = 50
# Pixels a picture whose pairs are looked at; all pixels are grouped.
_NUM_PIXELS = 600
_DRAWN_LOOPS = (0, 1, 2, 3, 5, 10)
# An overlap is a mean over pictures; less than this is no rise.
_TOLERANCE = 2e-3


def pair_histograms(points: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """Returns the distribution of s over the pairs of one instance, and over those of two.

    Pairs weigh w_i w_j as in Eq. 2, so that an instance counts the same whatever its size; no
    pixel is paired with itself.

    Args:
      points: [N, D] float, unit rows.
      instance: [N] int, void left out.

    Returns:
      [2, bins] float64; each row sums to 1, or to 0 where there is no such pair.
    """
    first, second = np.triu_indices(len(instance), 1)
    similarity = 0.5 * (1.0 + (points @ points.T)[first, second])
    # Rounding takes s a little beyond 1; s = 1 belongs to the last bin.
    bins = np.clip((similarity * _NUM_BINS).astype(int), 0, _NUM_BINS - 1)
    _, index, counts = np.unique(instance, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[index.ravel()]
    weights = weight[first] * weight[second]
    is_same = instance[first] == instance[second]
    rows = []
    for chosen in (is_same, ~is_same):
        row = np.bincount(bins[chosen], weights[chosen], _NUM_BINS)
        rows.append(row / row.sum() if row.sum() else row)
    return np.stack(rows)


def overlap(histograms: np.ndarray) -> float:
    """Returns what two distributions [2, bins] share, Σ min(p, q): 1 if equal, 0 if disjoint."""
    return float(histograms.min(axis=0).sum())


def entropy_bits(histogram: np.ndarray) -> float:
    """Returns the entropy of a distribution [bins], 0 where all of it is in one bin."""
    filled = histogram[histogram > 0]
    return float(-(filled * np.log2(filled)).sum())


def histograms_by_loop(
    net: TrainedNet, examples: Sequence[Example], seed: int = 0
) -> tuple[np.ndarray, int]:
    """Returns the mean histograms [1 + NUM_LOOPS, 2, bins] over pictures, and of how many.

    Pictures without two groups are left out; 600 pixels of each are drawn by the seed.

    Raises:
      ValueError: if no picture has two groups.
    """
    rng, found = np.random.default_rng(seed), []
    for example in examples:
        example, embedding = crop(example, net.predict(example.image)["embedding"])
        labels = net.labels(example.instance).ravel()
        used = np.flatnonzero(labels >= 0)
        drawn = rng.permutation(used)[:_NUM_PIXELS]
        if len(np.unique(labels[drawn])) < 2:
            continue
        points = tf.constant(embedding.reshape(-1, embedding.shape[-1])[used])
        place = np.searchsorted(used, drawn)
        stages = [points]
        for _ in range(NUM_LOOPS):
            stages.append(tiled_mean_shift(stages[-1], net.concentration, 1))
        found.append([pair_histograms(x.numpy()[place], labels[drawn]) for x in stages])
    if not found:
        raise ValueError("no picture of the shards has two groups; give --shards with instances")
    return np.mean(found, axis=0), len(found)


def draw(stem: str, net: TrainedNet, examples: Sequence[Example]) -> tuple[list[str], dict]:
    """Returns the paths of the figure and the overlap after each loop; stem as `save_figure`."""
    histograms, num_pictures = histograms_by_loop(net, examples)
    overlaps = [overlap(x) for x in histograms]
    figure, panels = plt.subplots(
        2, 3, figsize=(9.5, 5), sharex=True, sharey=True, layout="constrained"
    )
    edges = np.linspace(0.0, 1.0, _NUM_BINS + 1)
    for axes, loop in zip(panels.flat, _DRAWN_LOOPS, strict=True):
        negative, positive = histograms[loop][1], histograms[loop][0]
        axes.stairs(
            *(positive, edges),
            **{"color": BLUE, "fill": False, "hatch": "////", "linewidth": 1.2},
            label="positive pairs: one instance",
        )
        axes.stairs(
            *(negative, edges),
            **{"color": RED, "linestyle": "--", "fill": False, "hatch": "....", "linewidth": 1.2},
            label="negative pairs: two instances",
        )
        axes.axvline(net.margin, color="0.3", linestyle=":", linewidth=1, label="margin α")
        name = "embedding" if loop == 0 else f"{loop} loop{'s' * (loop > 1)}"
        axes.set_title(f"{name}: overlap {overlaps[loop]:.4f}", fontsize=9)
        axes.set_yscale("log")
        axes.set_ylim(1e-4, 1.5)
    for axes in panels[-1]:
        axes.set_xlabel("similarity s (Eq. 1)")
    for axes in panels[:, 0]:
        axes.set_ylabel("share of pairs")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"Pairs after each loop, mean of {num_pictures} pictures (Fig. 12)")
    return save_figure(figure, stem), _numbers(histograms, net.concentration, num_pictures)


def _numbers(histograms: np.ndarray, concentration: float, num_pictures: int) -> dict:
    overlaps = [overlap(x) for x in histograms]
    positive, negative = ([entropy_bits(x) for x in histograms[:, k]] for k in (0, 1))
    falls = all(b <= a + _TOLERANCE for a, b in itertools.pairwise(overlaps))
    return {
        "num_pictures": num_pictures,
        "concentration": concentration,
        "overlap_by_loop": overlaps,
        "positive_entropy_bits_by_loop": positive,
        "negative_entropy_bits_by_loop": negative,
        "overlap_falls": falls and overlaps[-1] < overlaps[0],
        "holds": positive[-1] < positive[0] and negative[-1] < negative[0],
    }
