"""One shard read from end to end, and what is wrong with it.

A record that cannot be parsed costs itself alone. After damage a file cannot be read on, because
where its next record begins is not known.
"""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import NamedTuple

import tensorflow as tf

from data_pipeline import schema
from data_pipeline.label_checks import check_labels
from data_pipeline.label_statistics import count_labels, merge_statistics
from data_pipeline.labelled_picture import LabelledPicture
from data_pipeline.shard_writing import file_sha256

# What TensorFlow raises on a bad record; the second where its message quotes bytes of that.
_RECORD_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
# Such a message may quote the whole record.
_MAX_REASON = 300
# Records that wait parsed or are being parsed: enough for many cores, little memory.
_NUM_AHEAD = 16


class ShardReport(NamedTuple):
    """What was found in one shard.

    Attributes:
      path: of the shard.
      sha256: of its bytes, None if they cannot be read.
      num_records: records up to its end or the first damage.
      sound: of the records without fault, number (from 0) and name.
      statistics: of these, see `label_statistics.count_labels`; {} of none.
      notes: from what is odd to the names of the pictures.
      faults: one line each, beginning with the path.
    """

    path: str
    sha256: str | None
    num_records: int
    sound: list[tuple[int, str]]
    statistics: dict
    notes: dict[str, list[str]]
    faults: list[str]


class _Record(NamedTuple):
    """What was found in one record; `fault` is empty if it is sound."""

    name: str
    statistics: dict | None = None
    notes: Sequence[str] = ()
    fault: str = ""


def report_shard(
    path: str,
    num_classes: int,
    pool: futures.Executor,
    count: Callable[[], object] = lambda: None,
) -> ShardReport:
    """Returns what is in a shard: every byte is read, every record parsed, its labels checked.

    Args:
      path: of the shard.
      num_classes: as in `label_checks.check_labels`.
      pool: threads, in which several records are parsed at a time.
      count: called after each record, for progress.
    """
    num_records, sound, statistics, notes, faults, damage = 0, [], [], {}, [], []
    records = _whole_records(path, damage)
    for record in _in_order(pool, functools.partial(_check, num_classes=num_classes), records):
        if record.fault:
            faults.append(f"{path}: record {num_records} ({record.name}): {record.fault}")
        else:
            sound.append((num_records, record.name))
            statistics.append(record.statistics)
            for note in record.notes:
                notes.setdefault(note, []).append(record.name)
        num_records += 1
        count()
    statistics = merge_statistics(statistics)
    return ShardReport(path, _sha256(path), num_records, sound, statistics, notes, faults + damage)


def read_pictures(path: str, numbers: Sequence[int]) -> Iterator[tuple[str, LabelledPicture]]:
    """Yields name and content of some records without fault.

    Args:
      path: of the shard.
      numbers: which of its records, from 0, ascending.
    """
    records = tf.data.TFRecordDataset(path).take(numbers[-1] + 1)
    for number, serialized in enumerate(records):
        if number in numbers:
            yield _labelled_picture(_parse(serialized))


def unreadable_record(path: str) -> str | None:
    """Returns "path: record 17 (name): why" of the first record that cannot be parsed, else None.

    Args:
      path: of a shard without damage.
    """
    for number, serialized in enumerate(tf.data.TFRecordDataset(path)):
        try:
            _require_sizes(_labelled_picture(_parse(serialized))[1])
        except (*_RECORD_ERRORS, ValueError) as error:
            return f"{path}: record {number} ({_name(serialized)}): {_reason(error)}"
    return None


def _whole_records(path: str, damage: list[str]) -> Iterator[tf.Tensor]:
    """Yields the serialized records up to the end or the first damage, which it adds to a list."""
    number = 0
    try:
        for serialized in tf.data.TFRecordDataset(path):
            yield serialized
            number += 1
    except _RECORD_ERRORS as error:
        why = f"{_reason(error)}; what follows in this file cannot be read"
        damage.append(f"{path}: record {number}: {why}")


def _in_order(
    pool: futures.Executor, function: Callable[[tf.Tensor], _Record], values: Iterator[tf.Tensor]
) -> Iterator[_Record]:
    """Yields function(value) for each value, some of them computed ahead."""
    pending: collections.deque[futures.Future] = collections.deque()
    for value in values:
        pending.append(pool.submit(function, value))
        if len(pending) > _NUM_AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _check(serialized: tf.Tensor, num_classes: int) -> _Record:
    try:
        name, picture = _labelled_picture(_parse(serialized))
        _require_sizes(picture)
        notes = check_labels(picture, num_classes)
    except (*_RECORD_ERRORS, ValueError) as error:
        return _Record(_name(serialized), fault=_reason(error))
    return _Record(name, count_labels(picture.instance, picture.semantic), notes)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns all that a record holds; the annotators' maps are empty where it has none."""
    example = schema.parse_example(serialized)
    # Only then: of a record of another version nothing else is known.
    with tf.control_dependencies([example["image"]]):
        contents = schema.record_contents(serialized)
    annotators = tf.cond(
        contents["has_annotators"],
        lambda: schema.parse_annotators(serialized),
        lambda: {
            "annotator_instance": tf.zeros([0, 0, 0], tf.int32),
            "annotator_boundary": tf.zeros([0, 0, 0], tf.bool),
        },
    )
    return example | contents | annotators


def _labelled_picture(example: Mapping[str, tf.Tensor]) -> tuple[str, LabelledPicture]:
    """Returns name and content of what `_parse` returns."""
    values = {key: value.numpy() for key, value in example.items()}
    annotators = {
        key: values[key] if values["has_annotators"] else None
        for key in ("annotator_instance", "annotator_boundary")
    }
    semantic = values["semantic"] if values["has_semantic"] else None
    picture = LabelledPicture(values["image"], values["instance"], semantic, **annotators)
    return values["name"].decode(errors="replace"), picture


def _require_sizes(picture: LabelledPicture) -> None:
    size = picture.instance.shape
    for maps in (picture.annotator_instance, picture.annotator_boundary):
        if maps is not None and maps.shape[1:] != size:
            raise ValueError(f"the annotators' maps have the size {maps.shape[1:]}, not {size}")


def _name(serialized: tf.Tensor) -> str:
    try:
        return schema.record_contents(serialized)["name"].numpy().decode(errors="replace")
    except _RECORD_ERRORS:  # No record at all.
        return "no name"


def _reason(error: Exception) -> str:
    """Returns an error's message without the names of TensorFlow's operations around it."""
    if isinstance(error, UnicodeDecodeError):
        message = error.object.decode(errors="replace")
    else:
        message = getattr(error, "message", str(error))
    message = re.sub(r'^Graph execution error:.*\n  File "[^\n]*\n', "", message, flags=re.DOTALL)
    message = re.sub(r"\{\{.*?\}\} |\n\t \[\[.*| \[Op:.*", "", message, flags=re.DOTALL).strip()
    if message.startswith("assertion failed: "):
        message = re.sub(r"[\[\]\\]", "", message.removeprefix("assertion failed: "))
    message = " ".join(message.split())  # A quoted record may have line breaks.
    return message if len(message) <= _MAX_REASON else f"{message[:_MAX_REASON]}…"


def _sha256(path: str) -> str | None:
    try:
        return file_sha256(path)
    except tf.errors.OpError:  # Reading its records says so too.
        return None
