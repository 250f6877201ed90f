"""Figs. 9 and 10: classes near true borders, of a net with the embedding loss and of one without.

Fig. 9 is the trimap curve: mean IoU within a band round true class borders, against the band's half
width. Fig. 10 shows where the maps of the two nets differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colors
from matplotlib import pyplot as plt

from rpe_tf.drawing import paint_instances
from rpe_tf.figures.canvas import BLUE, ORANGE, STYLES, draw_grid, save_figure
from rpe_tf.figures.trained_run import Example, TrainedNet
from rpe_tf.metrics.mean_iou import TRIMAP_WIDTHS_PX, mean_iou, trimap_confusion

# A band wider than this part of a picture's side is no band.
_WIDEST = 0.25


class Pair(NamedTuple):
    """Two nets on the same pictures."""

    truth: list[np.ndarray]  # [H, W] int32 classes each, −1 void
    with_loss: list[np.ndarray]  # [H, W] int32
    without_loss: list[np.ndarray]
    num_classes: int


def predict_pair(
    with_loss: TrainedNet, without_loss: TrainedNet, examples: Sequence[Example]
) -> Pair:
    """Returns the class maps of both nets.

    Raises:
      ValueError: if the nets have not the same classes, or the second was trained with the
        embedding loss too.
    """
    counts = [net.settings["model"]["num_classes"] for net in (with_loss, without_loss)]
    if counts[0] != counts[1]:
        raise ValueError(
            f"{with_loss.path} has {counts[0]} classes, {without_loss.path} {counts[1]}"
        )
    if without_loss.settings["loss"]["embedding_weight"] != 0:
        raise ValueError(
            f"{without_loss.path} was trained with the embedding loss; --plain_run is of "
            "--embedding_weight=0"
        )
    found = [
        [net.predict(x.image)["semantic"] for x in examples] for net in (with_loss, without_loss)
    ]
    return Pair([x.semantic for x in examples], *found, counts[0])


def trimap_curves(pair: Pair) -> dict[str, list[float]]:
    """Returns `half_width_px`, and the mean IoU of each net in each band, in [0, 1]."""
    side = min(min(x.shape) for x in pair.truth)
    widths = [w for w in TRIMAP_WIDTHS_PX if w <= _WIDEST * side] or [TRIMAP_WIDTHS_PX[0]]
    curves = {"half_width_px": widths}
    for name in ("with_loss", "without_loss"):
        confusion = sum(
            trimap_confusion(truth, found, pair.num_classes, widths)
            for truth, found in zip(pair.truth, getattr(pair, name), strict=True)
        )
        curves[name] = [mean_iou(band) for band in confusion]
    return curves


def draw_curves(stem: str, pair: Pair) -> tuple[list[str], dict]:
    """Returns the paths of Fig. 9 and the curves; they hold if the loss helps in every band."""
    curves = trimap_curves(pair)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    names = {"with_loss": "with the embedding loss", "without_loss": "without"}
    for (key, name), style in zip(names.items(), STYLES, strict=False):
        axes.plot(curves["half_width_px"], curves[key], **style, markersize=5, label=name)
    axes.set(
        xlabel="half width of the band round true class borders, pixels",
        ylabel="mean IoU in the band",
        title=f"Classes near borders, {len(pair.truth)} pictures (Fig. 9)",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    gains = np.subtract(curves["with_loss"], curves["without_loss"])
    return save_figure(figure, stem), {
        **curves,
        "num_pictures": len(pair.truth),
        "smallest_gain": float(gains.min()),
        "largest_gain": float(gains.max()),
        "holds": bool(gains.min() > 0),
    }


def paint_difference(
    truth: np.ndarray, with_loss: np.ndarray, without_loss: np.ndarray
) -> np.ndarray:
    """Returns where one net alone is right, [H, W, 3] uint8.

    Dark blue with the loss, light orange without; grey where both are wrong, white elsewhere.
    """
    right, other = with_loss == truth, without_loss == truth
    picture = np.full([*truth.shape, 3], 255, np.uint8)
    picture[~right & ~other & (truth >= 0)] = 190
    for is_chosen, color in ((right & ~other, BLUE), (other & ~right, ORANGE)):
        picture[is_chosen & (truth >= 0)] = np.rint(255 * np.array(colors.to_rgb(color)))
    return picture


def draw_maps(
    stem: str, pair: Pair, examples: Sequence[Example], num_pictures: int = 3
) -> tuple[list[str], dict]:
    """Returns the paths of Fig. 10, the pictures on which the nets differ most, and its numbers.

    The numbers are of all pictures: pixels that one net alone has right.
    """
    maps = list(zip(pair.truth, pair.with_loss, pair.without_loss, strict=True))
    differences = [int(((a != b) & (truth >= 0)).sum()) for truth, a, b in maps]
    shown = np.argsort(differences, kind="stable")[::-1][:num_pictures]
    rows = [
        [examples[k].image, *(paint_instances(x) for x in maps[k]), paint_difference(*maps[k])]
        for k in shown
    ]
    titles = ["picture", "true classes", "with embedding loss", "without", "one alone is right"]
    figure = draw_grid(
        *(rows, titles),
        "Classes (Fig. 10); at the right dark: with the loss, light: without, grey: neither",
        side=2.0,
    )
    numbers = {
        "pixels_right_with_loss_alone": sum(
            int(((a == t) & (b != t) & (t >= 0)).sum()) for t, a, b in maps
        ),
        "pixels_right_without_loss_alone": sum(
            int(((b == t) & (a != t) & (t >= 0)).sum()) for t, a, b in maps
        ),
        "num_pictures": len(maps),
    }
    right, other, _ = numbers.values()
    return save_figure(figure, stem), {**numbers, "holds": right > other}
