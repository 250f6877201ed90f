"""How the tasks proposals and instances answer: the embedding grouped, picture by picture."""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from export import batching, signatures
from export.answers import Answers, MapCode, read_out_parameters
from export.semantic_answers import CLASS_MEANINGS, require_8_bits
from rpe_tf.inference.class_instances import MAX_INSTANCES, ClassedInstances, read_out_classed
from rpe_tf.inference.label_map import Instances, read_out
from rpe_tf.inference.picture_scale import embedding_predictor
from rpe_tf.inference.pooling import (
    MAX_PROPOSALS,
    pool_proposals,
    pooling_arguments,
    single_arguments,
)

_TABLES = {"boxes": (tf.int32, 4), "areas": (tf.int32,), "scores": (tf.float32,)}
_CLASS_TABLE = {"classes": (tf.int32,)}
_PROPOSAL_TABLES = {"source": (tf.int32, 2), **_TABLES}
_SCALARS = {
    "num_instances": tf.int32,
    "num_loops": tf.int32,
    "converged": tf.bool,
    "background_share": tf.float32,
}
_CODE = functools.partial(batching.encode_map, dtype=tf.uint16)

PROPOSALS_MEANINGS = {
    **signatures.MEANINGS,
    "embedding": "a unit vector for each pixel",
    "instance": "id of each pixel: 0 background, 1.. instances by falling area, -1 padding beyond "
    "a picture's own size",
    "instance_bytes": "the instance map as a 16-bit grey PNG of the picture's own size",
    "num_instances": "rows of the tables that hold an instance; the others are 0",
    "boxes": "y_min, x_min, y_max, x_max in pixels, the last two exclusive; row k is id k + 1",
    "areas": "pixels of each instance",
    "scores": "mean cosine of an instance's pixels to its mode, in [-1, 1]",
    "num_loops": "mean-shift loops used",
    "converged": "whether the loops ended because no point moved any more",
    "background_share": "of the picture's pixels, in [0, 1]",
}
INSTANCES_MEANINGS = {
    **PROPOSALS_MEANINGS,
    **CLASS_MEANINGS,
    "scores": "how good an instance is likely to be, higher is better; about its IoU with the true "
    "one if the run fitted a scorer",
    "classes": "class of each instance, that of most of its pixels, from 1",
}
# Of the signature proposals, where they are not the same.
POOLED_MEANINGS = {
    **PROPOSALS_MEANINGS,
    "maps": "the instance maps of several concentrations, rising: ids as in instance, 0 none",
    "num_proposals": "rows of source, boxes, areas and scores that hold a proposal, best first; "
    "the others are 0",
    "source": "row of maps and id there: the mask of a proposal, which others may overlap",
    "boxes": "y_min, x_min, y_max, x_max in pixels, the last two exclusive",
    "areas": "pixels of each proposal",
    "scores": "how likely a proposal is an object, in [0, 1]: to rank by",
}


def proposals_answers(model: keras.Model, read_out_arguments: dict) -> Answers:
    """Returns how a model image → embedding answers, by the arguments of `label_map.read_out`.

    read_out_arguments: also `concentrations`, those that are pooled, left out: one; and `scales`.
    """
    names = ("concentration", "max_loops", "min_area", "min_score", "background")
    fixed = _without(single_arguments(read_out_arguments), names)
    propose = functools.partial(pool_proposals, **pooling_arguments(read_out_arguments))

    def read(predicted: dict, parameters: dict) -> Instances:
        return read_out(predicted["embedding"], **parameters, **fixed)

    return Answers(
        predict=embedding_predictor(model, read_out_arguments),
        respond=functools.partial(_respond, read, ("instance",), _TABLES),
        given=("embedding",),
        maps={"instance": MapCode(_CODE, tf.uint16)},
        meanings=PROPOSALS_MEANINGS,
        tables=tuple(_TABLES),
        parameters=read_out_parameters(read_out_arguments, names),
        propose=functools.partial(_propose, propose),
        proposal_tables=tuple(_PROPOSAL_TABLES),
        proposal_meanings=POOLED_MEANINGS,
    )


def instances_answers(model: keras.Model, read_out_arguments: dict) -> Answers:
    """Returns how a model image → embedding and logit answers, by those of `read_out_classed`.

    read_out_arguments: also `scales`, the one that a picture is read at.

    Raises:
      ValueError: if the classes do not fit into 8 bits, or there is not one scale, above 0.
    """
    require_8_bits(model)
    names = ("concentration", "max_loops", "min_area", "min_score")
    fixed = _without(single_arguments(read_out_arguments), names)

    def read(predicted: dict, parameters: dict) -> ClassedInstances:
        return read_out_classed(predicted["embedding"], predicted["logit"], **parameters, **fixed)

    tables = {**_TABLES, **_CLASS_TABLE}
    return Answers(
        predict=embedding_predictor(model, read_out_arguments),
        respond=functools.partial(_respond, read, ("instance", "semantic"), tables),
        given=("embedding", "logit"),
        maps={
            "instance": MapCode(_CODE, tf.uint16),
            "semantic": MapCode(functools.partial(batching.encode_map, dtype=tf.uint8), tf.uint8),
        },
        meanings=INSTANCES_MEANINGS,
        tables=tuple(tables),
        parameters=read_out_parameters(read_out_arguments, names),
    )


def _without(arguments: dict, names: tuple[str, ...]) -> dict:
    return {name: value for name, value in arguments.items() if name not in names}


def _respond(
    read: Callable, maps: tuple[str, ...], tables: dict, predicted: dict, parameters: dict
) -> dict[str, tf.Tensor]:
    """Returns the outputs of a batch, tables padded to MAX_INSTANCES.

    Args:
      read: outputs of the net and parameters of one picture → its instances.
      maps: names of their maps.
      tables: names of their tables, with dtype and width.
      predicted: outputs of the net [N, …] by name.
      parameters: [N] by name.
    """

    def one(arguments: tuple[dict, dict]) -> dict[str, tf.Tensor]:
        found = read(*arguments)
        is_background = tf.cast(found.instance == 0, tf.float32)
        return {
            **{name: tf.ensure_shape(getattr(found, name), [None, None]) for name in maps},
            **batching.pad_tables({name: getattr(found, name) for name in tables}, MAX_INSTANCES),
            "num_instances": tf.shape(found.areas)[0],
            "num_loops": found.num_loops,
            "converged": found.converged,
            "background_share": tf.reduce_mean(is_background),
        }

    return tf.map_fn(
        one,
        (predicted, parameters),
        fn_output_signature={
            **{name: tf.TensorSpec([None, None], tf.int32) for name in maps},
            **_table_specs(tables, MAX_INSTANCES),
            **{name: tf.TensorSpec([], dtype) for name, dtype in _SCALARS.items()},
        },
        parallel_iterations=1,  # the grouping's memory of one picture at a time
    )


def _propose(pool: Callable, predicted: dict) -> dict[str, tf.Tensor]:
    """Returns the pooled proposals of a batch, tables padded to MAX_PROPOSALS."""

    def one(embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        found = pool(embedding)
        tables = {name: getattr(found, name) for name in _PROPOSAL_TABLES}
        return {
            "maps": found.maps,
            "num_proposals": tf.shape(found.areas)[0],
            **batching.pad_tables(tables, MAX_PROPOSALS),
        }

    return tf.map_fn(
        one,
        predicted["embedding"],
        fn_output_signature={
            "maps": tf.TensorSpec([None] * 3, tf.int32),
            "num_proposals": tf.TensorSpec([], tf.int32),
            **_table_specs(_PROPOSAL_TABLES, MAX_PROPOSALS),
        },
        parallel_iterations=1,
    )


def _table_specs(tables: dict, num_rows: int) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec([num_rows, *of], dtype) for name, (dtype, *of) in tables.items()}
