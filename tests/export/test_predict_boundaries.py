"""predict_main on an export of boundaries writes what the evaluation reads."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import rpe_tf
from rpe_tf.metrics.boundary_files import read_prediction
from rpe_tf.metrics.edge_thinning import suppress_non_maxima


def _start(model, images, output_dir, *more):
    command = [sys.executable, "-m", "export.predict_main", f"--model={model}"]
    command += [f"--images={images}", f"--output_dir={output_dir}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, pictures):
    """Pictures as RGB by stem, among files of theirs and one that is no picture."""
    folder = tmp_path_factory.mktemp("scenes")
    grey = pictures[0][:, :, 0]
    as_rgb = np.repeat(grey[:, :, np.newaxis], 3, axis=-1)
    Image.fromarray(pictures[2]).save(folder / "plain.v1.bmp")
    Image.fromarray(pictures[2][:, :1]).save(folder / "narrow.png")
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 256 + 130).save(folder / "deep.png")
    (folder / "text.png").write_text("hello, no picture")
    by_stem = {
        **{"plain.v1": pictures[2], "narrow": pictures[2][:, :1]},
        **{"grey": as_rgb, "deep": as_rgb},
    }
    return folder, by_stem


def test_predict_main_writes_rounded_maps_and_thins_on_request(exported_boundary, scenes, tmp_path):
    folder, by_stem = scenes
    detector = rpe_tf.load(exported_boundary.export_dir)
    processes = [
        _start(exported_boundary.export_dir, folder, tmp_path / "plain"),
        _start(exported_boundary.export_dir, folder, tmp_path / "thin", "--thin"),
    ]
    for process, name in zip(processes, ("plain", "thin"), strict=True):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 1 and "Traceback" not in err, err
        assert f"error: {folder}/text.png cannot be read as a picture" in err
        assert "5/5" in err and "Detected boundaries in 4 of 5 pictures" in out
        assert sorted(os.listdir(tmp_path / name)) == sorted(f"{x}.png" for x in by_stem)
    for stem, picture in by_stem.items():
        expected = detector.predict(picture)
        assert expected.shape == picture.shape[:2]
        plain, thin = (tmp_path / name / f"{stem}.png" for name in ("plain", "thin"))
        with Image.open(plain) as written:
            assert written.mode == "L"
            # A value on the border of two steps may fall either way in another process.
            assert np.abs(np.asarray(written) - 255 * expected).max() <= 0.5 + 255 * 1e-4
        assert np.abs(read_prediction(str(plain)) - expected).max() <= 0.5 / 255 + 1e-4
        thinned = read_prediction(str(thin))
        off = np.abs(thinned - suppress_non_maxima(expected)) > 0.5 / 255 + 1e-4
        assert off.mean() <= 1e-3
        if stem == "plain.v1":
            assert read_prediction(str(plain)).min() > 0 == thinned.min() and thinned.max() > 0.1


def test_predict_main_refuses_to_thin_instances(exported, scenes, tmp_path):
    process = _start(exported.export_dir, scenes[0], tmp_path / "out", "--thin")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and "Traceback" not in err
    assert "--thin is for models of boundaries" in err and not (tmp_path / "out").exists()
