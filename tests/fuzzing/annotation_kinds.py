"""Readers of annotations: .mat files, COCO's json files, lists of names, and requests."""

import base64
import io
import json
import os

import numpy as np
import scipy.io
import tensorflow as tf

from data_pipeline import bsds, coco, folders, splits, voc
from data_pipeline.labelled_picture import Source
from data_pipeline.shard_writing import ShardJob, write_shard
from export import map_files, picture_limits, rest_rules
from export.tiling import Box
from rpe_tf.metrics import boundary_files, object_files
from rpe_tf.metrics.rle import rle_encode
from tests.fuzzing.cases import Kind
from tests.fuzzing.mutations import spoil_bytes, spoil_example, spoil_json, spoil_mat
from tests.fuzzing.picture_kinds import _converted, _encoded, labels, picture

_SIZE = (14, 11)
_POLYGON = [1.0, 1.0, 8.0, 1.0, 8.0, 9.5, 1.0, 9.5]


def _mat(variables, is_compressed):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=is_compressed)
    return file.getvalue()


def _bsds(is_compressed):
    def make(rng):
        cell = np.empty((1, 2), object)
        for k in range(2):
            segmentation = labels(rng, np.int16).clip(0) + 1
            boundary = (segmentation == 2).astype(np.uint8)
            cell[0, k] = {"Segmentation": segmentation.astype(np.uint16), "Boundaries": boundary}
        return _mat({"groundTruth": cell}, is_compressed)

    return make


def _sbd(rng):
    struct = {
        "Segmentation": labels(rng, np.int16).clip(0).astype(np.uint8),
        "Categories": np.array([[3.0], [7.0], [20.0]]),
    }
    return _mat({"GTinst": struct}, True)


def _beside(path, name="picture.png"):
    picture_path = os.path.join(os.path.dirname(path), name)
    with open(picture_path, "wb") as file:
        file.write(_encoded(np.zeros([*_SIZE, 3], np.uint8), "PNG"))
    return picture_path


def _read_bsds(path):
    return _converted(bsds.read_bsds, Source("hostile", (_beside(path), path)))


def _read_sbd(path):
    return _converted(voc.read_voc, Source("hostile", (_beside(path), path), "sbd"))


def _truth(path):
    truth = boundary_files.read_truth(path)
    if truth.annotators.dtype != bool or truth.annotators.ndim != 3:
        raise AssertionError(f"{truth.annotators.dtype} {truth.annotators.shape}")
    return (truth.annotators,)


def _coco(rng):
    mask = labels(rng) == 2
    segmentations = (
        [_POLYGON],
        rle_encode(mask),
        {"size": list(_SIZE), "counts": [20, 5, 9, 20, 100]},
    )
    annotations = [
        {"id": k, "image_id": 5, "category_id": 3 + k % 2, "iscrowd": int(k == 2)}
        | {"segmentation": segmentation, "area": 9, "bbox": [0, 0, 3, 3]}
        for k, segmentation in enumerate(segmentations)
    ]
    content = {
        "images": [{"id": 5, "file_name": "hostile.png", "height": 14, "width": 11}],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
    }
    return json.dumps(content).encode()


def _read_coco(path):
    _beside(path, "hostile.png")
    sources, classes = coco.list_coco(path, os.path.dirname(path))
    folder = os.path.realpath(os.path.dirname(path))
    for source in sources:
        for file in source.files:
            inside = os.path.realpath(file).startswith(folder + os.sep)
            if not inside and not source.problem:
                raise AssertionError(f"{file} is outside of the folder")
    shard = f"{path}.tfrecord"
    write_shard(ShardJob(shard, tuple(sources), coco.read_coco, tuple(classes), {}, True))
    from data_pipeline import schema

    examples = [schema.parse_example(record) for record in tf.data.TFRecordDataset(shard)]
    return tuple(example[key].numpy() for example in examples for key in ("instance", "semantic"))


def _scored_truth(path):
    return _scored(path, path, [])


def _records(rng):
    mask = labels(rng) == 1
    records = [
        {"file_name": "hostile.png", "segmentation": rle_encode(mask), "score": 0.5},
        {"image_id": 5, "segmentation": [_POLYGON], "score": 0.25},
        {"image_id": 5, "score": 1, "segmentation": {"size": [14, 11], "counts": [7, 100, 47]}},
    ]
    return json.dumps([record | {"category_id": 3} for record in records]).encode()


def _scored_records(path):
    truth_path = os.path.join(os.path.dirname(path), "truth.json")
    with open(truth_path, "wb") as file:
        file.write(_coco(np.random.default_rng(0)))
    return _scored(path, truth_path)


def _scored(path, truth_path, records=None):
    """Truth and predictions of all pictures, as the scores take them."""
    if records is not None:
        path = os.path.join(os.path.dirname(path), "predicted_hostile.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(records, file)
    answer = []
    for item in object_files.list_items(path, truth_path, "instances"):
        truth = object_files.read_truth(item)
        predicted = object_files.read_predicted(item, truth.objects.shape[-2:])
        for side in (truth, predicted):
            answer += [side.objects, side.classes, side.scores, side.crowd]
    return tuple(answer)


def _split_file(rng):
    del rng
    return b"id,split\na,train\nb,val\nhostile,train\n"


def _read_splits(path):
    sources = [Source(name, (f"{name}.png",)) for name in ("a", "b", "hostile")]
    found = splits.split_by_file(sources, path)
    if any("/" in split for split in found):
        raise AssertionError(f"a split outside of its folder: {list(found)}")
    return tuple(sorted((split, [x.name for x in found[split]]) for split in found))


def _voc_list(rng):
    del rng
    return b"2007_000001\n2007_000002\nhostile\n"


def _read_voc_list(path):
    names = voc._read_ids(path)
    if any("/" in name or name in (".", "..") for name in names):
        raise AssertionError(f"a name outside of the folder: {names}")
    return tuple(names)


def _class_names(rng):
    del rng
    return b"background\ncat\ndog\n"


def _request(rng):
    image = {"b64": base64.b64encode(_encoded(picture(rng), "PNG")).decode()}
    row = {"image_bytes": image, "min_area": 3, "min_score": 0.5}
    content = {"signature_name": "serving_default", "instances": [row, dict(row)]}
    return json.dumps(content).encode()


_SPECS = {
    "image_bytes": tf.TensorSpec([None], tf.string),
    "min_area": tf.TensorSpec([None], tf.int32),
    "min_score": tf.TensorSpec([None], tf.float32),
}


def _read_request(path):
    with open(path, "rb") as file:
        request = rest_rules.parse_json(file.read())
    rest_rules.signature_name(request)
    inputs, _ = rest_rules.read_inputs(request, _SPECS)
    picture_limits.check_sizes(inputs, 10**6)
    return tuple(inputs[name] for name in sorted(inputs))


def _example(rng):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[_encoded(picture(rng), "PNG")]))
    features = tf.train.Features(feature={"image/encoded": feature})
    return tf.train.Example(features=features).SerializeToString()


def _read_example(path):
    with open(path, "rb") as file:
        inputs = {"examples": np.array([file.read(), b""], object)[:1]}
    picture_limits.check_sizes(inputs, 10**6)
    if where := picture_limits.undecodable_picture(inputs):
        raise ValueError(f"{where} cannot be decoded")
    return tuple(
        picture_limits.decode_rgb(tf.constant(x)).numpy()
        for _, x in picture_limits.encoded_pictures(inputs)
    )


def _spoil_example(content, rng):
    return (spoil_example if rng.integers(2) else spoil_bytes)(content, rng)


def _raw_map(rng):
    return labels(rng, np.int32).tobytes()


def _read_map_file(path):
    values = map_files.MapFile(path, (14, 11), np.int32)
    try:
        return (values.read(Box(0, 0, 14, 11)),)
    finally:
        values.close()


_REQUEST_WORDS = ("body", "input", "instances", "signature_name", "image_bytes", "request")

KINDS = (
    Kind("BSDS .mat's bytes", ".mat", _bsds(True), spoil_bytes, _read_bsds, False),
    Kind("BSDS .mat, inside", ".mat", _bsds(True), spoil_mat, _read_bsds, False),
    Kind("BSDS .mat, uncompressed", ".mat", _bsds(False), spoil_mat, _read_bsds, False),
    Kind("SBD .mat, inside", ".mat", _sbd, spoil_mat, _read_sbd, False),
    Kind("BSDS .mat's bytes, scored", ".mat", _bsds(True), spoil_bytes, _truth, False),
    Kind("BSDS .mat, inside, scored", ".mat", _bsds(True), spoil_mat, _truth, False),
    Kind("BSDS .mat, uncompressed, scored", ".mat", _bsds(False), spoil_mat, _truth, False),
    Kind("COCO json, converted", ".json", _coco, spoil_json, _read_coco, False),
    Kind("COCO json, scored", ".json", _coco, spoil_json, _scored_truth, False),
    Kind("predictions json, scored", ".json", _records, spoil_json, _scored_records, False),
    Kind("split file", ".csv", _split_file, spoil_bytes, _read_splits, False),
    Kind("VOC list", ".txt", _voc_list, spoil_bytes, _read_voc_list, False),
    Kind(
        *("class names", ".txt", _class_names, spoil_bytes),
        *(lambda path: tuple(folders.read_class_names(path)), False),
    ),
    Kind("REST request", ".json", _request, spoil_json, _read_request, False, _REQUEST_WORDS),
    Kind(
        "tf.Example, served",
        ".pb",
        _example,
        _spoil_example,
        _read_example,
        False,
        ("examples[0]",),
    ),
    Kind("raw map", ".raw", _raw_map, spoil_bytes, _read_map_file, False),
)
