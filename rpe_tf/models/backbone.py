"""The backbones by name: features of a picture at one resolution or several."""

from typing import NamedTuple

import tensorflow as tf

from rpe_tf.models.encoder_decoder import encoder_decoder
from rpe_tf.models.layers import ScaleAndPad
from rpe_tf.models.position import POSITIONS, PositionChannels
from rpe_tf.models.resnet import resnet

RESNET_DEPTHS = {"resnet14": 14, "resnet26": 26, "resnet50": 50, "resnet101": 101}
# Of the position channels: 16 channels beside the 3 of the picture. Other numbers are untried.
_NUM_WAVES = 8
BACKBONES = ("encoder_decoder", *RESNET_DEPTHS)


class Stage(NamedTuple):
    """Features at one resolution."""

    name: str
    features: tf.Tensor  # [B, H', W', C], H' · stride = H of the padded picture
    stride: int  # pixels of the picture a feature stands for


def backbone_stages(image: tf.Tensor, backbone: str, **arguments: object) -> list[Stage]:
    """Returns the stages of a backbone, the last one what a single embedding is made of.

    Args:
      image: [B, H, W, 3] uint8, any size; padded inside to a multiple of `backbone_stride`.
      backbone: one of BACKBONES.
      **arguments: of `encoder_decoder`: width, num_levels, num_blocks, norm,
        output_stride; of `resnet`: width, output_stride, stem_stride, norm; of either: scaling as
        in `ScaleAndPad`, position, "channels" for `PositionChannels` beside the picture, and their
        wavelengths.

    Raises:
      ValueError: if backbone or position is unknown, or as `encoder_decoder` and `resnet`.
    """
    stride = backbone_stride(backbone, **arguments)
    scaling, position = arguments.pop("scaling", "unit"), arguments.pop("position", "none")
    wavelengths = arguments.pop("wavelengths", (24.0, 384.0))
    if position not in POSITIONS:
        raise ValueError(f"position must be one of {POSITIONS}, got {position!r}")
    x = ScaleAndPad(stride, scaling=scaling, name="scale_and_pad")(image)
    if position == "channels":
        x = PositionChannels(_NUM_WAVES, wavelengths, name="position_channels")(x)
    if backbone == "encoder_decoder":
        arguments = {"width": 24, "num_levels": 4, "num_blocks": 2, "norm": "batch", **arguments}
        features = encoder_decoder(x, **arguments)
        return [Stage("features", features, arguments.get("output_stride", 1))]
    stages = resnet(x, RESNET_DEPTHS[backbone], **arguments)
    return [Stage(str(k), features, stage_stride) for k, features, stage_stride in stages]


def backbone_stride(backbone: str, **arguments: object) -> int:
    """Returns the multiple that both sides of a picture are padded to inside, in pixels.

    Raises:
      ValueError: if the backbone is unknown.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone must be one of {BACKBONES}, got {backbone!r}")
    if backbone == "encoder_decoder":
        coarsest = 2 ** (arguments.get("num_levels", 4) - 1)
        return arguments.get("output_stride", 1) * coarsest
    return arguments.get("output_stride", 8)
