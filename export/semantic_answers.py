"""How the task semantic answers: a class for each pixel."""

import functools

import keras
import tensorflow as tf

from export import batching, signatures
from export.answers import Answers, MapCode

# Numbers of an 8-bit map: 255 is left to void.
_MOST_CLASSES = 255

CLASS_MEANINGS = {
    "logit": "of each class at each pixel, class 0 the background",
    "semantic": "class of each pixel: 0 background, -1 padding beyond a picture's own size",
    "semantic_bytes": "the class map as an 8-bit grey PNG of the picture's own size",
}
MEANINGS = {
    **signatures.MEANINGS,
    **CLASS_MEANINGS,
    "embedding": "a unit vector for each pixel",
    "probability": "of that class, in (0, 1]",
}


def semantic_answers(model: keras.Model, read_out_arguments: dict) -> Answers:
    """Returns how a model image → embedding and logit answers; the read-out has no arguments.

    Raises:
      ValueError: if the classes do not fit into 8 bits, or there are read-out arguments.
    """
    require_8_bits(model)
    if read_out_arguments:
        raise ValueError(f"class maps have no read-out arguments, got {read_out_arguments}")

    def respond(predicted: dict, parameters: dict) -> dict[str, tf.Tensor]:
        del parameters
        logit = predicted["logit"]
        return {
            "semantic": class_map(logit),
            "probability": tf.reduce_max(tf.nn.softmax(logit), axis=-1),
        }

    return Answers(
        predict=lambda image: model(image, training=False),
        respond=respond,
        given=("embedding",),
        maps={"semantic": MapCode(functools.partial(batching.encode_map, dtype=tf.uint8))},
        meanings=MEANINGS,
        unencoded=("probability",),
    )


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
