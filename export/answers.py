"""What a task must say so that its model can be served; `served_module` makes the signatures."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.label_map import BACKGROUNDS


class MapCode(NamedTuple):
    """How an output [N, H, W] becomes a PNG a picture, for encoded pictures in a batch."""

    encode: Callable  # [H, W] → scalar string
    stacked: tf.DType | None = None  # of the PNG's samples, if the map is served beside the PNG


class Parameter(NamedTuple):
    """A read-out argument that a caller may choose for each picture."""

    dtype: tf.DType  # of the served input
    default: tf.Tensor  # scalar, of the run, as the read-out takes it
    check: Callable  # input [N] → bool [N], whether it is in its range
    meaning: str
    convert: Callable = tf.identity  # input [N] → what the read-out takes


class Answers(NamedTuple):
    """How a task answers. Batches are of one picture at least; all outputs have them first."""

    predict: Callable  # image [N, H, W, 3] uint8 → outputs of the net by name
    respond: Callable  # these, parameters [N] by name → what is served, tables padded
    given: tuple[str, ...]  # outputs of the net that the signature `embedding` serves
    maps: dict[str, MapCode]
    meanings: dict[str, str]
    tables: tuple[str, ...] = ()  # outputs that hold a row an instance
    unencoded: tuple[str, ...] = ()  # outputs that encoded pictures do not get
    parameters: Mapping[str, Parameter] = MappingProxyType({})
    propose: Callable | None = None  # outputs of the net → pooled proposals, tables padded
    proposal_tables: tuple[str, ...] = ()
    proposal_meanings: Mapping[str, str] = MappingProxyType({})


def read_out_parameters(read_out_arguments: dict, names: tuple[str, ...]) -> dict[str, Parameter]:
    """Returns the parameters of these names with a run's read-out arguments as their defaults."""
    given = {"max_loops": 50, "min_area": 1, "background": "border", **read_out_arguments}
    min_score = given.get("min_score")

    # Text at the door alone: other runtimes have none.
    def index_of(background: tf.Tensor) -> tf.Tensor:
        equal = background[:, tf.newaxis] == tf.constant(BACKGROUNDS)
        return tf.argmax(tf.cast(equal, tf.int32), axis=-1, output_type=tf.int32)

    known = {
        "concentration": Parameter(
            tf.float32,
            tf.constant(given["concentration"], tf.float32),
            lambda x: (x > 0.0) & tf.math.is_finite(x),
            "of the kernel, above 0: larger finds more and smaller groups",
        ),
        "max_loops": Parameter(
            tf.int32,
            tf.constant(given["max_loops"]),
            lambda x: x >= 0,
            "mean-shift loops at the most, 0 or more",
        ),
        "min_area": Parameter(
            tf.int32,
            tf.constant(given["min_area"]),
            lambda x: x >= 1,
            "pixels an instance must have, 1 or more",
        ),
        "min_score": Parameter(
            tf.float32,
            tf.constant(-float("inf") if min_score is None else min_score, tf.float32),
            lambda x: ~tf.math.is_nan(x),
            "score an instance must have, any: -1e9; those below become background",
        ),
        "background": Parameter(
            tf.string,
            tf.constant(BACKGROUNDS.index(given["background"])),
            lambda x: tf.reduce_any(x[:, tf.newaxis] == tf.constant(BACKGROUNDS), axis=-1),
            f"which group is background: {', '.join(BACKGROUNDS)}",
            index_of,
        ),
    }
    return {name: known[name] for name in names}
