"""Contact sheets of the best and the worst pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from rpe_tf.metrics.object_evaluation import Protocol, evaluate_items
from rpe_tf.metrics.object_files import list_items
from rpe_tf.metrics.object_pictures import best_and_worst
from rpe_tf.metrics.rle import rle_encode

_SIDE = 40


def _square(start, value=1):
    labels = np.zeros((_SIDE, _SIDE), np.uint8)
    labels[start : start + 20, start : start + 20] = value
    return labels


@pytest.fixture
def folder(tmp_path):
    """Three pictures: right, nearly right (IoU 361 / 439), wrong."""
    for name, start in (("a", 5), ("b", 6), ("c", 20)):
        for kind, labels in (("truth", _square(5)), ("out", _square(start))):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(labels).save(tmp_path / f"{kind}/{name}.png")
    return tmp_path


def _sheets(folder, task, num_pictures=1):
    items = list_items(str(folder / "out"), str(folder / "truth"), task)
    return best_and_worst(items, evaluate_items(items, Protocol(task)), num_pictures)


def _count(sheet, color):
    """Pixels of a colour, those of the words left out: titles above, names at the left."""
    return int((np.asarray(sheet)[20:, 200:] == color).all(axis=-1).sum())


@pytest.mark.parametrize("task", ["proposals", "instances", "semantic"])
def test_best_agrees_and_worst_differs(folder, task):
    sheets = _sheets(folder, task)
    assert sorted(sheets) == ["best", "worst"]
    # Grey where both hold an object: all of the square, and the 5 x 5 corner of the last picture.
    assert _count(sheets["best"], (90, 90, 90)) == 400
    assert _count(sheets["best"], (220, 40, 40)) == 0
    assert _count(sheets["worst"], (90, 90, 90)) == 25
    assert _count(sheets["worst"], (220, 40, 40)) == 375


def test_no_more_pictures_than_there_are(folder):
    one, all_three = (_sheets(folder, "instances", number)["worst"] for number in (1, 8))
    assert all_three.size[1] > 2 * one.size[1]
    assert _count(all_three, (90, 90, 90)) == 400 + 19 * 19 + 25


def test_another_class_is_red(folder):
    for name in ("a", "b", "c"):
        Image.fromarray(_square(5, value=2)).save(folder / f"out/{name}.png")
    assert _count(_sheets(folder, "semantic")["worst"], (220, 40, 40)) == 400
    assert _count(_sheets(folder, "instances")["worst"], (220, 40, 40)) == 0


def test_masks_of_a_json(folder):
    masks = [_square(5) > 0, _square(20) > 0]
    records = [
        {"file_name": "a", "segmentation": rle_encode(mask), "score": score}
        for mask, score in zip(masks, (0.9, 0.2), strict=True)
    ]
    (folder / "out/predictions.json").write_text(json.dumps(records))
    sheet = _sheets(folder, "instances", 8)["best"]
    assert _count(sheet, (90, 90, 90)) == 400
    assert _count(sheet, (220, 40, 40)) == 375


def test_large_pictures_are_drawn_small(folder):
    for kind in ("truth", "out"):
        for name in ("a", "b", "c"):
            Image.fromarray(np.ones((900, 600), np.uint8)).save(folder / f"{kind}/{name}.png")
    assert max(_sheets(folder, "instances")["best"].size) < 1000
