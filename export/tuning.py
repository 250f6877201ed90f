"""The search for read-out arguments on labelled pictures: concentration, smallest area, score."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.trained_run import TrainedRun
from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.label_map import Instances, read_out
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
) -> list[Choice]:
    """Returns all that was tried, the best first; where figures are equal the run's own leads.

    First every concentration with every smallest area, without a threshold; then, with the best
    of these, thresholds that give up 5, 10, … 95 % of the instances. Two passes over the pictures;
    memory does not grow with them but for a score an instance.

    Args:
      run: of one of TASKS.
      examples: call → batches of one picture, `image` and `instance`, for instances `semantic`.
      concentrations: κ > 0 each.
      min_areas: pixels, ≥ 1 each.
      figure: one of FIGURES, larger is better.

    Raises:
      ValueError: if the task has no such read-out, or there is no picture.
    """
    reader = _make_reader(run)
    own = run.settings["read_out"]
    pairs = [(float(own["concentration"]), int(own["min_area"]))]
    pairs += [(k, a) for k in concentrations for a in min_areas if (k, a) not in pairs]
    records, scores = [[] for _ in pairs], [[] for _ in pairs]
    for example in examples():
        for k, pair in enumerate(pairs):
            found = reader(example["image"][0], *pair)
            records[k].append(_score(example, found))
            scores[k].append(found.scores.numpy())
    if not records[0]:
        raise ValueError("there is no picture to tune on; give shards that hold some")
    tried = [
        Choice(*pair, None, matching.summarize(rows)[figure])
        for pair, rows in zip(pairs, records, strict=True)
    ]
    best = max(range(len(pairs)), key=lambda k: _rank(tried[k]))
    found_scores = np.concatenate(scores[best])
    limits = np.quantile(found_scores, _SHARES) if found_scores.size else np.zeros(0)
    limits = np.unique(limits.astype(np.float32))
    records = [[] for _ in limits]
    for example in examples():
        found = reader(example["image"][0], *pairs[best])
        for rows, limit in zip(records, limits, strict=True):
            rows.append(_score(example, found, limit))
    tried += [
        Choice(*pairs[best], float(limit), matching.summarize(rows)[figure])
        for limit, rows in zip(limits, records, strict=True)
    ]
    return sorted(tried, key=_rank, reverse=True)


def _rank(choice: Choice) -> float:
    """Returns the figure, that of nothing at all last."""
    return -np.inf if np.isnan(choice.figure) else choice.figure


def _make_reader(run: TrainedRun) -> Callable:
    """Returns the compiled function from picture, concentration and smallest area to instances."""
    task, arguments = run.settings["task"], dict(run.settings["read_out"])
    if task not in TASKS:
        raise ValueError(f"task {task} has no read-out to tune; there is one for {TASKS}")
    arguments["min_score"] = None
    for name in ("concentration", "min_area"):
        del arguments[name]
    if task == "proposals":
        arguments = single_arguments(arguments)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def reader(
        image: tf.Tensor, concentration: tf.Tensor, min_area: tf.Tensor
    ) -> Instances | ClassedInstances:
        found = run.model(image[tf.newaxis], training=False)
        tuned = {"concentration": concentration, "min_area": min_area}
        if task == "proposals":
            return read_out(found[0], **tuned, **arguments)
        return read_out_classed(found["embedding"][0], found["logit"][0], **tuned, **arguments)

    return reader


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
