"""What SECURITY.md holds: no code runs, bombs are refused with the limit named, paths stay inside.

Those of predictions, batches and the server beside the sharp limits: tests/export/test_tiling.py,
test_batch_main.py and test_serve_main.py.
"""

import io
import json
import os
import pathlib
import pickle
import re
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import tensorflow as tf
from PIL import Image

from data_pipeline import coco, schema, splits, voc
from data_pipeline.folders import read_pair
from data_pipeline.label_files import read_label_map
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.mask_files import read_mask_files
from data_pipeline.mat_files import read_mat
from data_pipeline.picture_files import read_for_record, read_picture
from export import batch_pictures, picture_limits, raw_picture
from export.large_pictures import MAX_PIXELS
from export.trained_run import restore_export, restore_run
from rpe_tf import run_folder
from rpe_tf.metrics import boundary_files, coco_files, object_files
from rpe_tf.metrics.label_png import read_label_png

_SIDE = 60_000
_LIMIT = "178956970|178,956,970|500,000,000"  # Pillow's, and that of --max_pixels.


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(color_type=0, side=_SIDE):
    head = struct.pack(">IIBBBBB", side, side, 8, color_type, 0, 0, 0)
    parts = (
        _chunk(b"IHDR", head),
        _chunk(b"IDAT", zlib.compress(bytes(10**5))),
        _chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _jpeg():
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    return re.sub(
        rb"(\xff\xc0..\x08)....", rb"\1" + b"\xea\x60\xea\x60", file.getvalue(), flags=re.S
    )


def _bmp():
    return b"BM" + struct.pack(
        "<IIIIiiHHIIiiII", 90, 0, 54, 40, _SIDE, _SIDE, 1, 24, 0, 0, 1, 1, 0, 0
    )


_BOMBS = {"bomb.png": _png(2), "bomb.jpg": _jpeg(), "bomb.bmp": _bmp() + bytes(36)}


@pytest.fixture(params=_BOMBS)
def bomb(request, tmp_path):
    """A picture of a few kB whose head says 60,000 × 60,000."""
    path = tmp_path / request.param
    path.write_bytes(_BOMBS[request.param])
    return str(path)


def _whole_picture(folder):
    Image.new("RGB", (6, 4)).save(folder / "whole.png")
    return str(folder / "whole.png")


@pytest.mark.parametrize(
    "read",
    [
        read_picture,
        read_for_record,
        lambda path: raw_picture.picture_size(path, MAX_PIXELS),
        boundary_files.read_prediction,
        lambda path: read_pair(Source("x", (path, path))),
        lambda path: coco.read_coco(Source("x", (path,), {"height": 4, "width": 6})),
    ],
)
def test_bombs_are_refused_by_name_and_limit_before_they_are_decoded(bomb, read):
    with pytest.raises(ValueError, match=rf"{re.escape(bomb)}.*({_LIMIT})"):
        read(bomb)


def test_bombs_of_a_batch_and_of_a_request_are_refused(bomb):
    content = pathlib.Path(bomb).read_bytes()
    picture = batch_pictures.Picture({"path": bomb}, bomb, "bomb", content)
    with pytest.raises(
        ValueError, match="3,600,000,000 pixels, more than the limit of 500,000,000"
    ):
        batch_pictures.picture_size(picture, MAX_PIXELS)
    inputs = {"image_bytes": np.array([content, b""], object)[:1]}
    with pytest.raises(ValueError, match="3,600,000,000 pixels, more than the limit of 9"):
        picture_limits.check_sizes(inputs, 9)


@pytest.mark.parametrize(
    "read",
    [
        read_label_map,
        read_label_png,
        lambda path: read_mask_files(
            Source("x", (_whole_picture(pathlib.Path(path).parent), path))
        ),
        lambda path: voc.read_voc(
            Source("x", (_whole_picture(pathlib.Path(path).parent), path, path), "voc")
        ),
    ],
)
def test_label_maps_that_are_bombs_are_refused_by_name_and_limit(tmp_path, read):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png())
    with pytest.raises(ValueError, match=rf"bomb\.png.*({_LIMIT})"):
        read(str(path))


def test_arrays_and_json_that_state_more_than_they_hold_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros([2, 3], np.uint8))
    path.write_bytes(path.read_bytes().replace(b"(2, 3), }      ", b"(60000, 60000)}"))
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as an array"):
        read_label_map(str(path))
    image = {"id": 1, "file_name": "a.png", "height": _SIDE, "width": _SIDE}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": [image], "annotations": []}))
    with pytest.raises(ValueError, match=r"truth\.json: picture a of .* 178,956,970 pixels"):
        coco_files.read_ground_truth(str(path))


def test_a_mat_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipeline.mat_structure._MAX_BYTES", 10**5)
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"x": np.zeros([400, 500], np.uint8)}, do_compression=True)
    assert path.stat().st_size < 1000
    for read in (lambda: read_mat(str(path), "x"), lambda: boundary_files.read_truth(str(path))):
        with pytest.raises(ValueError, match=r"bomb\.mat .* limit of 100,000 bytes"):
            read()


def test_a_bomb_in_a_record_is_refused(tmp_path):
    whole = LabelledPicture(np.zeros([4, 6, 3], np.uint8), np.ones([4, 6], np.int32))
    example = tf.train.Example.FromString(schema.encode_example(whole, "p"))
    example.features.feature["image/encoded"].bytes_list.value[0] = _png(2)
    with pytest.raises(tf.errors.InvalidArgumentError):
        schema.parse_example(tf.constant(example.SerializeToString()))


_OUTSIDE = ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", "."]


@pytest.mark.parametrize("name", _OUTSIDE)
def test_names_in_lists_stay_in_their_folder(tmp_path, name):
    path = tmp_path / "train.txt"
    path.write_text(f"good\n{name}\n")
    with pytest.raises(ValueError, match=r"train\.txt must have a picture's name a line"):
        voc._read_ids(str(path))
    path = tmp_path / "split.csv"
    path.write_text(f"id,split\ngood,{name}\n")
    with pytest.raises(ValueError, match=r"split\.csv, line 2: .*letters, digits and underscores"):
        splits.split_by_file([Source("good", ("good.png",))], str(path))
    path.write_text(f"id,split\n{name},train\n")
    found = splits.split_by_file([Source("good", ("good.png",))], str(path))["train"]
    assert [source.problem != "" for source in found] == [True, True]  # Not read; nor is the other.


@pytest.mark.parametrize("name", _OUTSIDE)
def test_predictions_find_pictures_by_name_alone(tmp_path, name):
    image = {"id": 1, "file_name": "good.png", "height": 4, "width": 6}
    truth, predicted = tmp_path / "truth.json", tmp_path / "predicted.json"
    truth.write_text(json.dumps({"images": [image], "annotations": []}))
    segmentation = {"size": [4, 6], "counts": [24]}
    predicted.write_text(json.dumps([{"file_name": name, "segmentation": segmentation}]))
    with pytest.raises(ValueError, match=r"predicted\.json: record 0 is of picture .* lacks"):
        object_files.list_items(str(predicted), str(truth), "instances")


class _Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    trap = np.array([[_Trap(tmp_path / "ran"), 0]], object)
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(_Trap(tmp_path / "ran")))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an array .*pickle"):
            read_label_map(str(tmp_path / name))
    assert not (tmp_path / "ran").exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "ran").exists()  # The trap works.


def _hostile_models(folder):
    lambda_layer = {
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": f"mkdir {folder}"}}},
    }
    code = f"__import__('os').mkdir('{folder}/ran')"
    good = {"embedding_dim": 4, "width": 8, "num_levels": 2}
    return [
        {**good, "backbone": code},
        {**good, "norm": code},
        {**good, "norm": lambda_layer},
        {**good, "embedding_dim": code},
        {**good, "position": code},
        {**good, "layers": [lambda_layer]},
        {**good, "__class__": code},
        {"class_name": "Functional", "config": lambda_layer, "module": "keras"},
        [code],
        code,
        None,
    ]


@pytest.mark.parametrize("number", range(11))
def test_hostile_settings_run_nothing_and_are_refused(tmp_path, number):
    model = _hostile_models(tmp_path)[number]
    for task, words in (("proposals", ""), (f"os.mkdir('{tmp_path}/ran')", "known here are")):
        settings = {"format": 1, "task": task, "model": model, "read_out": {}}
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        with pytest.raises(ValueError, match=words):
            restore_run(str(tmp_path))
        (tmp_path / "saved_model.pb").touch()
        info = {"settings": settings, "step": 1, "metrics": {}}
        (tmp_path / "model_info.json").write_text(json.dumps(info))
        with pytest.raises(ValueError, match=words):
            restore_export(str(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, "\udcff", '{"format": 1}'])
def test_settings_that_are_none_are_refused_by_name(tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        restore_run(str(tmp_path))
    assert run_folder.read_found(str(tmp_path)) == {}
