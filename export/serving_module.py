"""The functions a SavedModel serves: pictures or encoded pictures in, instances out.

TensorFlow's own ops alone, so that a server without Python runs them. Every output has the batch
as its first dimension, which the row format of TensorFlow Serving's REST interface needs.
"""

import functools

import keras
import tensorflow as tf

from export import batching, signatures
from rpe_tf.inference.grouping import MAX_REPRESENTATIVES
from rpe_tf.inference.label_map import read_out
from rpe_tf.inference.pooling import (
    MAX_PROPOSALS,
    pool_proposals,
    pooling_arguments,
    single_arguments,
)
from rpe_tf.saved_model import decode_rgb

# Rows that the tables of one picture are padded to before they are stacked: a mode an instance.
MAX_INSTANCES = MAX_REPRESENTATIVES

TABLES = ("boxes", "areas", "scores")  # of an instance a row each
_ROW = {
    "num_instances": tf.TensorSpec([], tf.int32),
    "boxes": tf.TensorSpec([MAX_INSTANCES, 4], tf.int32),
    "areas": tf.TensorSpec([MAX_INSTANCES], tf.int32),
    "scores": tf.TensorSpec([MAX_INSTANCES], tf.float32),
    "num_loops": tf.TensorSpec([], tf.int32),
    "converged": tf.TensorSpec([], tf.bool),
}
IMAGE_ROW = {**_ROW, "instance": tf.TensorSpec([None, None], tf.int32)}
BYTES_ROW = {
    **_ROW,
    "height": tf.TensorSpec([], tf.int32),
    "width": tf.TensorSpec([], tf.int32),
    "instance_bytes": tf.TensorSpec([], tf.string),
}

_PROPOSAL_TABLES = ("source", "boxes", "areas", "scores")  # of a proposal a row each
_PROPOSALS_ROW = {
    "maps": tf.TensorSpec([None, None, None], tf.int32),
    "num_instances": tf.TensorSpec([], tf.int32),
    "source": tf.TensorSpec([MAX_PROPOSALS, 2], tf.int32),
    "boxes": tf.TensorSpec([MAX_PROPOSALS, 4], tf.int32),
    "areas": tf.TensorSpec([MAX_PROPOSALS], tf.int32),
    "scores": tf.TensorSpec([MAX_PROPOSALS], tf.float32),
}

MEANINGS = {
    **signatures.MEANINGS,
    "embedding": "a unit vector for each pixel",
    "instance": "id of each pixel: 0 background, 1.. instances by falling area, -1 padding beyond "
    "a picture's own size",
    "instance_bytes": "the instance map as a 16-bit grey PNG of the picture's own size",
    "num_instances": "rows of boxes, areas and scores that hold an instance; the others are 0",
    "boxes": "y_min, x_min, y_max, x_max in pixels, the last two exclusive; row k is id k + 1",
    "areas": "pixels of each instance",
    "scores": "mean cosine of an instance's pixels to its mode, in [-1, 1]",
    "num_loops": "mean-shift loops used",
    "converged": "whether the loops ended because no point moved any more",
}
# Of the signature proposals, where they are not the same.
PROPOSAL_MEANINGS = {
    **MEANINGS,
    "maps": "the instance maps of several concentrations, rising: ids as in instance, 0 none",
    "num_proposals": "rows of source, boxes, areas and scores that hold a proposal, best first; "
    "the others are 0",
    "source": "row of maps and id there: the mask of a proposal, which others may overlap",
    "boxes": "y_min, x_min, y_max, x_max in pixels, the last two exclusive",
    "areas": "pixels of each proposal",
    "scores": "how likely a proposal is an object, in [0, 1]: to rank by",
}


class ServingModule(tf.Module):
    """A trained model with its read-out, as functions with named inputs and outputs.

    Holds the model's variables and not the Keras model: the SavedModel then carries no Keras
    objects, and loads whatever Keras is installed, or none.
    """

    def __init__(self, model: keras.Model, read_out_arguments: dict) -> None:
        """Takes image → embedding and the keyword arguments of `label_map.read_out`.

        read_out_arguments: also `concentrations`, those that are pooled; left out: one.
        """
        super().__init__(name="serving")
        self.model_variables = signatures.tf_variables(model)
        # Functions are not tracked for saving; a model or dict as attribute would be.
        self._embed = lambda image: model(image, training=False)
        self._read_out = functools.partial(read_out, **single_arguments(read_out_arguments))
        self._propose = functools.partial(pool_proposals, **pooling_arguments(read_out_arguments))

    @tf.function(input_signature=signatures.IMAGE)
    def embedding(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `embedding` [N, H, W, D] float32 of image [N, H, W, 3] uint8."""
        return {"embedding": self._embed(image)}

    @tf.function(input_signature=signatures.IMAGE)
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the instances of image [N, H, W, 3] uint8, by the names in MEANINGS."""
        rows = tf.map_fn(
            self._row,
            self._embed(signatures.at_least_one_image(image)),
            fn_output_signature=IMAGE_ROW,
            parallel_iterations=1,  # the grouping's memory of one picture at a time
        )
        return batching.first_rows(rows, tf.shape(image)[0], TABLES)

    @tf.function(input_signature=signatures.IMAGE_BYTES)
    def serving_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the instances of encoded pictures [N], by the names in MEANINGS."""
        rows = tf.map_fn(
            self._bytes_row,
            batching.at_least_one_png(image_bytes),
            fn_output_signature=BYTES_ROW,
            parallel_iterations=1,
        )
        # The maps wait as PNG until the largest size is known: pictures need no second decoding.
        rows["instance"] = batching.stack_maps(
            rows["instance_bytes"], rows["height"], rows["width"]
        )
        return batching.first_rows(rows, tf.shape(image_bytes)[0], TABLES)

    @tf.function(input_signature=signatures.IMAGE)
    def proposals(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the pooled proposals of image [N, H, W, 3] uint8, as PROPOSAL_MEANINGS says."""
        rows = tf.map_fn(
            self._proposals_row,
            self._embed(signatures.at_least_one_image(image)),
            fn_output_signature=_PROPOSALS_ROW,
            parallel_iterations=1,
        )
        rows = batching.first_rows(rows, tf.shape(image)[0], _PROPOSAL_TABLES)
        num_proposals = rows.pop("num_instances")
        return {**rows, "num_proposals": num_proposals}

    def _proposals_row(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the proposals of one picture, tables padded to MAX_PROPOSALS."""
        found = self._propose(embedding)
        tables = {name: getattr(found, name) for name in _PROPOSAL_TABLES}
        return {
            "maps": found.maps,
            "num_instances": tf.shape(found.areas)[0],
            **batching.pad_tables(tables, MAX_PROPOSALS),
        }

    def _row(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs of one picture, tables padded to MAX_INSTANCES."""
        found = self._read_out(embedding)
        tables = {name: getattr(found, name) for name in TABLES}
        return {
            "instance": tf.ensure_shape(found.instance, [None, None]),
            "num_instances": tf.shape(found.areas)[0],
            **batching.pad_tables(tables, MAX_INSTANCES),
            "num_loops": found.num_loops,
            "converged": found.converged,
        }

    def _bytes_row(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = decode_rgb(image_bytes)
        row = self._row(self._embed(image[tf.newaxis])[0])
        label = row.pop("instance")
        shape = tf.shape(image)
        return {
            **row,
            "height": shape[0],
            "width": shape[1],
            "instance_bytes": batching.encode_map(label),
        }
