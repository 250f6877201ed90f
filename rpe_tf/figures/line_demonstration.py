"""Fig. 13: mean shift on a line, where its gradient can be seen point by point.

1,000 points each from N(3, .2), N(4, .3), N(5, .1); class 1 below 3.5, class 2 above. A regressor
that is never trained, f(x) = ½x − ½, is right where class 1 lies at 3 and class 2 at 5. The points
themselves are moved by 30 gradient steps of size 0.1 on the squared error Σ_i (f(x_i) − y_i)²,
taken of the points as they are, of those that T loops of grouping make of them, or after every
loop. The kernel is exp(−½ (x_i − x_j)² / b²): a line, no sphere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib import pyplot as plt

from rpe_tf.figures.canvas import STYLES, save_figure

SPLIT, NUM_STEPS, STEP_SIZE, BANDWIDTH, PILE_BANDWIDTH = 3.5, 30, 0.1, 0.1, 0.2
_PILES = ((3.0, 0.2), (4.0, 0.3), (5.0, 0.1))  # mean and standard deviation
_NUM_PILE_LOOPS = 20
# Converged points further apart belong to two piles.
_PILE_GAP = 0.1


class Case(NamedTuple):
    """Which loss the points are moved by."""

    title: str
    num_loops: int
    on_every_loop: bool


CASES = (
    Case("no grouping", 0, False),
    Case("1 loop, loss on the last", 1, False),
    Case("5 loops, loss on the last", 5, False),
    Case("5 loops, loss on every one", 5, True),
)


class Trace(NamedTuple):
    """What became of the points under one loss."""

    points: np.ndarray  # [N] after the last step, before grouping
    grouped: np.ndarray  # [N] the same after the loops of the case
    first_gradient: np.ndarray  # [N] at the first step
    gradient_size: np.ndarray  # [steps] mean |∂L/∂x_i|


def draw_points(num_points: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions and classes, 1 or 2, of num_points points a pile, each [3 · num_points]."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(mean, spread, num_points) for mean, spread in _PILES])
    return x, np.where(x < SPLIT, 1, 2)


def group_on_line(points: np.ndarray, bandwidth: float, num_loops: int) -> list[np.ndarray]:
    """Returns the points [N] before the first loop of mean shift and after each."""
    stages = [points]
    for _ in range(num_loops):
        kernel = _kernel(stages[-1], bandwidth)
        stages.append(kernel @ stages[-1] / kernel.sum(axis=0))
    return stages


def loss_gradient(
    points: np.ndarray, label: np.ndarray, bandwidth: float, num_loops: int, on_every_loop: bool
) -> np.ndarray:
    """Returns ∂L/∂x [N] of the squared error through the loops, 0 at the ideal points 3 and 5.

    Args:
      points: x, [N].
      label: [N], 1 or 2.
      bandwidth: b > 0.
      num_loops: T ≥ 0.
      on_every_loop: whether the error is taken after each of the loops 0 … T, or after loop T.
    """
    stages, kernels = [points], []
    for _ in range(num_loops):
        kernels.append(_kernel(stages[-1], bandwidth))
        stages.append(kernels[-1] @ stages[-1] / kernels[-1].sum(axis=0))
    gradient = _error_slope(stages[-1], label)
    for before, after, kernel in zip(stages[-2::-1], stages[:0:-1], kernels[::-1], strict=True):
        gradient = _back_through_loop(before, after, kernel, gradient, bandwidth)
        if on_every_loop:
            gradient = gradient + _error_slope(before, label)
    return gradient


def descend(case: Case, points: np.ndarray, label: np.ndarray) -> Trace:
    """Returns where 30 gradient steps under the loss of a case take the points [N]."""
    moved, sizes, first = points, [], None
    for _ in range(NUM_STEPS):
        slope = loss_gradient(moved, label, BANDWIDTH, *case[1:])
        first = slope if first is None else first
        sizes.append(np.abs(slope).mean())
        moved = moved - STEP_SIZE * slope
    grouped = group_on_line(moved, BANDWIDTH, case.num_loops)[-1]
    return Trace(moved, grouped, first, np.array(sizes))


def num_piles(points: np.ndarray, gap: float = _PILE_GAP) -> int:
    """Returns how many runs of points [N] there are with no gap wider than `gap` inside."""
    return 1 + int((np.diff(np.sort(points)) > gap).sum())


def observe(points: np.ndarray, label: np.ndarray, traces: list[Trace]) -> dict:
    """Returns the appendix's observations as numbers, and whether they are seen.

    Args:
      points: [N] at the start.
      label: [N].
      traces: one a case of CASES.
    """
    sizes = [float(trace.gradient_size[0]) for trace in traces]
    spreads = [_spread(trace.points, label) for trace in traces]
    piles = num_piles(group_on_line(points, PILE_BANDWIDTH, _NUM_PILE_LOOPS)[-1])
    none, one, last, every = range(len(CASES))
    claims = {
        "grouping_gives_larger_gradients": sizes[one] > sizes[none],
        "more_loops_larger_still": sizes[last] > sizes[one],
        "last_loop_loss_leaves_points_loose": spreads[last] > spreads[none],
        "every_loop_loss_tightens": spreads[every] < spreads[none],
        "unsupervised_grouping_finds_three_piles": piles == 3,
    }
    return {
        "mean_gradient_at_first_step": dict(zip(_titles(), sizes, strict=True)),
        "spread_within_class_after_30_steps": dict(zip(_titles(), spreads, strict=True)),
        "num_piles_unsupervised": piles,
        "claims": claims,
        "holds": all(claims.values()),
    }


def draw(stem: str, num_points: int = 1000) -> tuple[list[str], dict]:
    """Returns the paths of the figure and its numbers, see `observe`; stem as `save_figure`."""
    points, label = draw_points(num_points)
    traces = [descend(case, points, label) for case in CASES]
    piles = group_on_line(points, PILE_BANDWIDTH, _NUM_PILE_LOOPS)[-1]
    figure = plt.figure(figsize=(10, 7.2), layout="constrained")
    panels = figure.subplot_mosaic("aab\ncde\nfgh", height_ratios=[1.2, 1, 1])
    _draw_gradients(panels["a"], points, traces)
    _draw_sizes(panels["b"], traces)
    for name, case, trace in zip("efgh", CASES, traces, strict=True):
        _draw_classes(panels[name], trace.points, label, f"after 30 steps: {case.title}")
    _draw_classes(panels["c"], points, label, "start")
    _draw_classes(panels["d"], piles, label, f"grouped alone, b = {PILE_BANDWIDTH}")
    panels["c"].legend(fontsize=7)
    panels["a"].legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.suptitle(f"Mean shift on a line, b = {BANDWIDTH} (Fig. 13)")
    return save_figure(figure, stem), observe(points, label, traces)


def _kernel(points: np.ndarray, bandwidth: float) -> np.ndarray:
    kernel = points[:, np.newaxis] - points
    # In place: fresh memory for each of these N×N arrays took three times as long.
    kernel *= kernel
    kernel *= -0.5 / bandwidth**2
    return np.exp(kernel, out=kernel)


def _error_slope(points: np.ndarray, label: np.ndarray) -> np.ndarray:
    return 0.5 * points - 0.5 - label  # 2 (f − y) f′, f′ = ½


def _back_through_loop(
    before: np.ndarray, after: np.ndarray, kernel: np.ndarray, slope: np.ndarray, bandwidth: float
) -> np.ndarray:
    """Returns ∂L/∂x of y_j = Σ_i K_ij x_i / d_j, slope g = ∂L/∂y; with h_j = g_j / d_j it is

    Σ_j K_ij (h_j − h_j (x_i − y_j)(x_i − x_j) / b² + h_i (x_j − y_i)(x_j − x_i) / b²).
    """
    centre = before.mean()  # Powers of small numbers lose fewer digits.
    x, y = before - centre, after - centre
    h = slope / kernel.sum(axis=0)
    sums = kernel @ np.stack([np.ones_like(x), x, x * x, h, h * x, h * y, h * x * y], axis=1)
    one, of_x, of_xx, of_h, of_hx, of_hy, of_hxy = sums.T
    as_source = x * x * of_h - x * of_hx - x * of_hy + of_hxy
    as_target = h * (of_xx - (x + y) * of_x + x * y * one)
    return of_h + (as_target - as_source) / bandwidth**2


def _spread(points: np.ndarray, label: np.ndarray) -> float:
    """Returns the standard deviation within classes."""
    return float(np.sqrt(np.mean([points[label == k].var() for k in (1, 2)])))


def _titles() -> list[str]:
    return [case.title for case in CASES]


def _draw_gradients(axes: plt.Axes, points: np.ndarray, traces: list[Trace]) -> None:
    order = np.argsort(points)
    for case, trace, style in zip(CASES, traces, STYLES, strict=False):
        axes.plot(
            points[order],
            trace.first_gradient[order],
            **{**style, "marker": None},
            linewidth=1.2,
            label=case.title,
        )
    axes.axvline(SPLIT, color="0.6", linewidth=0.8)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set(xlabel="position x", ylabel="∂L/∂x at the first step")


def _draw_sizes(axes: plt.Axes, traces: list[Trace]) -> None:
    for trace, style in zip(traces, STYLES, strict=False):
        steps = np.arange(1, NUM_STEPS + 1)
        axes.plot(steps, trace.gradient_size, **style, markevery=5, markersize=4)
    axes.set(xlabel="step", ylabel="mean |∂L/∂x|", yscale="log")
    axes.set_title("size of the gradient", fontsize=9)


def _draw_classes(axes: plt.Axes, points: np.ndarray, label: np.ndarray, title: str) -> None:
    bins = np.linspace(2.0, 6.0, 81)
    for k, style, hatch in ((1, STYLES[0], "////"), (2, STYLES[1], "....")):
        axes.hist(
            points[label == k],
            bins,
            histtype="stepfilled",
            facecolor="none",
            edgecolor=style["color"],
            hatch=hatch,
            linewidth=0.8,
            label=f"class {k}",
        )
    axes.set(title=title, xlabel="position x", ylabel="points", xlim=(2, 6))
    axes.title.set_fontsize(8)
