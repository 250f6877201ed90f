"""Fig. 2: the loss of one pair of pixels against their similarity (Eq. 2)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt

from rpe_tf.core.pair_loss import pair_loss
from rpe_tf.figures.canvas import BLACK, STYLES, save_figure

MARGINS = (0.3, 0.5, 0.7)
# Far from the kink a line through two points has the slope of the curve.
_CLEAR = 0.05


def loss_of_pair(similarity: np.ndarray, is_same: bool, margin: float) -> np.ndarray:
    """Returns what a pair adds to Eq. 2 at weight 1, by the program's own loss.

    Two pixels lie at the angle of each similarity; of a batch of such pairs the loss is half that
    of its one pair: as the mean over i = j too in one instance, as a quarter for each order in two.

    Args:
      similarity: s, [M], in [0, 1].
      is_same: whether the two pixels are of one instance.
      margin: α in [0, 1].

    Returns:
      [M] float64.
    """
    cosine = 2.0 * np.asarray(similarity, np.float64) - 1.0
    second = np.stack([cosine, np.sqrt(np.maximum(0.0, 1.0 - cosine**2))], axis=-1)
    pair = np.stack([np.broadcast_to([1.0, 0.0], second.shape), second], axis=1)
    instance = np.broadcast_to([1, 1 if is_same else 2], pair.shape[:2])
    loss = pair_loss(tf.constant(pair), tf.constant(instance, tf.int32), margin)
    return 2.0 * loss.numpy()


def measure_kink(similarity: np.ndarray, loss: np.ndarray) -> dict[str, float]:
    """Returns the slopes of a hinge at its two ends, and where their lines meet.

    Args:
      similarity: [M], rising.
      loss: [M].

    Returns:
      slope_below, slope_above, kink: a similarity.
    """
    below, above = (np.polyfit(similarity[part], loss[part], 1) for part in _ends(similarity))
    kink = (above[1] - below[1]) / (below[0] - above[0])
    return {"slope_below": float(below[0]), "slope_above": float(above[0]), "kink": float(kink)}


def draw(stem: str) -> tuple[list[str], dict]:
    """Returns the paths of the figure, and slopes and kink of each curve; stem as `save_figure`."""
    similarity = np.linspace(0.0, 1.0, 201)
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    positive = loss_of_pair(similarity, True, MARGINS[0])
    axes.plot(similarity, positive, color=BLACK, linewidth=2, label="one instance: 1 − s")
    slope = float(np.polyfit(similarity, positive, 1)[0])
    numbers = {"slope_positive": slope, "negative": {}}
    for margin, style in zip(MARGINS, STYLES, strict=False):
        loss = loss_of_pair(similarity, False, margin)
        name = f"two instances, α = {margin}: max(0, s − α)"
        axes.plot(similarity, loss, **style, markevery=20, markersize=4, label=name)
        numbers["negative"][str(margin)] = measure_kink(similarity, loss)
    axes.set(
        xlabel="calibrated cosine similarity s (Eq. 1)",
        ylabel="loss of the pair",
        title="Pair loss against similarity (Fig. 2)",
        xlim=(0, 1),
        ylim=(-0.02, 1.02),
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper center")
    numbers["holds"] = abs(slope + 1) < 1e-6 and all(
        abs(x["slope_below"]) < 1e-6
        and abs(x["slope_above"] - 1) < 1e-6
        and abs(x["kink"] - float(margin)) < 1e-6
        for margin, x in numbers["negative"].items()
    )
    return save_figure(figure, stem), numbers


def _ends(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    span = 5 * _CLEAR
    return similarity <= similarity[0] + span, similarity >= similarity[-1] - span
