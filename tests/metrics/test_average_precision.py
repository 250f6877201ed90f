"""AP^r by hand, against a slow sweep of the threshold, and its independence of orders."""

import math
import pickle

import numpy as np
import pytest

from rpe_tf.metrics.average_precision import average_precision, by_class, score_picture, summarize
from tests.metrics.scenes import disc_scene


def _row(*runs):
    """A map of one row: (id, pixels), ..."""
    return np.repeat([k for k, _ in runs], [n for _, n in runs])[np.newaxis]


def _slow_ap(scores, right, num_true):
    """Precision and recall with the threshold at each score; area under the interpolated curve."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        taken = [r for s, r in zip(scores, right, strict=True) if s >= threshold]
        points.append((sum(taken) / num_true, sum(taken) / len(taken)))
    area, last = 0.0, 0.0
    for k, (recall, _) in enumerate(points):
        area += (recall - last) * max(p for _, p in points[k:])
        last = recall
    return area


def test_average_precision_preset():
    # Right, false, right, false; 4 objects. Recall 1/4, 1/4, 2/4, 2/4; precision 1, 1/2, 2/3, 1/2.
    found = average_precision(np.array([9, 8, 7, 6]), np.array([True, False, True, False]), 4)
    assert found == pytest.approx(1 / 4 * 1 + 1 / 4 * 2 / 3)


def test_precision_is_interpolated():
    # False, right, right: precision 0, 1/2, 2/3; all recall is read at 2/3.
    found = average_precision(np.array([9, 8, 7]), np.array([False, True, True]), 2)
    assert found == pytest.approx(2 / 3)


def test_equal_scores_enter_together():
    # 2 right of 4, 3 objects: one point, recall 2/3 at precision 1/2, however they are sorted.
    for right in ([1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0]):
        found = average_precision(np.ones(4), np.array(right, bool), 3)
        assert found == pytest.approx(2 / 3 * 1 / 2)


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_equals_a_sweep(seed):
    random = np.random.RandomState(seed)
    scores, right = random.randint(0, 6, 20) / 5, random.rand(20) < 0.5
    num_true = int(right.sum()) + 3
    found = average_precision(scores, right, num_true)
    assert found == pytest.approx(_slow_ap(scores.tolist(), right.tolist(), num_true))


def test_average_precision_of_nothing():
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0
    assert math.isnan(average_precision(np.ones(1), np.zeros(1, bool), 0))


def test_a_second_match_of_an_object_is_false():
    truth = _row((1, 10), (0, 10))
    masks = np.stack([_row((1, 10), (0, 10)) > 0, _row((1, 9), (0, 11)) > 0])
    for scores, expected in (((0.9, 0.8), 1.0), ((0.8, 0.9), 1.0)):
        assert summarize([score_picture(truth, None, masks, scores)])["ap_r_50"] == expected
    record = score_picture(truth, None, masks, (0.9, 0.8))
    assert record.is_matched[:, 1].sum() == 0
    # With another object only the third finds, the false second costs: 1, 1/2, 2/3 over 2 objects.
    truth = _row((1, 10), (2, 10))
    masks = np.concatenate([masks, [_row((0, 10), (1, 10)) > 0]])
    found = summarize([score_picture(truth, None, masks, (0.9, 0.8, 0.7))])
    assert found["ap_r_50"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_all_thresholds_preset():
    # IoU 0.65 with one object: AP 1 at 0.1 … 0.6 and 0 at 0.7, 0.8, 0.9.
    found = summarize([score_picture(_row((1, 20)), None, _row((1, 13), (0, 7)))])
    assert [found[f"ap_r_{k}"] for k in (50, 60, 70, 80, 90)] == [1, 1, 0, 0, 0]
    assert found["ap_r_vol"] == pytest.approx(6 / 9)


def test_an_iou_of_the_threshold_matches():
    for shared in (3, 6, 7, 9):
        record = score_picture(_row((1, 10)), None, _row((1, shared), (0, 10 - shared)))
        assert record.is_matched.sum() == shared


def test_classes_apart_and_pictures_together():
    one = score_picture(
        _row((1, 4), (2, 4)), {1: 3, 2: 8}, _row((1, 4), (2, 4)), (0.9, 0.5), (3, 3)
    )
    other = score_picture(_row((1, 4), (0, 4)), {1: 3}, _row((1, 4), (0, 4)), (0.3,), (3,))
    table = by_class([one, other])
    # Class 3: right 0.9, false 0.5 (that object is of 8), right 0.3; 2 objects. Class 8: 0 of 1.
    assert table[3]["ap_r_50"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert table[8]["ap_r_50"] == 0
    assert summarize([one, other])["ap_r_50"] == pytest.approx((5 / 6 + 0) / 2)


def test_a_class_without_true_objects_is_left_out():
    record = score_picture(_row((1, 4), (0, 4)), {1: 3}, _row((1, 4), (2, 4)), None, (3, 5))
    assert list(by_class([record])) == [3]
    assert summarize([record])["ap_r_50"] == 1


def test_void_is_taken_out():
    # Of 11 only 4 pixels remain, all of 1; 12 lies in void only and is no detection.
    truth, predicted = _row((1, 4), (-1, 10)), _row((11, 8), (12, 6))
    record = score_picture(truth, None, predicted)
    assert record.scores.tolist() == [1]
    assert summarize([record])["ap_r_90"] == 1


def test_what_is_mostly_crowd_is_not_false():
    truth, masks = _row((1, 4), (0, 6)), np.stack([_row((0, 4), (1, 6)), _row((1, 4), (0, 6))]) > 0
    for num_crowd, expected in ((4, 1.0), (3, 1 / 2)):
        crowd = _row((0, 4), (1, num_crowd), (0, 6 - num_crowd)) > 0
        record = score_picture(truth, None, masks, (0.9, 0.1), crowd=crowd)
        assert summarize([record])["ap_r_50"] == pytest.approx(expected)


@pytest.mark.parametrize("scored", [False, True])
def test_no_order_matters(scored):
    """Neither of the pictures nor of the masks, with scores of which many are equal."""
    random = np.random.RandomState(0)
    records, shuffled = [], []
    for seed in range(4):
        truth, predicted = disc_scene(seed)
        masks = np.stack([predicted == k for k in np.unique(predicted[predicted > 0])])
        scores = random.randint(0, 4, len(masks)) if scored else np.ones(len(masks))
        order = random.permutation(len(masks))
        records.append(score_picture(truth, None, masks, scores))
        shuffled.append(score_picture(truth, None, masks[order], scores[order]))
    expected = summarize(records)
    assert summarize(shuffled[::-1]) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["ap_r_50"] < 1


def test_a_label_map_is_its_masks_of_score_1():
    truth, predicted = disc_scene(1)
    masks = np.stack([predicted == k for k in range(1, predicted.max() + 1)])
    one, other = (summarize([score_picture(truth, None, x)]) for x in (masks, predicted))
    assert one == other


def test_scores_are_by_id():
    truth, predicted = _row((1, 4), (0, 4)), _row((2, 4), (3, 4))
    record = score_picture(truth, None, predicted, scores=(0.1, 0.4, 0.9))
    assert record.scores.tolist() == [0.9, 0.4]
    assert summarize([record])["ap_r_50"] == 1 / 2


def test_scaling_scores_changes_nothing():
    truth, predicted = disc_scene(2)
    scores = np.random.RandomState(0).rand(predicted.max())
    one = summarize([score_picture(truth, None, predicted, scores)])
    assert summarize([score_picture(truth, None, predicted, 1e6 * scores - 7)]) == one


def test_no_objects_no_predictions_and_one_over_all():
    some, nothing = np.ones((4, 4), int), np.zeros((4, 4), int)
    assert all(math.isnan(x) for x in summarize([score_picture(nothing, None, some)]).values())
    assert set(summarize([score_picture(some, None, nothing)]).values()) == {0}
    assert set(summarize([score_picture(some, None, some)]).values()) == {1}
    assert math.isnan(summarize([score_picture(np.full((4, 4), -1), None, some)])["ap_r_50"])


def test_an_empty_picture_costs_its_false_detections_alone():
    some, nothing = np.ones((4, 4), int), np.zeros((4, 4), int)
    right = score_picture(some, None, some, [0.5])
    assert summarize([right, score_picture(nothing, None, nothing)])["ap_r_50"] == 1
    assert summarize([right, score_picture(nothing, None, some, [0.9])])["ap_r_50"] == 1 / 2


def test_300_objects():
    truth = np.kron(np.arange(300).reshape(15, 20) + 1, np.ones((4, 4), int))
    assert summarize([score_picture(truth, None, 301 - truth)])["ap_r_90"] == 1


def test_records_can_be_pickled():
    record = score_picture(*disc_scene(0)[:1], None, disc_scene(0)[1])
    assert summarize([pickle.loads(pickle.dumps(record))]) == summarize([record])


def test_refusals():
    some = np.ones((2, 2), int)
    with pytest.raises(ValueError, match="at least one DetectionRecord"):
        summarize([])
    with pytest.raises(ValueError, match="scores must have an entry for each id"):
        score_picture(some, None, some, [])
    with pytest.raises(ValueError, match="scores must be finite"):
        score_picture(some, None, some, [np.inf])
    with pytest.raises(ValueError, match="or neither"):
        score_picture(some, {1: 1}, some)
