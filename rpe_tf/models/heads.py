"""What stands on a backbone: the embedding, and the semantic head of DeepLab-v3 (§5.4)."""

import keras
import tensorflow as tf

from rpe_tf.models.layers import Crop, CropAndNormalize, Grow
from rpe_tf.models.normalization import normalization
from rpe_tf.models.position import RotateByPosition

# Of the 3×3 convolutions at output stride 16 (DeepLab-v3, §3.3); doubled at 8, and so on.
_RATES_AT_16 = (6, 12, 18)


def embedding_head(
    features: tf.Tensor,
    stride: int,
    image: tf.Tensor,
    embedding_dim: int,
    *,
    position: str = "none",
    wavelengths: tuple[float, float] = (24.0, 384.0),
) -> tf.Tensor:
    """Returns the embedding [B, H, W, D] float32, unit vectors, of the picture's own size.

    Args:
      features: [B, H', W', C].
      stride: pixels of the picture a feature stands for.
      image: [B, H, W, 3], gives the size.
      embedding_dim: D ≥ 2; even with position "rotation".
      position: "rotation": see `RotateByPosition`; else nothing is done about it here.
      wavelengths: of the rotation, shortest and longest, in pixels.

    Raises:
      ValueError: if embedding_dim does not fit.
    """
    if embedding_dim < 2 or (position == "rotation" and embedding_dim % 2):
        even = " and even, with positions by rotation" if position == "rotation" else ""
        raise ValueError(f"embedding_dim must be at least 2{even}, got {embedding_dim}")
    x = keras.layers.Conv2D(embedding_dim, 1, dtype="float32", name="embedding_conv")(features)
    x = Grow(stride, name="embedding_grow", dtype="float32")(x)
    if position == "rotation":
        x = RotateByPosition(wavelengths, name="rotate_by_position")(x)
    return CropAndNormalize(name="embedding")([x, image])


def class_head(features: tf.Tensor, stride: int, image: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Returns the logits of the classes [B, H, W, C] float32, of the picture's own size.

    Raises:
      ValueError: if num_classes < 2; background is one of them.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2 with the background, got {num_classes}")
    x = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="class_conv")(features)
    x = Grow(stride, name="class_grow", dtype="float32")(x)
    return Crop(name="logit", dtype="float32")([x, image])


def deeplab_head(features: tf.Tensor, stride: int, channels: int, norm: str) -> tf.Tensor:
    """Returns features [B, H', W', channels] that have seen several scales (DeepLab-v3, §3.3).

    Atrous spatial pyramid pooling: a 1×1 convolution, 3×3 ones of three rates and the mean of the
    picture, side by side; then one 1×1 convolution over all. Its part for the mean, the same at
    every pixel, is added rather than spread out and joined: that is the same sum.

    Args:
      features: [B, H', W', C].
      stride: pixels of the picture a feature stands for; the rates go with 16 / stride.
      channels: of each part and of the result; 256 as published.
      norm: "batch", "group" or "frozen_batch".
    """
    parts = [_unit(features, channels, norm, 1, 1, "aspp_1x1")]
    for rate in _RATES_AT_16:
        rate = max(1, rate * 16 // stride)
        parts.append(_unit(features, channels, norm, 3, rate, f"aspp_rate{rate}"))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_mean")(features)
    mean = _unit(mean, channels, norm, 1, 1, "aspp_picture")
    x = keras.layers.Concatenate(name="aspp_parts")(parts)
    x = keras.layers.Conv2D(channels, 1, use_bias=False, name="aspp_join")(x)
    mean = keras.layers.Conv2D(channels, 1, use_bias=False, name="aspp_join_picture")(mean)
    x = keras.layers.Add(name="aspp_sum")([x, mean])
    x = normalization(norm)("aspp_norm")(x)
    return keras.layers.ReLU(name="aspp_out")(x)


def _unit(x: tf.Tensor, channels: int, norm: str, size: int, rate: int, name: str) -> tf.Tensor:
    """Convolution, normalisation, ReLU."""
    x = keras.layers.Conv2D(
        channels,
        size,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = normalization(norm)(f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
