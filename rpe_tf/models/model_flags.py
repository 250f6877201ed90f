"""The flags that say which model is built, the same for every task."""

from absl import flags

from rpe_tf.models.backbone import BACKBONES, RESNET_DEPTHS
from rpe_tf.models.layers import SCALINGS
from rpe_tf.models.normalization import NORMS
from rpe_tf.models.position import POSITIONS, wave_vectors
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
    "output_stride",
    None,
    ["1", "2", "4", "8", "16", "32"],
    "Pixels a feature that the embedding is made of: of a ResNet by default 8 (§5.1); of "
    "encoder_decoder 1, 2 or 4, by default 1: at 2 its convolutions are a quarter of the work; the "
    "outputs stay at full size.",
)
_STEM_STRIDE = flags.DEFINE_enum(
    "stem_stride",
    "4",
    ["2", "4"],
    "ResNet: pixels a feature of stage 2; 4 as published, 2 without its pooling: for thin or small "
    "things.",
)
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes",
    None,
    "Tasks semantic and instances: classes with the background; by default as the shards say.",
    lower_bound=2,
)
_HEAD_CHANNELS = flags.DEFINE_integer(
    "head_channels",
    256,
    "Tasks semantic and instances, ResNet: channels of DeepLab-v3's head, a multiple of 8.",
    lower_bound=8,
)
_POSITION = flags.DEFINE_enum(
    "position",
    "none",
    POSITIONS,
    "What the net is told of where a pixel lies: channels beside the picture, or rotation of the "
    "embedding by the position, which tells twins apart. Not of task boundary.",
)
_WAVELENGTHS = flags.DEFINE_list(
    "wavelengths",
    ["24", "384"],
    "SHORTEST,LONGEST wave of --position in pixels: about the distance of neighbouring instances, "
    "and the size of the picture.",
)
_SCALING = flags.DEFINE_enum(
    "scaling",
    None,
    SCALINGS,
    "Of a picture's values: unit, to [−1, 1]; picture, to mean 0 and deviation 1 of each, for dark "
    "pictures; imagenet. By default imagenet with --pretrained, else unit.",
)
_PRETRAINED = flags.DEFINE_string(
    "pretrained",
    None,
    "ResNet: weights to start from, `imagenet` (downloaded by keras.applications) or a file that "
    "keras.applications wrote, .h5 or .weights.h5; by default random.",
)


def settings_from_flags(task: str, num_classes: int | None) -> dict:
    """Returns the arguments of a task's `build_model`.

    Args:
      task: its name.
      num_classes: that the shards have with the background, None if they do not say.

    Raises:
      ValueError: if the flags do not fit each other; nothing is built for that.
    """
    return {
        "embedding_dim": _EMBEDDING_DIM.value or (3 if task == "boundary" else 16),
        **_class_settings(task, num_classes),
        **_position_settings(task),
        **_backbone_settings(task == "boundary"),
    }


def _class_settings(task: str, num_classes: int | None) -> dict:
    if task not in ("semantic", "instances"):
        return {}
    num_classes = _NUM_CLASSES.value or num_classes
    if num_classes is None:
        raise ValueError("the shards have no manifest that names their classes; set --num_classes")
    return {"num_classes": num_classes, "head_channels": _HEAD_CHANNELS.value}


def _position_settings(task: str) -> dict:
    if _POSITION.value == "none":
        return {}
    if task == "boundary":
        raise ValueError("--position is for tasks with instances, not for --task=boundary")
    if _POSITION.value == "channels" and _PRETRAINED.value:
        raise ValueError(
            "--position=channels changes the first convolution, for which --pretrained has "
            "weights of three channels; use --position=rotation"
        )
    try:
        wavelengths = [float(length) for length in _WAVELENGTHS.value]
    except ValueError:
        wavelengths = []
    if len(wavelengths) != 2:
        raise ValueError(f"--wavelengths must be two numbers, got {','.join(_WAVELENGTHS.value)}")
    wave_vectors(1, wavelengths)
    return {"position": _POSITION.value, "wavelengths": wavelengths}


def _backbone_settings(is_boundary: bool) -> dict:
    backbone = _BACKBONE.value or ("resnet50" if is_boundary else "encoder_decoder")
    settings = {"backbone": backbone}
    if backbone == "encoder_decoder":
        if _PRETRAINED.value or is_boundary:
            what = "--task=boundary" if is_boundary else "--pretrained"
            raise ValueError(f"{what} needs a ResNet, set --backbone=resnet50 for example")
        return settings | {
            "width": _WIDTH.value or 16,
            "num_levels": _NUM_LEVELS.value,
            "num_blocks": _NUM_BLOCKS.value,
            "norm": _NORM.value or "batch",
            # Left out by default, as in the settings of runs from before there was a choice.
            **({"scaling": _SCALING.value} if _SCALING.value else {}),
            **({"output_stride": int(_OUTPUT_STRIDE.value)} if _OUTPUT_STRIDE.value else {}),
        }
    strides = int(_OUTPUT_STRIDE.value or 8), int(_STEM_STRIDE.value)
    width = _WIDTH.value or 64
    check_arguments(RESNET_DEPTHS[backbone], strides[0], width, strides[1])
    return settings | {
        "width": width,
        "output_stride": strides[0],
        "stem_stride": strides[1],
        "norm": _NORM.value or ("frozen_batch" if _PRETRAINED.value else "group"),
        "scaling": _SCALING.value or ("imagenet" if _PRETRAINED.value else "unit"),
    }


def pretrained_from_flags() -> str | None:
    """Returns where the weights of the backbone come from, None: random."""
    return _PRETRAINED.value
