"""A split converted: sources dealt to shards, shards written, and the whole entered at last.

Shards are made in the folder `.{split}.unfinished` of the output folder. What is finished there
survives an interruption, and the same conversion goes on with the rest. Only when all are there do
they take the place of an older split of that name, and the manifest names them last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
from absl import logging

from data_pipeline import schema, shards
from data_pipeline.label_statistics import merge_statistics
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.local_runner import run_locally
from data_pipeline.shard_writing import (
    ShardJob,
    describe_problem,
    file_sha256,
    read_record,
    shard_fingerprint,
)

ON_ERROR = ("stop", "skip")


def write_split(
    read: Callable[[Source], LabelledPicture],
    sources: Sequence[Source],
    output_dir: str,
    split: str,
    *,
    num_shards: int | None = None,
    classes: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    on_error: str = "stop",
    run: Callable[[list[ShardJob]], None] = run_locally,
) -> dict:
    """Converts one split and returns the manifest; equal sources give equal bytes.

    Other splits of the folder stay; a split of the same name is replaced, unless it was made of the
    same, unchanged sources: then it stays as it is.

    Args:
      read: reads one source; raises ValueError or OSError with the name of the file at fault.
      sources: the pictures, in order, at least one; their names differ.
      output_dir: folder, made if absent.
      split: name of the split: letters, digits and underscores.
      num_shards: number of files, in [1, number of sources]; by default `default_num_shards`.
      classes: class names, index = semantic id; the same for all splits of a folder.
      settings: of the conversion, as JSON values; noted in the manifest as `metadata`.
      on_error: "stop" at a bad picture, or "skip" it and list it in the manifest.
      run: writes all shards of the jobs it is given; it may leave out what `write_shard` raised.

    Returns:
      The manifest, see `shards.read_manifest`.

    Raises:
      ValueError: an argument is out of its range, a picture is bad and `on_error` is "stop", all
        are bad, or the folder has an unreadable manifest or splits with other classes.
      TypeError: `settings` cannot be written as JSON.
    """
    _require_split(split, sources, on_error)
    manifest = _manifest_for(output_dir, list(classes))
    names = shard_names(split, num_shards or default_num_shards(len(sources)), len(sources))
    staging = os.path.join(output_dir, f".{split}.unfinished")
    jobs = [
        ShardJob(
            *(os.path.join(staging, name), tuple(sources[index :: len(names)]), read),
            *(tuple(classes), dict(settings or {}), on_error == "stop"),
        )
        for index, name in enumerate(names)
    ]
    fingerprint = _split_fingerprint(jobs)
    if _is_up_to_date(output_dir, manifest["splits"].get(split), fingerprint):
        logging.info(
            "%s is there already, made of the same files with the same flags; nothing to do "
            "(to write it anew, remove its shards)",
            split,
        )
        return manifest
    tf.io.gfile.makedirs(staging)
    run([job for job in jobs if not _is_written(job, output_dir)])
    records = [read_record(job) for job in jobs]
    _require_complete(records, jobs, on_error)
    _publish(jobs, output_dir, split, manifest)
    manifest["splits"][split] = split_entry(names, records) | {
        "metadata": dict(settings or {}),
        "fingerprint": fingerprint,
    }
    shards.write_manifest(output_dir, manifest)
    tf.io.gfile.rmtree(staging)
    return manifest


def default_num_shards(num_sources: int) -> int:
    """Returns how many shards a split gets: 16, more from 8,000 pictures on, fewer below 16.

    About 500 pictures a shard: enough files to share among readers, none too small to be read in
    one go. The number does not depend on the machine, so that shards are the same everywhere.
    """
    return min(num_sources, max(16, -(-num_sources // 500)))


def shard_names(split: str, num_shards: int, num_sources: int) -> list[str]:
    """Returns the file names of a split's shards.

    Raises:
      ValueError: there are more shards than sources, none, or more than 99999.
    """
    most = min(num_sources, 99999)
    if not 1 <= num_shards <= most:
        raise ValueError(
            f"num_shards must lie in [1, {most}], the number of pictures, got {num_shards}."
        )
    return [f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord" for index in range(num_shards)]


def _require_split(split: str, sources: Sequence[Source], on_error: str) -> None:
    if not re.fullmatch(r"\w+", split):
        raise ValueError(f"split must consist of letters, digits and underscores, got {split!r}.")
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {ON_ERROR}, got {on_error!r}.")
    if not sources:
        raise ValueError(f"split {split} has no pictures.")
    name, count = Counter(source.name for source in sources).most_common(1)[0]
    if count > 1:
        raise ValueError(f"two pictures of split {split} have the name {name!r}.")


def _manifest_for(directory: str, classes: list[str]) -> dict:
    """Returns the folder's manifest, or an empty one where it has none or no splits yet."""
    if shards.has_manifest(directory):
        manifest = shards.read_manifest(directory)
        if manifest["splits"] and manifest["classes"] != classes:
            raise ValueError(
                f"{directory}: its splits {sorted(manifest['splits'])} have the classes "
                f"{manifest['classes']}, not {classes}; choose another folder."
            )
        if manifest["splits"]:
            return manifest
    return {"schema_version": schema.SCHEMA_VERSION, "classes": classes, "splits": {}}


def _split_fingerprint(jobs: Sequence[ShardJob]) -> str:
    parts = [shard_fingerprint(job) for job in jobs]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_up_to_date(directory: str, entry: dict | None, fingerprint: str) -> bool:
    """Returns whether a split is there, whole, without skipped pictures, of the same sources."""
    if entry is None or entry.get("fingerprint") != fingerprint or entry["skipped"]:
        return False
    paths = {os.path.join(directory, shard["name"]): shard["sha256"] for shard in entry["shards"]}
    return all(tf.io.gfile.exists(path) and file_sha256(path) == x for path, x in paths.items())


def _is_written(job: ShardJob, output_dir: str) -> bool:
    """Returns whether a shard need not be made: finished earlier, in either of its two places."""
    record = read_record(job)
    if record is None or (job.is_stopping and record["skipped"]):
        return False
    # An interruption between the renames leaves some shards in their place.
    places = (job.path, os.path.join(output_dir, os.path.basename(job.path)))
    return any(
        tf.io.gfile.exists(path) and file_sha256(path) == record["sha256"] for path in places
    )


def _require_complete(records: list, jobs: Sequence[ShardJob], on_error: str) -> None:
    missing = [job.path for job, record in zip(jobs, records, strict=True) if record is None]
    if missing:
        raise ValueError(
            f"{missing[0]} was not written ({len(missing)} of {len(jobs)}), or its files changed "
            "meanwhile; start the conversion again, it goes on with what is left."
        )
    skipped = [problem for record in records for problem in record["skipped"]]
    if skipped and on_error == "stop":  # Where shards are written elsewhere, all have been tried.
        raise ValueError(describe_problem(skipped[0]))
    if not any(record["statistics"] for record in records):
        raise ValueError(
            f"none of {len(skipped)} pictures could be converted; the first: "
            f"{describe_problem(skipped[0])}"
        )


def _publish(jobs: Sequence[ShardJob], output_dir: str, split: str, manifest: dict) -> None:
    """Moves the shards to their place, where none of an older split stays."""
    # From here on old shards disappear, so the manifest must not list them any more.
    if manifest["splits"].pop(split, None) is not None:
        shards.write_manifest(output_dir, manifest)
    moved = {os.path.basename(job.path) for job in jobs if not tf.io.gfile.exists(job.path)}
    for path in tf.io.gfile.glob(os.path.join(output_dir, f"{split}-?????-of-?????.tfrecord")):
        if os.path.basename(path) not in moved:
            tf.io.gfile.remove(path)
    for job in jobs:
        if os.path.basename(job.path) not in moved:
            tf.io.gfile.rename(job.path, os.path.join(output_dir, os.path.basename(job.path)))


def split_entry(names: Sequence[str], records: Sequence[dict]) -> dict:
    """Returns what the manifest says about a split, but for `metadata` and `fingerprint`.

    Args:
      names: of its shards.
      records: of these, of `shard_writing.write_shard`; one at least holds a picture.
    """
    statistics = merge_statistics(record["statistics"] for record in records)
    notes: dict[str, list[str]] = {}
    for record in records:
        for note, pictures in record["notes"].items():
            notes.setdefault(note, []).extend(pictures)
    return {
        **{key: statistics[key] for key in ("num_examples", "num_instances", "max_instances")},
        "shards": [
            {
                "name": name,
                "num_examples": record["statistics"].get("num_examples", 0),
                "sha256": record["sha256"],
            }
            for name, record in zip(names, records, strict=True)
        ],
        "statistics": statistics,
        "skipped": [problem for record in records for problem in record["skipped"]],
        "notes": {note: sorted(pictures) for note, pictures in notes.items()},
    }
