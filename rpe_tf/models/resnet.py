"""ResNet v1 (He et al. 2016) as in keras.applications, with any output stride (§5.1)."""

import keras
import tensorflow as tf

from rpe_tf.models.normalization import normalization

# Blocks of stages 2 to 5. 50 and 101 as published; 14 and 26 are the same net for small machines.
BLOCKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
STEM_STRIDES = (2, 4)

_EPSILON = 1.001e-5  # of keras.applications, whose weights are loaded


def resnet(
    image: tf.Tensor,
    depth: int,
    *,
    norm: str,
    output_stride: int = 8,
    width: int = 64,
    stem_stride: int = 4,
) -> list[tuple[int, tf.Tensor, int]]:
    """Returns the features of stages 2 to 5 of a ResNet without its global pooling.

    Names, shapes and arithmetic are those of keras.applications, so that its weights fit. Where
    output_stride leaves a stage no stride, its 3×3 convolutions are dilated by what was left out so
    far: with equal weights and moments stored, the features at every (32 / output_stride)-th
    position are those of the net of stride 32. Feature k of a row stands on pixel stride · k.

    Args:
      image: [B, H, W, 3] float, any sides.
      depth: layers with weights, one of BLOCKS.
      norm: "batch", "group" or "frozen_batch".
      output_stride: pixels of the picture a feature of stage 5: stem_stride times 1, 2, 4 or 8 (the
        published strides). §5.1: 8 at stem_stride 4, dilations 2 and 4 in stages 4 and 5.
      width: channels of the stem and of the bottlenecks of stage 2, a multiple of 8; 64 published.
        Stage k has width · 2^k channels, its bottlenecks a quarter.
      stem_stride: pixels of the picture a feature of stage 2; 4 as published, or 2, without max
        pooling: twice the resolution everywhere, for small pictures and thin structures.

    Returns:
      Of each stage, 2 to 5: its number, its features [B, ⌈H / stride⌉, ⌈W / stride⌉, width · 2^k],
      ≥ 0, and its stride, in pixels.

    Raises:
      ValueError: if depth, norm or stem_stride is unknown, width is no multiple of 8, or
        output_stride is not stem_stride times 1, 2, 4 or 8.
    """
    check_arguments(depth, output_stride, width, stem_stride)
    x = _stem(image, width, stem_stride, norm)
    stages = []
    stride, dilation = stem_stride, 1
    for stage, num_blocks in enumerate(BLOCKS[depth], start=2):
        step = 1 if stage == 2 or stride == output_stride else 2
        stride *= step
        if stage > 2 and step == 1:
            dilation *= 2
        for block in range(1, num_blocks + 1):
            x = _block(
                x,
                width * 2 ** (stage - 2),
                norm,
                step if block == 1 else 1,
                dilation,
                name=f"conv{stage}_block{block}",
            )
        stages.append((stage, x, stride))
    return stages


def check_arguments(depth: int, output_stride: int, width: int, stem_stride: int) -> None:
    """Raises ValueError as `resnet` does, without building anything."""
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {tuple(BLOCKS)}, got {depth}")
    if width % 8 or width < 8:
        raise ValueError(f"width must be a multiple of 8, got {width}")
    if stem_stride not in STEM_STRIDES:
        raise ValueError(f"stem_stride must be one of {STEM_STRIDES}, got {stem_stride}")
    possible = tuple(stem_stride * factor for factor in (1, 2, 4, 8))
    if output_stride not in possible:
        raise ValueError(
            f"output_stride must be one of {possible} at stem_stride {stem_stride}, "
            f"got {output_stride}"
        )


def _stem(x: tf.Tensor, width: int, stem_stride: int, norm: str) -> tf.Tensor:
    """7×7 convolution of stride 2 and, up to stride 4, 3×3 max pooling, both centred by padding."""
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _unit(x, width, norm, 7, name="conv1", strides=2, padding="valid")
    x = keras.layers.ReLU(name="conv1_relu")(x)
    if stem_stride == 2:
        return x
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return keras.layers.MaxPooling2D(3, 2, name="pool1_pool")(x)


def _block(
    x: tf.Tensor, channels: int, norm: str, stride: int, dilation: int, *, name: str
) -> tf.Tensor:
    """Bottleneck block, stride in its first convolution; the first of a stage projects."""
    if stride != 1:
        # Equal to strides in the two 1×1 convolutions that follow; with these the gradient from 8
        # channels corrupts memory in oneDNN (TensorFlow 2.15 and 2.21).
        x = keras.layers.AveragePooling2D(1, stride, name=f"{name}_subsample")(x)
    shortcut = x
    if name.endswith("_block1"):
        shortcut = _unit(x, 4 * channels, norm, 1, name=f"{name}_0")
    x = _unit(x, channels, norm, 1, name=f"{name}_1")
    x = keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _unit(x, channels, norm, 3, name=f"{name}_2", dilation_rate=dilation)
    x = keras.layers.ReLU(name=f"{name}_2_relu")(x)
    x = _unit(x, 4 * channels, norm, 1, name=f"{name}_3")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _unit(
    x: tf.Tensor, channels: int, norm: str, kernel: int, *, name: str, **arguments: object
) -> tf.Tensor:
    """Convolution and normalisation."""
    arguments = {"padding": "same", "kernel_initializer": "he_normal", **arguments}
    x = keras.layers.Conv2D(channels, kernel, name=f"{name}_conv", **arguments)(x)
    return normalization(norm, _EPSILON)(f"{name}_bn")(x)
