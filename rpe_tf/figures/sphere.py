"""Points on the sphere before and after grouping (Fig. 4), a colour and a marker an instance."""

import matplotlib

matplotlib.use("Agg")  # pictures are written to files; no screen is needed

import numpy as np
from matplotlib import pyplot as plt

from rpe_tf.drawing import instance_colors

_MAX_POINTS = 1500
# Of instances 1, 2 …, again and again; the background is drawn as dots.
_MARKERS = "o^sDvP*X<>"


def draw_spheres(stages: dict[str, np.ndarray], instance: np.ndarray, path: str) -> None:
    """Writes a picture with one sphere a stage.

    Args:
      stages: title → embedding [H, W, 3] of the same scene.
      instance: [H, W] int, the true ids; the background and void are drawn grey.
      path: of the PNG or SVG file.
    """
    ids = instance.ravel()
    shown = np.random.default_rng(0).permutation(len(ids))[:_MAX_POINTS]
    palette = np.concatenate([[[0.6, 0.6, 0.6]], instance_colors(max(ids.max(), 1)) / 255])
    figure = plt.figure(figsize=(5 * len(stages), 5.4))
    for place, (title, embedding) in enumerate(stages.items(), start=1):
        axes = figure.add_subplot(1, len(stages), place, projection="3d")
        _draw_globe(axes)
        points = embedding.reshape(-1, 3)[shown]
        for k in np.unique(ids[shown]):
            marker = "." if k <= 0 else _MARKERS[(k - 1) % len(_MARKERS)]
            look = {"color": palette[max(k, 0)], "marker": marker, "s": 12, "depthshade": False}
            axes.scatter(*points[ids[shown] == k].T, **look)
        axes.set_title(title, y=1.06)
    figure.tight_layout()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def _draw_globe(axes: plt.Axes) -> None:
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    globe = (np.cos(around) * np.sin(down), np.sin(around) * np.sin(down), np.cos(down))
    axes.plot_wireframe(*globe, color="0.85", linewidth=0.5)
    axes.set_box_aspect((1, 1, 1), zoom=1.6)
    axes.set_axis_off()
