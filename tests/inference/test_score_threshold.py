"""Instances below a score are given up."""

import numpy as np
import tensorflow as tf

from rpe_tf.inference.class_instances import read_out_classed
from rpe_tf.inference.label_map import Instances, read_out
from rpe_tf.inference.score_threshold import keep_scored


def found(scores):
    """Three instances of 4, 3 and 2 pixels in a row of ten; the rest is background."""
    instance = tf.constant([[0, 1, 1, 1, 1, 2, 2, 2, 3, 3]])
    boxes = tf.constant([[0, 1, 1, 5], [0, 5, 1, 8], [0, 8, 1, 10]])
    areas = tf.constant([4, 3, 2])
    return Instances(instance, boxes, areas, tf.constant(scores), tf.constant(1), tf.constant(True))


def test_keep_scored_of_none_is_what_was_found():
    given = found([0.9, 0.5, 0.1])
    assert keep_scored(given, None) is given


def test_keep_scored_closes_up_the_ids_and_keeps_the_order():
    kept = keep_scored(found([0.9, 0.2, 0.5]), 0.5)
    assert kept.instance.numpy().tolist() == [[0, 1, 1, 1, 1, 0, 0, 0, 2, 2]]
    assert kept.areas.numpy().tolist() == [4, 2]
    assert kept.boxes.numpy().tolist() == [[0, 1, 1, 5], [0, 8, 1, 10]]
    np.testing.assert_array_equal(kept.scores, np.float32([0.9, 0.5]))


def test_keep_scored_of_nothing_good_enough_is_background_alone():
    kept = keep_scored(found([0.3, 0.2, 0.1]), 0.5)
    assert not kept.instance.numpy().any()
    assert kept.boxes.shape == (0, 4) and kept.areas.shape == kept.scores.shape == (0,)


def test_read_outs_take_a_threshold_in_the_graph():
    rng = np.random.default_rng(0)
    mode = np.repeat(np.repeat(np.arange(4).reshape(2, 2), 6, axis=0), 6, axis=1)
    embedding = np.eye(8)[mode] + np.array([0.0, 0.05, 0.1, 0.2])[mode][..., None] * rng.normal(
        size=[12, 12, 8]
    )
    embedding = (embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)).astype(np.float32)
    logit = np.zeros([12, 12, 2], np.float32) + [0.0, 4.0]
    plain = read_out(embedding, concentration=36.0, background="none")
    classed = read_out_classed(embedding, logit, concentration=36.0)
    for all_of_them, again in (
        (plain, lambda s: read_out(embedding, concentration=36.0, background="none", min_score=s)),
        (classed, lambda s: read_out_classed(embedding, logit, concentration=36.0, min_score=s)),
    ):
        scores = all_of_them.scores.numpy()
        assert len(scores) == 4
        limit = np.sort(scores)[2]
        kept = tf.function(again)(tf.constant(limit))
        assert sorted(kept.scores.numpy()) == sorted(scores[scores >= limit])
        assert set(np.unique(kept.instance)) == {0, 1, 2}
        for name in kept._fields:
            if name in ("boxes", "areas", "classes", "agreement", "features"):
                assert len(getattr(kept, name)) == 2, name
