"""The program: exit codes, what it says and writes, and the picture it draws.

It runs as a process of its own, because programs may share names of flags.
"""

import json
import os

import numpy as np
from PIL import Image
from programs import run_all

from data_pipeline import conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from rpe_tf.drawing import instance_colors

_SIDE = 320  # Of a picture of 16 px, 20 times enlarged.
_GAP = 4


def _read(source):
    """The left half is instance 1 of class 2, then void; one of two annotators drew column 3."""
    instance = np.zeros((16, 16), np.int32)
    instance[:, :8], instance[:, 8:10] = 1, -1
    semantic = np.where(instance == 1, 2, instance)
    boundary = np.zeros((2, 16, 16), bool)
    boundary[0, :, 3] = True
    image = np.full((16, 16, 3), (20, 200, 90), np.uint8)
    return LabelledPicture(image, instance, semantic, np.stack([instance] * 2), boundary)


def _write(folder):
    sources = [Source(f"p_{k}") for k in range(4)]
    classes = ("ground", "cat", "dog")
    conversion.write_split(_read, sources, str(folder), "train", num_shards=2, classes=classes)
    return [folder / f"train-0000{k}-of-00002.tfrecord" for k in range(2)]


def test_inspect_main_reports_what_it_finds(tmp_path):
    _write(tmp_path / "sound")
    damaged = _write(tmp_path / "damaged")[1]
    damaged.write_bytes(damaged.read_bytes()[:-5])
    results = run_all(
        "data_pipeline.inspect_main",
        [
            f"--shards={tmp_path}/sound/train-*",
            f"--json={tmp_path}/new/sound.json",
            f"--picture={tmp_path}/new/sheet.png",
            "--num_pictures=2",
            # A version that is changed by nothing.
            *("--num_augmented=1", "--scale=1,1", "--rotation_degrees=0", "--noflip"),
            *("--crop_margin_px=0", "--brightness=0", "--contrast=0", "--saturation=0"),
            "--hue_degrees=0",
        ],
        [f"--shards={tmp_path}/damaged/train-*", f"--json={tmp_path}/damaged.json"],
    )
    _require_sound(*results[0], tmp_path / "new")

    code, out, err = results[1]
    assert code == 1
    assert f"3 faults:\n{damaged}: record 1: " in err and "Traceback" not in err
    assert "3 pictures, 3 instances" in out
    summary = json.loads((tmp_path / "damaged.json").read_text())
    assert len(summary["faults"]) == 3 and summary["num_examples"] == 3


def _require_sound(code, out, err, folder):
    assert code == 0, err
    assert "4 pictures, 4 instances" in out and "2 shards: no fault" in out
    assert "dog: 50.00% of the pixels, 4 instances" in out
    assert "inspect: 100%" in err
    summary = json.loads((folder / "sound.json").read_text())
    assert summary["faults"] == [] and summary["void_share"] == 2 / 16
    assert summary["classes"]["dog"] == {"pixels": 4 * 16 * 8, "instances": 4}
    assert sorted(os.listdir(folder)) == ["sheet.png", "sound.json"]
    _require_sheet(np.asarray(Image.open(folder / "sheet.png")))


def _require_sheet(sheet):
    """Image, instances, classes, annotators, an augmented version; the second picture below."""
    assert sheet.shape[1] == _GAP + 5 * (_SIDE + _GAP)
    top = sheet.shape[0] - _GAP - _SIDE
    lefts = [_GAP + k * (_SIDE + _GAP) for k in range(5)]
    image, instances, classes, annotators, augmented = (
        sheet[top : top + _SIDE, left : left + _SIDE] for left in lefts
    )
    assert (image == (20, 200, 90)).all()
    left_half, void, right = slice(0, 160), slice(160, 200), slice(200, 320)
    red, blue = instance_colors(2)  # Of instance 1 and of class 2.
    tinted = np.rint((red.astype(float) + (20, 200, 90)) / 2)
    assert (instances[:, left_half] == tinted).all(axis=-1).mean() > 0.9  # All but the number.
    # The number is the only thing so bright: farthest from the borders, 80 pixels from each.
    rows, columns = np.nonzero((instances[:, left_half] > 180).all(axis=-1))
    assert 70 < rows.mean() < 250 and abs(columns.mean() - 80) < 10
    assert (instances[:, right] == (20, 200, 90)).all()
    assert (classes[:, left_half] == blue).all()
    assert (classes[:, void] == 128).all() and (classes[:, right] == 0).all()
    assert (annotators[:, 60:80] == 128).all()  # One of two.
    assert (annotators[:, :60] == 0).all() and (annotators[:, 80:] == 0).all()
    assert (augmented[:, :159] == tinted).all()  # Column 159 is the outline.
    assert (augmented[:, right] == (20, 200, 90)).all()
