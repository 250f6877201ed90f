"""The precision-recall picture of a boundary evaluation."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

_F_LEVELS = np.arange(1, 10) / 10
_MAP_POINTS = 200


def draw(result: dict[str, Any]) -> Figure:
    """Returns the curve over the lines of equal F, with the points of ODS and of people.

    Args:
      result: what `boundary_evaluation.evaluate_folder` returned.
    """
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    axes = figure.add_subplot()
    _draw_equal_f(axes)
    curve = result["thresholds"]
    # A threshold above all predictions has no precision to show.
    shown = np.asarray(curve["predicted"]) > 0
    recall, precision = (np.asarray(curve[name])[shown] for name in ("recall", "precision"))
    words = f"ODS {result['ods']:.3f}, OIS {result['ois']:.3f}, AP {result['ap']:.3f}"
    axes.plot(recall, precision, color="C3", linewidth=2, label=words)
    axes.plot(result["ods_recall"], result["ods_precision"], "o", color="C3")
    human = result["human"]
    if human:
        axes.plot(
            *(human["recall"], human["precision"], "o"),
            color="C2",
            markersize=8,
            label=f"people, F {human['f']:.3f}",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", aspect="equal")
    axes.legend(loc="lower left", framealpha=0.9)
    return figure


def _draw_equal_f(axes: Any) -> None:
    side = np.linspace(1e-3, 1, _MAP_POINTS)
    recall, precision = np.meshgrid(side, side)
    lines = axes.contour(
        *(recall, precision, 2 * precision * recall / (precision + recall)),
        levels=_F_LEVELS,
        colors="0.75",
        linewidths=0.7,
    )
    axes.clabel(lines, fmt="%.1f", fontsize=7)
