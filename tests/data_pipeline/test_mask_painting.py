"""Masks that overlap: the smaller is in front, and the order of equal ones is fixed."""

import tracemalloc

import numpy as np
import pytest

from data_pipeline.mask_painting import paint_masks


def _mask(text):
    return np.array([[c == "#" for c in row] for row in text.split()])


def test_paint_masks_puts_the_smaller_in_front():
    table, cup = _mask("#### ####"), _mask(".##. ....")
    for masks, expected in (
        ([table, cup], [[1, 2, 2, 1], [1, 1, 1, 1]]),
        ([cup, table], [[2, 1, 1, 2], [2, 2, 2, 2]]),
    ):
        found = paint_masks(masks, (2, 4))
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)


def test_paint_masks_of_equal_area_takes_the_later():
    found = paint_masks([_mask("##."), _mask(".##")], (1, 3))
    np.testing.assert_array_equal(found, [[1, 2, 2]])


def test_paint_masks_equals_the_loop_over_pixels():
    rng = np.random.default_rng(3)
    masks = [rng.random([5, 7]) < fraction for fraction in (0.2, 0.9, 0.5, 0.0, 0.3)]
    expected = np.zeros([5, 7], int)
    for row, column in np.ndindex(5, 7):
        claims = [(mask.sum(), -k, k + 1) for k, mask in enumerate(masks) if mask[row, column]]
        expected[row, column] = min(claims)[2] if claims else 0
    np.testing.assert_array_equal(paint_masks(masks, (5, 7)), expected)


def test_paint_masks_of_none_is_background():
    np.testing.assert_array_equal(paint_masks([], (2, 3)), np.zeros([2, 3]))


def test_paint_masks_refuses_another_size():
    with pytest.raises(ValueError, match=r"mask 1 must have the size \(1, 3\), got \(3, 1\)"):
        paint_masks([_mask("###"), _mask("# # #")], (1, 3))


def test_paint_masks_of_a_generator_holds_one_mask_at_a_time():
    def masks():
        for k in range(100):
            mask = np.zeros([200, 200], bool)
            mask[k, k] = True
            yield mask

    tracemalloc.start()
    found = paint_masks(masks(), (200, 200))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(np.unique(found)) == 101
    # 40,000 bytes a mask and four times that for the map; all masks would be 4,000,000.
    assert peak < 1_000_000
