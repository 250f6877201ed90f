"""Matching scores and PQ: by hand, and as stardist and panoptica computed them."""

import math

import numpy as np
import pytest

from rpe_tf.metrics.matching import (
    MatchingRecord,
    pq_by_class,
    score_matching,
    summarize,
)
from tests.metrics.scenes import disc_scene

# stardist 0.9.2, matching.matching(truth, predicted, threshold): tp, fp, fn and accuracy of
# disc_scene(seed).
_STARDIST = {
    (0, 0.5): (17, 14, 20, 0.3333333333333333),
    (0, 0.7): (6, 25, 31, 0.0967741935483871),
    (0, 0.9): (0, 31, 37, 0),
    (1, 0.5): (18, 18, 15, 0.35294117647058826),
    (1, 0.7): (9, 27, 24, 0.15),
    (1, 0.9): (0, 36, 33, 0),
    (2, 0.5): (16, 19, 16, 0.3137254901960784),
    (2, 0.7): (5, 30, 27, 0.08064516129032258),
    (2, 0.9): (0, 35, 32, 0),
}
# panoptica 2.1.7, NaiveThresholdMatching(0.5) of the same: pq, sq, rq.
_PANOPTICA = {
    0: (0.3400445821918529, 0.6800891643837058, 0.5),
    1: (0.36647882376777124, 0.7024177455548949, 0.5217391304347826),
    2: (0.3098670295395277, 0.6487840930983861, 0.47761194029850745),
}


def _row(*runs):
    """A map of one row: (id, pixels), ..."""
    return np.repeat([k for k, _ in runs], [n for _, n in runs])[np.newaxis]


@pytest.mark.parametrize("seed, threshold", _STARDIST)
def test_matching_equals_stardist(seed, threshold):
    summary = summarize([score_matching(*disc_scene(seed))])
    tp, fp, fn, accuracy = _STARDIST[seed, threshold]
    key = f"matching_{round(100 * threshold)}"
    assert summary[key] == pytest.approx(accuracy, abs=1e-12)
    assert summary[f"{key}_precision"] == pytest.approx(tp / (tp + fp))
    assert summary[f"{key}_recall"] == pytest.approx(tp / (tp + fn))
    assert summary[f"{key}_f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))


@pytest.mark.parametrize("seed", _PANOPTICA)
def test_pq_equals_panoptica(seed):
    summary = summarize([score_matching(*disc_scene(seed))])
    assert [summary[key] for key in ("pq", "sq", "rq")] == pytest.approx(
        _PANOPTICA[seed], abs=1e-12
    )


def test_matching_pools_pictures():
    records = [score_matching(*disc_scene(seed)) for seed in range(3)]
    tp, fp, fn = (sum(_STARDIST[seed, 0.5][k] for seed in range(3)) for k in range(3))
    summary = summarize(records)
    assert summary["matching_50"] == pytest.approx(tp / (tp + fp + fn))
    assert summary == pytest.approx(summarize(records[::-1]))
    assert (summary["num_true"], summary["num_predicted"]) == (tp + fn, tp + fp)


def test_matching_preset():
    # 1 with 11: 8 of 10 shared. 2 with 12: 5 of 10. 3 is missed, 13 is false.
    truth = _row((1, 10), (2, 10), (3, 4), (0, 6))
    predicted = _row((11, 8), (0, 7), (12, 5), (0, 4), (13, 6))
    summary = summarize([score_matching(truth, predicted)])
    assert summary["matching_50"] == 2 / (2 + 1 + 1)
    assert summary["matching_70"] == 1 / (1 + 2 + 2)
    assert summary["matching_90"] == 0
    # PQ wants IoU > 0.5: 1 with 11 alone. TP 1, FP 2, FN 2.
    assert summary["pq"] == pytest.approx(0.8 / (1 + 2 / 2 + 2 / 2))
    assert (summary["sq"], summary["rq"]) == pytest.approx((0.8, 1 / 3))


def test_matching_is_as_large_as_possible():
    """The best pair first (IoU 0.6) would leave the two others without a partner."""
    truth, predicted = np.zeros((2, 2, 1, 10), bool)
    truth[0], truth[1, 0, 3:6] = True, True
    predicted[0, 0, 3:9] = predicted[1, 0, :5] = True
    # IoU of the first prediction: 6 / 10 and 3 / 6; of the second: 5 / 10 and 2 / 6.
    record = score_matching(truth, predicted)
    assert record.true_positives.tolist() == [[2, 0, 0]]
    assert record.pq_iou.tolist() == [0.6]


def test_the_number_of_pairs_comes_before_their_iou():
    """Runs of 3 pixels, each with IoU 2 / 4 to the next: three such pairs, or two of IoU 1."""
    runs = [np.isin(np.arange(6), range(start, start + 3))[np.newaxis] for start in range(4)]
    record = score_matching(np.stack(runs[:3]), np.stack(runs[1:]))
    assert record.true_positives.tolist() == [[3, 2, 2]]


def test_classes_must_agree():
    truth = predicted = _row((1, 3), (2, 3), (3, 4))
    record = score_matching(truth, predicted, truth_classes={1: 5, 2: 5, 3: 9}, classes=[5, 9, 9])
    # Class 5: 1 found, 2 missed. Class 9: 3 found, and 2 is a false 9.
    assert record.classes.tolist() == [5, 9]
    assert record.true_positives[:, 0].tolist() == [1, 1]
    assert record.false_positives[:, 0].tolist() == [0, 1]
    by_class = pq_by_class([record])
    assert by_class[5] == {"pq": 1 / 1.5, "sq": 1, "rq": 1 / 1.5} == by_class[9]
    assert summarize([record])["matching_50"] == 2 / (2 + 1 + 1)


def test_pq_is_the_mean_over_classes_not_over_objects():
    truth = _row((1, 3), (2, 3), (3, 3), (4, 4))
    predicted = _row((1, 3), (2, 3), (3, 3), (0, 4))
    record = score_matching(truth, predicted, truth_classes=[0, 1, 1, 1, 2], classes=[1, 1, 1])
    assert summarize([record])["pq"] == (1 + 0) / 2


def test_a_class_that_is_only_predicted_counts_as_pq_0():
    record = score_matching(
        _row((1, 3), (0, 3)), _row((1, 3), (2, 3)), truth_classes=[0, 1], classes=[1, 7]
    )
    assert pq_by_class([record])[7] == {"pq": 0, "sq": 0, "rq": 0}


def test_void_is_taken_out():
    # Without void the IoU would be 4 of 10.
    truth, predicted = _row((1, 4), (-1, 6)), _row((1, 10))
    assert summarize([score_matching(truth, predicted)])["pq"] == 1


@pytest.mark.parametrize("num_void, num_false", [(3, 0), (2, 1)])
def test_pq_excuses_what_is_mostly_void(num_void, num_false):
    """Of 4 pixels 3 are void: no false positive of PQ, but one of the matching scores."""
    truth = _row((-1, num_void), (0, 4 - num_void))
    record = score_matching(truth, _row((1, 4)))
    assert record.pq_false_positives.tolist() == [num_false]
    assert record.false_positives.tolist() == [[1, 1, 1]]
    assert math.isnan(summarize([record])["pq"]) == (num_false == 0)


@pytest.mark.parametrize("num_crowd, num_false", [(3, 0), (2, 1)])
def test_what_is_mostly_crowd_is_not_false(num_crowd, num_false):
    record = score_matching(
        np.zeros((1, 4), int), _row((1, 4)), crowd=_row((1, num_crowd), (0, 4 - num_crowd)) > 0
    )
    assert record.false_positives.tolist() == [[num_false] * 3]
    assert record.pq_false_positives.tolist() == [num_false]


def test_a_matched_prediction_in_crowd_counts():
    record = score_matching(_row((1, 4)), _row((1, 4)), crowd=np.ones((1, 4), bool))
    assert record.true_positives.tolist() == [[1, 1, 1]]


def test_names_of_ids_and_orientation_do_not_matter():
    truth, predicted = disc_scene(5)
    renamed = np.random.RandomState(0).permutation(200)[predicted] + 1
    renamed[predicted == 0] = 0
    for t, p in ((truth, renamed), (truth.T, predicted.T), (truth[::-1], predicted[::-1])):
        assert summarize([score_matching(t, p)]) == pytest.approx(
            summarize([score_matching(truth, predicted)])
        )


def test_swapping_truth_and_prediction_keeps_the_score():
    truth, predicted = disc_scene(6)
    one, other = (summarize([score_matching(*x)]) for x in ((truth, predicted), (predicted, truth)))
    for key in ("matching_50", "matching_70", "pq", "sq", "rq"):
        assert one[key] == pytest.approx(other[key])
    assert one["matching_50_precision"] == pytest.approx(other["matching_50_recall"])


def test_no_objects_is_undefined():
    nothing = np.zeros((4, 4), int)
    summary = summarize([score_matching(nothing, nothing)])
    assert all(math.isnan(summary[key]) for key in ("matching_50", "matching_90_f1", "pq", "sq"))
    assert (summary["num_true"], summary["num_pictures"]) == (0, 1)


def test_an_empty_picture_changes_nothing_but_the_count():
    record, nothing = score_matching(*disc_scene(0)), np.zeros((4, 4), int)
    one, both = summarize([record]), summarize([record, score_matching(nothing, nothing)])
    assert both.pop("num_pictures") == one.pop("num_pictures") + 1
    assert one == both


def test_nothing_predicted_and_nothing_true_score_0():
    some, nothing = np.ones((4, 4), int), np.zeros((4, 4), int)
    for truth, predicted in ((some, nothing), (nothing, some)):
        summary = summarize([score_matching(truth, predicted)])
        assert (summary["matching_50"], summary["pq"]) == (0, 0)


def test_one_object_covers_all():
    some = np.ones((4, 4), int)
    assert summarize([score_matching(some, some)])["matching_90"] == 1


def test_300_objects():
    truth = np.kron(np.arange(300).reshape(15, 20) + 1, np.ones((4, 4), int))
    predicted = np.roll(truth, 1, axis=1)
    # Each shares 3 of 4 columns with its object: IoU 12 / 20; the last of a row wraps around.
    summary = summarize([score_matching(truth, predicted)])
    assert summary["num_true"] == 300
    assert (summary["matching_50"], summary["matching_70"]) == (1, 0)
    assert summary["sq"] == pytest.approx(12 / 20)


def test_records_can_be_pickled():
    import pickle

    record = score_matching(*disc_scene(0))
    again = pickle.loads(pickle.dumps(record))
    assert isinstance(again, MatchingRecord) and summarize([again]) == summarize([record])


def test_refusals():
    some = np.ones((2, 2), int)
    with pytest.raises(ValueError, match="at least one MatchingRecord"):
        summarize([])
    with pytest.raises(ValueError, match="or neither"):
        score_matching(some, some, classes=[1])
    with pytest.raises(ValueError, match="truth_classes must have all ids"):
        score_matching(some, some, truth_classes={2: 1}, classes=[1])
    with pytest.raises(ValueError, match="classes must have an entry"):
        score_matching(some, some, truth_classes={1: 1}, classes=[])
