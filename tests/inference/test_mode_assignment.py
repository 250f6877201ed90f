"""Modes found on a part of the pixels, and every pixel to its nearest."""

import numpy as np
import pytest

from rpe_tf.inference import mode_assignment
from rpe_tf.inference.mode_assignment import assign_to_modes, find_modes


def of_modes(ids, dim=8):
    """Pixels of the unit vectors of axes, id −1: no direction."""
    return np.vstack([np.eye(dim), np.zeros(dim)]).astype(np.float32)[ids]


def modes_of(pixels, min_area):
    groups = find_modes(pixels, 36.0, max_loops=50, mode_cosine=0.95, min_area=min_area)
    return groups.modes.numpy()


@pytest.mark.parametrize("min_area, stride", [(100, 4), (4, 2), (3, 1), (0, 1)])
def test_find_modes_looks_at_every_kth_pixel_with_a_direction(monkeypatch, min_area, stride):
    seen = []
    monkeypatch.setattr(mode_assignment, "_SAMPLED_PIXELS", 10)
    monkeypatch.setattr(
        mode_assignment, "group", lambda points, *_, **__: seen.append(points.numpy())
    )
    ids = np.where(np.arange(80) % 2, np.arange(80) % 7, -1)
    find_modes(of_modes(ids), 36.0, max_loops=1, mode_cosine=0.95, min_area=min_area)
    np.testing.assert_array_equal(seen[0], of_modes(ids[ids >= 0][::stride]))


def test_find_modes_misses_no_object_of_min_area_among_many_pixels():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, 60_000)
    # Three objects of 20 pixels, each in runs of five as rows of a picture would have them.
    for number, start in enumerate((1000, 30_003, 59_000), start=3):
        for row in range(4):
            ids[start + 100 * row : start + 100 * row + 5] = number
    modes = modes_of(of_modes(ids), min_area=20)
    assert sorted(modes.argmax(axis=1).tolist()) == [0, 1, 2, 3, 4, 5]


def test_find_modes_of_pixels_without_direction_is_one_zero():
    np.testing.assert_array_equal(modes_of(of_modes(np.full(5, -1)), 10), np.zeros([1, 8]))


def test_assign_to_modes_by_hand():
    pixels = of_modes(np.array([0, 0, 0, -1, 1, 1, 2]))
    pixels[-1] = [0.6, 0.8] + [0.0] * 6  # nearest to 1, then to 0
    assigned = assign_to_modes(pixels, np.eye(8, dtype=np.float32)[:2], 1)
    assert assigned.mode.numpy().tolist() == [0, 0, 0, 2, 1, 1, 1]
    assert int(assigned.num_modes) == 2
    np.testing.assert_allclose(assigned.cosine, [1, 1, 1, 0, 1, 1, 0.8], atol=1e-6)
    # The first two gather 3 pixels each; a fourth is asked for: all would go, one stays.
    fewer = assign_to_modes(pixels, np.eye(8, dtype=np.float32)[:2], 4)
    assert fewer.mode.numpy().tolist() == [0, 0, 0, 2, 1, 1, 1]


def test_assign_to_modes_hands_pixels_of_small_modes_on():
    pixels = of_modes(np.array([0, 0, 0, 1]))
    pixels[3] = [0.6, 0.8] + [0.0] * 6
    assigned = assign_to_modes(pixels, np.eye(8, dtype=np.float32)[:2], 2)
    assert assigned.mode.numpy().tolist() == [0, 0, 0, 0] and int(assigned.num_modes) == 1
    np.testing.assert_allclose(assigned.cosine[3], 0.6, atol=1e-6)


def test_assign_to_modes_of_nothing_but_zeros():
    assigned = assign_to_modes(of_modes(np.full(3, -1)), np.zeros([1, 8], np.float32), 5)
    assert assigned.mode.numpy().tolist() == [1, 1, 1] and int(assigned.num_modes) == 1
