"""A batch from its plan to its manifest: parts laid out, watched, and summed up at last."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence

import tensorflow as tf

from data_pipeline import command_line
from data_pipeline.labelled_picture import Source
from data_pipeline.shard_writing import file_sha256
from export.batch_parts import LABELS_FOLDER, WORK_FOLDER, Part, record_path, write_sources
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
    output_dir: str, names: Sequence[str], model: str, settings: dict, sources: Sequence[Source]
) -> list[Part]:
    """Returns the parts of a batch, having prepared the output folder for them.

    Args:
      output_dir: made if absent; it may hold what an earlier start of the same batch has left.
      names: of the parts, such as 00000-of-00016.
      model: the version folder.
      settings: of `Part`.
      sources: in order; they are dealt out in runs.

    Raises:
      ValueError: if the folder holds results of something else.
    """
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


@contextlib.contextmanager
def shown_progress(parts: Sequence[Part]) -> Iterator[None]:
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


def finish_batch(parts: Sequence[Part]) -> dict:
    """Returns the manifest, having written the list of failures and, last, the manifest.

    Returns:
      `model`, `settings`, `num_pictures`, `num_failed`, `num_instances`, and `files`: SHA-256 by
      path within the output folder, PNG files left out.

    Raises:
      ValueError: if a part was not finished.
    """
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
    for path in tf.io.gfile.glob(os.path.join(output_dir, WORK_FOLDER, "*.partial")):
        tf.io.gfile.remove(path)
    write_json(os.path.join(output_dir, MANIFEST_FILE), manifest)
    return manifest


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
