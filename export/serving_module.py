"""The functions a SavedModel serves: pictures or encoded pictures in, instances out.

TensorFlow's own ops alone, so that a server without Python runs them. Every output has the batch
as its first dimension, which the row format of TensorFlow Serving's REST interface needs.
"""

import functools

import keras
import tensorflow as tf

from export import signatures
from rpe_tf.inference.grouping import MAX_REPRESENTATIVES
from rpe_tf.inference.label_map import read_out
from rpe_tf.saved_model import decode_rgb

# Rows that the tables of one picture are padded to before they are stacked: a mode an instance.
MAX_INSTANCES = MAX_REPRESENTATIVES

# A 1×1 PNG, decoded in place of an empty batch: `tf.map_fn` cannot stack zero rows of unknown size.
_BLANK_PNG = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8)).numpy()

_ROW = {
    "num_instances": tf.TensorSpec([], tf.int32),
    "boxes": tf.TensorSpec([MAX_INSTANCES, 4], tf.int32),
    "areas": tf.TensorSpec([MAX_INSTANCES], tf.int32),
    "scores": tf.TensorSpec([MAX_INSTANCES], tf.float32),
    "num_loops": tf.TensorSpec([], tf.int32),
    "converged": tf.TensorSpec([], tf.bool),
}
_IMAGE_ROW = {**_ROW, "instance": tf.TensorSpec([None, None], tf.int32)}
_BYTES_ROW = {
    **_ROW,
    "height": tf.TensorSpec([], tf.int32),
    "width": tf.TensorSpec([], tf.int32),
    "instance_bytes": tf.TensorSpec([], tf.string),
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


class ServingModule(tf.Module):
    """A trained model with its read-out, as functions with named inputs and outputs.

    Holds the model's variables and not the Keras model: the SavedModel then carries no Keras
    objects, and loads whatever Keras is installed, or none.
    """

    def __init__(self, model: keras.Model, read_out_arguments: dict) -> None:
        """Takes image → embedding and the keyword arguments of `label_map.read_out`."""
        super().__init__(name="serving")
        self.model_variables = signatures.tf_variables(model)
        # Functions are not tracked for saving; a model or dict as attribute would be.
        self._embed = lambda image: model(image, training=False)
        self._read_out = functools.partial(read_out, **read_out_arguments)

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
            fn_output_signature=_IMAGE_ROW,
            parallel_iterations=1,  # the grouping's memory of one picture at a time
        )
        return _first_rows(rows, tf.shape(image)[0])

    @tf.function(input_signature=signatures.IMAGE_BYTES)
    def serving_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the instances of encoded pictures [N], by the names in MEANINGS."""
        num_images = tf.shape(image_bytes)[0]
        blank = tf.fill([tf.maximum(1 - num_images, 0)], tf.constant(_BLANK_PNG))
        rows = tf.map_fn(
            self._bytes_row,
            tf.concat([image_bytes, blank], axis=0),
            fn_output_signature=_BYTES_ROW,
            parallel_iterations=1,
        )
        # The maps wait as PNG until the largest size is known: pictures need no second decoding.
        rows["instance"] = _stack_maps(rows["instance_bytes"], rows["height"], rows["width"])
        return _first_rows(rows, num_images)

    def _row(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs of one picture, tables padded to MAX_INSTANCES."""
        found = self._read_out(embedding)
        num_instances = tf.shape(found.areas)[0]
        padding = [[0, MAX_INSTANCES - num_instances]]
        return {
            "instance": tf.ensure_shape(found.instance, [None, None]),
            "num_instances": num_instances,
            "boxes": tf.ensure_shape(tf.pad(found.boxes, padding + [[0, 0]]), [MAX_INSTANCES, 4]),
            "areas": tf.ensure_shape(tf.pad(found.areas, padding), [MAX_INSTANCES]),
            "scores": tf.ensure_shape(tf.pad(found.scores, padding), [MAX_INSTANCES]),
            "num_loops": found.num_loops,
            "converged": found.converged,
        }

    def _bytes_row(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = decode_rgb(image_bytes)
        row = self._row(self._embed(image[tf.newaxis])[0])
        label = tf.cast(row.pop("instance"), tf.uint16)[:, :, tf.newaxis]
        shape = tf.shape(image)
        return {
            **row,
            "height": shape[0],
            "width": shape[1],
            "instance_bytes": tf.io.encode_png(label),
        }


def _first_rows(rows: dict[str, tf.Tensor], num_images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the rows of the batch itself, tables cut to the most instances of a picture."""
    rows = {name: x[:num_images] for name, x in rows.items()}
    most = tf.reduce_max(tf.concat([rows["num_instances"], [0]], axis=0))
    for name in ("boxes", "areas", "scores"):
        rows[name] = rows[name][:, :most]
    return rows


def _stack_maps(instance_bytes: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns the decoded maps [N, H, W] int32, padded with void to the largest sides."""
    sides = tf.reduce_max(height), tf.reduce_max(width)

    def decode(png: tf.Tensor) -> tf.Tensor:
        label = tf.cast(tf.io.decode_png(png, channels=1, dtype=tf.uint16)[:, :, 0], tf.int32)
        shape = tf.shape(label)
        below, right = sides[0] - shape[0], sides[1] - shape[1]
        return tf.pad(label, [[0, below], [0, right]], constant_values=-1)

    return tf.map_fn(
        decode, instance_bytes, fn_output_signature=tf.TensorSpec([None, None], tf.int32)
    )
