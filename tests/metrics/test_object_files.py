"""Which files belong together, and what they hold."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from rpe_tf.metrics.object_files import list_items, read_predicted, read_truth
from rpe_tf.metrics.rle import rle_encode


def _png(path, labels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)


def _json(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("b", "a"):
        _png(tmp_path / f"truth/{name}.png", [[0, 1, 2], [0, 1, 255]])
        _png(tmp_path / f"classes/{name}.png", [[0, 5, 9], [0, 5, 255]])
        _png(tmp_path / f"out/{name}.png", [[0, 3, 3], [0, 1, 1]])
    return tmp_path


def _list(folder, task="instances", predictions="out", truth="truth", **choices):
    return list_items(str(folder / predictions), str(folder / truth), task, **choices)


def test_list_items_in_order_of_names(folder):
    items = _list(folder)
    assert [item.name for item in items] == ["a", "b"]
    assert items[0].truth == str(folder / "truth/a.png")
    assert items[0].predicted == str(folder / "out/a.png")
    assert items[0].records is items[0].predicted_classes is items[0].truth_classes is None


def test_list_items_prefers_the_name_of_the_task(folder):
    _png(folder / "out/a_instances.png", [[0, 0, 0], [0, 0, 0]])
    _png(folder / "out/a_semantic.png", [[0, 0, 0], [0, 0, 0]])
    item = _list(folder)[0]
    assert item.predicted.endswith("a_instances.png")
    assert item.predicted_classes.endswith("a_semantic.png")
    item = _list(folder, "semantic", truth="classes")[0]
    assert item.predicted.endswith("a_semantic.png") and item.predicted_classes is None


def test_list_items_reads_the_json_of_the_folder(folder):
    record = {"file_name": "x/a.jpg", "segmentation": rle_encode(np.ones((2, 3), bool))}
    _json(folder / "out/predictions.json", [record])
    for predictions in ("out", "out/predictions.json"):
        items = _list(folder, predictions=predictions)
        assert [item.records for item in items] == [[record], []]
        assert items[0].predicted.endswith("predictions.json")


def test_list_items_takes_tiff_where_there_is_no_png(folder):
    labels = np.array([[0, 70_000, 0], [5, 0, 0]], np.uint32)
    for name in "ab":
        tifffile.imwrite(folder / f"out/{name}_instances.tif", labels)
    item = _list(folder)[1]
    assert item.predicted.endswith("b_instances.tif")
    found = read_predicted(item, (2, 3))
    np.testing.assert_array_equal(found.objects, labels)
    _png(folder / "out/b_instances.png", [[0, 0, 0], [0, 0, 0]])
    assert _list(folder)[1].predicted.endswith("b_instances.png")


def test_list_items_reads_all_parts_of_a_batch(folder):
    masks = [np.eye(2, 3, k, bool) for k in (0, 1)]
    records = [
        {"file_name": f"x/{name}.jpg", "segmentation": rle_encode(mask)}
        for name, mask in zip("ba", masks, strict=True)
    ]
    _json(folder / "out/predictions-00000-of-00003.json", [])
    _json(folder / "out/predictions-00002-of-00003.json", records)
    with pytest.raises(
        ValueError, match=r"out lacks predictions-00001-of-00003\.json \(1 of 3 are"
    ):
        _list(folder)
    _json(folder / "out/predictions-00001-of-00003.json", records[:1])
    items = _list(folder)
    assert [item.records for item in items] == [records[1:], [records[0], records[0]]]
    # Where records are spoilt, their file is named: of several the first.
    assert [item.predicted[-19:-14] for item in items] == ["00002", "00001"]
    assert len(_list(folder, predictions="out/predictions-00002-of-00003.json")[1].records) == 1
    # Class maps are files of their own, and the json of one process comes first.
    assert _list(folder, "semantic", truth="classes")[0].records is None
    _json(folder / "out/predictions.json", [])
    assert [item.records for item in _list(folder)] == [[], []]


def test_list_items_of_chosen_names(folder):
    (folder / "names.txt").write_text("b\n\n")
    assert [x.name for x in _list(folder, names=str(folder / "names.txt"))] == ["b"]
    # Records of pictures that are not chosen are no fault.
    record = {"file_name": "a.jpg", "segmentation": rle_encode(np.ones((2, 3), bool))}
    _json(folder / "out/predictions.json", [record])
    assert _list(folder, names=str(folder / "names.txt"))[0].records == []


def test_read_truth_with_classes(folder):
    item = _list(folder, ground_truth_classes=str(folder / "classes"))[0]
    truth = read_truth(item)
    assert truth.objects.tolist() == [[0, 1, 2], [0, 1, -1]]
    assert truth.classes.tolist() == [5, 9]
    assert read_truth(_list(folder)[0]).classes is None


def test_classes_by_vote(folder):
    _png(folder / "out/a_semantic.png", [[0, 0, 4], [0, 7, 8]])
    predicted = read_predicted(_list(folder)[0], (2, 3))
    # Id 1 has a 7 and an 8: the lower. Id 2 does not occur. Id 3 has background and a 4.
    assert predicted.classes.tolist() == [7, 0, 4]


def test_semantic_truth_is_the_folder_of_classes(folder):
    one = _list(folder, "semantic", truth="classes")
    other = _list(folder, "semantic", ground_truth_classes=str(folder / "classes"))
    assert one == other


def test_read_coco_truth_with_crowd(folder):
    def annotation(mask, is_crowd):
        entry = {"image_id": 1, "category_id": 4, "iscrowd": is_crowd}
        return {**entry, "segmentation": rle_encode(np.asarray(mask) > 0)}

    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 2, "width": 3}],
        "annotations": [
            annotation([[1, 1, 0], [0, 0, 0]], 0),
            annotation([[0, 0, 1], [0, 0, 1]], 1),
        ],
    }
    _json(folder / "coco.json", content)
    (item,) = _list(folder, truth="coco.json")
    truth = read_truth(item)
    assert truth.objects.tolist() == [[[True, True, False], [False] * 3]]
    assert truth.classes.tolist() == [4]
    assert truth.crowd.tolist() == [[False, False, True]] * 2
    assert read_predicted(item, (2, 3)).objects.shape == (2, 3)


def test_read_records_of_a_picture(folder):
    masks = [np.ones((2, 3), bool), np.arange(6).reshape(2, 3) > 3]
    records = [
        {"image_id": "a", "segmentation": rle_encode(m), "score": s, "category_id": c}
        for m, s, c in zip(masks, (0.25, 0.5), (3, 1), strict=True)
    ]
    _json(folder / "out/predictions.json", records)
    one, none = (read_predicted(item, (2, 3)) for item in _list(folder))
    np.testing.assert_array_equal(one.objects, masks)
    assert (one.scores.tolist(), one.classes.tolist()) == ([0.25, 0.5], [3, 1])
    assert none.objects.shape == (0, 2, 3) and none.scores.shape == (0,)


def test_a_missing_prediction(folder):
    (folder / "out/b.png").unlink()
    with pytest.raises(ValueError, match=r"out lacks b\.png \(or b_instances\.png, or"):
        _list(folder)


def test_no_pictures_and_no_folder(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="so there are no pictures to score"):
        _list(folder, truth="empty")
    with pytest.raises(ValueError, match="nowhere is no folder, and no json"):
        _list(folder, truth="nowhere")
    with pytest.raises(ValueError, match="nowhere is no folder, and no json"):
        _list(folder, predictions="nowhere")


def test_missing_true_classes(folder):
    (folder / "classes/b.png").unlink()
    with pytest.raises(ValueError, match=r"classes lacks b\.png, the classes of .*truth/b\.png"):
        _list(folder, ground_truth_classes=str(folder / "classes"))


def test_a_true_object_without_class(folder):
    _png(folder / "classes/a.png", [[0, 5, 0], [0, 5, 255]])
    item = _list(folder, ground_truth_classes=str(folder / "classes"))[0]
    with pytest.raises(ValueError, match=r"classes/a\.png has no class where .* has object 2"):
        read_truth(item)


def test_another_size(folder):
    with pytest.raises(ValueError, match=r"out/a\.png must have the size of .*truth/a\.png, 4x4"):
        read_predicted(_list(folder)[0], (4, 4))
    _png(folder / "out/a_semantic.png", [[0]])
    with pytest.raises(ValueError, match=r"a_semantic\.png must have the size of .*out/a\.png"):
        read_predicted(_list(folder)[0], (2, 3))


def test_an_unknown_picture_in_the_json(folder):
    _json(folder / "out/predictions.json", [{"file_name": "c.png", "segmentation": {}}])
    with pytest.raises(ValueError, match=r"predictions\.json: record 0 is of picture 'c\.png'"):
        _list(folder)


def test_json_where_class_maps_are_needed(folder):
    path = _json(folder / "some.json", [])
    with pytest.raises(ValueError, match=r"some\.json must be a folder of class maps"):
        _list(folder, "semantic", predictions="some.json")
    with pytest.raises(ValueError, match=r"some\.json is a json"):
        _list(folder, "semantic", truth="some.json")
    with pytest.raises(ValueError, match=r"some\.json is a json"):
        list_items(str(folder / "out"), path, "instances", ground_truth_classes="x")


def test_faults_in_the_list_of_names(folder):
    (folder / "names.txt").write_text("a\nz\n")
    with pytest.raises(ValueError, match=r"names\.txt names z, which .*truth lacks"):
        _list(folder, names=str(folder / "names.txt"))
    (folder / "names.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"names\.txt has no names"):
        _list(folder, names=str(folder / "names.txt"))
