"""What an export should answer: net and read-out of the run in this process, picture by picture."""

import functools
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.trained_run import TrainedRun
from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.grouping import MODE_COSINE, unit_or_zero
from rpe_tf.inference.label_map import BACKGROUNDS, Instances, read_out
from rpe_tf.inference.mode_assignment import assign_to_modes, find_modes
from rpe_tf.inference.picture_scale import embedding_predictor
from rpe_tf.inference.pooling import pool_proposals, pooling_arguments, single_arguments
from rpe_tf.tasks import boundary

# Outputs with a row an instance.
TABLES = ("boxes", "areas", "scores", "classes", "source")
# Of the parameters, as the read-outs take tensors.
_DTYPES = {
    **{"concentration": tf.float32, "max_loops": tf.int32, "min_area": tf.int32},
    **{"min_score": tf.float32, "background": tf.int32},
}


class Expected(NamedTuple):
    """Outputs [N, …] by name, and of their maps of numbers how near each pixel's second choice is.

    Maps are under their plain name alone, not as PNG, tables padded with 0.
    """

    outputs: dict[str, np.ndarray]
    # Map name → call that returns float32 of the map's shape: distance to the second choice.
    gaps: Mapping[str, Callable[[], np.ndarray]] = MappingProxyType({})


def parameter_cases(run: TrainedRun) -> dict[str, dict[str, list]]:
    """Returns what the tuned signatures are asked with: the run's own values, and others.

    Returns:
      {"own" | "other": {parameter: values, taken in turns by the pictures of a batch}}; no
      parameters where the task has none. Those others change what is found.
    """
    settings = run.settings["read_out"]
    if "concentration" not in settings:
        return {}
    kappa, area = float(settings["concentration"]), int(settings.get("min_area", 1))
    loops, score = int(settings.get("max_loops", 50)), settings.get("min_score")
    own = {
        "concentration": [kappa],
        "max_loops": [loops],
        "min_area": [area],
        "min_score": [-np.inf if score is None else score],
        "background": [settings.get("background", "border")],
    }
    other = {
        "concentration": [kappa / 4, 2 * kappa],
        "max_loops": [loops, 2],
        "min_area": [2 * area, 1],
        "min_score": [-1.0, 0.5],
        "background": ["none", "largest"],
    }
    return {"own": own, "other": other}


def expected_answers(
    run: TrainedRun, images: np.ndarray, given: dict, chosen: dict[str, dict[str, list]]
) -> dict[str, Expected]:
    """Returns what the signatures of the run's export should answer.

    Args:
      run: the restored run.
      images: [N, H, W, 3] uint8.
      given: what the export's signature `embedding` answers, for the read-outs: where a picture has
        no clear groups, a difference in the last bit can decide between two partitions, and neither
        is wrong.
      chosen: of `parameter_cases`.

    Returns:
      {"embedding": …, "own": …}, and where the task has them "other" and "proposals". Own is what
      all signatures answer that are none of these.
    """
    predicted = predicted_by(run, images)
    served = {name: predicted[name] for name in given if name in predicted}
    read_outs = READ_OUTS[run.settings["task"]](run, images, {**predicted, **given}, chosen)
    return {"embedding": Expected(served), **read_outs}


def predicted_by(run: TrainedRun, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the outputs of the run's net to images [N, H, W, 3] uint8, by name.

    At the scale of its read-out; of boundaries at scale 1, whatever theirs are.
    """
    is_grouped = run.settings["task"] in ("instances", "proposals")
    predict = embedding_predictor(run.model, run.settings["read_out"] if is_grouped else {})
    return {name: x.numpy() for name, x in predict(tf.constant(images)).items()}


def expected_boundaries(run: TrainedRun, images: np.ndarray) -> Expected:
    """Returns the boundary maps that the run's task gives."""
    predictor = boundary.make_predictor(run.model, run.settings["read_out"])
    return Expected({"boundary": np.stack([predictor(image)[1].numpy() for image in images])})


def expected_classes(logit: np.ndarray) -> Expected:
    """Returns class map and probability of logits [N, H, W, C]."""
    ranked = np.sort(logit, axis=-1)
    shares = np.exp(ranked - ranked[..., -1:])
    outputs = {
        "semantic": np.argmax(logit, axis=-1).astype(np.int32),
        "probability": 1 / np.sum(shares, axis=-1),
    }
    return Expected(outputs, {"semantic": lambda: ranked[..., -1] - ranked[..., -2]})


def expected_instances(run: TrainedRun, predicted: dict, chosen: dict[str, list]) -> Expected:
    """Returns all that the run's read-out finds, its own arguments replaced by those chosen.

    Args:
      run: of the task proposals or instances.
      predicted: outputs of the net, those the read-out takes.
      chosen: {parameter: values, taken in turns by the pictures}.
    """
    fixed = single_arguments(run.settings["read_out"])
    widths = tuple(predicted[name].shape[-1] for name in _taken(predicted))
    reader, rows = _make_reader(run.settings["task"], json.dumps(fixed), widths), []
    for n, one in enumerate(_pictures(predicted)):
        values = {name: values[n % len(values)] for name, values in chosen.items()}
        rows.append((one, values, reader(one, _tensors(values))))
    found = [row[2] for row in rows]
    maps = [name for name in ("instance", "semantic") if name in found[0]._fields]
    outputs = {name: np.stack([getattr(x, name) for x in found]) for name in maps}
    outputs["background_share"] = np.mean(outputs["instance"] == 0, axis=(1, 2))
    outputs["num_instances"] = np.array([len(x.areas) for x in found])
    for name in ("num_loops", "converged"):
        outputs[name] = np.stack([getattr(x, name) for x in found])
    for name in TABLES:
        if name in found[0]._fields:
            outputs[name] = _padded([getattr(x, name).numpy() for x in found])

    def gap() -> np.ndarray:
        return np.stack([mode_gap(one, **{**fixed, **values}) for one, values, _ in rows])

    gaps = {"instance": gap}
    if "semantic" in maps:
        gaps |= expected_classes(predicted["logit"]).gaps
    return Expected(outputs, gaps)


def expected_proposals(run: TrainedRun, embedding: np.ndarray) -> Expected:
    """Returns the pooled proposals of embeddings [N, H, W, D], by the run's read-out."""
    arguments = pooling_arguments(run.settings["read_out"])
    pool = _make_pool(json.dumps(arguments), embedding.shape[-1])
    found = [pool(one) for one in tf.constant(embedding)]
    outputs = {name: _padded([getattr(x, name).numpy() for x in found]) for name in TABLES[:3]}
    outputs["source"] = _padded([x.source.numpy() for x in found])
    outputs["num_proposals"] = np.array([len(x.areas) for x in found])
    outputs["maps"] = np.stack([x.maps for x in found])
    distinct = sorted({float(x) for x in arguments.pop("concentrations")})

    def gap() -> np.ndarray:
        return np.stack(
            [
                [mode_gap({"embedding": x}, concentration=k, **arguments) for k in distinct]
                for x in embedding
            ]
        )

    return Expected(outputs, {"maps": gap})


# Task → run, images, outputs of the net, parameter cases → expected answers.
READ_OUTS = {
    "boundary": lambda run, images, predicted, chosen: {"own": expected_boundaries(run, images)},
    "instances": lambda run, images, predicted, chosen: {
        label: expected_instances(run, predicted, values) for label, values in chosen.items()
    },
    "proposals": lambda run, images, predicted, chosen: {
        "proposals": expected_proposals(run, predicted["embedding"]),
        **{label: expected_instances(run, predicted, values) for label, values in chosen.items()},
    },
    "semantic": lambda run, images, predicted, chosen: {
        "own": expected_classes(predicted["logit"])
    },
}


def mode_gap(
    predicted: dict,
    *,
    concentration: float,
    max_loops: int = 50,
    mode_cosine: float = MODE_COSINE,
    min_area: int = 1,
    **others: object,
) -> np.ndarray:
    """Returns how much nearer each pixel is to its own mode than to any other.

    Args:
      predicted: of one picture: `embedding` [H, W, D], and `logit` [H, W, C] where only the
        foreground is grouped.
      concentration: of the read-out, as the next three.
      max_loops: likewise.
      mode_cosine: likewise.
      min_area: likewise.
      **others: its other arguments, which do not matter here.

    Returns:
      [H, W] float32, least difference of cosines; infinity where there is one mode.
    """
    del others
    embedding = tf.constant(predicted["embedding"])
    pixels = unit_or_zero(tf.reshape(embedding, [-1, embedding.shape[-1]]))
    if "logit" in predicted:
        pixels *= np.reshape(np.argmax(predicted["logit"], axis=-1) > 0, [-1, 1])
    modes = find_modes(
        *(pixels, concentration),
        max_loops=max_loops,
        mode_cosine=mode_cosine,
        min_area=min_area,
    ).modes
    own = assign_to_modes(pixels, modes, min_area).cosine
    cosines = tf.matmul(pixels, modes, transpose_b=True)
    differences = np.sort(np.abs(cosines - own[:, tf.newaxis]), axis=-1)
    # The first is that of its own mode.
    gap = differences[:, 1] if differences.shape[1] > 1 else np.full(len(differences), np.inf)
    return gap.reshape(embedding.shape[:2]).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _make_reader(task: str, fixed: str, widths: tuple[int, ...]) -> Callable:
    """Returns the compiled read-out of one picture: outputs of the net, parameters → instances.

    fixed: JSON of its arguments. widths: of the outputs' last sides.
    """
    names, arguments = ("embedding", "logit"), json.loads(fixed)
    shapes = {k: tf.TensorSpec([None, None, n]) for k, n in zip(names, widths, strict=False)}
    specs = {name: tf.TensorSpec([], dtype) for name, dtype in _DTYPES.items()}

    @tf.function(input_signature=[shapes, specs])
    def reader(one: dict, chosen: dict) -> Instances | ClassedInstances:
        given = {**arguments, **chosen}
        if task == "proposals":
            return read_out(one["embedding"], **given)
        del given["background"]
        return read_out_classed(one["embedding"], one["logit"], **given)

    return reader


@functools.lru_cache(maxsize=4)
def _make_pool(arguments: str, width: int) -> Callable:
    """Returns the compiled `pool_proposals` of one picture [H, W, width], by JSON of arguments."""
    given = json.loads(arguments)
    spec = tf.TensorSpec([None, None, width])
    return tf.function(lambda one: pool_proposals(one, **given), input_signature=[spec])


def _taken(predicted: dict) -> list[str]:
    """Returns the names of what the read-outs take."""
    return [name for name in ("embedding", "logit") if name in predicted]


def _pictures(predicted: dict) -> list[dict]:
    """Returns what the read-outs take of each picture."""
    names = _taken(predicted)
    return [{name: predicted[name][n] for name in names} for n in range(len(predicted[names[0]]))]


def _tensors(values: dict) -> dict[str, tf.Tensor]:
    """Returns chosen values as the read-out takes tensors."""
    given = {**values, "background": BACKGROUNDS.index(values["background"])}
    return {name: tf.constant(x, _DTYPES[name]) for name, x in given.items()}


def _padded(tables: list[np.ndarray]) -> np.ndarray:
    """Returns tables [K, …] stacked, with rows of 0 up to the largest K."""
    most = max(len(table) for table in tables)
    widths = [[(0, most - len(table))] + [(0, 0)] * (table.ndim - 1) for table in tables]
    return np.stack([np.pad(x, width) for x, width in zip(tables, widths, strict=True)])
