"""Fig. 12: histograms of pairs, their overlap and entropy."""

import numpy as np
import pytest

from rpe_tf.figures import pair_histograms as ph


def _on_circle(degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=-1)


def test_overlap_of_identical_and_disjoint_histograms():
    assert ph.overlap(np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])) == 1.0
    assert ph.overlap(np.array([[1.0, 0.0, 0.0], [0.0, 0.3, 0.7]])) == 0.0
    assert ph.overlap(np.array([[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]])) == pytest.approx(0.3)


def test_entropy_bits_by_hand():
    assert ph.entropy_bits(np.array([0.0, 1.0, 0.0])) == 0.0
    assert ph.entropy_bits(np.array([0.25] * 4)) == pytest.approx(2.0)


def test_pair_histograms_by_hand():
    # Instance 0 at 0° and 60° (s = ¾), instance 1 at 180°: s = 0 with the first, ¼ with the second.
    found = ph.pair_histograms(_on_circle([0.0, 60.0, 180.0]), np.array([0, 0, 1]))
    centres = (np.arange(50) + 0.5) / 50
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found @ centres, [0.75, 0.125], atol=0.011)
    assert (found[1] > 0).sum() == 2


def test_pair_histograms_weigh_instances_alike():
    # Instance 0: 30 pixels that coincide. Instance 1: two at 90°. Half of the weight is of each.
    degrees = np.concatenate([np.zeros(30), [100.0, 190.0]])
    found = ph.pair_histograms(_on_circle(degrees), np.array([0] * 30 + [1, 1]))
    # No pixel is paired with itself: of instance 0 there is 29/30 of the weight 1, of 1 a half.
    assert found[0, -1] == pytest.approx((29 / 30) / (29 / 30 + 1 / 2))


def test_pair_histograms_of_one_instance_have_no_negative_pair():
    found = ph.pair_histograms(_on_circle([0.0, 10.0]), np.array([3, 3]))
    assert found[1].sum() == 0 and found[0].sum() == 1


def _two_bins(positive, negative):
    rows = np.zeros([2, 50])
    rows[0, [10, -1]] = 1 - positive, positive
    rows[1, [10, -1]] = negative, 1 - negative
    return rows


def test_numbers_say_whether_histograms_sharpen_and_part():
    sharpening = np.stack([_two_bins(0.5 + 0.05 * t, 0.5 + 0.05 * t) for t in range(11)])
    numbers = ph._numbers(sharpening, 36.0, 1)
    assert numbers["holds"] and numbers["overlap_falls"]
    np.testing.assert_allclose(numbers["overlap_by_loop"], 2 * (0.5 - 0.05 * np.arange(11)))
    numbers = ph._numbers(sharpening[::-1], 36.0, 1)
    assert not numbers["holds"] and not numbers["overlap_falls"]
