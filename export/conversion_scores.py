"""The scores of a task before and after a conversion, on the same labelled pictures."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.answers import read_out_parameters
from rpe_tf.inference.label_map import BACKGROUNDS
from rpe_tf.metrics import (
    average_precision,
    boundary_pr,
    edge_thinning,
    instance_scores,
    matching,
    mean_iou,
)
from rpe_tf.metrics.class_votes import vote_classes

# As a boundary run's own scores.
_THRESHOLDS = boundary_pr.spread_thresholds(33)

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Scored(NamedTuple):
    """What one implementation reached."""

    scores: dict[str, float]  # those of FIGURES of the task
    seconds: float  # a picture


class Scorer(NamedTuple):
    """How the answers of a task are scored."""

    record: Callable  # example of one picture, outputs, settings of the model → record
    summarize: Callable  # records → scores by name
    figures: tuple[str, ...]  # those that are shown


def score_each(
    info: dict, runs: dict[str, Run], examples: Iterable[dict[str, np.ndarray]]
) -> dict[str, Scored]:
    """Returns scores and time of several implementations of a model, picture by picture in turns.

    Args:
      info: model_info.json of the export: its task and settings.
      runs: from `image` to the outputs of serving_default, by name.
      examples: of `evaluation_dataset`, one picture each.

    Raises:
      ValueError: if there is no example.
    """
    scorer, model = SCORERS[info["task"]], info["settings"]["model"]
    records = {name: [] for name in runs}
    seconds = dict.fromkeys(runs, 0.0)
    for k, example in enumerate(examples):
        for name, run in runs.items():
            if not k:
                run({"image": example["image"]})  # The first call of all prepares.
            start = time.perf_counter()
            outputs = run({"image": example["image"]})
            seconds[name] += time.perf_counter() - start
            records[name].append(scorer.record(example, outputs, model))
    num = len(next(iter(records.values())))
    if not num:
        raise ValueError("there is no picture to score on; give shards that hold some")
    summaries = {name: scorer.summarize(rows) for name, rows in records.items()}
    return {
        name: Scored({x: float(row[x]) for x in scorer.figures}, seconds[name] / num)
        for name, row in summaries.items()
    }


def grouped(info: dict, loaded: object, run: Run) -> Run:
    """Returns a run of the signature embedding with the SavedModel's own grouping after it.

    Args:
      info: model_info.json of the export.
      loaded: the SavedModel, with the signature `group`.
      run: from `image` to the outputs of the signature embedding.
    """
    group = loaded.signatures["group"]
    specs = group.structured_input_signature[1]
    given = {name for name, spec in specs.items() if len(spec.shape) > 1}
    own = read_out_parameters(info["settings"]["read_out"], tuple(sorted(set(specs) - given)))
    values = {name: parameter.default for name, parameter in own.items()}
    if "background" in values:
        values["background"] = tf.constant(BACKGROUNDS[int(values["background"])])

    def run_grouped(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = run(inputs)
        num = len(inputs["image"])
        chosen = {name: tf.fill([num], value) for name, value in values.items()}
        outputs = group(**{name: tf.constant(found[name]) for name in given}, **chosen)
        return {name: x.numpy() for name, x in outputs.items()}

    return run_grouped


def format_scores(before: Scored, after: Scored) -> str:
    """Returns a line a figure: in TensorFlow, converted, and the change."""
    rows = [f"{'':>16}  {'TensorFlow':>10}  {'converted':>10}  {'change':>8}"]
    rows += [
        f"{name:>16}  {value:10.4f}  {after.scores[name]:10.4f}  {after.scores[name] - value:+8.4f}"
        for name, value in before.scores.items()
    ]
    ratio = after.seconds / before.seconds
    rows.append(
        f"{'seconds/picture':>16}  {before.seconds:10.3f}  {after.seconds:10.3f}  {ratio:7.2f}×"
    )
    return "\n".join(rows)


def _record_instances(example: dict, outputs: dict, model: dict) -> tuple:
    truth, semantic = example["instance"][0], example["semantic"][0]
    truth_classes = vote_classes(truth, semantic)
    found, num = outputs["instance"][0], int(outputs["num_instances"][0])
    scores, classes = (outputs[name][0][:num] for name in ("scores", "classes"))
    return (
        average_precision.score_picture(truth, truth_classes, found, scores, classes),
        matching.score_matching(truth, found, truth_classes=truth_classes, classes=classes),
        mean_iou.confusion_matrix(semantic, outputs["semantic"][0], model["num_classes"]),
    )


def _summarize_instances(records: list[tuple]) -> dict[str, float]:
    detections, matches, confusions = zip(*records, strict=True)
    return {
        **average_precision.summarize(detections),
        **matching.summarize(matches),
        "miou": mean_iou.mean_iou(np.sum(confusions, axis=0)),
    }


def _record_classes(example: dict, outputs: dict, model: dict) -> np.ndarray:
    found, truth = outputs["semantic"][0], example["semantic"][0]
    return mean_iou.confusion_matrix(truth, found, model["num_classes"])


def _summarize_classes(records: list[np.ndarray]) -> dict[str, float]:
    whole = np.sum(records, axis=0)
    accuracy = float(np.trace(whole) / max(whole.sum(), 1))
    return {"miou": mean_iou.mean_iou(whole), "pixel_accuracy": accuracy}


def _record_boundary(example: dict, outputs: dict, model: dict) -> boundary_pr.BoundaryCounts:
    del model
    thinned = edge_thinning.suppress_non_maxima(outputs["boundary"][0])
    return boundary_pr.score_image(thinned, example["annotator_boundary"][0], _THRESHOLDS)


SCORERS = {
    "boundary": Scorer(
        _record_boundary,
        lambda records: boundary_pr.summarize(records, _THRESHOLDS),
        ("ods", "ois", "ap"),
    ),
    "instances": Scorer(
        _record_instances, _summarize_instances, ("pq", "matching_50", "ap_r_50", "miou")
    ),
    "proposals": Scorer(
        lambda example, outputs, model: instance_scores.score_image(
            example["instance"][0], outputs["instance"][0]
        ),
        instance_scores.summarize,
        ("ari_all", "average_recall", "recall_50", "precision_50"),
    ),
    "semantic": Scorer(_record_classes, _summarize_classes, ("miou", "pixel_accuracy")),
}
