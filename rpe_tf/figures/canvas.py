"""What all figures share: colours, files, and grids of pictures.

Colours are those of Okabe and Ito, which stay apart for colour-blind eyes; every line and marker
also differs in style, so that a print in black and white can be read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")  # pictures are written to files; no screen is needed

import numpy as np
from matplotlib import pyplot as plt

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#7F7F7F"
# Colour, line style and marker of the first, second … curve of a figure.
STYLES = (
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": RED, "linestyle": "--", "marker": "s"},
    {"color": GREEN, "linestyle": "-.", "marker": "^"},
    {"color": BLACK, "linestyle": ":", "marker": "D"},
    {"color": PURPLE, "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)
SUFFIXES = (".png", ".svg")

_DPI = 110
# One salt and no date, so that the same figure gives the same SVG.
_SVG = {"svg.hashsalt": "rpe_tf", "svg.fonttype": "none"}


def save_figure(figure: plt.Figure, stem: str) -> list[str]:
    """Returns the paths written, stem.png and stem.svg, each under a temporary name first.

    Args:
      figure: closed afterwards.
      stem: path without suffix; its folder is made if absent.
    """
    os.makedirs(os.path.dirname(stem) or ".", exist_ok=True)
    paths = [stem + suffix for suffix in SUFFIXES]
    with matplotlib.rc_context(_SVG):
        for path in paths:
            kind = path.rsplit(".", 1)[1]
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(
                f"{path}.part", format=kind, dpi=_DPI, bbox_inches="tight", metadata=metadata
            )
            os.replace(f"{path}.part", path)
    plt.close(figure)
    return paths


def draw_grid(
    rows: Sequence[Sequence[np.ndarray]],
    column_titles: Sequence[str],
    title: str = "",
    *,
    row_titles: Sequence[str] = (),
    side: float = 1.7,
    arrows: bool = False,
) -> plt.Figure:
    """Returns pictures in a grid, a title above each column, pixels left visible.

    Args:
      rows: for each row, one picture [H, W] or [H, W, 3] uint8 a column.
      column_titles: one a column.
      title: of the whole.
      row_titles: one a row, written at its left; none leaves the place out.
      side: width of a picture in inches; rows are as high as their first picture is.
      arrows: whether an arrow leads from each picture to the next of its row.
    """
    ratios = [row[0].shape[0] / row[0].shape[1] for row in rows]
    size = (side * len(column_titles) + 0.3, side * sum(ratios) + 0.6)
    figure, axes = plt.subplots(
        *(len(rows), len(column_titles)),
        figsize=size,
        squeeze=False,
        gridspec_kw={"height_ratios": ratios},
        layout="constrained",
    )
    for place, row in zip(axes, rows, strict=True):
        for cell, picture in zip(place, row, strict=True):
            cell.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            if arrows and cell is not place[-1]:
                # In parts of the picture: from its right edge to the next one.
                points = {"xy": (1.13, 0.5), "xytext": (1.0, 0.5), "xycoords": "axes fraction"}
                cell.annotate("", **points, arrowprops={"arrowstyle": "->", "linewidth": 1.5})
    if arrows:
        figure.get_layout_engine().set(wspace=0.12)
    for cell, text in zip(axes[0], column_titles, strict=True):
        cell.set_title(text, fontsize=9)
    for cell, text in zip(axes[:, 0], row_titles, strict=False):
        cell.set_ylabel(text, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
