"""COCO's json files: reading, decoding and every fault, each named."""

import json

import numpy as np
import pytest

from rpe_tf.metrics.coco_files import (
    decode_masks,
    group_by_picture,
    picture_name,
    read_ground_truth,
    read_records,
)
from rpe_tf.metrics.rle import rle_encode

_IMAGE = {"id": 7, "file_name": "folder/a.b.jpg", "height": 4, "width": 5}
_MASK = np.arange(20).reshape(4, 5) % 3 == 0
_RECORD = {"image_id": 7, "segmentation": rle_encode(_MASK), "score": 0.5, "category_id": 1}


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_picture_name():
    assert [picture_name(x) for x in ("a.png", "x/y/a.b.jpg", "x\\a.jpg", "42")] == [
        *("a", "a.b", "a", "42")
    ]


def test_read_ground_truth(tmp_path):
    annotation = {"image_id": 7, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]]}
    without = {"image_id": 7, "category_id": 3}
    content = {"images": [_IMAGE], "annotations": [annotation, without]}
    found = read_ground_truth(_write(tmp_path / "t.json", content))
    assert found == {"a.b": (7, (4, 5), [annotation])}


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "cannot be read as json"),
        ([], "lists images and annotations"),
        ({"images": [], "annotations": []}, "has no pictures"),
        ({"images": [{"id": 1}], "annotations": []}, r"images\[0\] lacks file_name, height, width"),
        ({"images": [5], "annotations": []}, r"images\[0\] must be a dict"),
        ({"images": 5, "annotations": []}, "lists images and annotations"),
        (
            {"images": [{**_IMAGE, "file_name": 5}], "annotations": []},
            "file_name of .* cannot be 5",
        ),
        ({"images": [{**_IMAGE, "id": []}], "annotations": []}, r"id of images\[0\] cannot be"),
        (
            {"images": [{**_IMAGE, "height": True}], "annotations": []},
            "height of .* cannot be True",
        ),
        ({"images": [{**_IMAGE, "height": 0}], "annotations": []}, "must have 1 to 178,956,970"),
        ({"images": [{**_IMAGE, "width": 10**8}], "annotations": []}, "must have 1 to 178,956,970"),
        ({"images": [_IMAGE, {**_IMAGE, "id": 8}], "annotations": []}, "two pictures named a.b"),
        ({"images": [_IMAGE], "annotations": [{"image_id": 7}]}, "lacks category_id"),
        (
            {"images": [_IMAGE], "annotations": [{"image_id": 9, "category_id": 1}]},
            "image_id 9, which images lacks",
        ),
    ],
)
def test_read_ground_truth_refuses(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"truth\.json.*{words}"):
        read_ground_truth(_write(tmp_path / "truth.json", content))


def test_read_records(tmp_path):
    assert read_records(_write(tmp_path / "p.json", [_RECORD])) == [_RECORD]
    assert read_records(_write(tmp_path / "p.json", [])) == []


def _without(*keys):
    return {key: value for key, value in _RECORD.items() if key not in keys}


@pytest.mark.parametrize(
    "content, words",
    [
        ({}, "must be a list of records, got dict"),
        ([1], "record 0 must be a dict"),
        ([_without("segmentation")], "record 0 lacks segmentation"),
        ([_without("image_id")], "record 0 must have file_name or image_id"),
        ([{**_RECORD, "image_id": [1]}], "record 0 must have file_name or image_id"),
        ([_RECORD, {**_RECORD, "score": "high"}], "record 1 must have a finite score"),
        ([_RECORD, {**_RECORD, "score": float("nan")}], "record 1 must have a finite score"),
        ([{**_RECORD, "score": 10**400}], "record 0 must have a finite score"),
        ([{**_RECORD, "category_id": 1.5}], "record 0 must have a whole number as its category_id"),
        ([{**_RECORD, "category_id": 2**63}], "record 0 must have a whole number"),
        ([{**_RECORD, "segmentation": 5}], "segmentation of record 0 cannot be 5"),
        ([_RECORD, _without("score")], "1 of 2 records have a score"),
        ([_RECORD, _without("category_id")], "1 of 2 records have a category_id"),
    ],
)
def test_read_records_refuses(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"pred\.json.*{words}"):
        read_records(_write(tmp_path / "pred.json", content))


def test_group_by_picture():
    records = [{"image_id": 7}, {"file_name": "x/b.png"}, {"image_id": "b"}, {"image_id": 3}]
    names = {7: "a", "a": "a", "b": "b", "3": "3"}
    assert group_by_picture("p", records, names) == {
        "a": records[:1],
        "b": records[1:3],
        "3": records[3:],
    }
    with pytest.raises(ValueError, match=r"p: record 1 is of picture 'c\.png', which the ground"):
        group_by_picture("p", [{"image_id": 7}, {"file_name": "c.png"}], names)


def test_decode_masks_of_every_form():
    runs = [0, 1, 3, 16]  # By columns: one pixel, three empty ones, sixteen pixels.
    polygon = [[0, 0, 5, 0, 5, 4, 0, 4]]
    entries = [
        _RECORD,
        {"segmentation": {"size": [4, 5], "counts": runs}},
        {"segmentation": polygon},
    ]
    found = decode_masks("p", entries, (4, 5))
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found[0], _MASK)
    assert found[1][:, 0].tolist() == [True, False, False, False] and found[1][:, 1:].all()
    assert found[2].all()
    assert decode_masks("p", [], (4, 5)).shape == (0, 4, 5)


@pytest.mark.parametrize(
    "segmentation, words",
    [
        (rle_encode(np.zeros((5, 4), bool)), "must have 4x5 .* got 5x4"),
        ({"size": [4, 6], "counts": rle_encode(_MASK)["counts"]}, "must have 4x5 .* got 4x6"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "must have 4x5"),
        ({"size": 5, "counts": [20]}, "spoilt segmentation"),
        ({"size": [4, 5], "counts": [7.5, 12.5]}, "do not fill 4x5"),
        ({"size": [4, 5], "counts": [2**63 - 1, 2**63 - 1, 22]}, "do not fill 4x5"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "further outside of the picture"),
        ([[0, 0, float("nan"), 0, 3, 3]], "further outside of the picture"),
        ([[0, 0, 3, 0, 3, 3, 1]], "at least 6 numbers"),
        ([[0, 0, "3", 0, 3, 3]], "at least 6 numbers"),
        ([], "at least 6 numbers"),
        ({"size": [4, 5], "counts": [3]}, "do not fill 4x5"),
        ({"size": [4, 5], "counts": "~"}, "spoilt segmentation"),
        ({"counts": "0"}, "keys size and counts"),
        ({"counts": [1], "size": None}, "spoilt segmentation"),
        ([[1, 2]], "at least 6 numbers"),
        ("text", "run lengths or polygons"),
    ],
)
def test_decode_masks_refuses(segmentation, words):
    entry = {"file_name": "a.png", "segmentation": segmentation}
    with pytest.raises(ValueError, match=rf"p\.json: a record of picture 'a\.png' .*{words}"):
        decode_masks("p.json", [entry], (4, 5))
