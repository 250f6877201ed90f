"""The smallest margin that n groups can keep in D dimensions: known values, bounds, layouts found.

`smallest_margin` is exact up to n = 2D, and for D = 3 up to n = 12 (Tammes' problem); beyond that
it is a bound from below, and layouts of `spread_points` bound the margin from above. Beside them
stands the paper's bound for D = 3 (Prop. 2), 1 − 2π/(√3 n), which is asymptotic: fewer groups need
more than it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import pyplot as plt

from rpe_tf.core.sphere import concentration_from_margin, smallest_margin
from rpe_tf.figures.canvas import BLACK, STYLES, save_figure
from rpe_tf.figures.sphere_layouts import largest_similarity, spread_points

DIMS = (3, 8, 16, 64)
NUM_GROUPS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128)
_LARGEST_TAMMES = 12
_MARGINS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


class Feasible(NamedTuple):
    """The smallest margin of n groups in D dimensions.

    Attributes:
      value: exact, or the best layout found, which can be met.
      bound: what no layout can be below; equal to value where that is exact.
      is_exact: whether value is known to be the smallest.
    """

    value: float
    bound: float
    is_exact: bool


def feasible_margin(num_groups: int, embedding_dim: int, seed: int = 0) -> Feasible:
    """Returns the smallest margin of num_groups ≥ 1 groups in embedding_dim ≥ 2 dimensions."""
    bound = smallest_margin(num_groups, embedding_dim)
    if is_exact(num_groups, embedding_dim):
        return Feasible(bound, bound, True)
    # In few dimensions descent ends in many places; in many, one start does.
    num_starts = 1 if embedding_dim > 3 else 16 if num_groups <= 24 else 4
    layout = spread_points(num_groups, embedding_dim, seed, num_starts)
    return Feasible(largest_similarity(layout), bound, False)


def is_exact(num_groups: int, embedding_dim: int) -> bool:
    """Returns whether `smallest_margin` is the margin itself and not a bound."""
    is_solved = embedding_dim == 3 and num_groups <= _LARGEST_TAMMES
    return embedding_dim == 2 or num_groups <= 2 * embedding_dim or is_solved


def asymptotic_bound(num_groups: int) -> float:
    """Returns the paper's bound for D = 3 (Prop. 2), 1 − 2π/(√3 n); below 0 for n ≤ 3."""
    return 1.0 - 2.0 * math.pi / (math.sqrt(3.0) * num_groups)


def markdown(margins: dict[int, dict[int, Feasible]]) -> str:
    """Returns the table, a row a number of groups; ~ marks a layout found, with its bound.

    Args:
      margins: by D, then by n.
    """
    dims = list(margins)
    lines = ["| groups | " + " | ".join(f"D = {dim}" for dim in dims) + " | Prop. 2, D = 3 |"]
    lines.append("|---" * (len(dims) + 2) + "|")
    for n in margins[dims[0]]:
        bound = asymptotic_bound(n)
        cells = [_cell(margins[dim][n]) for dim in dims] + [f"{bound:.3f}" if bound > 0 else ""]
        lines.append(f"| {n} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def concentration_markdown(margins: Sequence[float] = _MARGINS) -> str:
    """Returns the table of the kernel that fits a margin: κ, and its width 1/√κ in degrees."""
    lines = ["| margin α | concentration κ | width of the kernel, degrees |", "|---|---|---|"]
    for margin in margins:
        kappa = concentration_from_margin(margin)
        width = math.degrees(1.0 / math.sqrt(kappa))
        lines.append(f"| {margin} | {kappa:.4g} | {width:.1f} |")
    return "\n".join(lines) + "\n"


def draw(
    stem: str, num_groups: Sequence[int] = NUM_GROUPS, dims: Sequence[int] = DIMS
) -> tuple[list[str], dict]:
    """Returns the paths of picture and table, stem.md, and the margins as numbers.

    They hold if no layout found is below the bound for its number of groups.
    """
    margins = {dim: {n: feasible_margin(n, dim) for n in num_groups} for dim in dims}
    paths = save_figure(_picture(margins), stem)
    with open(f"{stem}.md", "w", encoding="utf-8") as file:
        file.write(markdown(margins) + "\n" + concentration_markdown())
    every = [x for row in margins.values() for x in row.values()]
    return [*paths, f"{stem}.md"], {
        "margins": {
            str(dim): {str(n): x._asdict() for n, x in row.items()} for dim, row in margins.items()
        },
        "holds": all(x.value >= x.bound - 1e-4 for x in every),
    }


def _picture(margins: dict[int, dict[int, Feasible]]) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for (dim, row), style in zip(margins.items(), STYLES, strict=False):
        axes.plot(
            list(row), [x.value for x in row.values()], **{**style, "marker": None}, linewidth=1.2
        )
        for is_known, face in ((True, style["color"]), (False, "white")):
            points = [(n, x.value) for n, x in row.items() if x.is_exact == is_known]
            marker = {"marker": style["marker"], "color": style["color"], "linestyle": "none"}
            name = f"D = {dim}, {'exact' if is_known else 'best layout found'}"
            if points:
                axes.plot(*zip(*points, strict=True), **marker, mfc=face, markersize=6, label=name)
    groups = [n for n in next(iter(margins.values())) if asymptotic_bound(n) > 0]
    bounds = [asymptotic_bound(n) for n in groups]
    name = "Prop. 2, D = 3: asymptotic"
    axes.plot(groups, bounds, color=BLACK, linestyle=(0, (1, 2)), linewidth=1.8, label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        xlabel="groups in a picture, the background among them",
        ylabel="smallest margin α that can be met",
        title="How many groups a margin leaves room for",
        ylim=(-0.02, 1.0),
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def _cell(feasible: Feasible) -> str:
    if feasible.is_exact:
        return f"{feasible.value:.3f}"
    return f"~{feasible.value:.3f} (≥ {feasible.bound:.3f})"
