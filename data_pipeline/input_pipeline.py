"""From shards to batches: two lists of steps, one to train on and one to evaluate on."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from data_pipeline import schema
from data_pipeline.augment import Augmentation, augment, pad_to_multiple
from data_pipeline.boundary_labels import boundary_label, check_agreement, instance_boundary
from data_pipeline.shards import listed_examples

SHARINGS = ("file", "data")

_MAX_OPEN_SHARDS = 16
# Of the largest part over the smallest, where files are shared out: beyond this, pictures of the
# small parts would be seen too often.
_MAX_IMBALANCE = 1.1


def choose_sharing(num_examples: Sequence[int], num_pipelines: int) -> tuple[str, str]:
    """Returns how pipelines share the shards, "file" or "data", and why, for the log.

    "file": each reads its own files, so that together they read the set once. "data": each reads
    all files and keeps every n-th example, which needs no minimum of files, and gives the order of
    one pipeline whatever their number.

    Args:
      num_examples: examples in each shard.
      num_pipelines: how many pipelines share them, at least 1.
    """
    if num_pipelines == 1:
        return "data", "one pipeline reads everything"
    if len(num_examples) < num_pipelines:
        return "data", f"{len(num_examples)} files are fewer than {num_pipelines} pipelines"
    parts = [sum(num_examples[k::num_pipelines]) for k in range(num_pipelines)]
    if max(parts) > _MAX_IMBALANCE * min(parts):
        return "data", f"by files, parts would have {min(parts)} to {max(parts)} examples"
    return "file", f"{len(num_examples)} files give parts of {min(parts)} to {max(parts)} examples"


def training_dataset(
    shards: Sequence[str],
    *,
    num_examples: Sequence[int],
    batch_size: int,
    seed: int,
    start_example: int = 0,
    num_pipelines: int = 1,
    pipeline_index: int = 0,
    sharing: str = "data",
    shuffle_buffer: int = 2048,
    augmentation: Augmentation | None = None,
    crop_size: tuple[int, int] | None = None,
    stride: int = 1,
    boundary_agreement: str | None = None,
) -> tf.data.Dataset:
    """Returns an endless, deterministic and resumable stream of training batches.

    Example n of the stream, counted over all epochs and pipelines, goes to pipeline n mod
    `num_pipelines`; it and its random draws depend on (shards, seed, shuffle_buffer, n) alone and,
    if `sharing` is "file", on `num_pipelines`. A run that has used k examples goes on with
    `start_example=k`; the skipped ones of the current epoch are read but not decoded.

    Args:
      shards: paths, in a fixed order.
      num_examples: examples in each shard.
      batch_size: pictures a batch of this pipeline. Smaller pictures are padded to the largest of
        the batch, label maps with void.
      seed: of the order and of the examples' own seeds.
      start_example: number of the first example, at least 0; if `sharing` is "file", a multiple of
        `num_pipelines`.
      num_pipelines: how many pipelines share the stream.
      pipeline_index: which of them this is, in [0, num_pipelines).
      sharing: one of SHARINGS, see `choose_sharing`.
      shuffle_buffer: examples (still encoded) the shuffling chooses from, at least 1; in memory.
      augmentation: see `augment.augment`; None: pictures as they are.
      crop_size: (height, width) in pixels of augmented pictures; None: their own sizes.
      stride: sides are a multiple of it, in pixels, by cropping or padding with void.
      boundary_agreement: see `boundary_labels.boundary_label`; None: no boundary maps.

    Returns:
      Dict of `image` uint8 [B, H, W, 3], `instance` and `semantic` int32 [B, H, W], `name` string
      [B], `seed` int32 [B, 2], made of (seed, n) alone: a random draw with it does not depend on
      how the stream is shared out; if `boundary_agreement` is given also `boundary` int32 [B, H,
      W]: 1 boundary, 0 none, -1 void, made of the instance map where there are no annotators, and
      void where that is.

    Raises:
      ValueError: there are no shards, or a number is out of its range.
      tf.errors.FailedPreconditionError: (while iterating) an epoch is not as long as stated.
      tf.errors.DataLossError: (while iterating) a shard is damaged; `damage.named` names it.
    """
    if not shards or len(shards) != len(num_examples):
        raise ValueError(
            f"shards must name at least one file, num_examples one number a file, got "
            f"{len(shards)} and {len(num_examples)}."
        )
    _require_at_least(1, batch_size=batch_size, shuffle_buffer=shuffle_buffer, stride=stride)
    _require_at_least(1, num_pipelines=num_pipelines, num_examples=sum(num_examples))
    _require_at_least(0, start_example=start_example)
    if not 0 <= pipeline_index < num_pipelines:
        raise ValueError(f"pipeline_index must lie in [0, {num_pipelines}), got {pipeline_index}.")
    if boundary_agreement is not None:
        check_agreement(boundary_agreement)
    if augmentation is None and crop_size is not None:
        raise ValueError("crop_size goes with an augmentation, whose crop it is.")

    # 1. Encoded records, epoch after epoch. Nothing is decoded before step 3: skipping stays cheap
    #    and the shuffle buffer small.
    # 2. The examples are numbered in the stream of all pipelines, and shared out.
    if sharing == "data":
        dataset = _records(shards, sum(num_examples), seed, start_example, shuffle_buffer)
        dataset = dataset.enumerate(start=start_example)
        # shard() counts from the start of this stream, which is example start_example.
        dataset = dataset.shard(num_pipelines, (pipeline_index - start_example) % num_pipelines)
    else:
        _require_shareable(sharing, len(shards), num_pipelines, start_example)
        own, own_start = slice(pipeline_index, None, num_pipelines), start_example // num_pipelines
        dataset = _records(shards[own], sum(num_examples[own]), seed, own_start, shuffle_buffer)
        dataset = dataset.enumerate(start=own_start)
        dataset = dataset.map(lambda n, record: (n * num_pipelines + pipeline_index, record))
    # 3. Decode and augment, in parallel but in order.
    dataset = dataset.map(
        lambda number, record: _finished(
            _numbered_example(number, record, seed, boundary_agreement),
            *(augmentation, crop_size, stride),
        ),
        tf.data.AUTOTUNE,
    )
    # 4. Batch last: everything before works on single pictures.
    dataset = _batched(dataset, batch_size, drop_remainder=True)
    return dataset.with_options(_options()).prefetch(tf.data.AUTOTUNE)


def evaluation_dataset(
    shards: Sequence[str], *, batch_size: int = 1, with_boundaries: bool = False
) -> tf.data.Dataset:
    """Returns all examples once, shard after shard, at their own sizes.

    Args:
      shards: paths; their order is kept.
      batch_size: pictures a batch. Smaller pictures are padded right and below to the largest of
        the batch, label maps with void. The last batch may be smaller.
      with_boundaries: whether to add `annotator_boundary`; for a batch size of 1.

    Returns:
      Dict of `image` uint8 [B, H, W, 3], `instance` and `semantic` int32 [B, H, W], `name` string
      [B]; on request `annotator_boundary` bool [1, K, H, W], made of the instance map where there
      are no annotators.

    Raises:
      ValueError: there are no shards, the batch size is below 1, or boundaries are asked for in
        larger batches: pictures may have unequal numbers of annotators.
      tf.errors.DataLossError: (while iterating) a shard is damaged; `damage.named` names it.
      tf.errors.FailedPreconditionError: (while iterating) there are fewer or more examples than
        manifests beside the shards list.
    """
    if not shards:
        raise ValueError("shards must name at least one file, got none.")
    _require_at_least(1, batch_size=batch_size)
    if with_boundaries and batch_size > 1:
        raise ValueError(f"boundaries of annotators need a batch size of 1, got {batch_size}.")

    def parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
        example = schema.parse_example(record)
        if with_boundaries:
            example["annotator_boundary"] = _annotator_boundary(record, example["instance"])
        return example

    records = tf.data.TFRecordDataset(list(shards))
    listed = listed_examples(shards)
    if set(shards) <= set(listed):  # A file cut off between two records looks whole.
        num_examples = sum(listed[path] for path in shards)
        records = records.apply(tf.data.experimental.assert_cardinality(num_examples))
    dataset = records.map(parse, tf.data.AUTOTUNE)
    dataset = _batched(dataset, batch_size, drop_remainder=False)
    return dataset.with_options(_options()).prefetch(tf.data.AUTOTUNE)


def _records(
    shards: Sequence[str], num_examples: int, seed: int, start: int, shuffle_buffer: int
) -> tf.data.Dataset:
    """Returns the encoded records of all epochs, shuffled, from record number `start` on."""
    first_epoch, num_skipped = divmod(start, num_examples)
    shards = tf.constant(list(shards))

    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        records = _shuffled_records(shards, tf.stack([seed, epoch]), shuffle_buffer)
        # Every epoch must have the stated length, or the numbers of its examples would be wrong.
        records = records.apply(tf.data.experimental.assert_cardinality(num_examples))
        # The order is the same whatever is skipped, so skipping comes after shuffling.
        return records.skip(tf.where(epoch == first_epoch, tf.constant(num_skipped, tf.int64), 0))

    return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_records)


def _shuffled_records(
    shards: tf.Tensor, epoch_seed: tf.Tensor, shuffle_buffer: int
) -> tf.data.Dataset:
    """Returns the encoded records of one epoch in an order made of `epoch_seed` [2] alone."""
    # shuffle() mixes the graph's seed in. This fixes it for the traced function alone: a seed set
    # elsewhere must not change the order. Not 0: shuffle() then compares its own seed, a tensor, as
    # a Python value.
    tf.compat.v1.set_random_seed(1)
    order = tf.random.experimental.stateless_shuffle(shards, seed=epoch_seed)
    buffer_seed = tf.random.stateless_uniform(
        [], seed=epoch_seed, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )
    # Several shards at a time: more mixing than one buffer gives. The number is fixed, not tuned,
    # because the order depends on it.
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(len(shards), _MAX_OPEN_SHARDS),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return records.shuffle(shuffle_buffer, seed=buffer_seed, reshuffle_each_iteration=False)


def _numbered_example(
    number: tf.Tensor, record: tf.Tensor, seed: int, boundary_agreement: str | None
) -> dict[str, tf.Tensor]:
    """Returns the parsed example with its own seed [2], made of (seed, number)."""
    example_seed = tf.random.stateless_uniform(
        [2], seed=tf.stack([seed, number]), minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    example = schema.parse_example(record) | {"seed": example_seed}
    if boundary_agreement is not None:
        drawn = _annotator_boundary(record, example["instance"])
        boundary = boundary_label(drawn, boundary_agreement, example_seed)
        # Of what is unknown it is unknown too whether a boundary runs through it.
        example["boundary"] = tf.where(example["instance"] < 0, -1, boundary)
    return example


def _annotator_boundary(record: tf.Tensor, instance: tf.Tensor) -> tf.Tensor:
    """Returns bool [K, H, W]: what annotators drew, else the boundary of the instance map."""
    return tf.ensure_shape(
        tf.cond(
            schema.record_contents(record)["has_annotators"],
            lambda: schema.parse_annotators(record)["annotator_boundary"],
            lambda: instance_boundary(instance),
        ),
        [None, None, None],
    )


def _finished(
    example: dict[str, tf.Tensor],
    augmentation: Augmentation | None,
    crop_size: tuple[int, int] | None,
    stride: int,
) -> dict[str, tf.Tensor]:
    if augmentation is None:
        return pad_to_multiple(example, stride)
    return augment(example, augmentation, crop_size=crop_size, stride=stride)


def _batched(dataset: tf.data.Dataset, batch_size: int, drop_remainder: bool) -> tf.data.Dataset:
    """Returns batches whose pictures are padded to the largest, label maps with void."""
    specs = dataset.element_spec
    if batch_size == 1 or all(spec.shape.is_fully_defined() for spec in specs.values()):
        return dataset.batch(batch_size, drop_remainder=drop_remainder)
    padding = {
        name: tf.constant(-1, spec.dtype) if spec.shape.rank == 2 else None  # None: zeros
        for name, spec in specs.items()
    }
    return dataset.padded_batch(batch_size, padding_values=padding, drop_remainder=drop_remainder)


def _require_at_least(least: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")


def _require_shareable(
    sharing: str, num_shards: int, num_pipelines: int, start_example: int
) -> None:
    if sharing not in SHARINGS:
        raise ValueError(f"sharing must be one of {SHARINGS}, got {sharing!r}.")
    if num_shards < num_pipelines:
        raise ValueError(
            f'sharing "file" needs as many files as pipelines, got {num_shards} and '
            f'{num_pipelines}; share by "data".'
        )
    if start_example % num_pipelines:
        raise ValueError(
            f"start_example must be a multiple of the {num_pipelines} pipelines that share files, "
            f"got {start_example}."
        )


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # The stream is shared out by example number; a second sharing by file would lose examples.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
