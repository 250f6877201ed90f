"""How the task boundary answers: the strength of a boundary at each pixel."""

import keras
import tensorflow as tf

from export import signatures
from export.answers import Answers, MapCode
from rpe_tf.inference.boundary_map import boundary_map, multi_scale_map
from rpe_tf.inference.picture_scale import check_scales

MEANINGS = {
    **signatures.MEANINGS,
    "embedding": "unit vectors for each pixel, of stages 2 to 5 one after the other, at scale 1",
    "boundary": "strength of a boundary at each pixel, in [0, 1]",
    "boundary_bytes": "the map as an 8-bit grey PNG of the picture's own size: 255 times the "
    "strength, rounded",
}


def boundary_answers(model: keras.Model, read_out_arguments: dict) -> Answers:
    """Returns how a model image → embedding and logit answers, by `scales` of `multi_scale_map`.

    Raises:
      ValueError: if there is no scale, or one is not positive.
    """
    scales = tuple(read_out_arguments["scales"])
    check_scales(scales)

    def map_of(image: tf.Tensor) -> tf.Tensor:
        return boundary_map(model(image, training=False)["logit"])

    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        boundary = multi_scale_map(map_of, image, scales)
        return {
            "embedding": model(image, training=False)["embedding"],
            "boundary": tf.ensure_shape(boundary, [None] * 3),
        }

    return Answers(
        predict=predict,
        respond=lambda predicted, parameters: {"boundary": predicted["boundary"]},
        given=("embedding",),
        maps={"boundary": MapCode(_encode)},
        meanings=MEANINGS,
    )


def _encode(boundary: tf.Tensor) -> tf.Tensor:
    return tf.io.encode_png(tf.cast(tf.round(255.0 * boundary), tf.uint8)[:, :, tf.newaxis])
