"""Readers of shards: the inspection, the training's stream and the evaluation's."""

import functools
import json
import os
from concurrent import futures

import numpy as np
import tensorflow as tf

from data_pipeline import damage, input_pipeline, inspection, schema, shard_report, shards
from data_pipeline.labelled_picture import LabelledPicture
from tests.fuzzing.cases import FILE_NAME, Kind
from tests.fuzzing.mutations import spoil_bytes, spoil_example, spoil_json

_NUM_RECORDS = 4
_SUFFIX = "-00000-of-00001.tfrecord"


def labelled_picture(rng, height=12, width=10):
    """A picture of few colours with four instances, void, classes and two annotators."""
    instance = np.zeros([height, width], np.int32)
    instance[1:5, 1:4], instance[1:5, 4:9], instance[6:11, 2:5], instance[6:9, 6:9] = 1, 2, 3, 300
    instance[-1] = -1
    semantic = np.where(instance > 0, 1 + instance % 2, instance)
    image = rng.integers(0, 256, [height, width, 3], dtype=np.uint8)
    annotators = np.stack([np.maximum(instance, 0)] * 2)
    return LabelledPicture(image, instance, semantic, annotators, annotators == 1)


@functools.cache
def _records():
    rng = np.random.default_rng(0)
    return [schema.encode_example(labelled_picture(rng), f"p_{k}") for k in range(_NUM_RECORDS)]


def _framed(records):
    path = f"/tmp/fuzz_{os.getpid()}.tfrecord"
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    with open(path, "rb") as file:
        content = file.read()
    os.remove(path)
    return content


@functools.cache
def _whole_shard():
    return _framed(_records())


def _make(rng):
    del rng
    return _whole_shard()


def _spoil_records(content, rng):
    """A field of one record spoilt, or records lost, doubled or in another order."""
    del content
    records = list(_records())
    if rng.integers(4) == 0:
        chosen = rng.integers(_NUM_RECORDS, size=rng.integers(_NUM_RECORDS + 2))
        records = [records[k] for k in chosen]
    else:
        place = rng.integers(_NUM_RECORDS)
        records[place] = spoil_example(records[place], rng)
    return _framed(records)


def _listed(path):
    """Writes the manifest that belongs to the whole shard beside a spoilt one."""
    statistics = {"num_pixels": 1, "num_void_pixels": 0, "max_height": 12, "max_width": 10}
    split = {
        **{"num_examples": _NUM_RECORDS, "num_instances": 16, "max_instances": 4},
        "statistics": statistics,
        "shards": [{"name": os.path.basename(path), "num_examples": _NUM_RECORDS, "sha256": ""}],
    }
    manifest = {"schema_version": 1, "classes": ["a", "b", "c"], "splits": {FILE_NAME: split}}
    shards.write_manifest(os.path.dirname(path), manifest)


def _inspect(path):
    with futures.ThreadPoolExecutor(1) as pool:
        report = shard_report.report_shard(path, 3, pool)
    if report.faults:
        raise ValueError(report.faults[0])
    if report.num_records != _NUM_RECORDS:
        raise ValueError(f"{path}: {report.num_records} records, the manifest lists {_NUM_RECORDS}")
    numbers = [number for number, _ in report.sound]
    pictures = [picture for _, picture in shard_report.read_pictures(path, numbers)]
    return tuple((picture.image, picture.instance, picture.semantic) for picture in pictures)


@functools.cache
def _training(path):
    """The stream of a path, made once: it opens the file anew each time it is read."""
    return input_pipeline.training_dataset(
        *([path],),
        num_examples=[_NUM_RECORDS],
        batch_size=2,
        seed=0,
        boundary_agreement="1",
    ).take(_NUM_RECORDS)


@functools.cache
def _evaluation(path):
    return input_pipeline.evaluation_dataset([path])


def _stream(dataset_of, path):
    _listed(path)
    with damage.named([path]):
        return tuple(
            tuple(np.asarray(batch[key]) for key in ("name", "image", "instance", "semantic"))
            for batch in dataset_of(path)
        )


def _manifest(rng):
    del rng
    statistics = {"num_pixels": 9, "num_void_pixels": 0, "max_height": 12, "max_width": 10}
    split = {
        **{"num_examples": 4, "num_instances": 16, "max_instances": 4, "statistics": statistics},
        "shards": [{"name": f"{FILE_NAME}{_SUFFIX}", "num_examples": 4, "sha256": "0" * 64}],
    }
    content = {"schema_version": 1, "classes": ["a", "b"], "splits": {FILE_NAME: split}}
    return json.dumps(content).encode()


def _read_manifest(path):
    folder = os.path.join(os.path.dirname(path), "manifest_folder")
    os.makedirs(folder, exist_ok=True)
    os.replace(path, os.path.join(folder, "manifest.json"))
    shard = os.path.join(folder, FILE_NAME + _SUFFIX)
    with open(shard, "wb") as file:
        file.write(_whole_shard())
    facts = [
        function([shard])
        for function in (
            *(shards.count_examples, shards.most_instances, shards.largest_size),
            *(shards.num_classes, shards.describe_sources),
        )
    ]
    facts[-1] = facts[-1][0]["classes"] if facts[-1] else None
    inspection.inspect_shards([shard])
    return tuple(facts)


KINDS = (
    Kind("shard's bytes, inspected", _SUFFIX, _make, spoil_bytes, _inspect),
    Kind(
        "shard's bytes, trained on",
        *(_SUFFIX, _make, spoil_bytes, functools.partial(_stream, _training)),
    ),
    Kind(
        "shard's bytes, scored",
        *(_SUFFIX, _make, spoil_bytes, functools.partial(_stream, _evaluation)),
    ),
    Kind("shard's records, inspected", _SUFFIX, _make, _spoil_records, _inspect, False),
    Kind(
        "shard's records, trained on",
        *(_SUFFIX, _make, _spoil_records, functools.partial(_stream, _training), False),
    ),
    Kind(
        "shard's records, scored",
        *(_SUFFIX, _make, _spoil_records, functools.partial(_stream, _evaluation), False),
    ),
    Kind(
        *("manifest", ".json", _manifest, spoil_json, _read_manifest, False),
        names=(FILE_NAME, "manifest"),
    ),
)
