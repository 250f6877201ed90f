"""One shard written from its sources: the unit of work of every way to run a conversion.

A shard is written under a temporary name, then renamed, and its record (a small JSON file) comes
last. A record states what the shard was made of, so a shard that has one need not be made again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from data_pipeline import schema
from data_pipeline.label_checks import check_labels
from data_pipeline.label_statistics import count_labels, merge_statistics
from data_pipeline.labelled_picture import LabelledPicture, Source

# What a reader may raise about a bad file; anything else is a bug and ends the conversion.
_PROBLEMS = (ValueError, OSError, tf.errors.OpError)


class ShardJob(NamedTuple):
    """A shard to write; can be sent to another process or machine.

    Attributes:
      path: of the shard; its record lies at `path + ".json"`.
      sources: its pictures, in order.
      read: reads one source; raises ValueError or OSError with the name of the file at fault.
      classes: class names, index = semantic id; () where they have none.
      settings: of the conversion, as JSON values.
      is_stopping: whether a bad picture ends the conversion rather than being skipped.
    """

    path: str
    sources: tuple[Source, ...]
    read: Callable[[Source], LabelledPicture]
    classes: tuple[str, ...]
    settings: dict
    is_stopping: bool


def write_shard(job: ShardJob, count: Callable[[], object] = lambda: None) -> dict:
    """Writes one shard, then its record, and returns the record.

    Args:
      job: what to write; equal sources give equal bytes.
      count: called after each source, for progress; may raise to end the work.

    Returns:
      `fingerprint`, `sha256`, `statistics` (`label_statistics`), `skipped` (a list of `name`,
      `files`, `problem`) and `notes` (from what is odd to the names of the pictures).

    Raises:
      ValueError: a source is bad and `is_stopping` is set; the message names its files.
    """
    # Of this attempt alone: a service may start a second one while the first still writes.
    partial = f"{job.path}.{uuid.uuid4().hex}.partial"
    statistics, skipped, notes = [], [], {}
    # Before the files are read: one that changes meanwhile must not pass for unchanged later.
    fingerprint = shard_fingerprint(job)
    with tf.io.TFRecordWriter(partial) as writer:
        for source in job.sources:
            try:
                record, counts, odd = _convert(source, job)
            except _PROBLEMS as error:
                problem = problem_of(source, getattr(error, "message", str(error)))
                if job.is_stopping:
                    raise ValueError(describe_problem(problem)) from error
                skipped.append(problem)
            else:
                writer.write(record)
                statistics.append(counts)
                for note in odd:
                    notes.setdefault(note, []).append(source.name)
            count()
    record = {
        "fingerprint": fingerprint,
        "sha256": file_sha256(partial),
        "statistics": merge_statistics(statistics),
        "skipped": skipped,
        "notes": notes,
    }
    tf.io.gfile.rename(partial, job.path, overwrite=True)
    write_json(f"{job.path}.json", record)
    return record


def read_record(job: ShardJob) -> dict | None:
    """Returns the record of a shard that is there and made of the same sources, else None."""
    path = f"{job.path}.json"
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        try:
            record = json.loads(file.read())
        except json.JSONDecodeError:  # Cut off by a crash: as if it were not there.
            return None
    return record if record.get("fingerprint") == shard_fingerprint(job) else None


def shard_fingerprint(job: ShardJob) -> str:
    """Returns a digest of what the shard is made of: sources, settings, and size and time of files.

    Whether a bad picture stops or is skipped has no part in it: a shard without any is the same.
    """
    parts = [schema.SCHEMA_VERSION, job.settings, job.classes, job.sources]
    parts += [_file_state(path) for source in job.sources for path in source.files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def problem_of(source: Source, message: str) -> dict:
    """Returns a problem as the manifest lists it."""
    return {"name": source.name, "files": list(source.files), "problem": message}


def describe_problem(problem: dict) -> str:
    """Returns a problem as one line, naming its files unless the message does."""
    message = problem["problem"]
    if problem["files"] and not any(path in message for path in problem["files"]):
        message = f"{', '.join(problem['files'])}: {message}"
    return message if problem["name"] in message else f"{problem['name']}: {message}"


def file_sha256(path: str) -> str:
    """Returns the SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: str, value: object) -> None:
    """Writes value as JSON, whole or not at all."""
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    with tf.io.gfile.GFile(partial, "w") as file:
        file.write(json.dumps(value))
    tf.io.gfile.rename(partial, path, overwrite=True)


def _convert(source: Source, job: ShardJob) -> tuple[bytes, dict, Sequence[str]]:
    """Returns one picture's record, its statistics and what is odd about it."""
    if source.problem:
        raise ValueError(source.problem)
    picture = job.read(source)
    odd = check_labels(picture, len(job.classes))
    record = schema.encode_example(picture, source.name)
    return record, count_labels(picture.instance, picture.semantic), odd


def _file_state(path: str) -> list:
    try:
        state = tf.io.gfile.stat(path)
    except tf.errors.OpError:
        return [path, None]
    return [path, state.length, state.mtime_nsec]
