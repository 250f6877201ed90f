"""Training augmentation of one example: one resampling for all geometry, one matrix for all colour.

Scale, rotation, flip and crop of image and label maps are one product of matrices, so a picture is
interpolated once however many of them there are; brightness, contrast, saturation and hue are one
product too. All draws of an example come from its own seed. Runs eagerly and inside tf.data.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from data_pipeline import color, warp


class Augmentation(NamedTuple):
    """Ranges to draw from, evenly. The paper (§5.1) states no amounts for the colour jitter."""

    scale: tuple[float, float] = (0.5, 1.5)  # size of the picture, as a factor
    rotation_degrees: float = 10.0  # to either side
    flip: bool = True  # left and right, of every other example
    crop_margin_px: int = 20  # by how much a crop is smaller than the scaled picture
    brightness: float = 0.125  # fraction of white, added or taken away
    contrast: float = 0.25  # the factor is within 1 ± this
    saturation: float = 0.25  # the factor is within 1 ± this
    hue_degrees: float = 10.0  # turn about the grey axis, to either side


class _Draws(NamedTuple):
    """Random numbers of one example, scalars float32 in [0, 1)."""

    scale: tf.Tensor
    rotation: tf.Tensor
    flip: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    brightness: tf.Tensor
    contrast: tf.Tensor
    saturation: tf.Tensor
    hue: tf.Tensor


# Autograph would rewrite these on every tracing, which takes a second, and find nothing to do.
@tf.autograph.experimental.do_not_convert
def augment(
    example: dict[str, tf.Tensor],
    augmentation: Augmentation,
    *,
    crop_size: tuple[int, int] | None,
    stride: int,
) -> dict[str, tf.Tensor]:
    """Returns the example as one draw of the augmentation shows it.

    The scaled picture is rotated about its centre and keeps its size. With `crop_size` a crop of
    that size is cut from it, every place being as likely; along a side where the picture is the
    smaller one it is placed within the crop likewise. Without (the paper's batch of one) the crop
    is `crop_margin_px` smaller than the scaled picture, its sides rounded down to multiples of
    `stride`, but at least that. What the picture does not cover is void.

    Args:
      example: `image` uint8 [H, W, 3]; `seed` int32 [2], which all draws are made of; label maps:
        every other entry that is int32 and of rank 2 is one and must be [H, W], void -1. Whatever
        else there is passes through.
      augmentation: the ranges.
      crop_size: (height, width) of the output, static then and compiled by XLA; or None.
      stride: the sides of the output are multiples of it if `crop_size` is None; else not used.

    Returns:
      A new dict with the same keys; `image` and label maps have the output's size.

    Raises:
      ValueError: a range, `crop_size` or `stride` is impossible, or image or seed are missing or of
        another type.
      tf.errors.InvalidArgumentError: a label map has not as many pixels as the picture.
    """
    check_augmentation(augmentation)
    _check_output(crop_size, stride)
    _check_example(example)
    size = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    draws = tf.random.stateless_uniform([len(_Draws._fields)], seed=example["seed"], alg="philox")
    if crop_size is None:
        output_size = _native_crop_size(draws, size, augmentation, stride)
    else:
        output_size = (int(crop_size[0]), int(crop_size[1]))
    matrix, colors = _matrices(
        draws, size, tf.cast(tf.stack(output_size), tf.float32), augmentation
    )
    maps = _label_maps(example)
    image, maps = warp.resample(example["image"], maps, matrix, colors, output_size)
    return {**example, "image": image, **maps}


@tf.autograph.experimental.do_not_convert
def pad_to_multiple(example: dict[str, tf.Tensor], stride: int) -> dict[str, tf.Tensor]:
    """Returns the example with sides that are multiples of `stride`, by as few pixels as possible.

    Args:
      example: `image` uint8 [H, W, 3] and label maps as in `augment`; the rest passes through.
      stride: at least 1.

    Returns:
      A new dict; right of and below the picture the image repeats its last column and row, as
      models pad what they are given, and label maps are void, -1.

    Raises:
      ValueError: the stride is below 1, or there is no such image.
    """
    _check_output(None, stride)
    _check_image(example)
    size = tf.shape(example["image"])[:2]
    more = -size % stride
    paddings = [[0, more[0]], [0, more[1]]]
    image = example["image"]
    for axis in (0, 1):
        rows = tf.range(size[axis] + more[axis])
        image = tf.gather(image, tf.minimum(rows, size[axis] - 1), axis=axis)
    maps = {
        name: tf.pad(labels, paddings, constant_values=warp.VOID)
        for name, labels in _label_maps(example).items()
    }
    return {**example, "image": image, **maps}


def check_augmentation(augmentation: Augmentation) -> None:
    """Raises ValueError if a range is impossible, saying which and what it must be."""
    low, high = augmentation.scale
    if not 0 < low <= high < math.inf:
        raise ValueError(f"scale must be (low, high) with 0 < low <= high, got {(low, high)}.")
    for name, most in (
        ("rotation_degrees", 180),
        ("hue_degrees", 180),
        ("brightness", 1),
        ("contrast", 1),
        ("saturation", 1),
    ):
        value = getattr(augmentation, name)
        if not 0 <= value <= most:
            raise ValueError(f"{name} must lie in [0, {most}], got {value}.")
    if augmentation.crop_margin_px < 0:
        raise ValueError(f"crop_margin_px must be at least 0, got {augmentation.crop_margin_px}.")


# Compiled: these hundred scalar operations one by one add 5 % to the time of an example.
@tf.function(jit_compile=True, autograph=False)
def _matrices(
    draws: tf.Tensor, size: tf.Tensor, output_size: tf.Tensor, augmentation: Augmentation
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the matrix of all geometry [3, 3] and that of all colour [3, 4].

    draws: [9] float32, `_Draws`. size, output_size: [2] float32, height and width.
    """
    draw = _Draws(*tf.unstack(draws))
    factor = _scale_factor(draw, augmentation)
    height, width = tf.unstack(size * factor)
    geometry = warp.compose(
        warp.horizontal_flip(draw.flip < (0.5 if augmentation.flip else 0.0), size[1]),
        warp.scaling(factor),
        warp.translation(width / 2, height / 2),
        warp.rotation(_within(draw.rotation, math.radians(augmentation.rotation_degrees))),
        warp.translation(-width / 2, -height / 2),
        warp.translation(
            _crop_start(draw.left, width - output_size[1]),
            _crop_start(draw.top, height - output_size[0]),
        ),
    )
    colors = color.compose_colors(
        color.brightness_matrix(_within(draw.brightness, augmentation.brightness)),
        color.contrast_matrix(1.0 + _within(draw.contrast, augmentation.contrast)),
        color.saturation_matrix(1.0 + _within(draw.saturation, augmentation.saturation)),
        color.hue_matrix(_within(draw.hue, math.radians(augmentation.hue_degrees))),
    )
    return geometry, colors


def _native_crop_size(
    draws: tf.Tensor, size: tf.Tensor, augmentation: Augmentation, stride: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns height and width, scalars int32, of the crop of a picture of `size` [2] float32."""
    scaled = size * _scale_factor(_Draws(*tf.unstack(draws)), augmentation)
    inner = tf.cast(tf.floor(scaled), tf.int32) - augmentation.crop_margin_px
    height, width = tf.unstack(tf.maximum(inner // stride, 1) * stride)
    return height, width


def _scale_factor(draw: _Draws, augmentation: Augmentation) -> tf.Tensor:
    low, high = augmentation.scale
    return low + (high - low) * draw.scale


def _within(draw: tf.Tensor, bound: float) -> tf.Tensor:
    """Returns the number in [-bound, bound) that a draw in [0, 1) stands for."""
    return bound * (2.0 * draw - 1.0)


def _crop_start(draw: tf.Tensor, gap: tf.Tensor) -> tf.Tensor:
    """Returns where a crop begins in a picture longer than it by `gap`, which may be negative.

    Whole pixels: where nothing is scaled or rotated nothing is blurred either.
    """
    return tf.sign(gap) * tf.floor(draw * (tf.floor(tf.abs(gap)) + 1.0))


def _label_maps(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        name: value
        for name, value in example.items()
        if isinstance(value, tf.Tensor) and value.dtype == tf.int32 and value.shape.rank == 2
    }


def _check_output(crop_size: tuple[int, int] | None, stride: int) -> None:
    if crop_size is not None and (len(crop_size) != 2 or min(crop_size) < 1):
        raise ValueError(f"crop_size must be (height, width), at least 1 each, got {crop_size}.")
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}.")


def _check_example(example: dict[str, tf.Tensor]) -> None:
    _check_image(example)
    _check_entry(example, "seed", tf.int32, rank=1)


def _check_image(example: dict[str, tf.Tensor]) -> None:
    _check_entry(example, "image", tf.uint8, rank=3)


def _check_entry(example: dict[str, Any], name: str, dtype: tf.DType, rank: int) -> None:
    if name not in example:
        raise ValueError(f"an example needs {name}, got {sorted(example)}.")
    value = example[name]
    if value.dtype != dtype or value.shape.rank != rank:
        raise ValueError(
            f"{name} must be {dtype.name} of rank {rank}, got {value.dtype.name} of shape "
            f"{value.shape}."
        )
