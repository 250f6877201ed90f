"""A batch from its plan to its manifest: parts laid out, watched, and summed up at last."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import logging

from data_pipeline import command_line, schema, shards
from data_pipeline.beam_runner import map_on_beam, require_written
from data_pipeline.conversion import default_num_shards, shard_names, split_entry
from data_pipeline.labelled_picture import Source
from data_pipeline.shard_writing import file_sha256
from export.batch_parts import (
    LABELS_FOLDER,
    WORK_FOLDER,
    Part,
    labels_name,
    predict_part,
    record_path,
    write_sources,
)
from export.batch_pictures import deal_out
from export.prediction_files import write_json, write_whole
from rpe_tf.metrics.object_files import RECORDS_FILE

FAILED_FILE, MANIFEST_FILE, _PLAN_FILE = "failed.jsonl", "manifest.json", "plan.json"
_WATCH_SECONDS = 2.0


def model_sha256(folder: str) -> str:
    """Returns a digest of all files of an exported model."""
    parts = []
    for parent, _, names in tf.io.gfile.walk(folder):
        paths = [os.path.join(parent, name) for name in names]
        parts += [(os.path.relpath(path, folder), file_sha256(path)) for path in paths]
    return hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()


def plan_batch(
    output_dir: str,
    model: str,
    settings: dict,
    sources: Sequence[Source],
    num_parts: int | None = None,
) -> list[Part]:
    """Returns the parts of a batch, having prepared the output folder for them.

    Args:
      output_dir: made if absent; it may hold what an earlier start of the same batch has left.
      model: the version folder.
      settings: of `Part`, without `model_sha256`.
      sources: pictures, in order, or shards; they are dealt out in runs.
      num_parts: in [1, number of sources]; by default as many as a conversion makes shards.

    Raises:
      ValueError: if the folder holds results of something else, or num_parts is out of its range.
    """
    files = shard_names("part", num_parts or default_num_shards(len(sources)), len(sources))
    names = [os.path.splitext(name)[0].removeprefix("part-") for name in files]
    settings = {**settings, "model_sha256": model_sha256(model)}
    digest = hashlib.sha256(json.dumps(sources).encode()).hexdigest()
    _require_own(output_dir, {**settings, "parts": len(names), "sources_sha256": digest})
    if "shards" in settings["write"]:
        tf.io.gfile.makedirs(os.path.join(output_dir, LABELS_FOLDER))
    # What is not whole must not pass for it.
    for name in (MANIFEST_FILE, FAILED_FILE):
        if tf.io.gfile.exists(os.path.join(output_dir, name)):
            tf.io.gfile.remove(os.path.join(output_dir, name))
    parts = [Part(output_dir, name, model, settings) for name in names]
    for part, dealt in zip(parts, deal_out(sources, len(names)), strict=True):
        write_sources(part, dealt)
    return parts


def predict_batch(parts: Sequence[Part], runner: str, options: Sequence[str]) -> dict:
    """Predicts all parts that are not there yet; returns the manifest, which is written last.

    Args:
      parts: of `plan_batch`.
      runner: as in `beam_runner.run_on_beam`.
      options: likewise.

    Returns:
      `model`, `settings`, `num_pictures`, `num_failed`, `num_instances`, and `files`: SHA-256 by
      path within the output folder, PNG files left out.

    Raises:
      ValueError, OSError: as `beam_runner.map_on_beam`; or a part was not written.
    """
    items = [json.dumps(part._asdict()) for part in parts]
    with _shown_progress(parts):
        counts = map_on_beam(predict_part, items, runner=runner, options=options)
    logging.info(
        "%s: now predicted %d pictures with %d instances, %d failed",
        *(runner, *(counts.get(name, 0) for name in ("done", "instances", "failed"))),
    )
    require_written([record_path(part) for part in parts], runner)
    return _finish(parts)


def report(manifest: dict, output_dir: str, max_failed_fraction: float) -> int | None:
    """Says what was done; returns 1 if more than that share of the pictures, in [0, 1], failed."""
    num_pictures, num_failed = manifest["num_pictures"], manifest["num_failed"]
    done = f"{num_pictures - num_failed} of {num_pictures} pictures"
    print(f"Predicted {done} into {output_dir}, {manifest['num_instances']} instances")
    if num_failed:
        path = os.path.join(output_dir, FAILED_FILE)
        print(f"{num_failed} of {num_pictures} pictures failed, see {path}", file=sys.stderr)
    if num_failed > max_failed_fraction * num_pictures:
        limit = f"--max_failed_fraction={max_failed_fraction:g}"
        print(f"error: more pictures failed than {limit} of all", file=sys.stderr)
        return 1
    return None


@contextlib.contextmanager
def _shown_progress(parts: Sequence[Part]) -> Iterator[None]:
    """Shows on stderr how many parts are finished, wherever they are worked at."""
    is_over = threading.Event()
    bar = command_line.progress_bar(len(parts), "predicting", "parts")
    names = {os.path.basename(record_path(part)) for part in parts}
    folder = os.path.dirname(record_path(parts[0]))

    def watch() -> None:
        while True:
            is_last = is_over.wait(_WATCH_SECONDS)
            bar.update(len(names & set(tf.io.gfile.listdir(folder))) - bar.n)
            if is_last:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        bar.close()


def _finish(parts: Sequence[Part]) -> dict:
    """Writes the list of failures and, last, the manifest."""
    records = [_read_record(part) for part in parts]
    output_dir = parts[0].output_dir
    failed = [failure for record in records for failure in record["failed"]]
    lines = "".join(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failed)
    write_whole(os.path.join(output_dir, FAILED_FILE), lambda file: file.write(lines.encode()))
    manifest = {
        "model": parts[0].model,
        "settings": parts[0].settings,
        "num_pictures": sum(record["num_pictures"] for record in records),
        "num_failed": len(failed),
        "num_instances": sum(record["num_instances"] for record in records),
        "files": {name: sha for record in records for name, sha in record["files"].items()},
    }
    if any(record["statistics"] for record in records):
        _write_shards_manifest(parts, records)
    for path in tf.io.gfile.glob(os.path.join(output_dir, WORK_FOLDER, "*.partial")):
        tf.io.gfile.remove(path)
    write_json(os.path.join(output_dir, MANIFEST_FILE), manifest)
    return manifest


def _write_shards_manifest(parts: Sequence[Part], records: Sequence[dict]) -> None:
    """Writes the manifest that shards have, for whoever reads them as those of a conversion."""
    names = [os.path.basename(labels_name(part)) for part in parts]
    entry = split_entry(
        names,
        [
            {**record, "sha256": record["files"][labels_name(part)], "skipped": [], "notes": {}}
            for part, record in zip(parts, records, strict=True)
        ],
    )
    largest = max(map(int, entry["statistics"].get("class_pixels", {})), default=0)
    manifest = {
        "schema_version": schema.SCHEMA_VERSION,
        # An export does not know their names.
        "classes": ["background", *map(str, range(1, largest + 1))] if largest else [],
        "splits": {"labels": {**entry, "metadata": parts[0].settings}},
    }
    shards.write_manifest(os.path.join(parts[0].output_dir, LABELS_FOLDER), manifest)


def _require_own(output_dir: str, plan: dict) -> None:
    """Writes down the plan where there is none yet; stops where there is another."""
    path = os.path.join(output_dir, WORK_FOLDER, _PLAN_FILE)
    other = os.path.join(output_dir, RECORDS_FILE)
    if tf.io.gfile.exists(other):
        raise ValueError(f"{other} is of predict_main; choose another --output_dir")
    if not tf.io.gfile.exists(path):
        tf.io.gfile.makedirs(os.path.dirname(path))
        write_json(path, plan)
        return
    with tf.io.gfile.GFile(path) as file:
        found = json.loads(file.read())
    if found != plan:
        names = [name for name in plan if found.get(name) != plan[name]]
        raise ValueError(
            f"{output_dir} holds another batch, which differs in {', '.join(names)}; choose "
            "another --output_dir, or remove this one"
        )


def _read_record(part: Part) -> dict:
    path = record_path(part)
    if not tf.io.gfile.exists(path):
        raise ValueError(f"{path} was not written; start the batch again, it goes on with the rest")
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())
