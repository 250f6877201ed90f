"""A net at other sizes of a picture than its own: what it knows best is the size it was trained on.

Training enlarges most pictures (`--scale`), and a net of an output stride above 1 sees more of one
made larger. So which factor is best is found on labelled pictures, as other read-out arguments are.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from rpe_tf.core.sphere import normalize


def at_scale(
    predict: Callable[[tf.Tensor], object], image: tf.Tensor, scale: float | tf.Tensor
) -> object:
    """Returns what a net says of a picture made larger or smaller, at the picture's own size.

    Bilinear both ways; unit vectors come back a little shorter than 1. Memory is scale² of that at
    scale 1.

    Args:
      predict: [B, h, w, 3] uint8 → a tensor [B, h, w, C] float32 or a structure of them, any size.
      image: [B, H, W, 3] uint8.
      scale: factor > 0 of the picture's sides, rounded to whole pixels, one at least.

    Returns:
      As predict does, [B, H, W, C] each.
    """
    size = tf.shape(image)[1:3]
    scaled = tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32)
    # Antialiased: without, half of the columns would be dropped of a picture a quarter as large.
    resized = tf.image.resize(
        # Not of integers, which other runtimes do not resize.
        *(tf.cast(image, tf.float32), tf.maximum(scaled, 1)),
        antialias=scale < 1.0,
    )
    found = predict(tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8))
    return tf.nest.map_structure(lambda x: tf.image.resize(x, size), found)


def embedding_predictor(
    model: keras.Model, read_out_arguments: dict
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the function from pictures to what a net says at the one scale of its read-out.

    Args:
      model: image [B, H, W, 3] uint8 → embedding, or a dict of `embedding` and `logit`.
      read_out_arguments: of a run, with or without `scales`.

    Returns:
      [B, H, W, 3] uint8 → dict of `embedding` [B, H, W, D] float32, unit vectors, and, where the
      model has it, `logit` [B, H, W, C] float32.

    Raises:
      ValueError: if there is not one scale, above 0.
    """
    scale = only_scale(read_out_arguments)

    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        found = model(image, training=False)
        return found if isinstance(found, dict) else {"embedding": found}

    def predict_scaled(image: tf.Tensor) -> dict[str, tf.Tensor]:
        found = at_scale(predict, image, scale)
        return {**found, "embedding": normalize(found["embedding"])}

    return predict if scale == 1.0 else predict_scaled


def only_scale(read_out_arguments: dict) -> float:
    """Returns the one of `scales`; 1 where there is no such argument, as in older runs.

    Raises:
      ValueError: if there is not one, or it is not above 0: embeddings of two scales have no mean.
    """
    scales = read_out_arguments.get("scales", (1.0,))
    check_scales(scales)
    if len(scales) != 1:
        raise ValueError(
            f"instances are read at one scale, got {list(scales)}; give --test_scales one"
        )
    return float(scales[0])


def check_scales(scales: Sequence[float]) -> None:
    """Raises ValueError unless there is at least one scale and all are positive and finite."""
    if not scales or not all(0 < scale < float("inf") for scale in scales):
        raise ValueError(f"scales must be at least one number above 0, got {list(scales)}")
