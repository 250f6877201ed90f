"""COCO's published example through the library, and our own recall of the same files."""

import json
import pathlib

import numpy as np
import pytest

from rpe_tf.metrics.coco_ap import coco_scores
from rpe_tf.metrics.object_evaluation import Protocol, evaluate_items
from rpe_tf.metrics.object_files import list_items
from rpe_tf.metrics.rle import rle_encode

_EXAMPLE = pathlib.Path(__file__).parents[3] / "shared/data/reference/coco_fakesegm100"
needs_example = pytest.mark.skipif(
    not _EXAMPLE.is_dir(), reason=f"{_EXAMPLE} is absent: COCO's example results"
)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Items of COCO's example; equal scores of a picture made distinct, in the file's order.

    Our order of equal scores is not COCO's, which is that of the file.
    """
    path = tmp_path_factory.mktemp("example") / "records.json"
    records = json.loads((_EXAMPLE / "instances_val2014_fakesegm100_results.json").read_text())
    for number, record in enumerate(records):
        record["score"] -= 1e-7 * number
    path.write_text(json.dumps(records))
    truth = str(_EXAMPLE / "instances_val2014_100.json")
    return list_items(str(path), truth, "instances")


@needs_example
def test_published_figures(example):
    truth = example[0].truth
    results = str(_EXAMPLE / "instances_val2014_fakesegm100_results.json")
    found = coco_scores(list_items(results, truth, "instances"))
    # The README beside the example: AP, AP at 0.5 and at 0.75 of pycocotools.
    published = {"ap": 0.3195, "ap_50": 0.5623, "ap_75": 0.2989}
    assert {key: found[key] for key in published} == pytest.approx(published, abs=1e-4)
    # val2014_fake_eval_res.txt, three digits, in its order.
    lines = (_EXAMPLE / "val2014_fake_eval_res.txt").read_text().split("type=bbox")[0].splitlines()
    printed = [float(line.rsplit("=", 1)[1]) for line in lines if line.startswith(" Average")]
    assert list(found.values()) == pytest.approx(printed, abs=5.1e-4)


@needs_example
def test_our_recall_equals_coco(example):
    """Crowd regions included: they are no truth, and take no pixel from a prediction."""
    crowded = [x for x in example if any(a["iscrowd"] for a in x.picture.annotations)]
    chosen = [*crowded, *(x for x in example[:30] if x not in crowded)]
    ours = evaluate_items(chosen, Protocol("proposals"))
    coco = coco_scores(chosen, is_class_free=True)
    assert len(crowded) > 3
    assert sum(len(x.picture.annotations) for x in chosen) > ours["num_true"]
    assert ours["ar_10"] == pytest.approx(coco["ar_10"], abs=1e-12)
    assert ours["ar_100"] == pytest.approx(coco["ar_100"], abs=1e-12)


def _json(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def _files(folder, record=(), image_id=1):
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    annotation = {"id": 1, "image_id": image_id, "category_id": 2, "iscrowd": 0, "area": 100}
    annotation.update(bbox=[5, 5, 10, 10], segmentation=rle_encode(mask))
    image = {"id": image_id, "file_name": "a.jpg", "height": 20, "width": 20}
    content = {"images": [image], "annotations": [annotation]}
    content["categories"] = [{"id": 2, "name": "cell"}, {"id": 3, "name": "other"}]
    found = {"file_name": "a.png", "category_id": 2, "score": 0.5}
    found.update(segmentation=rle_encode(mask), **dict(record))
    truth = _json(folder / "truth.json", content)
    return list_items(_json(folder / "out.json", [found]), truth, "instances")


def test_records_by_file_name(tmp_path):
    assert coco_scores(_files(tmp_path))["ap"] == 1


def test_a_box_in_the_record_does_not_change_its_size(tmp_path):
    # 100 pixels are small, below 32 x 32; the box says large.
    found = coco_scores(_files(tmp_path, {"bbox": [0, 0, 999, 999]}))
    assert (found["ap_small"], found["ap_large"]) == (1, -1)


def test_class_free(tmp_path):
    items = _files(tmp_path, {"category_id": 3})
    assert coco_scores(items)["ap"] == 0
    assert coco_scores(items, is_class_free=True)["ap"] == 1


def test_no_predictions(tmp_path):
    items = _files(tmp_path)
    assert coco_scores([items[0]._replace(records=[])])["ap"] == 0


def test_refusals(tmp_path):
    items = _files(tmp_path)
    with pytest.raises(ValueError, match="COCO json as ground truth and a json of predictions"):
        coco_scores([items[0]._replace(records=None)])
    with pytest.raises(ValueError, match=r"truth\.json must have integers as image ids"):
        coco_scores(_files(tmp_path, image_id="x"))
    record = {key: value for key, value in items[0].records[0].items() if key != "score"}
    with pytest.raises(ValueError, match=r"out\.json must have score in each record"):
        coco_scores([items[0]._replace(records=[record])])
