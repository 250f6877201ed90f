"""The regressor: exact on what is linear, and fitted to what a read-out finds in real maps."""

import json

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.instance_scoring import FEATURES, check_scorer, score
from rpe_tf.tasks.instance_scorer import best_overlaps, fit, fit_scorer
from tests.colour_model import PROBABILITY, colour_model


def example(image, instance, semantic):
    batch = {"image": image, "instance": instance, "semantic": semantic}
    dtypes = {"image": tf.uint8, "instance": tf.int32, "semantic": tf.int32}
    return {key: tf.constant(value[np.newaxis], dtypes[key]) for key, value in batch.items()}


def test_fit_scorer_finds_a_linear_law():
    rng = np.random.default_rng(0)
    features = rng.normal(size=[4000, len(FEATURES)]) * np.linspace(0.5, 3, len(FEATURES))
    weights = np.linspace(-0.2, 0.3, len(FEATURES))
    scorer = fit_scorer(features, features @ weights + 0.4)
    check_scorer(json.loads(json.dumps(scorer)))
    # A penalty of 1 beside 4000 rows of variance ≥ 1/4: weights short by 1/1000 at the most.
    np.testing.assert_allclose(scorer["weights"], weights, atol=1e-3)
    assert scorer["bias"] == pytest.approx(0.4, abs=1e-3)


def test_fit_scorer_does_not_leave_the_mean_for_features_that_do_not_vary():
    features = np.tile(np.linspace(-3, 3, len(FEATURES)), [5, 1])
    target = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    scorer = fit_scorer(features, target)
    assert scorer["weights"] == [0.0] * len(FEATURES)
    assert scorer["bias"] == pytest.approx(0.3)
    one = fit_scorer(features[:1], target[3:4])
    np.testing.assert_allclose(score(tf.constant(features[:1], tf.float32), one), [0.4], rtol=1e-6)


def test_fit_scorer_of_few_rows_stays_small():
    # Fewer rows than weights, and a feature that hardly varies: least squares alone would give it a
    # weight of hundreds of thousands, 0.6 / 1e-6.
    features = np.zeros([3, len(FEATURES)])
    features[:, 0], features[:, 1] = [0, 1, 2], [0, 1e-6, 0]
    scorer = fit_scorer(features, np.array([0.2, 0.9, 0.4]))
    assert np.abs(scorer["weights"]).max() < 0.1
    # The slope of [0.2, 0.9, 0.4] over [0, 1, 2]: Σ xy / (Σ x² + 1), both about their means.
    assert scorer["weights"][0] == pytest.approx((-1 * 0.2 + 1 * 0.4) / (2 + 1), abs=1e-6)
    assert scorer["bias"] == pytest.approx(0.5 - scorer["weights"][0], abs=1e-6)
    order = np.random.default_rng(0).permutation(3)
    again = fit_scorer(features[order], np.array([0.2, 0.9, 0.4])[order])
    np.testing.assert_allclose(again["weights"], scorer["weights"], rtol=1e-6)


def test_fit_scorer_refuses_other_shapes_and_what_is_not_finite():
    rows = np.zeros([2, len(FEATURES)])
    for features, target in ((rows[:, 1:], [0, 1]), (rows, [0, 1, 1]), (rows[:0], [])):
        with pytest.raises(ValueError, match="M ≥ 1, got"):
            fit_scorer(features, np.array(target))
    with pytest.raises(ValueError, match="must be finite"):
        fit_scorer(rows, np.array([0, np.nan]))


def test_best_overlaps_by_hand():
    truth = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [-1, -1, 3, 3]])
    semantic = np.array([[1, 1, 1, 2], [2, 2, 0, 0], [0, 0, 1, 1]])
    predicted = np.array([[1, 1, 2, 2], [1, 3, 3, 0], [4, 5, 5, 6]])
    classes = np.array([1, 2, 2, 1, 1, 2])
    # Truth: 1 of class 1 (three of four pixels), 2 of class 2, 3 of class 1.
    # Id 1, class 1: two of 4 + 3 − 2 pixels of truth 1 (truth 2 is of another class).
    # Id 2, class 2: shares pixels with truth 1 alone, of another class. Id 3: 1 of 2 + 2 − 1.
    # Id 4: in void only. Id 5: one of its pixels is void; 1 of 1 + 2 − 1. Id 6: another class.
    iou, is_counted = best_overlaps(truth, semantic, predicted, classes)
    np.testing.assert_allclose(iou, [2 / 5, 0, 1 / 3, 0, 1 / 2, 0])
    assert is_counted.tolist() == [True, True, True, False, True, True]


def test_best_overlaps_without_truth_or_without_instances():
    nothing = np.zeros([2, 3], np.int64)
    iou, is_counted = best_overlaps(nothing, nothing, nothing + 1, np.array([1]))
    assert iou.tolist() == [0] and is_counted.tolist() == [True]
    iou, is_counted = best_overlaps(nothing + 1, nothing + 1, nothing, np.zeros([0], np.int64))
    assert iou.shape == is_counted.shape == (0,)


def test_fit_learns_which_instances_are_objects():
    # Wide boxes are true, high ones are not, whatever their class.
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(12):
        image, truth = np.zeros([40, 40, 3], np.uint8), np.zeros([40, 40], np.int64)
        semantic = np.zeros([40, 40], np.int64)
        for k, (y, x) in enumerate([(2, 2), (2, 22), (22, 2), (22, 22)]):
            is_wide, channel = rng.random() < 0.5, rng.integers(0, 3)
            sides = (4, 12) if is_wide else (12, 4)
            place = (slice(y, y + sides[0]), slice(x, x + sides[1]))
            image[(*place, channel)] = 255
            if is_wide:
                truth[place], semantic[place] = k + 1, channel + 1
        examples.append(example(image, truth, semantic))
    # A scorer from before plays no part.
    arguments = {"concentration": 36.0, "min_area": 4, "scorer": {"a": "wrong one"}}
    scorer = fit(colour_model(), examples, arguments)
    assert json.loads(json.dumps(scorer)) == scorer
    features = np.zeros([2, len(FEATURES)], np.float32)
    columns = {name: FEATURES.index(name) for name in ("log_aspect", "height", "log_size")}
    features[:, columns["log_size"]] = np.log(48 / 1600)
    features[:, columns["log_aspect"]] = np.log([4 / 12, 12 / 4])
    features[:, columns["height"]] = [4 / 40, 12 / 40]
    for name in ("connectedness", "extent", "agreement", "cosine"):
        features[:, FEATURES.index(name)] = 1.0
    features[:, FEATURES.index("probability")] = PROBABILITY
    wide, high = score(tf.constant(features), scorer).numpy()
    assert wide > 0.7 and high < 0.3


def test_fit_without_any_instance_has_no_scorer():
    black = np.zeros([8, 8, 3], np.uint8)
    label = np.zeros([8, 8], np.int64)
    arguments = {"concentration": 36.0}
    assert fit(colour_model(), [example(black, label, label)], arguments) is None
    assert fit(colour_model(), [], arguments) is None
