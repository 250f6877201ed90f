"""The command as a user types it, in a process without TensorFlow."""

import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
import scipy.io
from PIL import Image

from rpe_tf.metrics import boundary_evaluation
from rpe_tf.metrics.boundary_evaluation import Protocol, evaluate_folder
from rpe_tf.metrics.evaluate_main import describe_protocol, describe_result

_ROOT = pathlib.Path(__file__).parents[2]
# Runs the command where TensorFlow and Keras cannot be imported.
_BLOCKED = (
    "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras')));"
    "from rpe_tf.metrics import evaluate_main; evaluate_main.run()"
)


def _lines(*columns, shape=(20, 30)):
    drawn = np.zeros(shape, np.uint8)
    drawn[:, list(columns)] = 1
    return drawn


def _write_truth(path, *annotators):
    cell = np.empty((1, len(annotators)), object)
    for k, drawn in enumerate(annotators):
        cell[0, k] = {"Segmentation": drawn, "Boundaries": drawn}
    scipy.io.savemat(path, {"groundTruth": cell})


@pytest.fixture
def folders(tmp_path):
    """Two pictures: one predicted as one of its annotators drew it, one with a false line too."""
    for name in ("maps", "truth"):
        (tmp_path / name).mkdir()
    _write_truth(tmp_path / "truth/a.mat", _lines(5), _lines(5, 20))
    _write_truth(tmp_path / "truth/b.mat", _lines(8))
    Image.fromarray(200 * _lines(5)).save(tmp_path / "maps/a.png")
    Image.fromarray(200 * _lines(8) + 100 * _lines(25)).save(tmp_path / "maps/b.png")
    return tmp_path


def _run(folder, *arguments):
    command = [sys.executable, "-c", _BLOCKED, f"--predictions={folder}/maps"]
    command += [f"--ground_truth={folder}/truth", f"--json={folder}/out/scores.json"]
    return subprocess.run([*command, *arguments], cwd=_ROOT, capture_output=True, text=True)


def _evaluate(folder, **choices):
    return evaluate_folder(f"{folder}/maps", f"{folder}/truth", Protocol(**choices))


def test_evaluate_without_tensorflow(folders):
    done = _run(folders, "--thresholds=3", "--processes=2")
    assert done.returncode == 0, done.stderr
    found = json.loads((folders / "out/scores.json").read_text())
    # At 0.5 and 0.75 (200/255 = 0.78): 20 + 20 predicted, all right. True: 20 + 40 and 20, of
    # which 20 + 20 and 20. At 0.25 the false line's 20 pixels are predicted too.
    assert found["thresholds"]["threshold"] == [0.25, 0.5, 0.75]
    assert found["thresholds"]["predicted"] == [60, 40, 40]
    assert found["thresholds"]["matched_predicted"] == [40, 40, 40]
    assert found["thresholds"]["truth"] == [80, 80, 80]
    assert found["thresholds"]["matched_truth"] == [60, 60, 60]
    assert found["ods"] == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert (found["ods_precision"], found["ods_recall"]) == (1.0, 0.75)
    assert 0.25 < found["ods_threshold"] <= 0.5
    assert found["ois"] == found["ods"] and found["ap"] == 0
    assert [image["name"] for image in found["images"]] == ["a", "b"]
    assert found["images"][1]["counts"]["predicted"] == [40, 20, 20]
    # Annotators of a: the first has 20 of the second's 40, the second 20 of the first's 20.
    assert found["human"] == pytest.approx({"precision": 40 / 60, "recall": 40 / 60, "f": 40 / 60})
    assert (found["num_images"], found["num_annotators"]) == (2, 3)
    for words in ("3 thresholds", "thinning on", "0.0075", "bright on black", "2 pictures, 3 ann"):
        assert words in done.stdout
    assert "ODS 0.8571" in done.stdout
    assert "matching: 100%" in done.stderr
    assert Image.open(folders / "out/scores.png").size[0] > 300
    names = ["scores.html", "scores.json", "scores.png"]
    assert sorted(x.name for x in (folders / "out").iterdir()) == names


def test_evaluate_draws_svg_and_sheets(folders):
    arguments = ("--thresholds=3", "--processes=1", f"--pictures={folders}/sheets")
    done = _run(folders, *arguments, f"--plot={folders}/curve.svg")
    assert done.returncode == 0, done.stderr
    assert xml.etree.ElementTree.parse(folders / "curve.svg").getroot().tag.endswith("svg")
    for name in ("best", "worst"):
        assert Image.open(folders / f"sheets/{name}.png").size[0] > 250


def test_evaluate_does_not_depend_on_the_processes(folders):
    alone, together = (
        evaluate_folder(f"{folders}/maps", f"{folders}/truth", Protocol(), num) for num in (1, 2)
    )
    assert alone == together


def test_evaluate_of_inverted_maps(folders):
    expected = _evaluate(folders, num_thresholds=3)
    for path in (folders / "maps").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(ValueError, match=r"dark on white, give --inverted"):
        _evaluate(folders, num_thresholds=3)
    found = _evaluate(folders, num_thresholds=3, is_inverted=True)
    assert found["thresholds"] == expected["thresholds"]


def test_evaluate_tells_that_inverted_is_wrong(folders):
    with pytest.raises(ValueError, match="leave out --inverted"):
        _evaluate(folders, is_inverted=True)


def test_evaluate_suppresses_before_it_cuts(folders):
    # A ridge whose flanks are bright: the cut of 0.25 takes 5 columns, the crest is 1.
    soft = np.zeros((20, 30), np.uint8)
    soft[:, 6:11] = 90, 150, 220, 150, 90
    Image.fromarray(soft).save(folders / "maps/b.png")
    plain, suppressed = (
        _evaluate(folders, num_thresholds=3, is_thinned=False, is_suppressed=choice)["images"][1]
        for choice in (False, True)
    )
    assert plain["counts"]["predicted"][0] == 100
    assert suppressed["counts"]["predicted"][0] <= 20


@pytest.mark.parametrize("shape", [(1, 30), (20, 1)])
def test_evaluate_of_a_narrow_picture(folders, shape):
    for file in ("maps/b.png", "truth/b.mat"):
        (folders / file).unlink()
    drawn = np.zeros(shape, np.uint8)
    drawn[0, 0] = 255
    Image.fromarray(drawn).save(folders / "maps/b.png")
    Image.fromarray(drawn).save(folders / "truth/b.png")
    for is_suppressed in (False, True):
        result = _evaluate(folders, num_thresholds=2, is_suppressed=is_suppressed)
        assert result["images"][1]["counts"]["truth"] == [1, 1]


def _wrong_size(folder):
    Image.fromarray(_lines(5, shape=(30, 20))).save(folder / "maps/a.png")


def _no_map(folder):
    (folder / "maps/a.png").unlink()


def _spoilt(folder):
    (folder / "maps/b.png").write_bytes(b"\x89PNG no more")


def _colored(folder):
    Image.fromarray(np.dstack([_lines(5), _lines(6), _lines(7)])).save(folder / "maps/a.png")


def _other_mat(folder):
    scipy.io.savemat(folder / "truth/b.mat", {"depth": _lines(5)})


def _white(folder):
    for name in "ab":
        Image.fromarray(np.full((20, 30), 255, np.uint8)).save(folder / f"maps/{name}.png")


@pytest.mark.parametrize(
    "change, words",
    [
        (_wrong_size, ("maps/a.png", "truth/a.mat, 20x30 (HxW), got 30x20", "own size")),
        (_no_map, ("maps lacks a.png", "needs a prediction")),
        (_spoilt, ("maps/b.png cannot be read as a picture",)),
        (_colored, ("maps/a.png must be a grey picture", "save the map itself")),
        (_other_mat, ("truth/b.mat has none of the variables groundTruth",)),
        (_white, ("maps: 100% of the pixels", "give --inverted")),
    ],
)
def test_evaluate_names_a_fault_in_one_line(folders, change, words):
    change(folders)
    done = _run(folders)
    assert done.returncode == 1, done.stderr
    # Beside the progress, and what libraries may say of their own (matplotlib of its fonts).
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert word in lines[0]
    assert not list((folders / "out").iterdir())


def test_evaluate_refuses_another_suffix(folders):
    done = _run(folders, "--plot=a.jpg")
    assert done.returncode == 1
    assert "--plot must end in .png or .svg" in done.stderr


def test_describe_result_warns_of_ois_below_ods(folders):
    result = _evaluate(folders, num_thresholds=3)
    assert "warning" not in describe_result(result)
    assert "warning: OIS is below ODS" in describe_result({**result, "ois": result["ods"] - 0.01})


def test_describe_protocol_states_every_choice():
    plain = describe_protocol(Protocol())
    assert "99 thresholds 1/100..0.99" in plain
    changes = {
        "num_thresholds": 5,
        "max_dist": 0.02,
        "is_thinned": False,
        "is_suppressed": True,
        "is_inverted": True,
        "category": 3,
    }
    assert set(changes) == set(Protocol._fields)
    for name, value in changes.items():
        assert describe_protocol(Protocol(**{name: value})) != plain


def test_a_lost_process_is_an_error(folders, monkeypatch):
    monkeypatch.setattr(boundary_evaluation, "score_item", _end_process)
    with pytest.raises(ValueError, match="a process was ended from outside"):
        evaluate_folder(f"{folders}/maps", f"{folders}/truth", Protocol(), 2)


def _end_process(item, protocol, with_humans):
    import os

    os._exit(9)
