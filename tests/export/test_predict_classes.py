"""predict_main and the API on exports with classes: what is written, the evaluation reads."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import rpe_tf
from rpe_tf.metrics import object_files
from rpe_tf.metrics.rle import rle_decode
from rpe_tf.saved_model import Segmenter, SemanticSegmenter


def _start(module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _opened(path, mode):
    with Image.open(path) as picture:
        assert picture.mode == mode
        return np.asarray(picture)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, pictures):
    """A folder of two pictures and a file that is none, and a ground truth of their sizes."""
    folder = tmp_path_factory.mktemp("scenes")
    truth = tmp_path_factory.mktemp("truth")
    for name, picture in (("a", pictures[0]), ("b", pictures[2])):
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(np.ones(picture.shape[:2], np.uint8)).save(truth / f"{name}.png")
    (folder / "text.png").write_text("hello, no picture")
    return folder, truth


@pytest.fixture(scope="module")
def written(exported_instances, exported_semantic, scenes, tmp_path_factory):
    """Folders of what predict_main wrote, by task."""
    out = tmp_path_factory.mktemp("out")
    exports = {"instances": exported_instances, "semantic": exported_semantic}
    processes = {
        task: _start(
            "export.predict_main",
            f"--model={exported.export_dir}",
            f"--images={scenes[0]}",
            f"--output_dir={out / task}",
        )
        for task, exported in exports.items()
    }
    for process in processes.values():
        text, err = process.communicate(timeout=300)
        assert process.returncode == 1 and "Traceback" not in err, err
        assert "text.png cannot be read as a picture" in err
        assert " 2 of 3 pictures" in text
    return out


def test_predict_main_writes_instances_with_their_classes(
    exported_instances, scenes, written, pictures
):
    segmenter = rpe_tf.load(exported_instances.export_dir)
    names = ["instances.png", "overlay.png", "semantic.png"]
    expected_files = [f"{stem}_{name}" for stem in "ab" for name in names]
    assert sorted(os.listdir(written / "instances")) == [*expected_files, "predictions.json"]
    records = json.loads((written / "instances" / "predictions.json").read_text())
    for stem, picture in (("a", pictures[0]), ("b", pictures[2])):
        expected = segmenter.predict_classed(picture)
        assert len(expected.table) >= 3 and expected.table["class"].max() > 1
        base = written / "instances" / stem
        instance = _opened(f"{base}_instances.png", "I;16")
        np.testing.assert_array_equal(instance, expected.instance)
        np.testing.assert_array_equal(_opened(f"{base}_semantic.png", "L"), expected.semantic)
        assert _opened(f"{base}_overlay.png", "RGB").shape == picture.shape
        mine = [record for record in records if record["file_name"].endswith(f"{stem}.png")]
        assert [x["category_id"] for x in mine] == expected.table["class"].tolist()
        np.testing.assert_allclose([x["score"] for x in mine], expected.table["score"], rtol=1e-5)
        for record in mine:
            mask = rle_decode(record["segmentation"])
            np.testing.assert_array_equal(mask, instance == record["instance"])


def test_predict_main_writes_class_maps(exported_semantic, written, pictures):
    segmenter = rpe_tf.load(exported_semantic.export_dir)
    expected_files = [f"{stem}_{name}.png" for stem in "ab" for name in ("overlay", "semantic")]
    assert sorted(os.listdir(written / "semantic")) == expected_files
    for stem, picture in (("a", pictures[0]), ("b", pictures[2])):
        expected = segmenter.predict(picture)
        assert len(np.unique(expected)) >= 3 and expected.shape == picture.shape[:2]
        base = written / "semantic" / stem
        np.testing.assert_array_equal(_opened(f"{base}_semantic.png", "L"), expected)
        assert _opened(f"{base}_overlay.png", "RGB").shape == picture.shape


def test_the_evaluation_reads_what_predict_main_wrote(written, scenes):
    truth = str(scenes[1])
    items = object_files.list_items(
        str(written / "instances"), truth, "instances", ground_truth_classes=truth
    )
    assert [item.name for item in items] == ["a", "b"]
    for item in items:
        base = written / "instances" / item.name
        instance = _opened(f"{base}_instances.png", "I;16")
        found = object_files.read_predicted(item, instance.shape)
        assert len(found.objects) == instance.max() == len(found.classes) == len(found.scores)
        np.testing.assert_array_equal(found.objects[0], instance == 1)
        assert found.classes.min() >= 1
    items = object_files.list_items(str(written / "semantic"), truth, "semantic")
    assert [os.path.basename(x.predicted) for x in items] == ["a_semantic.png", "b_semantic.png"]


def test_load_tells_the_tasks_apart(exported, exported_instances, exported_semantic, pictures):
    classed = rpe_tf.load(exported_instances.export_dir)
    assert isinstance(classed, Segmenter) and classed.has_classes and not classed.can_propose
    instance, table = classed.predict(pictures[0])
    both = classed.predict_classed(pictures[0])
    np.testing.assert_array_equal(instance, both.instance)
    assert (table == both.table).all() and table["class"].min() >= 1
    assert isinstance(rpe_tf.load(exported_semantic.export_dir), SemanticSegmenter)
    plain = rpe_tf.load(exported.export_dir)
    assert isinstance(plain, Segmenter) and not plain.has_classes
    _, table = plain.predict(pictures[0])
    assert len(table) and not table["class"].any()
    with pytest.raises(ValueError, match="the model has no classes; call predict"):
        plain.predict_classed(pictures[0])


def test_verify_main_passes_both_tasks(exported_instances, exported_semantic):
    processes = [
        _start(
            "export.verify_main",
            f"--run_dir={exported.run_dir}",
            f"--export_dir={exported.export_dir}",
        )
        for exported in (exported_instances, exported_semantic)
    ]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    for text, _ in answers:
        assert "2×61×83" in text and "The export answers as the checkpoint." in text
