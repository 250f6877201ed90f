"""The API for applications: arrays and files, one answer."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rpe_tf
from rpe_tf.saved_model import find_version, list_versions


@pytest.fixture(scope="module")
def segmenter(exported):
    return rpe_tf.load(exported.export_dir)


@pytest.fixture(scope="module", params=["exported", "exported_boundary"])
def model(request):
    return rpe_tf.load(request.getfixturevalue(request.param).export_dir)


def test_predict_of_file_and_array_are_equal(segmenter, pictures, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pictures[0]).save(path)
    from_array = segmenter.predict(pictures[0])
    for from_file in (segmenter.predict(path), segmenter.predict(str(path))):
        np.testing.assert_array_equal(from_file.instance, from_array.instance)
        np.testing.assert_array_equal(from_file.table, from_array.table)


def test_load_of_boundaries_predicts_the_map_of_array_and_file(
    exported_boundary, pictures, tmp_path
):
    detector = rpe_tf.load(exported_boundary.export_dir)
    path = tmp_path / "a.png"
    Image.fromarray(pictures[2]).save(path)
    expected = exported_boundary.loaded.signatures["serving_default"](
        image=tf.constant(pictures[2][None])
    )["boundary"][0]
    for picture in (pictures[2], path, str(path)):
        found = detector.predict(picture)
        assert found.dtype == np.float32 and found.shape == (64, 40)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_predict_gives_the_map_and_table_of_the_signature(exported, segmenter, pictures):
    instance, table = segmenter.predict(pictures[2])
    outputs = exported.loaded.signatures["serving_default"](image=tf.constant(pictures[2][None]))
    np.testing.assert_array_equal(instance, outputs["instance"][0])
    assert instance.dtype == np.int32 and len(table) == outputs["num_instances"][0] > 0
    np.testing.assert_array_equal(table["box"], outputs["boxes"][0])
    np.testing.assert_allclose(table["score"], outputs["scores"][0], atol=1e-6)
    for row in table:
        assert row["area"] == np.count_nonzero(instance == row["id"])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros([4, 4, 3], np.float32),
        np.zeros([4, 4], np.uint8),
        np.zeros([4, 4, 4], np.uint8),
        np.zeros([1, 4, 4, 3], np.uint8),
        np.zeros([0, 4, 3], np.uint8),
    ],
)
def test_predict_refuses_other_arrays_with_the_cure(model, array):
    with pytest.raises(ValueError, match=r"must be uint8 \[H, W, 3\], got .*; scale values"):
        model.predict(array)


def test_predict_refuses_files_by_name(model, tmp_path):
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"a\.png cannot be read as JPEG"):
        model.predict(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.png"):
        model.predict(tmp_path / "b.png")


def test_load_names_a_folder_without_model(tmp_path):
    (tmp_path / "3").mkdir()
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match=f"no model in {folder}"):
            rpe_tf.load(folder)


def test_load_refuses_a_model_without_our_signatures(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(ValueError, match="no signature serving_default"):
        rpe_tf.load(tmp_path)


def test_load_refuses_a_model_of_other_outputs(tmp_path):
    module = tf.Module()
    module.serve = tf.function(lambda x: {"weather": x}, input_signature=[tf.TensorSpec([])])
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": module.serve})
    with pytest.raises(ValueError, match="gives weather, neither instance nor boundary"):
        rpe_tf.load(tmp_path)


def test_find_version_takes_the_largest_number_that_holds_a_model(tmp_path):
    for name in ("9", "10", "11", ".unfinished-12-ab", "013"):
        (tmp_path / name).mkdir()
        if name != "11":
            (tmp_path / name / "saved_model.pb").write_bytes(b"")
    assert find_version(tmp_path) == f"{tmp_path}/10"
    assert find_version(f"{tmp_path}/9") == f"{tmp_path}/9"
    assert list_versions(str(tmp_path)) == [9, 10, 11]
    assert list_versions(f"{tmp_path}/none") == []


def test_rpe_tf_imports_tensorflow_only_for_load(tmp_path):
    code = (
        "import sys, rpe_tf; assert 'tensorflow' not in sys.modules\n"
        "assert not hasattr(rpe_tf, 'unload')\n"
        "try: rpe_tf.load('nowhere')\n"
        "except FileNotFoundError: pass\n"
        "ours = {m for m in sys.modules if m.split('.')[0] == 'rpe_tf'}\n"
        "assert ours == {'rpe_tf', 'rpe_tf.saved_model'}, ours\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
