"""The forms in TensorFlow: ours, and the plain one that stores N×N matrices."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from rpe_tf.core.mean_shift import mean_shift
from rpe_tf.core.pair_loss import pair_loss
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.inference.grouping import group
from rpe_tf.metrics.clustering import adjusted_rand_index
from tests.benchmarks.grouping_plan import Run
from tests.benchmarks.measurement import PRODUCT_SIDE

_NUM_INSTANCES = 10
_MARGIN = 0.5
_TOLERANCE = 1e-3
_MAX_LOOPS = 50
_CLEAR_COSINE = 0.01  # points whose best two modes differ by more have one clear mode
_ROWS_AT_ONCE = 4_096


def square_product() -> Callable[[], object]:
    """Returns the product that gives the rate."""
    x = tf.random.stateless_normal([PRODUCT_SIDE, PRODUCT_SIDE], seed=[0, 0])
    return lambda: tf.matmul(x, x)


def prepare(run: Run, embedding: np.ndarray, concentration: float) -> tuple[Callable, Callable]:
    """Returns the call to time, and what takes its result to facts for the table.

    Args:
      run: what to compute.
      embedding: [N, D] float32, unit rows.
      concentration: κ > 0.
    """
    points = tf.constant(embedding)
    if run.form.case in ("forward", "gradient"):
        call = _loops(run, points, concentration)
        return call, lambda result: {}
    if run.form.case == "pair_loss":
        return _pair_loss(points), lambda result: {"loss": float(result[0])}
    return {
        "ours": _group,
        "loops10": _ten_loops,
        "converged_loops": _converged_loops,
    }[run.form.name](points, concentration)


def _loops(run: Run, points: tf.Tensor, concentration: float) -> Callable[[], tf.Tensor]:
    loops = mean_shift if run.form.name == "plain" else tiled_mean_shift

    def forward(x: tf.Tensor) -> tf.Tensor:
        return loops(x, concentration, run.num_loops)

    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(forward(x) ** 3)
        return tape.gradient(total, x)

    compiled = tf.function(
        forward if run.form.case == "forward" else gradient,
        jit_compile=run.form.name == "tiled_xla" or None,
    )
    return lambda: compiled(points)


def _pair_loss(points: tf.Tensor) -> Callable[[], tuple]:
    instance = tf.range(len(points)) * _NUM_INSTANCES // len(points)

    @tf.function
    def value_and_gradient(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = pair_loss(x, instance, _MARGIN)
        return loss, tape.gradient(loss, x)

    return lambda: value_and_gradient(points)


def _group(points: tf.Tensor, concentration: float) -> tuple[Callable, Callable]:
    grouped = tf.function(lambda x: group(x, concentration, tolerance=_TOLERANCE))

    def facts(result: tuple) -> dict:
        return {
            "num_loops": int(result.num_loops),
            "converged": bool(result.converged),
            "num_groups": len(result.modes),
        }

    return lambda: grouped(points), facts


def _ten_loops(points: tf.Tensor, concentration: float) -> tuple[Callable, Callable]:
    compiled = tf.function(lambda x: tiled_mean_shift(x, concentration, 10))
    return lambda: compiled(points), lambda result: {"num_loops": 10}


def _converged_loops(points: tf.Tensor, concentration: float) -> tuple[Callable, Callable]:
    """Loops over all points until none moves by more than the tolerance, and the greedy read-out.

    Its facts hold how well `group` agrees with it.
    """

    @tf.function
    def one_loop(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        moved = tiled_mean_shift(x, concentration, 1)
        return moved, tf.reduce_max(tf.norm(moved - x, axis=-1))

    read_out = tf.function(lambda x: group(x, concentration, max_loops=0))

    def call() -> tuple:
        x, num_loops, movement = points, 0, np.inf
        while num_loops < _MAX_LOOPS and movement > _TOLERANCE:
            x, distance = one_loop(x)
            num_loops, movement = num_loops + 1, float(distance)
        return read_out(x), num_loops, movement <= _TOLERANCE

    def facts(result: tuple) -> dict:
        plain, num_loops, is_converged = result
        ours = group(points, concentration, tolerance=_TOLERANCE).instance.numpy()
        is_clear = _has_clear_mode(points.numpy(), plain.modes.numpy())
        truth = plain.instance.numpy()
        return {
            "num_loops": num_loops,
            "converged": is_converged,
            "num_groups": len(plain.modes),
            "rand_index": adjusted_rand_index(truth, ours),
            "rand_index_clear": adjusted_rand_index(truth, ours, is_clear),
            "clear_fraction": float(is_clear.mean()),
        }

    return call, facts


def _has_clear_mode(points: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Returns which points have one mode much nearer than the next, [N] bool."""
    if len(modes) < 2:
        return np.ones(len(points), bool)
    parts = []
    for first in range(0, len(points), _ROWS_AT_ONCE):
        cosine = points[first : first + _ROWS_AT_ONCE] @ modes.T
        second, best = np.partition(cosine, -2, axis=1)[:, -2:].T
        parts.append(best - second > _CLEAR_COSINE)
    return np.concatenate(parts)
