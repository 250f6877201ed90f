"""A part of a batch, predicted by whatever process it is given to: all of it, or nothing of it.

Its files are written under temporary names, then renamed; its record, which states what they were
made of, comes last. A part that has such a record is not predicted again.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from data_pipeline.label_statistics import merge_statistics
from data_pipeline.labelled_picture import Source
from data_pipeline.shard_writing import ShardJob, file_sha256, read_record, shard_fingerprint
from export import batch_pictures, batch_results
from export.batch_tiles import answer_tiled
from export.large_pictures import Tiling
from export.prediction_files import write_json

WORK_FOLDER, LABELS_FOLDER = ".batch", "shards"
_READERS = {"files": batch_pictures.read_files, "shards": batch_pictures.read_records}


class Part(NamedTuple):
    """A part of a batch; a few hundred bytes, whatever the number of its pictures.

    Attributes:
      output_dir: of the batch.
      name: such as 00000-of-00016.
      model: the version folder.
      settings: whatever else makes other results: `model_sha256`; `input`, files or shards;
        `write`, kinds of files; `tiling`, fields of a `Tiling`.
    """

    output_dir: str
    name: str
    model: str
    settings: dict


def write_sources(part: Part, sources: Sequence[Source]) -> None:
    """Writes down which pictures or shards a part is made of, for the worker that gets it."""
    write_json(_work_path(part, "sources-"), [[x.name, x.files[0]] for x in sources])


def record_path(part: Part) -> str:
    """Returns the path of the record of a part, which is there once its files are."""
    return _work_path(part, "")


def predict_part(part_json: str, count: Callable[[str, int], object]) -> None:
    """Predicts a part and writes its files and record, unless they are there already.

    The record has `num_pictures`, `num_instances`, `failed`, a list of dicts with `path`, in shards
    `record`, and `error`; `statistics` of the labels in its shard; and `files`, their SHA-256 by
    path within the output folder.

    Args:
      part_json: the fields of a `Part`, as json.
      count: called as count(name, n) for done and failed pictures, and for instances.

    Raises:
      OSError, tf.errors.OpError: a file cannot be written, or the model not be loaded.
    """
    part = Part(**json.loads(part_json))
    with tf.io.gfile.GFile(_work_path(part, "sources-")) as file:
        sources = tuple(Source(name, (path,)) for name, path in json.loads(file.read()))
    # As far as it is that of a shard of a conversion: the same rule for what need not be done anew.
    job = ShardJob(_work_path(part, "", ""), sources, None, (), part.settings, False)
    record = read_record(job)
    paths = [os.path.join(part.output_dir, name) for name in _file_names(part)]
    if record is not None and all(tf.io.gfile.exists(path) for path in paths):
        return
    # Before the pictures are read: one that changes meanwhile must not pass for unchanged later.
    fingerprint = shard_fingerprint(job)
    totals = _write_files(part, sources, count)
    files = {name: file_sha256(os.path.join(part.output_dir, name)) for name in _file_names(part)}
    write_json(record_path(part), {"fingerprint": fingerprint, **totals, "files": files})


def _write_files(part: Part, sources: Sequence[Source], count: Callable) -> dict:
    """Writes what is found in each picture; returns the totals and the failures."""
    model, kinds = batch_results.load_once(part.model), part.settings["write"]
    tiling = Tiling(*part.settings["tiling"])
    wanted = batch_results.Wanted(part.output_dir, kinds, part.model, tiling)
    results, failed, statistics, num_pictures, num_instances = [], [], [], 0, 0
    with _labels_file(part) as write_example:
        for picture in _READERS[part.settings["input"]](sources):
            found = answer(model, picture, wanted)
            num_pictures += 1
            count("failed" if found.problem else "done", 1)
            if found.problem:
                failed.append({**picture.place, "error": found.problem})
                continue
            num_instances += found.num_instances
            count("instances", found.num_instances)
            results.extend(found.results)
            write_example(found.example)
            statistics.append(found.statistics)
    if "json" in kinds:
        write_json(os.path.join(part.output_dir, _predictions_name(part)), results)
    return {
        **{"num_pictures": num_pictures, "num_instances": num_instances, "failed": failed},
        "statistics": dict(merge_statistics(statistics)),
    }


def answer(
    model: object, picture: batch_pictures.Picture, wanted: batch_results.Wanted
) -> batch_results.Answer:
    """Returns what a model finds in a picture, whole or cut into tiles, or why there is nothing.

    Args:
      model: of `batch_results.load_once`.
      picture: of which only the content is there yet.
      wanted: of it.
    """
    try:
        width, height = batch_pictures.picture_size(picture, wanted.tiling.max_pixels)
        if max(width, height) > wanted.tiling.tile_px:
            return answer_tiled(model, picture, wanted, width * height)
        return batch_results.answer_whole(model, picture, wanted)
    except tf.errors.OpError as error:
        reason = f"{picture.name} cannot be predicted ({error.message}); try a smaller picture"
        return batch_results.Answer(problem=reason)
    except (ValueError, MemoryError) as error:
        problem = str(error) or f"{picture.name} is too large for the memory"
        return batch_results.Answer(problem=problem)


@contextlib.contextmanager
def _labels_file(part: Part) -> Iterator[Callable[[bytes], object]]:
    """Gives a function that adds a record to the part's shard, if one is wanted."""
    if "shards" not in part.settings["write"]:
        yield lambda example: None
        return
    partial = _work_path(part, f"{uuid.uuid4().hex}-", ".partial")
    with tf.io.TFRecordWriter(partial) as writer:
        yield writer.write
    path = os.path.join(part.output_dir, labels_name(part))
    tf.io.gfile.rename(partial, path, overwrite=True)


def _file_names(part: Part) -> list[str]:
    """Returns the names of the part's files within the output folder, PNG files left out."""
    names = {"json": _predictions_name(part), "shards": labels_name(part)}
    return [name for kind, name in names.items() if kind in part.settings["write"]]


def _predictions_name(part: Part) -> str:
    return f"predictions-{part.name}.json"


def labels_name(part: Part) -> str:
    """Returns the path of the part's shard within the output folder."""
    return f"{LABELS_FOLDER}/labels-{part.name}.tfrecord"


def _work_path(part: Part, prefix: str, suffix: str = ".json") -> str:
    return os.path.join(part.output_dir, WORK_FOLDER, f"{prefix}{part.name}{suffix}")
