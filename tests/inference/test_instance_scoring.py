import json
import math

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.instance_scoring import (
    FEATURES,
    check_scorer,
    instance_features,
    largest_part,
    score,
)


def features_of_two():
    """A box of 2×8 with 8 pixels and one of 5×5 with 25, in a picture of 10×20."""
    return instance_features(
        boxes=tf.constant([[1, 2, 3, 10], [5, 0, 10, 5]]),
        areas=tf.constant([8, 25]),
        connectedness=tf.constant([0.5, 1.0]),
        agreement=tf.constant([0.75, 0.25]),
        probability=tf.constant([0.625, 0.125]),
        cosine=tf.constant([0.5, -1.0]),
        picture_size=tf.constant([10, 20]),
    )


def scorer_with(**weights):
    """A scorer of bias 0.125 and these weights by feature, the others 0."""
    values = [weights.get(name, 0.0) for name in FEATURES]
    return {"features": list(FEATURES), "weights": values, "bias": 0.125}


def test_instance_features_by_hand():
    found = features_of_two()
    expected = {
        "log_size": [math.log(8 / 200), math.log(25 / 200)],
        "connectedness": [0.5, 1.0],
        "log_aspect": [math.log(2 / 8), math.log(5 / 5)],
        "extent": [8 / (2 * 8), 25 / (5 * 5)],
        "height": [2 / 10, 5 / 10],
        "agreement": [0.75, 0.25],
        "probability": [0.625, 0.125],
        "cosine": [0.5, -1.0],
    }
    assert found.dtype == tf.float32 and set(expected) == set(FEATURES)
    for column, name in enumerate(FEATURES):
        np.testing.assert_allclose(found[:, column], expected[name], rtol=1e-6, err_msg=name)


def test_score_without_a_scorer_is_probability_times_cosine():
    np.testing.assert_allclose(score(features_of_two()), [0.625 * 0.5, 0.125 * -1])


def test_score_is_linear_in_the_features():
    found = score(features_of_two(), scorer_with(height=2.0, agreement=-1.0))
    np.testing.assert_allclose(found, [0.125 + 2 * 0.2 - 0.75, 0.125 + 2 * 0.5 - 0.25], rtol=1e-6)
    # As it comes back from a run folder.
    again = score(features_of_two(), json.loads(json.dumps(scorer_with(height=2, agreement=-1))))
    np.testing.assert_array_equal(again, found)


def test_score_of_no_instances():
    none = tf.zeros([0, len(FEATURES)])
    assert score(none).shape == score(none, scorer_with(height=1.0)).shape == (0,)


def test_check_scorer_refuses_what_is_no_scorer_of_this_version():
    check_scorer(None)
    good = scorer_with(height=1.0)
    check_scorer(good)
    with pytest.raises(ValueError, match=r"\['bias'\] missing"):
        check_scorer({"features": list(FEATURES), "weights": good["weights"]})
    for wrong in (
        {**good, "features": list(FEATURES)[::-1]},
        {**good, "weights": good["weights"][1:]},
    ):
        with pytest.raises(ValueError, match="must have a weight for each"):
            score(features_of_two(), wrong)


def test_largest_part_by_hand():
    instance = [
        [1, 1, 0, 3, 3],
        [0, 0, 1, 3, 0],
        [2, 0, 1, 0, 3],
        [0, 2, 1, 2, 2],
    ]
    # 1: two above, three below. 2: single, single, two. 3: three and one.
    found = largest_part(tf.constant(instance), tf.constant(3))
    assert found.numpy().tolist() == [3, 2, 3] and found.dtype == tf.int32


def test_largest_part_of_none_and_of_one():
    assert largest_part(tf.zeros([4, 5], tf.int32), tf.constant(0)).shape == (0,)
    assert largest_part(tf.ones([4, 5], tf.int32), tf.constant(1)).numpy().tolist() == [20]
    assert largest_part(tf.ones([1, 1], tf.int32), tf.constant(1)).numpy().tolist() == [1]
