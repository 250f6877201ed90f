"""The flags of augmentation, the same for training and for drawing what training would see."""

from __future__ import annotations

from absl import flags

from data_pipeline.augment import Augmentation, check_augmentation

_DEFAULTS = Augmentation()

_AUGMENT = flags.DEFINE_bool("augment", True, "Change pictures at random, as below (§5.1).")
_SCALE = flags.DEFINE_list(
    "scale", [str(x) for x in _DEFAULTS.scale], "LEAST,MOST factor of a picture's size, > 0."
)
_ROTATION_DEGREES = flags.DEFINE_float(
    "rotation_degrees", _DEFAULTS.rotation_degrees, "Most rotation, to either side.", 0, 180
)
_FLIP = flags.DEFINE_bool("flip", _DEFAULTS.flip, "Mirror every other picture, left and right.")
_CROP_MARGIN_PX = flags.DEFINE_integer(
    "crop_margin_px",
    _DEFAULTS.crop_margin_px,
    "Without --crop_size: pixels by which height and width of a crop fall short of the picture's.",
    0,
)
_BRIGHTNESS = flags.DEFINE_float(
    "brightness",
    _DEFAULTS.brightness,
    "Most added or taken away, as a share of white. It turns dark pictures (microscopes) black: "
    "take 0 there, and --scaling=picture.",
    lower_bound=0,
    upper_bound=1,
)
_CONTRAST = flags.DEFINE_float(
    "contrast",
    _DEFAULTS.contrast,
    "Its factor, about mid-grey, lies in 1 ± this, in [0, 1]; of dark pictures as --brightness.",
    lower_bound=0,
    upper_bound=1,
)
_SATURATION = flags.DEFINE_float(
    "saturation", _DEFAULTS.saturation, "Its factor lies in 1 ± this, in [0, 1].", 0, 1
)
_HUE_DEGREES = flags.DEFINE_float(
    "hue_degrees", _DEFAULTS.hue_degrees, "Most turn about the grey axis, to either side.", 0, 180
)


def augmentation_from_flags() -> Augmentation | None:
    """Returns the ranges asked for, None with --noaugment.

    Raises:
      ValueError: a flag is out of its range.
    """
    if not _AUGMENT.value:
        return None
    augmentation = Augmentation(
        scale=two_numbers("scale", _SCALE.value, float),
        rotation_degrees=_ROTATION_DEGREES.value,
        flip=_FLIP.value,
        crop_margin_px=_CROP_MARGIN_PX.value,
        brightness=_BRIGHTNESS.value,
        contrast=_CONTRAST.value,
        saturation=_SATURATION.value,
        hue_degrees=_HUE_DEGREES.value,
    )
    check_augmentation(augmentation)
    return augmentation


def two_numbers(name: str, values: list[str], kind: type) -> tuple:
    """Returns the two numbers of a flag that is a list.

    Args:
      name: of the flag, for the message.
      values: as the flag has them.
      kind: int or float.

    Raises:
      ValueError: they are not two, or no numbers.
    """
    try:
        low, high = map(kind, values)
    except ValueError as error:
        raise ValueError(f"--{name} must be two numbers, got {','.join(values)}") from error
    return low, high
