"""The functions a SavedModel of semantic instances serves: pictures in, classed instances out.

As those of `serving_module`: TensorFlow's own ops alone, every output with the batch first.
"""

import functools

import keras
import tensorflow as tf

from export import batching, serving_module, signatures
from export.semantic_module import require_8_bits
from rpe_tf.inference.class_instances import MAX_INSTANCES, read_out_classed
from rpe_tf.saved_model import decode_rgb

_TABLES = (*serving_module.TABLES, "classes")  # of an instance a row each
_CLASSES = {"classes": tf.TensorSpec([serving_module.MAX_INSTANCES], tf.int32)}
_IMAGE_ROW = {
    **serving_module.IMAGE_ROW,
    **_CLASSES,
    "semantic": tf.TensorSpec([None, None], tf.int32),
}
_BYTES_ROW = {
    **serving_module.BYTES_ROW,
    **_CLASSES,
    "semantic_bytes": tf.TensorSpec([], tf.string),
}

MEANINGS = {
    **serving_module.MEANINGS,
    "num_instances": "rows of boxes, areas, scores and classes that hold an instance; the others "
    "are 0",
    "scores": "how good an instance is likely to be, higher is better; about its IoU with the true "
    "one if the run fitted a scorer",
    "classes": "class of each instance, that of most of its pixels, from 1",
    "semantic": "class of each pixel: 0 background, -1 padding beyond a picture's own size",
    "semantic_bytes": "the class map as an 8-bit grey PNG of the picture's own size",
}


class InstancesModule(tf.Module):
    """A trained model of classes and embedding with its read-out, as named functions.

    Holds the model's variables and not the Keras model: the SavedModel then carries no Keras
    objects, and loads whatever Keras is installed, or none.
    """

    def __init__(self, model: keras.Model, read_out_arguments: dict) -> None:
        """Takes image → embedding and logit, and the keyword arguments of `read_out_classed`.

        Raises:
          ValueError: if the classes do not fit into 8 bits.
        """
        super().__init__(name="serving")
        require_8_bits(model)
        self.model_variables = signatures.tf_variables(model)
        # Functions are not tracked for saving; a model or dict as attribute would be.
        self._predict = lambda image: model(image, training=False)
        self._read_out = functools.partial(read_out_classed, **read_out_arguments)

    @tf.function(input_signature=signatures.IMAGE)
    def embedding(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `embedding` [N, H, W, D] float32 of image [N, H, W, 3] uint8."""
        predicted = self._predict(signatures.at_least_one_image(image))
        return {"embedding": predicted["embedding"][: tf.shape(image)[0]]}

    @tf.function(input_signature=signatures.IMAGE)
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the instances of image [N, H, W, 3] uint8, by the names in MEANINGS."""
        predicted = self._predict(signatures.at_least_one_image(image))
        rows = tf.map_fn(
            lambda one: self._row(*one),
            (predicted["embedding"], predicted["logit"]),
            fn_output_signature=_IMAGE_ROW,
            parallel_iterations=1,  # the grouping's memory of one picture at a time
        )
        return batching.first_rows(rows, tf.shape(image)[0], _TABLES)

    @tf.function(input_signature=signatures.IMAGE_BYTES)
    def serving_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the instances of encoded pictures [N], by the names in MEANINGS."""
        rows = tf.map_fn(
            self._bytes_row,
            batching.at_least_one_png(image_bytes),
            fn_output_signature=_BYTES_ROW,
            parallel_iterations=1,
        )
        # The maps wait as PNG until the largest size is known: pictures need no second decoding.
        sizes = rows["height"], rows["width"]
        rows["instance"] = batching.stack_maps(rows["instance_bytes"], *sizes)
        rows["semantic"] = batching.stack_maps(rows["semantic_bytes"], *sizes, tf.uint8)
        return batching.first_rows(rows, tf.shape(image_bytes)[0], _TABLES)

    def _row(self, embedding: tf.Tensor, logit: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs of one picture, tables padded to MAX_INSTANCES."""
        found = self._read_out(embedding, logit)
        tables = {name: getattr(found, name) for name in _TABLES}
        return {
            "instance": tf.ensure_shape(found.instance, [None, None]),
            "semantic": tf.ensure_shape(found.semantic, [None, None]),
            "num_instances": tf.shape(found.areas)[0],
            **batching.pad_tables(tables, MAX_INSTANCES),
            "num_loops": found.num_loops,
            "converged": found.converged,
        }

    def _bytes_row(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = decode_rgb(image_bytes)
        predicted = self._predict(image[tf.newaxis])
        row = self._row(predicted["embedding"][0], predicted["logit"][0])
        shape = tf.shape(image)
        return {
            "instance_bytes": batching.encode_map(row.pop("instance")),
            "semantic_bytes": batching.encode_map(row.pop("semantic"), tf.uint8),
            **row,
            "height": shape[0],
            "width": shape[1],
        }
