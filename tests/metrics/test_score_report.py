"""The page of an evaluation: figures with their protocol, curves, classes and pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from rpe_tf.metrics.score_report import score_sections, write_beside

_STATED = {
    **{"min_score": None, "predictions": "out", "read": "png", "ground_truth": "truth"},
    **{"with_classes": True, "scored": False},
}
_RESULTS = {
    "proposals": {
        **{"ar_10": 0.5, "ar_50_10": 0.75, "num_true": 8},
        "curve": {"proposals": [1, 10, 100], "ar": [0.1, 0.5, 0.6], "ar_50": [0.2, 0.7, 0.8]},
        "protocol": {"task": "proposals", **_STATED},
        "pictures": [{"name": "a<b>", "ar_100": 0.25}, {"name": "c", "ar_100": None}],
    },
    "semantic": {
        **{"miou": 0.4321, "class_iou": {"10": 0.5, "2": 0.25}},
        "trimap": {"width_px": [1, 5, 40], "miou": [0.1, None, 0.4]},
        "protocol": {"task": "semantic", **_STATED},
    },
    "instances": {
        **{"pq": 0.7, "ap_r_50": None, "coco": {"ap": 0.3}},
        "by_class": {"1": {"ap_r_50": 0.5}, "3": {"pq": 0.125}},
        "protocol": {"task": "instances", **_STATED},
    },
    "boundary": {
        **{"ods": 0.7, "ods_recall": 0.6, "ods_precision": 0.8, "ois": 0.71, "ap": 0.66},
        "human": {"precision": 0.9, "recall": 0.7, "f": 0.79},
        "thresholds": {"predicted": [9, 5, 0], "recall": [0.9, 0.6, 0], "precision": [0.4, 0.8, 0]},
        "protocol": {"num_thresholds": 3, "max_dist": 0.0075},
        "images": [{"name": "p", "f": 0.5, "counts": {"truth": [1]}}],
    },
}


@pytest.mark.parametrize("task", _RESULTS)
def test_figures_come_with_their_protocol(task):
    found = score_sections(_RESULTS[task])
    scores = found["Scores"]
    words = "max dist: 0.0075" if task == "boundary" else f"protocol: {task} of out (png)"
    assert words in scores
    figure = {"proposals": "0.75", "semantic": "0.4321", "instances": "–", "boundary": "0.66"}
    assert figure[task] in scores
    curves = found.get("Curves of the scores", "")
    assert curves.count("<figure>") == (0 if task == "instances" else 1)


def test_nested_figures_are_named_by_what_they_are_in():
    assert "coco: ap" in score_sections(_RESULTS["instances"])["Scores"]
    assert "human: f" in score_sections(_RESULTS["boundary"])["Scores"]


def test_classes_have_a_row_each():
    text = score_sections(_RESULTS["semantic"])["Scores by class"]
    assert text.index(">2<") < text.index(">10<")  # as numbers, not as words
    text = score_sections(_RESULTS["instances"])["Scores by class"]
    assert text.count("<tr>") == 3 and text.count("–") == 2


def test_pictures_have_a_row_each_without_their_counts():
    text = score_sections(_RESULTS["proposals"])["Scores by picture"]
    assert "a&lt;b&gt;" in text and "<b>" not in text and "2 pictures" in text
    text = score_sections(_RESULTS["boundary"])["Scores by picture"]
    assert "counts" not in text and ">p<" in text


def test_an_empty_result_is_said_to_state_no_protocol():
    found = score_sections({})
    assert list(found) == ["Scores"] and "not stated" in found["Scores"]


def test_the_page_lies_beside_the_json_and_shows_the_sheets_there_are(tmp_path):
    (tmp_path / "sheets").mkdir()
    Image.fromarray(np.zeros([4, 4, 3], np.uint8)).save(tmp_path / "sheets" / "best.png")
    (tmp_path / "s<1>.json").write_text(json.dumps(_RESULTS["boundary"]))
    path = write_beside(str(tmp_path / "s<1>.json"), str(tmp_path / "sheets"))
    assert path == str(tmp_path / "s<1>.html")
    text = (tmp_path / "s<1>.html").read_text()
    assert "The best pictures" in text and "The worst pictures" not in text
    assert "Scores: s&lt;1&gt;" in text
    assert sorted(x.name for x in tmp_path.iterdir()) == ["s<1>.html", "s<1>.json", "sheets"]
