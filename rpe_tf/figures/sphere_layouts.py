"""Points spread on a sphere so that the largest similarity of two is small, found by descent.

The points repel one another: (1/p) log Σ_{i<j} exp(p x_iᵀx_j) is minimised by L-BFGS for a rising
power p, from random starts. It is above the largest cosine by at most log(pairs)/p, so with the
last power little is left of that. What is found can be met, hence bounds the smallest margin from
above; that no layout is better is not shown.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize
from threadpoolctl import threadpool_limits

_POWERS = (4.0, 20.0, 100.0, 500.0, 2500.0, 12500.0)
_MAX_ITERATIONS = 300


def spread_points(num_points: int, dim: int, seed: int = 0, num_starts: int = 4) -> np.ndarray:
    """Returns the best layout found, [num_points, dim] float64, unit rows.

    Args:
      num_points: ≥ 2.
      dim: D ≥ 2.
      seed: of the starts.
      num_starts: ≥ 1; more find better layouts of few dimensions.

    Raises:
      ValueError: if an argument is below what is stated.
    """
    if num_points < 2 or dim < 2 or num_starts < 1:
        raise ValueError(
            "spread_points needs num_points and dim >= 2 and num_starts >= 1, got "
            f"{num_points}, {dim} and {num_starts}"
        )
    rng = np.random.default_rng(seed)
    # Matrices this small are slower on several threads than on one.
    with threadpool_limits(1):
        layouts = [_descend(rng.standard_normal([num_points, dim])) for _ in range(num_starts)]
    return min(layouts, key=largest_similarity)


def largest_similarity(points: np.ndarray) -> float:
    """Returns the largest calibrated similarity of two different rows of points [N, D]."""
    cosine = points @ points.T
    return float(0.5 * (1.0 + cosine[np.triu_indices(len(points), 1)].max()))


def _descend(start: np.ndarray) -> np.ndarray:
    x = start
    for power in _POWERS:
        found = optimize.minimize(
            _repulsion,
            x.ravel(),
            args=(x.shape, power),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_ITERATIONS, "maxcor": 20},
        )
        x = _unit(found.x.reshape(x.shape))
    return x


def _repulsion(flat: np.ndarray, shape: tuple[int, int], power: float) -> tuple[float, np.ndarray]:
    """Returns the smoothed largest cosine of the directions of rows, and its gradient."""
    x = flat.reshape(shape)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    unit = x / length
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    largest = cosine.max()
    weight = np.exp(power * (cosine - largest))
    total = weight.sum()
    value = largest + np.log(0.5 * total) / power
    pull = 2.0 * weight @ unit / total
    along = pull - (pull * unit).sum(axis=-1, keepdims=True) * unit
    return value, (along / length).ravel()


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
