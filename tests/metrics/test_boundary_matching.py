"""Matchings solved by hand, and against a dense assignment of all pixels."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from rpe_tf.metrics.boundary_matching import Pairs, match, match_pairs


def _row(*columns, width=20):
    line = np.zeros((3, width), bool)
    line[1, list(columns)] = True
    return line


def _all_pairs(predicted, truth, max_distance_px):
    """[P, T] distances, and the candidates as `Pairs`."""
    ours, theirs = np.argwhere(predicted), np.argwhere(truth)
    distance = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    first, second = np.nonzero(distance <= max_distance_px)
    return distance, Pairs(first, second, distance[first, second])


def _dense(distance, max_distance_px):
    """Number of pairs and total distance of the best matching, from a full matrix."""
    allowed = distance <= max_distance_px
    rows, columns = linear_sum_assignment(np.where(allowed, distance, 1e5))
    chosen = allowed[rows, columns]
    return chosen.sum(), distance[rows, columns][chosen].sum()


def _maps(num, seed, side=16):
    rng = np.random.default_rng(seed)
    for _ in range(num):
        shape = rng.integers(1, side, 2)
        fill = rng.random(2)
        yield rng.random(shape) < fill[0], rng.random(shape) < fill[1], 6 * rng.random()


def test_match_of_equal_maps_is_all():
    truth = _row(2, 3, 4, 9)
    for found in match(truth, truth, 0.0):
        np.testing.assert_array_equal(found, truth)


def test_match_by_hand():
    # Distance 2 allowed: 5 takes 4 (1 away) or 7 (2). Then 8 takes 7. 15 has nobody.
    predicted, truth = match(_row(5, 8, 15), _row(4, 7, 11), 2.0)
    np.testing.assert_array_equal(np.flatnonzero(predicted[1]), [5, 8])
    np.testing.assert_array_equal(np.flatnonzero(truth[1]), [4, 7])


def test_match_prefers_more_pairs_to_nearer_ones():
    # The nearest pair (5, 5) would leave 7 and 3 alone; both pairs together cost 4 instead of 0.
    predicted, truth = match(_row(5, 7), _row(3, 5), 2.0)
    np.testing.assert_array_equal(np.flatnonzero(predicted[1]), [5, 7])
    np.testing.assert_array_equal(np.flatnonzero(truth[1]), [3, 5])


def test_match_takes_the_nearer_of_two():
    # One true pixel at 10; 9 is 1 away, 12 is 2.
    predicted, _ = match(_row(9, 12), _row(10), 3.0)
    np.testing.assert_array_equal(np.flatnonzero(predicted[1]), [9])


@pytest.mark.parametrize("distance, num", [(4.99, 0), (5.0, 1), (5.01, 1)])
def test_match_includes_the_distance_itself(distance, num):
    predicted, truth = np.zeros((2, 8, 8), bool)
    predicted[1, 1], truth[4, 5] = True, True  # 3 rows and 4 columns apart: 5 px.
    assert match(predicted, truth, distance)[0].sum() == num


def test_match_does_not_reach_round_the_picture():
    left, right = np.zeros((2, 4, 6), bool)
    left[1, 5], right[2, 0] = True, True  # Neighbours in memory.
    assert not match(left, right, 4.0)[0].any()


def test_match_equals_a_dense_assignment():
    for predicted, truth, max_distance_px in _maps(200, seed=0):
        distance, pairs = _all_pairs(predicted, truth, max_distance_px)
        first, second = match_pairs(pairs, *distance.shape)
        num, total = _dense(distance, max_distance_px)
        assert len(first) == len(set(first)) == len(set(second)) == num
        assert (distance[first, second] <= max_distance_px).all()
        assert distance[first, second].sum() == pytest.approx(total, abs=1e-9)
        found = match(predicted, truth, max_distance_px)
        assert found[0].sum() == found[1].sum() == num
        assert (found[0] <= predicted).all() and (found[1] <= truth).all()


def test_match_of_long_lines_equals_a_dense_assignment():
    # Large components, as pictures have: wavy lines, one shifted against the other.
    rng = np.random.default_rng(1)
    for _ in range(5):
        drawn = [
            np.abs(ndimage.gaussian_filter(rng.normal(size=(60, 70)), 4)) < 0.004 for _ in range(2)
        ]
        drawn[1] |= np.roll(drawn[0], 2, axis=1)
        distance, pairs = _all_pairs(*drawn, 4.3)
        first, second = match_pairs(pairs, *distance.shape)
        num, total = _dense(distance, 4.3)
        assert len(first) == num > 100
        assert distance[first, second].sum() == pytest.approx(total, abs=1e-9)


def test_match_counts_do_not_depend_on_the_frame_of_reference():
    for predicted, truth, max_distance_px in _maps(30, seed=2):
        num = match(predicted, truth, max_distance_px)[0].sum()
        turned = match(predicted.T[::-1], truth.T[::-1], max_distance_px)
        assert turned[0].sum() == num
        assert match(truth, predicted, max_distance_px)[0].sum() == num


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (0, 4)])
def test_match_of_narrow_pictures(shape):
    full = np.ones(shape, bool)
    assert all(found.sum() == full.size for found in match(full, full, 2.0))


def test_match_of_empty_maps_is_empty():
    line, nothing = _row(3, 4), _row()
    for pair in ((line, nothing), (nothing, line), (nothing, nothing)):
        assert not np.any(match(*pair, 3.0))


def test_match_with_a_distance_beyond_the_picture():
    predicted, truth = match(_row(0), _row(19), 1e9)
    assert predicted.sum() == truth.sum() == 1


@pytest.mark.parametrize(
    "predicted, truth, distance, message",
    [
        (np.ones((2, 3)), np.ones((3, 2)), 1.0, r"one shape, got \(2, 3\) and \(3, 2\)"),
        (np.ones(3), np.ones(3), 1.0, r"must be \[H, W\]"),
        (np.ones((2, 2)), np.ones((2, 2)), -1.0, "a number >= 0, got -1"),
        (np.ones((2, 2)), np.ones((2, 2)), float("nan"), "a number >= 0, got nan"),
    ],
)
def test_match_raises(predicted, truth, distance, message):
    with pytest.raises(ValueError, match=message):
        match(predicted, truth, distance)
