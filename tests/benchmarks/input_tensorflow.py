"""The TensorFlow forms of the input benchmark: ours, the same step by step, and bare decoding."""

import itertools
import math
import os
from collections.abc import Callable

import tensorflow as tf

from data_pipeline.augment import Augmentation, augment
from tests.benchmarks.input_pictures import Pictures

_AUGMENTATION = Augmentation()
_STRIDE = 8


def our_steps(image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, crop_size: tuple[int, int]):
    """Returns image and labels of a training example as our pipeline makes it."""
    example = {"image": _decode_image(image), "instance": _decode_labels(labels), "seed": seed}
    example = augment(example, _AUGMENTATION, crop_size=crop_size, stride=_STRIDE)
    return example["image"], example["instance"]


def one_by_one(image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, crop_size: tuple[int, int]):
    """Returns the same by one TensorFlow operation after the other."""
    image = tf.image.convert_image_dtype(_decode_image(image), tf.float32)
    labels = _decode_labels(labels)[..., tf.newaxis]
    draws = tf.random.stateless_uniform([5], seed=seed)
    image, labels = _scale(image, labels, draws[0])
    image, labels = _rotate(image, labels, draws[1])
    image, labels = tf.cond(
        draws[2] < 0.5,
        lambda: (tf.image.flip_left_right(image), tf.image.flip_left_right(labels)),
        lambda: (image, labels),
    )
    image, labels = _crop(image, labels, draws[3:], crop_size)
    image = _jitter(image, seed)
    return tf.image.convert_image_dtype(image, tf.uint8, saturate=True), labels[..., 0]


def bare_decoding(image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, crop_size: tuple):
    """Returns the decoded picture and nothing else."""
    del labels, seed, crop_size
    return _decode_image(image)


def both_decodings(image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, crop_size: tuple):
    """Returns the decoded picture and label map."""
    del seed, crop_size
    return _decode_image(image), _decode_labels(labels)


def passes(pictures: Pictures, steps: Callable, crop_size: tuple[int, int]) -> Callable[[int], int]:
    """Returns a function that runs the steps on a number of pictures, in parallel on all cores."""
    sources = tf.data.Dataset.from_tensor_slices((pictures.images, pictures.labels)).repeat()
    dataset = sources.enumerate().map(
        lambda number, source: steps(*source, tf.stack([1, tf.cast(number, tf.int32)]), crop_size),
        num_parallel_calls=len(os.sched_getaffinity(0)),
        deterministic=True,
    )
    # One iterator for all rounds, as training has: to begin one costs as much as many pictures.
    iterator = iter(dataset)
    return lambda count: sum(1 for _ in itertools.islice(iterator, count))


def _decode_image(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_png(encoded, channels=3)


def _decode_labels(encoded: tf.Tensor) -> tf.Tensor:
    labels = tf.cast(tf.io.decode_png(encoded, channels=1)[..., 0], tf.int32)
    return tf.where(labels == 255, -tf.ones_like(labels), labels)


def _scale(image: tf.Tensor, labels: tf.Tensor, draw: tf.Tensor):
    low, high = _AUGMENTATION.scale
    factor = low + (high - low) * draw
    size = tf.cast(tf.cast(tf.shape(image)[:2], tf.float32) * factor, tf.int32)
    return tf.image.resize(image, size), tf.image.resize(labels, size, method="nearest")


def _rotate(image: tf.Tensor, labels: tf.Tensor, draw: tf.Tensor):
    angle = math.radians(_AUGMENTATION.rotation_degrees) * (2.0 * draw - 1.0)
    middle = tf.cast(tf.shape(image)[:2] - 1, tf.float32) / 2
    cosine, sine = tf.cos(angle), tf.sin(angle)
    shift_x = middle[1] - cosine * middle[1] - sine * middle[0]
    shift_y = middle[0] + sine * middle[1] - cosine * middle[0]
    transform = tf.stack([cosine, sine, shift_x, -sine, cosine, shift_y, 0.0, 0.0])[tf.newaxis]

    def turned(picture: tf.Tensor, interpolation: str, fill_mode: str) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=picture[tf.newaxis],
            transforms=transform,
            output_shape=tf.shape(picture)[:2],
            fill_value=-1.0,
            interpolation=interpolation,
            fill_mode=fill_mode,
        )[0]

    return turned(image, "BILINEAR", "NEAREST"), turned(labels, "NEAREST", "CONSTANT")


def _crop(image: tf.Tensor, labels: tf.Tensor, draws: tf.Tensor, crop_size: tuple[int, int]):
    lacking = tf.maximum(crop_size - tf.shape(image)[:2], 0)
    before = tf.cast(draws * tf.cast(lacking + 1, tf.float32), tf.int32)
    paddings = tf.concat(
        [tf.stack([before, lacking - before], axis=1), tf.zeros([1, 2], tf.int32)], axis=0
    )
    image, labels = tf.pad(image, paddings), tf.pad(labels, paddings, constant_values=-1)
    too_many = tf.cast(tf.shape(image)[:2] - crop_size + 1, tf.float32)
    start = tf.concat([tf.cast(draws * too_many, tf.int32), [0]], axis=0)
    return tf.slice(image, start, [*crop_size, 3]), tf.slice(labels, start, [*crop_size, 1])


def _jitter(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    ranges = _AUGMENTATION
    image = tf.image.stateless_random_brightness(image, ranges.brightness, seed)
    image = tf.image.stateless_random_contrast(
        image, 1 - ranges.contrast, 1 + ranges.contrast, seed + 1
    )
    image = tf.image.stateless_random_saturation(
        image, 1 - ranges.saturation, 1 + ranges.saturation, seed + 2
    )
    return tf.image.stateless_random_hue(image, ranges.hue_degrees / 360, seed + 3)
