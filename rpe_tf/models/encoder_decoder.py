"""A small residual encoder-decoder with skip connections, for small objects and machines."""

import keras
import tensorflow as tf

from rpe_tf.models.normalization import normalization

# Channels of a level, in widths, at the most: coarser levels see further, they need not hold more.
_WIDEST = 8

OUTPUT_STRIDES = (1, 2, 4)


def encoder_decoder(
    image: tf.Tensor,
    width: int,
    num_levels: int,
    num_blocks: int,
    norm: str,
    output_stride: int = 1,
) -> tf.Tensor:
    """Returns features at the picture's own resolution, or a half or quarter of it.

    Level l works at stride output_stride · 2^l with width · 2^l channels, at most 8 · width. Down:
    one convolution to output_stride (two to 4), then residual blocks, the first of a level with
    stride 2. Up: 1×1 convolution, nearest neighbour, sum with the encoder's level, one block.

    Args:
      image: [B, H, W, 3] float, sides a multiple of output_stride · 2^(num_levels − 1).
      width: channels of the features, a multiple of 8.
      num_levels: ≥ 1.
      num_blocks: residual blocks a level on the way down, below the first, ≥ 1.
      norm: "batch", "group" or "frozen_batch".
      output_stride: pixels a feature, one of OUTPUT_STRIDES; at 2 a quarter of the products.

    Returns:
      [B, H / output_stride, W / output_stride, width].

    Raises:
      ValueError: if width is no multiple of 8, or norm or output_stride is unknown.
    """
    if width % 8 or width < 8:
        raise ValueError(f"width must be a multiple of 8, got {width}")
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"output_stride of encoder_decoder must be one of {OUTPUT_STRIDES}, got {output_stride}"
        )
    # One convolution is all that the first level gets on the way down: a block there costs as much
    # as one at any other level, and most of what it would see is seen better from further away.
    x = _unit(image, width, norm, min(output_stride, 2), name="stem")
    if output_stride == 4:
        x = _unit(x, width, norm, 2, name="stem4")
    channels = [width * min(2**level, _WIDEST) for level in range(num_levels)]
    levels = [x]
    for level in range(1, num_levels):
        for block in range(num_blocks):
            stride = 2 if block == 0 else 1
            x = _block(x, channels[level], norm, stride, name=f"down{level}_{block}")
        levels.append(x)
    for level in reversed(range(num_levels - 1)):
        x = keras.layers.Conv2D(channels[level], 1, use_bias=False, name=f"narrow{level}")(x)
        x = keras.layers.UpSampling2D(2, name=f"grow{level}")(x)
        x = keras.layers.Add(name=f"skip{level}")([x, levels[level]])
        x = _block(x, channels[level], norm, 1, name=f"up{level}")
    return x


def _unit(
    x: tf.Tensor, channels: int, norm: str, stride: int = 1, *, name: str, relu: bool = True
) -> tf.Tensor:
    """Convolution 3×3, normalisation, ReLU."""
    x = keras.layers.Conv2D(
        channels,
        3,
        stride,
        "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = normalization(norm)(f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _block(x: tf.Tensor, channels: int, norm: str, stride: int, *, name: str) -> tf.Tensor:
    """Residual block of two convolutions; the shortcut is projected where the shape changes."""
    shortcut = x
    if stride != 1:
        # Mean and then project, not a strided 1×1 convolution: that would see one pixel in four,
        # and from 8 channels its gradient crashes oneDNN (TensorFlow 2.15 and 2.21).
        shortcut = keras.layers.AveragePooling2D(stride, name=f"{name}_mean")(shortcut)
    if x.shape[-1] != channels:
        shortcut = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(
            shortcut
        )
    x = _unit(x, channels, norm, stride, name=f"{name}_1")
    x = _unit(x, channels, norm, name=f"{name}_2", relu=False)
    return keras.layers.ReLU(name=f"{name}_out")(
        keras.layers.Add(name=f"{name}_add")([x, shortcut])
    )
