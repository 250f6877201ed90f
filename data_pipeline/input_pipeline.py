"""From shards to batches: two lists of steps, one to train on and one to evaluate on."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from data_pipeline import schema

_MAX_OPEN_SHARDS = 16


def training_dataset(
    shards: Sequence[str],
    *,
    num_examples: int,
    batch_size: int,
    seed: int,
    start_example: int = 0,
    num_pipelines: int = 1,
    pipeline_index: int = 0,
    shuffle_buffer: int = 2048,
) -> tf.data.Dataset:
    """Returns an endless, deterministic and resumable stream of training batches.

    Example n of the stream, counted over all epochs, depends on (shards, seed, shuffle_buffer, n)
    alone, and goes to pipeline n mod `num_pipelines`. A run that has used k examples goes on with
    `start_example=k`; the skipped ones of the current epoch are read but not decoded.

    Args:
      shards: paths, in a fixed order.
      num_examples: examples in all shards together, i.e. the length of an epoch.
      batch_size: pictures a batch of this pipeline; the pictures of a batch must have equal sizes.
      seed: of the order and of the examples' own seeds.
      start_example: number of the first example, at least 0.
      num_pipelines: how many pipelines share the stream.
      pipeline_index: which of them this is, in [0, num_pipelines).
      shuffle_buffer: examples (still encoded) the shuffling chooses from, at least 1; in memory.

    Returns:
      Dict of `image` uint8 [B, H, W, 3], `instance` and `semantic` int32 [B, H, W], `name` string
      [B], `seed` int32 [B, 2], made of (seed, n) alone: a random draw with it does not depend on
      how the stream is shared out.

    Raises:
      ValueError: there are no shards, or a number is out of its range.
      tf.errors.FailedPreconditionError: (while iterating) an epoch is not `num_examples` long.
      tf.errors.InvalidArgumentError: (while iterating) the sizes in a batch differ.
      tf.errors.DataLossError: (while iterating) a shard is damaged; `shards.find_damage` names it.
    """
    if not shards:
        raise ValueError("shards must name at least one file, got none.")
    _require_at_least(
        1, num_examples=num_examples, batch_size=batch_size, shuffle_buffer=shuffle_buffer
    )
    _require_at_least(1, num_pipelines=num_pipelines)
    _require_at_least(0, start_example=start_example)
    if not 0 <= pipeline_index < num_pipelines:
        raise ValueError(f"pipeline_index must lie in [0, {num_pipelines}), got {pipeline_index}.")

    first_epoch, num_skipped = divmod(start_example, num_examples)
    shards = tf.constant(list(shards))

    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        records = _shuffled_records(shards, tf.stack([seed, epoch]), shuffle_buffer)
        # Every epoch must have the stated length, or the numbers of its examples would be wrong.
        records = records.apply(tf.data.experimental.assert_cardinality(num_examples))
        # The order is the same whatever is skipped, so skipping comes after shuffling.
        return records.skip(tf.where(epoch == first_epoch, tf.constant(num_skipped, tf.int64), 0))

    # 1. Encoded records, epoch after epoch. Nothing is decoded before step 4: skipping stays cheap
    #    and the shuffle buffer small.
    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_records)
    # 2. Number the examples before they are shared out: the numbers are those of the whole stream.
    dataset = dataset.enumerate(start=start_example)
    # 3. Share out. shard() counts from the start of this stream, which is example start_example.
    dataset = dataset.shard(num_pipelines, (pipeline_index - start_example) % num_pipelines)
    # 4. Decode, in parallel but in order.
    dataset = dataset.map(
        lambda number, record: _numbered_example(number, record, seed), tf.data.AUTOTUNE
    )
    # 5. Batch last: everything before works on single pictures.
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return dataset.with_options(_options()).prefetch(tf.data.AUTOTUNE)


def evaluation_dataset(shards: Sequence[str], *, batch_size: int = 1) -> tf.data.Dataset:
    """Returns all examples once, shard after shard, at their own sizes.

    Args:
      shards: paths; their order is kept.
      batch_size: pictures a batch; above 1 all pictures of a batch must have equal sizes. The last
        batch may be smaller.

    Returns:
      Dict of `image` uint8 [B, H, W, 3], `instance` and `semantic` int32 [B, H, W], `name` string
      [B].

    Raises:
      ValueError: there are no shards, or the batch size is below 1.
      tf.errors.InvalidArgumentError: (while iterating) the sizes in a batch differ.
      tf.errors.DataLossError: (while iterating) a shard is damaged; `shards.find_damage` names it.
    """
    if not shards:
        raise ValueError("shards must name at least one file, got none.")
    _require_at_least(1, batch_size=batch_size)
    dataset = tf.data.TFRecordDataset(list(shards))
    dataset = dataset.map(schema.parse_example, tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size)
    return dataset.with_options(_options()).prefetch(tf.data.AUTOTUNE)


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


def _numbered_example(number: tf.Tensor, record: tf.Tensor, seed: int) -> dict[str, tf.Tensor]:
    """Returns the parsed example with its own seed [2], made of (seed, number)."""
    example_seed = tf.random.stateless_uniform(
        [2], seed=tf.stack([seed, number]), minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    return schema.parse_example(record) | {"seed": example_seed}


def _require_at_least(least: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # The stream is shared out by example number; a second sharing by file would lose examples.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
