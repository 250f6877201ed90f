"""A picture embedded once and grouped anew: equal to what the export serves, and each error."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rpe_tf
from export import exploration
from rpe_tf.metrics.rle import rle_decode

MAX_PIXELS = 10_000


@pytest.fixture(params=["exported", "exported_instances"])
def opened(request):
    folder = request.getfixturevalue(request.param).export_dir
    return exploration.open_segmenter(folder), exploration.own_parameters(folder)


@pytest.fixture
def picture_path(tmp_path, pictures):
    path = tmp_path / "cells.v2.png"
    Image.fromarray(pictures[0]).save(path)
    return str(path)


@pytest.fixture
def explored(opened, picture_path):
    return exploration.explore(*(opened[0], picture_path, opened[1]), MAX_PIXELS)


def test_own_parameters_give_what_the_export_serves_by_default(opened, explored, pictures):
    expected = opened[0].predict(pictures[0])
    np.testing.assert_array_equal(explored.prediction.instance, expected.instance)
    np.testing.assert_array_equal(explored.prediction.table["area"], expected.table["area"])
    assert len(expected.table) > 1
    np.testing.assert_array_equal(explored.image, pictures[0])
    assert explored.name == "cells.v2.png"


def test_own_parameters_are_those_of_the_signature(opened):
    segmenter, own = opened
    specs = segmenter._loaded.signatures["group"].structured_input_signature[1]
    assert set(own) == set(specs) - {"embedding", "logit"}
    assert own["concentration"] == 60.0 and own["max_loops"] == 30 and own["min_area"] == 20


def test_regroup_does_not_run_the_net(opened, explored, monkeypatch):
    segmenter, own = opened

    def fail(*_):
        raise AssertionError("the net ran")

    monkeypatch.setattr(segmenter, "embed", fail)
    chosen = {**own, "min_area": 300}
    found = exploration.regroup(segmenter, explored, chosen)
    areas = found.prediction.table["area"]
    assert 0 < len(areas) < len(explored.prediction.table) and areas.min() >= 300
    assert found.parameters == chosen and found.embedded is explored.embedded


def test_regroup_refuses_a_concentration_outside_its_range(opened, explored):
    segmenter, own = opened
    with pytest.raises(tf.errors.InvalidArgumentError, match="concentration"):
        exploration.regroup(segmenter, explored, {**own, "concentration": 0.0})


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no picture", "cannot be read as a picture"),
        ("cut", "truncated"),
        ("large", "limit of 10,000"),
    ],
)
def test_bad_files_are_named_without_their_folder(opened, tmp_path, pictures, content, words):
    path = tmp_path / "bad.png"
    if content == "large":
        Image.new("RGB", (101, 100)).save(path)
    elif content == "cut":
        Image.fromarray(pictures[0]).save(path)
        path.write_bytes(path.read_bytes()[:900])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        exploration.explore(*(opened[0], str(path), opened[1]), MAX_PIXELS)
    assert "bad.png" in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["exported_boundary", "exported_semantic"])
def test_models_without_instances_are_refused(request, name):
    with pytest.raises(ValueError, match="groups no pixels into instances"):
        exploration.open_segmenter(request.getfixturevalue(name).export_dir)


def test_models_without_the_signature_group_are_refused(exported, monkeypatch):
    monkeypatch.setattr(rpe_tf.saved_model.Segmenter, "can_group", False)
    with pytest.raises(ValueError, match="lacks the signatures embedding and group"):
        exploration.open_segmenter(exported.export_dir)


def test_small_pictures_are_shown_enlarged_and_clicks_find_their_pixel(explored):
    # 45×70: 512 // 70 = 7.
    shown = exploration.enlarge(explored.image)
    assert shown.shape == (315, 490, 3)
    y, x = exploration.clicked_pixel(explored, 489, 20)
    assert (y, x) == (2, 69)
    np.testing.assert_array_equal(shown[20, 489], explored.image[2, 69])
    assert exploration.clicked_pixel(explored, 490, -1) == (0, 69)
    assert exploration.zoom(np.zeros([513, 4, 3])) == 1


def test_draw_similarity_marks_the_pixel_and_is_brightest_there(explored):
    drawn = np.asarray(exploration.draw_similarity(explored, (10, 20)))
    assert drawn.shape == (315, 490, 3)
    # The middle of pixel (10, 20), enlarged 7 times: the colour of similarity 1.
    np.testing.assert_array_equal(drawn[73, 143], (253, 231, 36))
    assert (drawn[70:78, 134:153] == 255).all(axis=-1).any()  # the ring


def test_background_by_class_has_no_path(exported_instances, picture_path):
    segmenter = exploration.open_segmenter(exported_instances.export_dir)
    own = exploration.own_parameters(exported_instances.export_dir)
    explored = exploration.explore(segmenter, picture_path, own, MAX_PIXELS)
    logit = np.zeros([1, 45, 70, 5], np.float32)
    logit[..., 0] = 1.0
    logit[0, 5, 5, 3] = 2.0
    explored = explored._replace(embedded={**explored.embedded, "logit": tf.constant(logit)})
    assert exploration.draw_pixel_path(explored, (0, 0)) is None
    assert exploration.draw_pixel_path(explored, (5, 5)).size == (520, 520)


def test_written_results_hold_what_was_predicted(explored, tmp_path):
    label_path, json_path = exploration.write_results(explored, str(tmp_path))
    assert label_path == str(tmp_path / "cells.v2_instances.png")
    instance = explored.prediction.instance
    np.testing.assert_array_equal(np.asarray(Image.open(label_path)), instance)
    records = json.loads(open(json_path).read())
    assert len(records) == len(explored.prediction.table)
    assert records[0]["file_name"] == "cells.v2.png"
    assert records[0]["label_file"] == "cells.v2_instances.png"
    np.testing.assert_array_equal(rle_decode(records[0]["segmentation"]), instance == 1)


def test_a_picture_of_one_pixel_is_explored(opened, tmp_path):
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (9, 99, 200)).save(path)
    explored = exploration.explore(*(opened[0], str(path), opened[1]), MAX_PIXELS)
    assert explored.prediction.instance.shape == (1, 1)
    assert exploration.draw_similarity(explored, (0, 0)).size == (512, 512)
