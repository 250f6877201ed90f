"""The search for read-out arguments on labelled pictures: scale, concentration, area, score."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from export.trained_run import TrainedRun
from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.label_map import Instances, read_out
from rpe_tf.inference.picture_scale import embedding_predictor, only_scale
from rpe_tf.inference.pooling import single_arguments
from rpe_tf.metrics import matching
from rpe_tf.metrics.class_votes import vote_classes

TASKS = ("instances", "proposals")
# Of `matching.summarize`.
FIGURES = ("pq", *(f"matching_{iou}" for iou in (50, 70, 90)), "matching_50_f1")
# Shares of the instances that a score threshold gives up.
_SHARES = np.arange(0.05, 1.0, 0.05)


class Choice(NamedTuple):
    """Read-out arguments, and the figure they reach."""

    scale: float
    concentration: float
    min_area: int
    min_score: float | None
    figure: float


def tune(
    run: TrainedRun,
    examples: Callable[[], Iterable[dict]],
    concentrations: Sequence[float],
    min_areas: Sequence[int],
    figure: str,
    scales: Sequence[float] = (),
) -> list[Choice]:
    """Returns all that was tried, the best first; where figures are equal the run's own leads.

    First every scale with every concentration and smallest area, without a threshold; then, with
    the best of each scale, thresholds that give up 5, 10, … 95 % of the instances. Two passes over
    the pictures; memory does not grow with them but for a score an instance.

    Args:
      run: of one of TASKS.
      examples: call → batches of one picture, `image` and `instance`, for instances `semantic`.
      concentrations: κ > 0 each.
      min_areas: pixels, ≥ 1 each.
      figure: one of FIGURES, larger is better.
      scales: > 0 each, of a picture's sides when the net reads it; none: the run's own.

    Raises:
      ValueError: if the task has no such read-out, a scale is not positive, or there is no picture.
    """
    if run.settings["task"] not in TASKS:
        raise ValueError(
            f"task {run.settings['task']} has no read-out to tune; there is one for {TASKS}"
        )
    own = run.settings["read_out"]
    scales = [float(x) for x in scales] or [only_scale(own)]
    nets = {scale: _make_net(run.model, scale) for scale in scales}
    reader = _make_reader(run)
    tuples = [(only_scale(own), float(own["concentration"]), int(own["min_area"]))]
    tuples = tuples if tuples[0][0] in scales else []
    tuples += [
        one for one in itertools.product(scales, concentrations, min_areas) if one not in tuples
    ]
    records, scores = [[] for _ in tuples], [[] for _ in tuples]
    for example in examples():
        predicted = {scale: net(example["image"]) for scale, net in nets.items()}
        for k, (scale, *pair) in enumerate(tuples):
            found = reader(predicted[scale], *pair)
            records[k].append(_score(example, found))
            scores[k].append(found.scores.numpy())
    if not records[0]:
        raise ValueError("there is no picture to tune on; give shards that hold some")
    tried = [
        Choice(*one, None, matching.summarize(rows)[figure])
        for one, rows in zip(tuples, records, strict=True)
    ]
    best = {
        scale: max(
            (k for k, x in enumerate(tuples) if x[0] == scale), key=lambda k: _rank(tried[k])
        )
        for scale in scales
    }
    limits = {tuples[k]: _limits(np.concatenate(scores[k])) for k in best.values()}
    tried += _thresholds(limits, nets, reader, examples, figure)
    return sorted(tried, key=_rank, reverse=True)


def _limits(scores: np.ndarray) -> np.ndarray:
    """Returns the scores that give up _SHARES of these, float32, each once."""
    limits = np.quantile(scores, _SHARES) if scores.size else np.zeros(0)
    return np.unique(limits.astype(np.float32))


def _thresholds(
    limits: dict[tuple[float, float, int], np.ndarray],
    nets: dict[float, Callable],
    reader: Callable,
    examples: Callable[[], Iterable[dict]],
    figure: str,
) -> list[Choice]:
    """Returns what scale, concentration and area reach with each of their score thresholds."""
    records = {(one, limit): [] for one in limits for limit in limits[one]}
    for example in examples():
        for one in limits:
            found = reader(nets[one[0]](example["image"]), *one[1:])
            for limit in limits[one]:
                records[one, limit].append(_score(example, found, limit))
    return [
        Choice(*one, float(limit), matching.summarize(rows)[figure])
        for (one, limit), rows in records.items()
    ]


def _rank(choice: Choice) -> float:
    """Returns the figure, that of nothing at all last."""
    return -np.inf if np.isnan(choice.figure) else choice.figure


def _make_net(model: keras.Model, scale: float) -> Callable:
    """Returns the compiled function from pictures [1, H, W, 3] to what the net says at a scale."""
    return tf.function(
        embedding_predictor(model, {"scales": [scale]}),
        input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)],
    )


def _make_reader(run: TrainedRun) -> Callable:
    """Returns the function from outputs of the net, concentration and area to instances."""
    task, arguments = run.settings["task"], single_arguments(run.settings["read_out"])
    arguments["min_score"] = None
    for name in ("concentration", "min_area"):
        del arguments[name]

    @tf.function(reduce_retracing=True)
    def reader(
        predicted: dict, concentration: tf.Tensor, min_area: tf.Tensor
    ) -> Instances | ClassedInstances:
        tuned = {"concentration": concentration, "min_area": min_area}
        if task == "proposals":
            return read_out(predicted["embedding"][0], **tuned, **arguments)
        return read_out_classed(
            predicted["embedding"][0], predicted["logit"][0], **tuned, **arguments
        )

    return lambda predicted, concentration, min_area: reader(
        predicted, tf.constant(concentration, tf.float32), tf.constant(min_area)
    )


def _score(
    example: dict, found: Instances | ClassedInstances, min_score: float = -np.inf
) -> matching.MatchingRecord:
    """Returns the counts of a picture, of its instances of a score of min_score or more."""
    truth, is_kept = example["instance"][0].numpy(), found.scores.numpy() >= min_score
    new_id = np.concatenate([[0], np.where(is_kept, np.cumsum(is_kept), 0)])
    predicted = new_id[found.instance.numpy()]
    if not isinstance(found, ClassedInstances):
        return matching.score_matching(truth, predicted)
    return matching.score_matching(
        truth,
        predicted,
        truth_classes=vote_classes(truth, example["semantic"][0].numpy()),
        classes=found.classes.numpy()[is_kept],
    )
