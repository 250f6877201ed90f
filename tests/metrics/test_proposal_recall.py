"""Average recall of ranked proposals: by hand, and as COCO's own program has it."""

import math
import pickle

import numpy as np
import pytest

from rpe_tf.metrics.average_recall import IOU_THRESHOLDS
from rpe_tf.metrics.proposal_recall import curve, recall_table, score_picture, summarize
from rpe_tf.metrics.rle import rle_encode
from tests.metrics.scenes import disc_scene


def _row(*runs):
    """A map of one row: (id, pixels), ..."""
    return np.repeat([k for k, _ in runs], [n for _, n in runs])[np.newaxis]


def _overlapping_scene(seed, size=48):
    """True and predicted masks, rectangles that overlap each other, and distinct scores."""
    random = np.random.RandomState(seed)
    truth, predicted = np.zeros((12, size, size), bool), np.zeros((130, size, size), bool)
    boxes = random.randint(0, size - 14, (12, 2))
    for mask, (y, x) in zip(truth, boxes, strict=True):
        mask[y : y + random.randint(6, 14), x : x + random.randint(6, 14)] = True
    for mask in predicted:
        y, x = np.maximum(boxes[random.randint(12)] + random.randint(-2, 3, 2), 0)
        mask[y : y + random.randint(6, 14), x : x + random.randint(6, 14)] = True
    return truth, predicted, random.permutation(130) / 130


@pytest.fixture(scope="module")
def scenes():
    return [_overlapping_scene(seed) for seed in range(3)]


def _coco_recall(scenes, numbers):
    """Recall [K, N] of the same masks by faster-coco-eval, class-free."""
    from faster_coco_eval import COCO, COCOeval_faster

    images, annotations, results = [], [], []
    for image_id, (truth, predicted, scores) in enumerate(scenes, start=1):
        height, width = truth.shape[1:]
        images.append({"id": image_id, "height": height, "width": width, "file_name": "x.png"})
        for mask in truth:
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            area = {"area": int(mask.sum()), "iscrowd": 0, "bbox": [0, 0, width, height]}
            annotations.append({**entry, **area, "segmentation": rle_encode(mask)})
        for mask, score in zip(predicted, scores, strict=True):
            entry = {"image_id": image_id, "category_id": 1, "score": float(score)}
            results.append({**entry, "segmentation": rle_encode(mask)})
    categories = [{"id": 1, "name": "object"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    truth = COCO(content)
    found = COCOeval_faster(truth, truth.loadRes(results), "segm", print_function=lambda *x: None)
    found.params.useCats = 0
    found.params.maxDets = list(numbers)
    found.evaluate()
    found.accumulate()
    return found.eval["recall"][:, 0, 0, :]


def test_recall_equals_coco(scenes):
    numbers = (1, 10, 60, 100)
    records = [score_picture(*scene) for scene in scenes]
    found, expected = recall_table(records, numbers), _coco_recall(scenes, numbers)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    summary = summarize(records)
    for k, number in enumerate(numbers[1:], start=1):
        assert summary[f"ar_{number}"] == pytest.approx(expected[:, k].mean())
    assert summary["ar_50_60"] == pytest.approx(expected[0, 2])
    assert expected[:, 3].mean() > expected[:, 1].mean() + 0.05  # The numbers make a difference.


def test_recall_preset():
    # Object 1 by the second proposal with IoU 0.8, object 2 by the third with 0.5.
    truth = _row((1, 10), (2, 10), (0, 10))
    masks = np.stack(
        [
            _row((0, 20), (1, 10)),
            _row((1, 8), (0, 22)),
            _row((0, 10), (1, 5), (0, 15)),
        ]
    ).astype(bool)
    record = score_picture(truth, masks, (0.9, 0.8, 0.7))
    table = recall_table([record], (1, 2, 3, 1000))
    # Thresholds 0.5, 0.55 …: 0.8 reaches the first seven, 0.5 the first.
    assert table[0].tolist() == [0, 1 / 2, 1, 1]
    assert table[6].tolist() == [0, 1 / 2, 1 / 2, 1 / 2]
    assert table[7].tolist() == [0, 0, 0, 0]
    summary = summarize([record])
    assert summary["ar_10"] == summary["ar_100"] == pytest.approx((7 + 1) / (2 * 10))
    assert summary["ar_50_10"] == 1
    assert (summary["num_true"], summary["num_proposals"], summary["num_pictures"]) == (2, 3, 1)


def test_recall_is_pooled_over_objects():
    some, nothing = np.kron(np.arange(3) + 1, np.ones((2, 2), int)), np.zeros((4, 4), int)
    found = [score_picture(some, some), score_picture(np.ones((4, 4), int), nothing)]
    assert summarize(found)["ar_10"] == 3 / 4


def test_only_the_best_count(scenes):
    truth, predicted, scores = scenes[0]
    best = np.argsort(-scores)[:10]
    few = summarize([score_picture(truth, predicted[best], scores[best])])
    assert summarize([score_picture(truth, predicted, scores)])["ar_10"] == few["ar_100"]


def test_recall_never_falls_with_more_proposals(scenes):
    found = curve([score_picture(*scene) for scene in scenes])
    assert found["proposals"][0] == 1
    assert np.all(np.diff(found["ar"]) >= 0) and np.all(np.diff(found["ar_50"]) >= 0)
    assert found["ar"][-1] > found["ar"][0]


def test_the_order_of_equal_scores_does_not_matter(scenes):
    truth, predicted, _ = scenes[1]
    order = np.random.RandomState(0).permutation(len(predicted))
    one = recall_table([score_picture(truth, predicted)], (1, 5, 10))
    other = recall_table([score_picture(truth, predicted[order])], (1, 5, 10))
    np.testing.assert_array_equal(one, other)


def test_a_label_map_is_ranked_by_area():
    truth = _row((1, 5), (2, 7))
    table = recall_table([score_picture(truth, _row((1, 5), (2, 7)))], (1, 2))
    assert table[0].tolist() == [1 / 2, 1]


def test_void_is_taken_out():
    truth, predicted = disc_scene(0)
    void = np.zeros(truth.shape, bool)
    void[:, 40:] = True
    one = recall_table([score_picture(truth, predicted, void=void)], (10,))
    other = recall_table([score_picture(truth[:, :40], predicted[:, :40])], (10,))
    np.testing.assert_array_equal(one, other)


def test_no_objects_no_proposals_one_over_all_and_300():
    some, nothing = np.ones((4, 4), int), np.zeros((4, 4), int)
    assert math.isnan(summarize([score_picture(nothing, some)])["ar_100"])
    assert all(math.isnan(x) for x in curve([score_picture(nothing, nothing)])["ar"])
    assert summarize([score_picture(some, nothing)])["ar_100"] == 0
    assert summarize([score_picture(some, some)])["ar_10"] == 1
    many = np.kron(np.arange(300).reshape(15, 20) + 1, np.ones((3, 3), int))
    summary = summarize([score_picture(many, many)])
    for number in (10, 60, 100):
        assert summary[f"ar_{number}"] == pytest.approx(number / 300)


def test_records_can_be_pickled(scenes):
    record = score_picture(*scenes[0])
    assert record.is_matched.shape == (len(IOU_THRESHOLDS), 130)
    assert summarize([pickle.loads(pickle.dumps(record))]) == summarize([record])


def test_refusals():
    some = np.ones((2, 2), int)
    with pytest.raises(ValueError, match="at least one ProposalRecord"):
        summarize([])
    with pytest.raises(ValueError, match="scores must have an entry"):
        score_picture(some, some, [])
