"""The task of proposals: its scores with one concentration and several, and its pictures."""

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.pooling import pool_proposals
from rpe_tf.tasks import proposals

READ_OUT = {
    "concentration": 16.0,
    "mode_cosine": 0.95,
    "max_loops": 30,
    "min_area": 1,
    "background": "border",
}
# Two objects whose directions are 20° apart, which the kernel of width 1/√16 = 0.25 rad joins.
TRUTH = np.zeros([8, 12], np.int32)
TRUTH[2:6, 1:5] = 1
TRUTH[2:6, 7:11] = 2
_ANGLE = np.deg2rad(10)
DIRECTIONS = np.float32(
    [[0, 0, 1], [np.cos(_ANGLE), np.sin(_ANGLE), 0], [np.cos(_ANGLE), -np.sin(_ANGLE), 0]]
)


def model(image, training):
    """Stands for a trained model: the first channel of a picture is the object it belongs to."""
    assert training is False
    return tf.gather(tf.constant(DIRECTIONS), tf.cast(image[..., 0], tf.int32))


def example(truth, picture=TRUTH):
    image = np.repeat(picture[..., np.newaxis], 3, axis=-1).astype(np.uint8)
    return {"image": tf.constant(image[np.newaxis]), "instance": tf.constant(truth[np.newaxis])}


def test_evaluate_of_one_concentration_has_no_figures_of_pooling():
    for settings in (READ_OUT, {**READ_OUT, "concentrations": [16.0, 16.0]}):
        scores = proposals.evaluate(model, [example(TRUTH)], settings)
        assert not [name for name in scores if name.startswith("ar_") and name[3].isdigit()]
        # One instance, the two joined: IoU 16/32 with each, so one of two is found at 0.5.
        assert scores["num_instances_found"] == 1 and scores["recall_50"] == 0.5


def test_evaluate_of_several_concentrations_adds_average_recall():
    settings = {**READ_OUT, "concentrations": [16.0, 400.0]}
    lone = np.where(TRUTH == 1, 1, 0).astype(np.int32)
    scores = proposals.evaluate(model, [example(TRUTH), example(lone)], settings)
    assert scores["num_instances_found"] == 2  # one a picture, of the first concentration alone
    # At 400 each of the three true objects has a proposal that equals it.
    pooled = dict.fromkeys(("ar_10", "ar_60", "ar_100", "ar_50_10", "ar_50_60"), 1.0)
    assert pooled.items() <= scores.items()
    assert set(scores) == {*pooled, *proposals.evaluate(model, [example(lone)], READ_OUT)}
    # Void where the second object is: the proposals there are no objects, and no harm.
    void = np.where(TRUTH == 2, -1, TRUTH).astype(np.int32)
    assert proposals.evaluate(model, [example(void)], settings)["ar_10"] == 1.0


def test_evaluate_counts_objects_that_no_proposal_finds():
    corner = np.zeros_like(TRUTH)
    corner[:2, :2] = 1
    scores = proposals.evaluate(
        model, [example(TRUTH), example(corner)], {**READ_OUT, "concentrations": [16.0, 400.0]}
    )
    assert [scores["ar_10"], scores["ar_50_60"]] == pytest.approx([2 / 3, 2 / 3])


def test_proposal_masks_are_the_first_best_first():
    found = pool_proposals(tf.constant(DIRECTIONS[TRUTH]), concentrations=[16.0, 400.0], min_area=1)
    masks = proposals.proposal_masks(found, 2)
    # Whole: ½ · cos(10°)⁸ · (32 / 96)^¼ = 0.34; a part: ½ · 1 · (16 / 96)^¼ = 0.32.
    np.testing.assert_array_equal(masks, [TRUTH > 0, TRUTH == 1])
    assert proposals.proposal_masks(found, 10).shape == (3, 8, 12)
    assert proposals.proposal_masks(found, 0).shape == (0, 8, 12)


def test_outline_proposals_draws_each_mask_and_the_best_on_top():
    image = np.full([8, 12, 3], 9, np.uint8)
    masks = np.stack([TRUTH == 1, TRUTH > 0])
    drawn = proposals.outline_proposals(image, masks)
    is_changed = (drawn != 9).any(axis=-1)
    inner = np.zeros([8, 12], bool)
    inner[3:5, 2:4] = inner[3:5, 8:10] = True
    np.testing.assert_array_equal(is_changed, (TRUTH > 0) & ~inner)
    left, right = drawn[2, 1], drawn[2, 10]
    assert (left != right).any()
    np.testing.assert_array_equal(proposals.outline_proposals(image, masks[:1])[2, 1], left)
    np.testing.assert_array_equal(proposals.outline_proposals(image, masks[:0]), image)


def test_draw_ends_a_row_with_the_proposals():
    touching = np.roll(TRUTH, 1, axis=1)
    touching[:, 6:] = TRUTH[:, 6:]  # columns 2-5 and 7-10; 6 belongs to the second
    touching[2:6, 6] = 2
    one, several = (
        np.asarray(proposals.draw(model, [example(touching, touching)] * num, settings, scale=1))
        for num, settings in ((1, READ_OUT), (2, {**READ_OUT, "concentrations": [16.0, 400.0]}))
    )
    assert several.shape[0] == one.shape[0] + 8 + 4 and several.shape[1] == one.shape[1]
    # With one concentration the parts, inside the whole, have no outline of their own.
    columns = np.flatnonzero((one[:-4] != several[: len(one) - 4]).any(axis=(0, 2)))
    assert len(columns) and columns.min() > 0.8 * one.shape[1]
