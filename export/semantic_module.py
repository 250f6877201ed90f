"""The functions a SavedModel of semantic segmentation serves: pictures in, class maps out.

As those of `serving_module`: TensorFlow's own ops alone, every output with the batch first.
"""

import keras
import tensorflow as tf

from export import batching, signatures
from rpe_tf.saved_model import decode_rgb

# Numbers of an 8-bit map: 255 is left to void.
_MOST_CLASSES = 255

_BYTES_ROW = {
    "semantic_bytes": tf.TensorSpec([], tf.string),
    "height": tf.TensorSpec([], tf.int32),
    "width": tf.TensorSpec([], tf.int32),
}

MEANINGS = {
    **signatures.MEANINGS,
    "embedding": "a unit vector for each pixel",
    "semantic": "class of each pixel, 0 background",
    "probability": "of that class, in (0, 1]",
    "semantic_bytes": "the class map as an 8-bit grey PNG of the picture's own size",
}


class SemanticModule(tf.Module):
    """A trained model of classes and embedding, as functions with named inputs and outputs.

    Holds the model's variables and not the Keras model: the SavedModel then carries no Keras
    objects, and loads whatever Keras is installed, or none.
    """

    def __init__(self, model: keras.Model, read_out_arguments: dict) -> None:
        """Takes image → embedding and logit; the read-out has no arguments.

        Raises:
          ValueError: if the classes do not fit into 8 bits, or there are read-out arguments.
        """
        super().__init__(name="serving")
        require_8_bits(model)
        if read_out_arguments:
            raise ValueError(f"class maps have no read-out arguments, got {read_out_arguments}")
        self.model_variables = signatures.tf_variables(model)
        # Functions are not tracked for saving; a model or dict as attribute would be.
        self._predict = lambda image: model(image, training=False)

    @tf.function(input_signature=signatures.IMAGE)
    def embedding(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `embedding` [N, H, W, D] float32 of image [N, H, W, 3] uint8."""
        predicted = self._predict(signatures.at_least_one_image(image))
        return {"embedding": predicted["embedding"][: tf.shape(image)[0]]}

    @tf.function(input_signature=signatures.IMAGE)
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the classes of image [N, H, W, 3] uint8, by the names in MEANINGS."""
        logit = self._predict(signatures.at_least_one_image(image))["logit"]
        probability = tf.reduce_max(tf.nn.softmax(logit), axis=-1)
        num_images = tf.shape(image)[0]
        return {"semantic": class_map(logit)[:num_images], "probability": probability[:num_images]}

    @tf.function(input_signature=signatures.IMAGE_BYTES)
    def serving_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the class maps of encoded pictures [N] as PNG, by the names in MEANINGS."""
        return tf.map_fn(
            self._bytes_row,
            image_bytes,
            fn_output_signature=_BYTES_ROW,
            parallel_iterations=1,  # the model's memory of one picture at a time
        )

    def _bytes_row(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = decode_rgb(image_bytes)
        semantic = class_map(self._predict(image[tf.newaxis])["logit"][0])
        shape = tf.shape(image)
        png = batching.encode_map(semantic, tf.uint8)
        return {"semantic_bytes": png, "height": shape[0], "width": shape[1]}


def class_map(logit: tf.Tensor) -> tf.Tensor:
    """Returns the class [...] int32 of the largest logit [..., C]; of equals the smaller class."""
    return tf.argmax(logit, axis=-1, output_type=tf.int32)


def require_8_bits(model: keras.Model) -> None:
    """Raises ValueError if a model's classes do not fit into a map of 8 bits beside void."""
    num_classes = model.output["logit"].shape[-1]
    if num_classes > _MOST_CLASSES:
        raise ValueError(
            f"a class map of 8 bits holds {_MOST_CLASSES} classes, the model has {num_classes}"
        )
