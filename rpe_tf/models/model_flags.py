"""The flags that say which model is built, the same for every task."""

from absl import flags

from rpe_tf.models.backbone import BACKBONES, RESNET_DEPTHS
from rpe_tf.models.normalization import NORMS
from rpe_tf.models.resnet import check_arguments

_EMBEDDING_DIM = flags.DEFINE_integer(
    "embedding_dim", None, "D, ≥ 2: by default 3 for boundaries, else 16 (§3; 64 in the paper).", 2
)
_BACKBONE = flags.DEFINE_enum(
    "backbone", None, BACKBONES, "By default resnet50 for boundaries (§5.2), else encoder_decoder."
)
_WIDTH = flags.DEFINE_integer(
    "width",
    None,
    "Channels, a multiple of 8: of encoder_decoder at full resolution (by default 16), of a ResNet "
    "in the bottlenecks of stage 2 (64).",
    lower_bound=8,
)
_NORM = flags.DEFINE_enum(
    "norm",
    None,
    NORMS,
    "Normalisation: by default batch for encoder_decoder, for a ResNet frozen_batch with "
    "pretrained weights (§5.1) and group without.",
)
_NUM_LEVELS = flags.DEFINE_integer(
    "num_levels", 4, "encoder_decoder: resolutions, each half of the one before.", 1, 8
)
_NUM_BLOCKS = flags.DEFINE_integer(
    "num_blocks", 1, "encoder_decoder: residual blocks a level.", lower_bound=1
)
_OUTPUT_STRIDE = flags.DEFINE_enum(
    "output_stride", "8", ["2", "4", "8", "16", "32"], "ResNet: pixels a feature of stage 5 (§5.1)."
)
_STEM_STRIDE = flags.DEFINE_enum(
    "stem_stride",
    "4",
    ["2", "4"],
    "ResNet: pixels a feature of stage 2; 4 as published, 2 without its pooling: for thin or small "
    "things.",
)
_PRETRAINED = flags.DEFINE_string(
    "pretrained",
    None,
    "ResNet: weights to start from, `imagenet` (downloaded by keras.applications) or a file that "
    "keras.applications wrote, .h5 or .weights.h5; by default random.",
)


def settings_from_flags(task: str) -> dict:
    """Returns the arguments of a task's `build_model`.

    Raises:
      ValueError: if the flags do not fit each other; nothing is built for that.
    """
    is_boundary = task == "boundary"
    backbone = _BACKBONE.value or ("resnet50" if is_boundary else "encoder_decoder")
    settings = {
        "embedding_dim": _EMBEDDING_DIM.value or (3 if is_boundary else 16),
        "backbone": backbone,
    }
    if backbone == "encoder_decoder":
        if _PRETRAINED.value or is_boundary:
            what = "--task=boundary" if is_boundary else "--pretrained"
            raise ValueError(f"{what} needs a ResNet, set --backbone=resnet50 for example")
        return settings | {
            "width": _WIDTH.value or 16,
            "num_levels": _NUM_LEVELS.value,
            "num_blocks": _NUM_BLOCKS.value,
            "norm": _NORM.value or "batch",
        }
    width, strides = _WIDTH.value or 64, (int(_OUTPUT_STRIDE.value), int(_STEM_STRIDE.value))
    check_arguments(RESNET_DEPTHS[backbone], strides[0], width, strides[1])
    return settings | {
        "width": width,
        "output_stride": strides[0],
        "stem_stride": strides[1],
        "norm": _NORM.value or ("frozen_batch" if _PRETRAINED.value else "group"),
        "scaling": "imagenet" if _PRETRAINED.value else "unit",
    }


def pretrained_from_flags() -> str | None:
    """Returns where the weights of the backbone come from, None: random."""
    return _PRETRAINED.value
