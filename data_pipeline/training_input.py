"""The flags that say what is trained on, and the batches they ask for.

Flags outside a main, because they are many, concern nothing but data, and every program that trains
takes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf
from absl import flags, logging

from data_pipeline import input_pipeline, shards
from data_pipeline.augment import Augmentation, check_augmentation

_DEFAULTS = Augmentation()

_TRAIN_SHARDS = flags.DEFINE_string("train_shards", None, "Glob(s) of TFRecord shards to train on.")
_EVAL_SHARDS = flags.DEFINE_list(
    "eval_shards", [], "Globs of shards to score, one a split; the first split's scores lead."
)
_CROP_SIZE = flags.DEFINE_list(
    "crop_size", [], "HEIGHT,WIDTH in pixels of augmented pictures; by default their own sizes."
)
_SHARING = flags.DEFINE_enum(
    "sharing",
    "auto",
    ["auto", *input_pipeline.SHARINGS],
    "Among hosts: each reads its own files, or all read all data and keep a part; auto: by count.",
)
_AUGMENT = flags.DEFINE_bool("augment", True, "Change pictures at random, as below (§5.1).")
_SCALE = flags.DEFINE_list(
    "scale", [str(x) for x in _DEFAULTS.scale], "LEAST,MOST factor of a picture's size, > 0."
)
_ROTATION_DEGREES = flags.DEFINE_float(
    "rotation_degrees", _DEFAULTS.rotation_degrees, "Most rotation, to either side.", 0, 180
)
_FLIP = flags.DEFINE_bool("flip", _DEFAULTS.flip, "Mirror every other picture, left and right.")
_CROP_MARGIN_PX = flags.DEFINE_integer(
    "crop_margin_px", _DEFAULTS.crop_margin_px, "Pixels cut off a side without --crop_size.", 0
)
_BRIGHTNESS = flags.DEFINE_float(
    "brightness", _DEFAULTS.brightness, "Most added or taken away, as a share of white.", 0, 1
)
_CONTRAST = flags.DEFINE_float(
    "contrast", _DEFAULTS.contrast, "Its factor lies in 1 ± this, in [0, 1].", 0, 1
)
_SATURATION = flags.DEFINE_float(
    "saturation", _DEFAULTS.saturation, "Its factor lies in 1 ± this, in [0, 1].", 0, 1
)
_HUE_DEGREES = flags.DEFINE_float(
    "hue_degrees", _DEFAULTS.hue_degrees, "Most turn about the grey axis, to either side.", 0, 180
)


def settings_from_flags() -> dict:
    """Returns what a run records of its data: shards, crop, sharing and augmentation.

    Raises:
      ValueError: a flag is out of its range.
    """
    augmentation = None
    if _AUGMENT.value:
        augmentation = Augmentation(
            scale=_numbers("scale", _SCALE.value, float),
            rotation_degrees=_ROTATION_DEGREES.value,
            flip=_FLIP.value,
            crop_margin_px=_CROP_MARGIN_PX.value,
            brightness=_BRIGHTNESS.value,
            contrast=_CONTRAST.value,
            saturation=_SATURATION.value,
            hue_degrees=_HUE_DEGREES.value,
        )
        check_augmentation(augmentation)
    elif _CROP_SIZE.value:
        raise ValueError("--crop_size is a part of augmentation; it cannot go with --noaugment")
    crop_size = _numbers("crop_size", _CROP_SIZE.value, int) if _CROP_SIZE.value else None
    return {
        "train_shards": _TRAIN_SHARDS.value,
        "eval_shards": _EVAL_SHARDS.value,
        "crop_size": crop_size,
        "sharing": _SHARING.value,
        "augmentation": augmentation._asdict() if augmentation else None,
    }


def distributed_batches(
    strategy: tf.distribute.Strategy,
    paths: list[str],
    settings: dict,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    stride: int,
) -> Iterator:
    """Returns the distributed batches of a training from start_step on.

    Args:
      strategy: of the training.
      paths: shards to train on.
      settings: of `settings_from_flags`.
      batch_size: pictures a step, over all replicas.
      seed: of order and augmentation.
      start_step: steps that were made already.
      stride: that sides of pictures shall be a multiple of, in pixels.
    """
    num_examples = shards.count_examples(paths)
    augmentation = settings["augmentation"] and Augmentation(**settings["augmentation"])

    def one_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        num_pipelines = context.num_input_pipelines
        sharing, why = settings["sharing"], "as asked"
        if sharing == "auto":
            sharing, why = input_pipeline.choose_sharing(num_examples, num_pipelines)
        logging.info("data shared out by %s: %s", sharing.upper(), why)
        return input_pipeline.training_dataset(
            paths,
            num_examples=num_examples,
            batch_size=context.get_per_replica_batch_size(batch_size),
            seed=seed,
            start_example=start_step * batch_size,
            num_pipelines=num_pipelines,
            pipeline_index=context.input_pipeline_id,
            sharing=sharing,
            augmentation=augmentation,
            crop_size=settings["crop_size"],
            stride=stride,
        )

    return iter(strategy.distribute_datasets_from_function(one_worker))


def _numbers(name: str, values: list[str], kind: type) -> tuple:
    try:
        low, high = map(kind, values)
    except ValueError as error:
        raise ValueError(f"--{name} must be two numbers, got {','.join(values)}") from error
    return low, high
