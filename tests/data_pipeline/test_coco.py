"""COCO's instances: outlines to pixels by hand, crowds, ids, and each way to be wrong."""

import csv
import json
import os
import pathlib

import numpy as np
import pytest
import scipy.optimize
from PIL import Image

from data_pipeline import conversion, schema
from data_pipeline.coco import count_objects, list_coco, read_coco

_SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data" / "coco128seg"
# A rectangle of columns 1..3 and rows 1..2: a polygon's corners are the corners of pixels.
_RECTANGLE = [[1, 1, 4, 1, 4, 3, 1, 3]]


def _annotation(number, segmentation, image=7, category=44, **changes):
    return {"id": number, "image_id": image, "category_id": category} | {
        "segmentation": segmentation,
        **changes,
    }


def _write(folder, annotations, images=None, **changes):
    if images is None:
        images = [{"id": 7, "file_name": "a.jpg", "height": 4, "width": 6}]
    for image in (x for x in images if x != 3):
        path = folder / image["file_name"]
        if path.resolve().is_relative_to(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 4)).save(path)
    categories = [{"id": 44, "name": "cup"}, {"id": 3, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories} | changes
    (folder / "x.json").write_text(json.dumps(content))
    return list_coco(str(folder / "x.json"), str(folder))


def _maps(folder, annotations):
    sources, _ = _write(folder, annotations)
    found = schema.parse_example(schema.encode_example(read_coco(sources[0]), "a"))
    return found["instance"].numpy().tolist(), found["semantic"].numpy().tolist()


def test_polygons_and_run_lengths_become_the_same_pixels(tmp_path):
    expected = [[0] * 6, [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0] * 6]
    # Column by column: 4 + 1 zeros, then twice (2 ones, 2 zeros), 2 ones, 1 + 8 zeros.
    runs = [5, 2, 2, 2, 2, 2, 9]
    # The same as COCO's string: 5 2 2 | then differences to two before: 0 0 0 | 7; + 48 in ASCII.
    string = "522" + "000" + "7"
    for outline in (
        _RECTANGLE,
        {"size": [4, 6], "counts": runs},
        {"size": [4, 6], "counts": string},
        [[1, 1, 2, 1, 2, 3, 1, 3], [2, 1, 4, 1, 4, 3, 2, 3]],  # of two parts
    ):
        instance, semantic = _maps(tmp_path, [_annotation(1, outline)])
        assert instance == expected, outline
        assert semantic == [[2 * x for x in row] for row in expected]


def test_categories_are_classes_in_order_of_their_ids(tmp_path):
    _, classes = _write(tmp_path, [])
    assert classes == ["background", "dog", "cup"]  # ids 3 and 44
    _, semantic = _maps(tmp_path, [_annotation(1, _RECTANGLE, category=3)])
    assert semantic[1] == [0, 1, 1, 1, 0, 0]


def test_smaller_objects_lie_on_top_and_crowds_are_void_beneath(tmp_path):
    column = [[2, 0, 3, 0, 3, 4, 2, 4]]  # column 2, 4 pixels; the rectangle has 6
    everything = [[0, 0, 6, 0, 6, 4, 0, 4]]
    annotations = [_annotation(8, column, category=3), _annotation(9, _RECTANGLE)]
    expected = [[0, 0, 1, 0, 0, 0], [0, 2, 1, 2, 0, 0], [0, 2, 1, 2, 0, 0], [0, 0, 1, 0, 0, 0]]
    assert _maps(tmp_path, annotations)[0] == expected
    crowd = [_annotation(2, everything, iscrowd=1), *annotations]
    instance, semantic = _maps(tmp_path, crowd)
    assert instance == [[x or -1 for x in row] for row in expected]
    assert semantic[1] == [-1, 2, 1, 2, -1, -1]


def test_pictures_without_annotations_stay_unless_asked(tmp_path):
    images = [
        {"id": 7, "file_name": "a.jpg", "height": 4, "width": 6},
        {"id": 8, "file_name": "sub/b.jpg", "height": 4, "width": 6},
    ]
    sources, _ = _write(tmp_path, [_annotation(1, _RECTANGLE)], images)
    assert [source.name for source in sources] == ["a", "b"]
    assert (read_coco(sources[1]).instance == 0).all()
    path = str(tmp_path / "x.json")
    sources, _ = list_coco(path, str(tmp_path), is_skipping_unlabelled=True)
    assert [source.name for source in sources] == ["a"]


@pytest.mark.parametrize(
    "outline, message",
    [
        ([[1, 1, 4, 1, 4]], "three points or more"),
        ([[1, 1, 4, 1]], "three points or more"),
        ([], "it has no polygon"),
        ([[1, 1, 4, float("nan"), 4, 3]], "finite numbers"),
        ([[1, 1, 4, "x", 4, 3]], "finite numbers"),
        ([3], "three points or more"),
        ({"size": [6, 4], "counts": [5, 19]}, r"its size is \[6, 4\], the picture's \[4, 6\]"),
        ({"size": [4, 6], "counts": [5, 99]}, "annotation 1 is no outline"),
        ({"size": [4, 6], "counts": "zzzz"}, "annotation 1 is no outline"),
        ({"size": [4, 6]}, "annotation 1 is no outline"),
        (None, "annotation 1 is no outline"),
        # Drawn, such an outline would take all memory; the picture is 6 wide and 4 high.
        ([[0, 0, 12.5, 0, 3, 3]], "x from 0 to 12.5 is far outside of the picture"),
        ([[0, 0, 3, -4.5, 3, 3]], "y from -4.5 to 3 is far outside of the picture"),
        ([[0, 0, 1e308, 0, 3, 3]], "x from 0 to 1e\\+308 is far outside"),
        ([[0, 0, 10**400, 0, 3, 3]], "x from 0 to 10{19} is far outside"),
        ({"size": [4, 6], "counts": [-5, 29]}, "whole numbers from 0 on, got -5"),
        ({"size": [4, 6], "counts": [5.5, 18.5]}, "whole numbers from 0 on, got 5.5"),
    ],
)
def test_read_coco_refuses_what_is_no_outline(tmp_path, outline, message):
    sources, _ = _write(tmp_path, [_annotation(1, outline)])
    with pytest.raises(ValueError, match=message):
        read_coco(sources[0])


def test_outlines_may_reach_beyond_the_border(tmp_path):
    # By the picture's own size and no more: 6 x 4 pixels.
    instance, _ = _maps(tmp_path, [_annotation(1, [[-6, -4, 12, -4, 12, 8, -6, 8]])])
    assert instance == [[1] * 6] * 4


def test_count_objects_leaves_out_crowds(tmp_path):
    annotations = [_annotation(k, _RECTANGLE, iscrowd=int(k == 3)) for k in range(1, 5)]
    sources, _ = _write(tmp_path, annotations)
    assert count_objects(sources) == 3 and count_objects([]) == 0


def test_read_coco_refuses_a_picture_of_another_size(tmp_path):
    sources, _ = _write(tmp_path, [])
    Image.new("RGB", (4, 6)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg has \(height, width\) \(6, 4\), .* say \(4, 6\)"):
        read_coco(sources[0])


def test_list_coco_finds_problems_of_single_pictures(tmp_path):
    images = [
        {"id": 1, "file_name": "good.jpg", "height": 4, "width": 6},
        {"id": 2, "file_name": "gone.jpg", "height": 4, "width": 6},
        {"id": 3, "file_name": "twice.jpg", "height": 4, "width": 6},
        {"id": 4, "file_name": "sub/twice.png", "height": 4, "width": 6},
        {"id": 5, "file_name": "one.jpg", "height": 4, "width": 6},
        {"id": 5, "file_name": "other.jpg", "height": 4, "width": 6},
        {"id": 6, "file_name": "../outside.jpg", "height": 4, "width": 6},
        {"id": 8, "file_name": "/etc/absolute.jpg", "height": 4, "width": 6},
    ]
    _write(tmp_path, [], images)
    os.remove(tmp_path / "gone.jpg")
    sources, _ = list_coco(str(tmp_path / "x.json"), str(tmp_path))
    problems = {source.name: source.problem for source in sources}
    assert problems.pop("good") == ""
    expected = {
        "gone": "there is no such file",
        "twice": "duplicate name 'twice'",
        "one": "image id 5 stands twice",
        "other": "image id 5 stands twice",
        "outside": "leaves the folder",
        "absolute": "leaves the folder",
    }
    assert set(problems) == set(expected)
    for name, part in expected.items():
        assert part in problems[name]


def test_a_json_that_points_nowhere_is_skipped_by_name(tmp_path):
    images = [
        {"id": 1, "file_name": "good.jpg", "height": 4, "width": 6},
        {"id": 2, "file_name": "gone.jpg", "height": 4, "width": 6},
    ]
    _write(tmp_path, [_annotation(1, _RECTANGLE, image=1)], images)
    os.remove(tmp_path / "gone.jpg")
    sources, classes = list_coco(str(tmp_path / "x.json"), str(tmp_path))
    out, message = str(tmp_path / "out"), "gone.jpg is in the annotations, and there is no such"
    with pytest.raises(ValueError, match=message):
        conversion.write_split(read_coco, sources, out, "train", classes=classes)
    manifest = conversion.write_split(
        read_coco, sources, out, "train", classes=classes, on_error="skip"
    )
    entry = manifest["splits"]["train"]
    assert entry["num_instances"] == 1
    assert [x["name"] for x in entry["skipped"]] == ["gone"]
    assert message in entry["skipped"][0]["problem"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"annotations": [_annotation(1, [], image=8)]}, "annotation 1 is of image 8"),
        ({"annotations": [_annotation(1, [], category=5)]}, "annotation 1 is of category 5"),
        ({"annotations": [_annotation(1, [])] * 2}, "id 1 stands twice among its annotations"),
        ({"categories": [{"id": 3, "name": "a"}] * 2}, "id 3 stands twice among its categories"),
        ({"annotations": [{"id": 1}]}, r"annotations\[0\] lacks \['image_id', "),
        ({"annotations": [_annotation("1", [])]}, r"'id' of annotations\[0\] cannot be '1'"),
        ({"annotations": [_annotation(1, [], [7])]}, r"'image_id' of .* cannot be \[7\]"),
        ({"categories": [{"id": 3, "name": 5}]}, r"'name' of categories\[0\] cannot be 5"),
        ({"categories": None}, "lacks the list 'categories'"),
        ({"images": []}, "lists no images"),
        ({"images": [3]}, "lacks the list 'images'"),
        (
            {"images": [{"id": 7, "file_name": "a.jpg", "height": 4.0, "width": 6}]},
            r"'height' of images\[0\] cannot be 4\.0",
        ),
    ],
)
def test_list_coco_refuses_a_wrong_file_by_name(tmp_path, changes, message):
    with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
        _write(tmp_path, **{"annotations": [], **changes})


@pytest.mark.parametrize("content", ["{", "[]", "\udcff", "3", "9" * 5000])
def test_list_coco_refuses_what_is_no_json(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"x\.json (is no JSON|must be COCO's instances)"):
        list_coco(str(tmp_path / "x.json"), str(tmp_path))


@pytest.mark.skipif(not _SHARED.exists(), reason="needs ../shared/data/coco128seg")
def test_real_polygons_give_the_published_maps(tmp_path):
    with open(_SHARED / "index.csv") as file:
        rows = list(csv.DictReader(file))
    images, annotations = [], []
    for row in rows:
        width, height, number = int(row["w"]), int(row["h"]), int(row["id"])
        images.append({"id": number, "file_name": f"{row['id']}.jpg"})
        images[-1] |= {"height": height, "width": width}
        labels = _SHARED / "labels" / "train2017" / f"{row['id']}.txt"
        # Two pictures have no objects and no file.
        for line in labels.read_text().splitlines() if labels.exists() else []:
            category, *points = line.split()
            points = np.array(points, float).reshape(-1, 2) * (width, height)
            outline = [points.ravel().tolist()]
            annotations.append(_annotation(len(annotations), outline, number, int(category)))
    categories = [{"id": k, "name": str(k)} for k in range(80)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "x.json").write_text(json.dumps(content))
    sources, _ = list_coco(str(tmp_path / "x.json"), str(_SHARED / "images" / "train2017"))
    for source in sources:
        found = read_coco(source)
        classes, objects = (
            np.asarray(Image.open(_SHARED / kind / f"{source.name}.png")).astype(int)
            for kind in ("cls_png", "inst_png")
        )
        # Both draw a polygon's border pixels, but not alike; where objects overlap, nor the same
        # one. Of all 128 pictures the worst agree in 0.988 (classes) and 0.987 (objects).
        assert np.mean(found.semantic == classes) > 0.97, source.name
        assert _agreement(found.instance, objects) > 0.97, source.name


def _agreement(first, second):
    """Share of equal pixels once the ids of one map are renamed to the other's, one to one."""
    width = second.max() + 1
    shared = np.bincount((first * width + second).ravel(), minlength=(first.max() + 1) * width)
    shared = shared.reshape(-1, width)
    rows, columns = scipy.optimize.linear_sum_assignment(-shared[1:, 1:])
    return (shared[0, 0] + shared[1:, 1:][rows, columns].sum()) / first.size
