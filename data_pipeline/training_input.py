"""The flags that say what is trained on, and the batches they ask for.

Flags outside a main, because they are many, concern nothing but data, and every program that trains
takes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf
from absl import flags, logging

from data_pipeline import augmentation_flags, input_pipeline, shards
from data_pipeline.augment import Augmentation
from data_pipeline.boundary_labels import AGREEMENTS, check_agreement

flags.adopt_module_key_flags(augmentation_flags)

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
_BOUNDARY_AGREEMENT = flags.DEFINE_string(
    "boundary_agreement", "1", f"Which boundaries to learn (task boundary): {AGREEMENTS}."
)


def train_shards_from_flags() -> str:
    """Returns the glob of the shards to train on."""
    return _TRAIN_SHARDS.value


def settings_from_flags() -> dict:
    """Returns what a run records of its data: shards, crop, sharing, boundaries and augmentation.

    Raises:
      ValueError: a flag is out of its range.
    """
    augmentation = augmentation_flags.augmentation_from_flags()
    if augmentation is None and _CROP_SIZE.value:
        raise ValueError("--crop_size is a part of augmentation; it cannot go with --noaugment")
    crop_size = None
    if _CROP_SIZE.value:
        crop_size = augmentation_flags.two_numbers("crop_size", _CROP_SIZE.value, int)
    check_agreement(_BOUNDARY_AGREEMENT.value)
    return {
        "train_shards": _TRAIN_SHARDS.value,
        "eval_shards": _EVAL_SHARDS.value,
        "crop_size": crop_size,
        "sharing": _SHARING.value,
        "boundary_agreement": _BOUNDARY_AGREEMENT.value,
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
    with_boundaries: bool = False,
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
      with_boundaries: whether batches hold a `boundary` map.
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
            boundary_agreement=settings["boundary_agreement"] if with_boundaries else None,
        )

    return iter(strategy.distribute_datasets_from_function(one_worker))
