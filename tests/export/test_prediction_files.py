"""Files of a prediction: read back, they say what was predicted."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import rpe_tf
from export.prediction_files import coco_results, write_pictures, write_whole
from rpe_tf.metrics.rle import rle_decode
from rpe_tf.saved_model import TABLE_DTYPE, Prediction


def test_coco_results_hold_box_area_and_mask():
    instance = np.zeros([4, 6], np.int32)
    instance[1:3, 2:6] = 1
    instance[0, 0] = 2
    rows = [(1, 8, 0.5, (1, 2, 3, 6), 0), (2, 1, 0.25, (0, 0, 1, 1), 7)]
    table = np.array(rows, TABLE_DTYPE)
    records = coco_results("in/a.png", "a_instances.png", Prediction(instance, table))
    assert [record["instance"] for record in records] == [1, 2]
    first = records[0]
    # x = 2, y = 1, width = 6 − 2, height = 3 − 1
    assert first["bbox"] == [2, 1, 4, 2] and first["area"] == 8 and first["score"] == 0.5
    assert first["file_name"] == "in/a.png"
    # Without a class 1, COCO's "object"; else the class.
    assert [record["category_id"] for record in records] == [1, 7]
    for record in json.loads(json.dumps(records)):
        mask = rle_decode(record["segmentation"])
        np.testing.assert_array_equal(mask, instance == record["instance"])


def test_write_pictures_keeps_ids_past_8_bits(tmp_path):
    instance = np.array([[0, 1], [255, 300]], np.int32)
    write_pictures(str(tmp_path), "a", np.zeros([2, 2, 3], np.uint8), instance)
    assert sorted(os.listdir(tmp_path)) == ["a_instances.png", "a_overlay.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a_instances.png")), instance)
    assert np.asarray(Image.open(tmp_path / "a_overlay.png")).shape == (2, 2, 3)


def test_write_whole_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_whole(str(path), fail)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.json"]


def _predict(model, images, output_dir):
    command = [sys.executable, "-m", "export.predict_main", f"--model={model}"]
    command += [f"--images={images}", f"--output_dir={output_dir}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_predict_main_does_the_others_when_a_picture_is_corrupt(exported, pictures, tmp_path):
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    (scenes / "deep").mkdir(parents=True)
    Image.fromarray(pictures[0]).save(scenes / "a.png")
    Image.fromarray(pictures[2]).save(scenes / "deep" / "a.bmp")
    (scenes / "bad.png").write_bytes((scenes / "a.png").read_bytes()[:200])
    done = _predict(exported.export_dir, f"{scenes}/**/*.*", out)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert f"error: {scenes}/bad.png cannot be read as a picture" in done.stderr
    assert "3/3" in done.stderr and "Segmented 2 of 3 pictures" in done.stdout

    names = ["a_instances.png", "a_overlay.png", "a-2_instances.png", "a-2_overlay.png"]
    assert sorted(os.listdir(out)) == sorted([*names, "predictions.json"])
    records = json.loads((out / "predictions.json").read_text())
    segmenter = rpe_tf.load(exported.export_dir)
    for path, stem, picture in [
        (f"{scenes}/a.png", "a", pictures[0]),
        (f"{scenes}/deep/a.bmp", "a-2", pictures[2]),
    ]:
        expected = segmenter.predict(picture)
        label = np.asarray(Image.open(out / f"{stem}_instances.png"))
        np.testing.assert_array_equal(label, expected.instance)
        mine = [record for record in records if record["file_name"] == path]
        assert [record["area"] for record in mine] == expected.table["area"].tolist()
        assert {record["label_file"] for record in mine} == {f"{stem}_instances.png"}
