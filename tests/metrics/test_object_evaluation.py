"""Files to figures: in this process, and as a user types it, without TensorFlow."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rpe_tf.metrics import average_precision, matching
from rpe_tf.metrics.object_evaluation import Protocol, evaluate_items, state_protocol
from rpe_tf.metrics.object_files import list_items
from rpe_tf.metrics.object_report import describe_protocol, describe_result
from rpe_tf.metrics.rle import rle_encode
from tests.metrics.scenes import disc_scene

_ROOT = pathlib.Path(__file__).parents[2]
_NAMES = ("a", "b", "c")
# Runs the command where TensorFlow and Keras cannot be imported.
_BLOCKED = (
    "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras')));"
    "from rpe_tf.metrics import evaluate_main; evaluate_main.run()"
)


def _scene(name):
    """Truth with void, prediction, and the class map of either: id modulo 3, plus 1."""
    truth, predicted = disc_scene(_NAMES.index(name))
    truth[:10] = 255
    classes = [np.where(x > 0, x % 3 + 1, 0) for x in (truth, predicted)]
    classes[0][:10] = 255
    return truth, predicted, *classes


def _png(path, labels, dtype=np.uint8):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(labels.astype(dtype)).save(path)


def _records(predicted, name):
    """Masks with scores of which many are equal."""
    for k in np.unique(predicted[predicted > 0]).tolist():
        mask = {"segmentation": rle_encode(predicted == k), "score": k % 7 / 8}
        yield {"file_name": f"{name}.jpg", "category_id": k % 3 + 1, **mask}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    records = []
    for name in _NAMES:
        truth, predicted, true_classes, classes = _scene(name)
        _png(folder / f"truth/{name}.png", truth)
        _png(folder / f"classes/{name}.png", true_classes)
        _png(folder / f"out/{name}_instances.png", predicted, np.uint16)
        _png(folder / f"out/{name}_semantic.png", classes)
        _png(folder / f"out/{name}_overlay.png", predicted)
        records += _records(predicted, name)
    (folder / "records.json").write_text(json.dumps(records))
    return folder


def _evaluate(files, task, predictions="out", num_processes=1, with_classes=True, **choices):
    classes = str(files / "classes") if with_classes and task != "proposals" else None
    items = list_items(
        *(str(files / predictions), str(files / "truth"), task), ground_truth_classes=classes
    )
    return evaluate_items(items, Protocol(task, **choices), num_processes)


def _run(files, task, *arguments, json_path="out.json", **process):
    command = [sys.executable, "-c", _BLOCKED, f"--task={task}", f"--ground_truth={files}/truth"]
    command += [f"--predictions={files}/out", f"--json={files}/{json_path}", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, **process)


def _in_memory(predicted_scores):
    """The records of all scenes, straight from the arrays."""
    detections, matches = [], []
    for name in _NAMES:
        truth, predicted, _, _ = _scene(name)
        truth[:10] = -1
        classes = np.arange(1, 99) % 3 + 1
        of_truth = np.arange(99) % 3 + 1
        scores = np.arange(1, 99) % 7 / 8 if predicted_scores else None
        detections.append(
            average_precision.score_picture(truth, of_truth, predicted, scores, classes)
        )
        matches.append(
            matching.score_matching(truth, predicted, truth_classes=of_truth, classes=classes)
        )
    return {**average_precision.summarize(detections), **matching.summarize(matches)}


@pytest.mark.parametrize("predictions", ["out", "records.json"])
def test_files_give_the_figures_of_the_arrays(files, predictions):
    found = _evaluate(files, "instances", predictions)
    expected = _in_memory(predictions == "records.json")
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert sorted(found["by_class"]) == [1, 2, 3]
    assert 0 < found["ap_r_50"] < 1 and 0 < found["pq"] < 1


def test_matching_does_not_depend_on_the_kind_of_file(files):
    png, records = (_evaluate(files, "instances", x) for x in ("out", "records.json"))
    assert png["matching_50"] == records["matching_50"] and png["pq"] == records["pq"]
    assert png["ap_r_50"] != records["ap_r_50"]
    assert png["protocol"]["read"] == "png" and records["protocol"]["read"] == "json"


def test_processes_change_nothing(files):
    one, two = (_evaluate(files, "instances", num_processes=number) for number in (1, 2))
    assert one == two


@pytest.mark.parametrize("task", ["proposals", "instances"])
def test_the_order_of_records_changes_nothing(files, tmp_path, task):
    records = json.loads((files / "records.json").read_text())
    np.random.RandomState(0).shuffle(records)
    for name in ("truth", "classes"):
        os.symlink(files / name, tmp_path / name)
    (tmp_path / "records.json").write_text(json.dumps(records))
    one, other = (_evaluate(x, task, "records.json") for x in (files, tmp_path))
    for key, value in one.items():
        if key not in ("protocol", "by_class", "curve", "pictures"):
            assert other[key] == pytest.approx(value, abs=1e-12), key


def test_the_order_of_files_changes_nothing(files, tmp_path):
    """The same pictures under names that sort the other way."""
    for name, other in zip(_NAMES, _NAMES[::-1], strict=True):
        for kind in ("truth", "classes"):
            (tmp_path / kind).mkdir(exist_ok=True)
            os.symlink(files / f"{kind}/{name}.png", tmp_path / f"{kind}/{other}.png")
        for kind in ("instances", "semantic"):
            (tmp_path / "out").mkdir(exist_ok=True)
            os.symlink(files / f"out/{name}_{kind}.png", tmp_path / f"out/{other}_{kind}.png")
    for task in ("proposals", "semantic", "instances"):
        one, other = _evaluate(files, task), _evaluate(tmp_path, task)
        kept = [key for key in one if isinstance(one[key], float)]
        assert kept
        assert {k: other[k] for k in kept} == pytest.approx({k: one[k] for k in kept}, abs=1e-12)


def test_semantic_preset(tmp_path):
    _png(tmp_path / "truth/a.png", np.array([[0, 0, 0, 7, 7, 255]]))
    _png(tmp_path / "out/a.png", np.array([[0, 0, 7, 7, 7, 3]]))
    _png(tmp_path / "truth/b.png", np.zeros((1, 4)))
    _png(tmp_path / "out/b.png", np.zeros((1, 4)))
    found = _evaluate(tmp_path, "semantic", with_classes=False)
    # Class 0: 2 + 4 of 3 + 4 pixels; class 7: 2 of 3.
    assert found["class_iou"] == {0: pytest.approx(6 / 7), 7: pytest.approx(2 / 3)}
    assert found["miou"] == pytest.approx((6 / 7 + 2 / 3) / 2)
    assert found["pixel_accuracy"] == pytest.approx(8 / 9)
    # Within 1 pixel of another label: columns 2 and 3, and 4, beside void. 0: 0 of 1; 7: 2 of 3.
    assert found["trimap"]["width_px"][:2] == [1, 2]
    assert found["trimap"]["miou"][0] == pytest.approx((0 + 2 / 3) / 2)
    # Within 2: column 1 too. 0: 1 of 2.
    assert found["trimap"]["miou"][1] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert [row["miou"] for row in found["pictures"]] == pytest.approx([(2 / 3 + 2 / 3) / 2, 1])


def test_min_score_counts_fewer_in_matching_but_not_in_precision(files):
    plain, strict = (
        _evaluate(files, "instances", "records.json", min_score=x) for x in (None, 0.5)
    )
    records = json.loads((files / "records.json").read_text())
    assert strict["num_predicted"] <= sum(record["score"] >= 0.5 for record in records)
    assert 0 < strict["num_predicted"] < plain["num_predicted"]
    assert strict["ap_r_50"] == plain["ap_r_50"]


def test_class_free(files):
    apart, free = (_evaluate(files, "instances", is_class_free=x) for x in (False, True))
    assert (apart["protocol"]["with_classes"], free["protocol"]["with_classes"]) == (True, False)
    assert list(free["by_class"]) == [matching.CLASS_FREE]
    assert free["matching_50"] > apart["matching_50"]
    assert free["matching_50"] == _evaluate(files, "instances", with_classes=False)["matching_50"]


def test_predictions_without_classes_are_refused_where_the_truth_has_some(files, tmp_path):
    for name in ("truth", "classes"):
        os.symlink(files / name, tmp_path / name)
    for name in _NAMES:
        _png(tmp_path / f"out/{name}.png", _scene(name)[1], np.uint16)
    with pytest.raises(ValueError, match=r"out has no classes: give <name>_semantic\.png"):
        _evaluate(tmp_path, "instances")
    assert _evaluate(tmp_path, "instances", is_class_free=True)["num_pictures"] == 3


def test_what_is_found_in_a_crowd_is_not_false(tmp_path):
    masks = np.zeros((2, 6, 6), bool)
    masks[0, :3], masks[1, 3:] = True, True
    rles = [rle_encode(mask) for mask in masks]
    annotations = [
        {"image_id": 1, "category_id": 1, "iscrowd": k, "segmentation": rle}
        for k, rle in enumerate(rles)
    ]
    image = {"id": 1, "file_name": "a.jpg", "height": 6, "width": 6}
    content = {"images": [image], "annotations": annotations}
    records = [{"image_id": 1, "category_id": 1, "segmentation": rle} for rle in rles]
    for name, value in (("truth.json", content), ("out.json", records)):
        (tmp_path / name).write_text(json.dumps(value))
    items = list_items(str(tmp_path / "out.json"), str(tmp_path / "truth.json"), "instances")
    found = evaluate_items(items, Protocol("instances"))
    assert (found["num_true"], found["num_predicted"]) == (1, 2)
    assert [found[key] for key in ("matching_50", "pq", "ap_r_50")] == [1, 1, 1]


def test_no_objects_at_all(tmp_path):
    for name in ("truth", "out"):
        _png(tmp_path / f"{name}/a.png", np.zeros((4, 4)))
    found = _evaluate(tmp_path, "instances", with_classes=False)
    assert all(math.isnan(found[key]) for key in ("matching_50", "pq", "ap_r_50", "ap_r_vol"))
    assert "pq undefined" in describe_result(found).lower()
    assert math.isnan(_evaluate(tmp_path, "proposals")["ar_10"])


def test_instances_as_a_user_types_it(files):
    arguments = (f"--ground_truth_classes={files}/classes", f"--pictures={files}/sheets")
    done = _run(files, "instances", *arguments, "--num_pictures=2", "--processes=1")
    assert done.returncode == 0, done.stderr
    found = json.loads((files / "out.json").read_text())
    expected = _evaluate(files, "instances")
    for key in ("matching_50", "matching_70", "matching_90", "pq", "ap_r_50", "ap_r_vol"):
        assert found[key] == pytest.approx(expected[key], nan_ok=True)
    first, second = done.stdout.splitlines()[:2]
    assert first.startswith(f"protocol: instances of {files}/out (png)") and "per class" in first
    assert second.startswith("3 pictures, ")
    for name in ("best", "worst"):
        assert Image.open(files / f"sheets/{name}.png").size[0] > 300


def test_proposals_have_the_promised_keys(files):
    found = _evaluate(files, "proposals")
    assert {"ar_10", "ar_60", "ar_100", "ar_50_10", "ar_50_60"} <= found.keys()
    assert len(found["curve"]["proposals"]) == len(found["curve"]["ar"])
    assert "ar_50_60" in describe_result(found)


def test_semantic_as_a_user_types_it(files):
    done = _run(files, "semantic", f"--ground_truth_classes={files}/classes", "--processes=1")
    assert done.returncode == 0, done.stderr
    found = json.loads((files / "out.json").read_text())
    assert 0 < found["miou"] < 1 and sorted(found["class_iou"]) == ["0", "1", "2", "3"]
    assert found["trimap"]["width_px"][-1] == 40
    assert "trimap mIoU 1 px: " in done.stdout


def test_nan_is_null_in_the_json(tmp_path):
    for name in ("truth", "out"):
        _png(tmp_path / f"{name}/a.png", np.zeros((4, 4)))
    done = _run(tmp_path, "instances", f"--pictures={tmp_path}/sheets")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["pq"] is None
    assert not list((tmp_path / "sheets").iterdir())  # No picture has a figure.


def _fault_missing(folder):
    (folder / "out/b.png").unlink()
    return "out lacks b.png"


def _fault_size(folder):
    _png(folder / "out/b.png", np.zeros((3, 3)))
    return "out/b.png must have the size of"


def _fault_float(folder):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "out/b.png", format="TIFF")
    return "out/b.png must be a PNG of one channel of whole numbers"


def _fault_rle(folder):
    record = {"file_name": "b.png", "segmentation": rle_encode(np.zeros((3, 3), bool))}
    (folder / "out/predictions.json").write_text(json.dumps([record]))
    return "predictions.json: a record of picture 'b.png' has a spoilt segmentation (it must"


def _fault_unknown(folder):
    record = {"file_name": "z.png", "segmentation": rle_encode(np.zeros((4, 4), bool))}
    (folder / "out/predictions.json").write_text(json.dumps([record]))
    return "predictions.json: record 0 is of picture 'z.png'"


def _fault_empty(folder):
    for path in (folder / "truth").iterdir():
        path.unlink()
    return "truth has no .png or .tif files"


_FAULTS = (_fault_missing, _fault_size, _fault_float, _fault_rle, _fault_unknown, _fault_empty)


@pytest.fixture
def two_pictures(tmp_path):
    for name in ("a", "b"):
        _png(tmp_path / f"truth/{name}.png", np.eye(4))
        _png(tmp_path / f"out/{name}.png", np.eye(4))
    return tmp_path


@pytest.mark.parametrize("spoil", _FAULTS)
def test_a_fault_is_named(two_pictures, spoil):
    with pytest.raises(ValueError, match=re.escape(spoil(two_pictures))):
        _evaluate(two_pictures, "instances", with_classes=False)


def test_a_fault_is_one_line_and_nothing_is_written(two_pictures):
    words = _fault_rle(two_pictures)
    done = _run(two_pictures, "instances", f"--pictures={two_pictures}/sheets")
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    assert words in lines[0]
    assert not [x for x in two_pictures.iterdir() if x.is_file()]
    assert not list((two_pictures / "sheets").iterdir())


def test_a_flag_of_another_task_is_refused(two_pictures):
    done = _run(two_pictures, "semantic", "--min_score=0.5")
    assert done.returncode == 1
    assert "--min_score is for --task=instances, got --task=semantic" in done.stderr


def test_class_maps_of_too_many_classes(tmp_path):
    for name in ("truth", "out"):
        _png(tmp_path / f"{name}/a.png", np.full((2, 2), 300), np.uint16)
    with pytest.raises(ValueError, match=r"a\.png must hold classes 0\.\.255, got 300"):
        _evaluate(tmp_path, "semantic", with_classes=False)


def test_a_prediction_that_is_void_where_the_truth_is_not(tmp_path):
    _png(tmp_path / "truth/a.png", np.array([[1, 255]]))
    _png(tmp_path / "out/a.png", np.array([[255, 255]]))
    with pytest.raises(ValueError, match=r"out/a\.png is void where .*truth/a\.png is not"):
        _evaluate(tmp_path, "semantic", with_classes=False)


def test_describe_protocol_states_every_choice(files):
    def line(predictions="out", **choices):
        items = list_items(str(files / predictions), str(files / "truth"), "instances")
        return describe_protocol(state_protocol(items, Protocol("instances", **choices)))

    assert "class-free" in line() and "all predictions" in line()
    assert "ranked by area" in line() and "ranked by score" in line("records.json")
    assert "records.json (json)" in line("records.json")
    assert "predictions of score >= 0.25" in line(min_score=0.25)
