"""The functions a SavedModel of boundaries serves: pictures or encoded ones in, maps out.

As those of `serving_module`: TensorFlow's own ops alone, every output with the batch first.
"""

import keras
import tensorflow as tf

from export import signatures
from rpe_tf.inference.boundary_map import boundary_map, check_scales, multi_scale_map
from rpe_tf.saved_model import decode_rgb

_BYTES_ROW = {
    "boundary_bytes": tf.TensorSpec([], tf.string),
    "height": tf.TensorSpec([], tf.int32),
    "width": tf.TensorSpec([], tf.int32),
}

MEANINGS = {
    **signatures.MEANINGS,
    "embedding": "unit vectors for each pixel, of stages 2 to 5 one after the other",
    "boundary": "strength of a boundary at each pixel, in [0, 1]",
    "boundary_bytes": "the map as an 8-bit grey PNG of the picture's own size: 255 times the "
    "strength, rounded",
}


class BoundaryModule(tf.Module):
    """A trained boundary model with its map, as functions with named inputs and outputs.

    Holds the model's variables and not the Keras model: the SavedModel then carries no Keras
    objects, and loads whatever Keras is installed, or none.
    """

    def __init__(self, model: keras.Model, read_out_arguments: dict) -> None:
        """Takes image → embedding and logit, and `scales` as in `multi_scale_map`.

        Raises:
          ValueError: if there is no scale, or one is not positive.
        """
        super().__init__(name="serving")
        scales = tuple(read_out_arguments["scales"])
        check_scales(scales)
        self.model_variables = signatures.tf_variables(model)

        # Functions are not tracked for saving; a model or dict as attribute would be.
        def map_of(image: tf.Tensor) -> tf.Tensor:
            return boundary_map(model(image, training=False)["logit"])

        self._embed = lambda image: model(image, training=False)["embedding"]
        self._detect = lambda image: multi_scale_map(map_of, image, scales)

    @tf.function(input_signature=signatures.IMAGE)
    def embedding(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `embedding` [N, H, W, 4 · D] float32 of image [N, H, W, 3] uint8, at scale 1."""
        embedding = self._embed(signatures.at_least_one_image(image))
        return {"embedding": embedding[: tf.shape(image)[0]]}

    @tf.function(input_signature=signatures.IMAGE)
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `boundary` [N, H, W] float32 in [0, 1] of image [N, H, W, 3] uint8."""
        boundary = self._detect(signatures.at_least_one_image(image))
        return {"boundary": tf.ensure_shape(boundary, [None] * 3)[: tf.shape(image)[0]]}

    @tf.function(input_signature=signatures.IMAGE_BYTES)
    def serving_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the maps of encoded pictures [N] as PNG, by the names in MEANINGS."""
        return tf.map_fn(
            self._bytes_row,
            image_bytes,
            fn_output_signature=_BYTES_ROW,
            parallel_iterations=1,  # the model's memory of one picture at a time
        )

    def _bytes_row(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = decode_rgb(image_bytes)
        boundary = self._detect(image[tf.newaxis])[0]
        grey = tf.cast(tf.round(255.0 * boundary), tf.uint8)[:, :, tf.newaxis]
        shape = tf.shape(image)
        return {"boundary_bytes": tf.io.encode_png(grey), "height": shape[0], "width": shape[1]}
