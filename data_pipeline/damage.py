"""Names the record at fault where TensorFlow says only how it is spoilt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import logging

from data_pipeline import shards
from data_pipeline.shard_report import unreadable_record

# What reading a stream of records raises: damage, a record that cannot be parsed, fewer or more of
# them than stated, and a message that quotes bytes of a record.
_ERRORS = (
    *(tf.errors.DataLossError, tf.errors.InvalidArgumentError),
    *(tf.errors.FailedPreconditionError, UnicodeDecodeError),
)


@contextlib.contextmanager
def named(paths: Sequence[str]) -> Iterator[None]:
    """Looks for the record at fault where what is done within fails at reading shards.

    Args:
      paths: shards that are read; all of them are looked through after an error.

    Raises:
      ValueError: "path: record 17: why", of the first that is damaged or cannot be parsed. Where
        none is, the error stays what it was.
    """
    try:
        yield
    except _ERRORS as error:
        logging.info("looking for the record at fault")
        fault = shards.find_damage(paths) or next(filter(None, map(unreadable_record, paths)), None)
        if fault is None:
            raise
        raise ValueError(fault) from error
