"""Thinning against scikit-image, which follows the same paper; suppression on drawn ridges."""

import numpy as np
import pytest
from scipy import ndimage

from rpe_tf.metrics.edge_thinning import suppress_non_maxima, thin


def _drawn(*rows):
    return np.array([[mark == "#" for mark in row] for row in rows])


def test_thin_of_a_bar_by_hand():
    # The first subiteration takes a pixel without an east neighbour (x1 = 0), or with one but
    # nothing to the north and something to the south-east (x2 = x3 = 0, x8 = 1): the upper row
    # and the right end. The second does the same from the south and west. The middle row is left,
    # a line, of which no pixel may go: its ends have one neighbour, the others join two.
    bar = np.zeros((5, 9), bool)
    bar[1:4, 1:8] = True
    thinned = thin(bar)
    assert thinned[[0, 1, 3, 4]].sum() == 0
    assert thinned[2, 2:7].all()
    assert not thinned[2, [0, 8]].any()


def test_thin_of_a_line_is_the_line():
    line = _drawn(
        "#......",
        ".#.....",
        "..###..",
        ".....#.",
        "......#",
    )
    np.testing.assert_array_equal(thin(line), line)


def test_thin_of_a_filled_square_is_one_pixel():
    square = np.zeros((9, 9), bool)
    square[2:7, 2:7] = True
    np.testing.assert_array_equal(np.argwhere(thin(square)), [[4, 4]])


def test_thin_equals_scikit_image():
    morphology = pytest.importorskip("skimage.morphology")
    rng = np.random.default_rng(0)
    for _ in range(300):
        boundary = rng.random(rng.integers(1, 30, 2)) < rng.random()
        np.testing.assert_array_equal(thin(boundary), morphology.thin(boundary))


def test_thin_keeps_what_is_connected():
    rng = np.random.default_rng(1)
    around = np.ones((3, 3))
    for _ in range(50):
        boundary = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 2) > 0.05
        thinned = thin(boundary)
        assert (thinned <= boundary).all()
        parts, num_parts = ndimage.label(boundary, around)
        assert ndimage.label(thinned, around)[1] == num_parts
        assert set(np.unique(parts[thinned])) == set(range(1, num_parts + 1))
        np.testing.assert_array_equal(thin(thinned), thinned)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (0, 5)])
def test_thin_of_a_narrow_picture(shape):
    np.testing.assert_array_equal(thin(np.ones(shape)).shape, shape)
    assert thin(np.ones(shape)).any() == (0 not in shape)


def test_thin_leaves_its_input():
    boundary = np.ones((6, 6), np.uint8)
    thin(boundary)
    assert boundary.all()


def test_thin_of_a_stack_raises():
    with pytest.raises(ValueError, match=r"must be \[H, W\], got shape \(2, 3, 4\)"):
        thin(np.ones((2, 3, 4)))


def _ridge(angle_degrees, side=61, width=2.0):
    """A Gaussian ridge through the middle, and each pixel's distance from its crest."""
    rows, columns = np.indices((side, side)) - side // 2
    angle = np.radians(angle_degrees)
    distance = rows * np.cos(angle) - columns * np.sin(angle)
    return np.exp(-0.5 * (distance / width) ** 2), np.abs(distance)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 135, 160])
def test_suppress_non_maxima_keeps_the_crest_alone(degrees):
    ridge, distance = _ridge(degrees)
    kept = suppress_non_maxima(ridge)
    inside = np.s_[8:-8, 8:-8]
    # A pixel nearest to the crest is at most √½ from it; one beyond 1.2 has a higher neighbour.
    assert (distance[inside][kept[inside] > 0] < 1.2).all()
    assert (kept[inside][distance[inside] < 0.3] > 0).all()
    np.testing.assert_array_equal(kept[inside][kept[inside] > 0], ridge[inside][kept[inside] > 0])


def test_suppress_non_maxima_of_a_transposed_map():
    rng = np.random.default_rng(2)
    soft = ndimage.gaussian_filter(rng.random((40, 50)), 2)
    np.testing.assert_allclose(
        suppress_non_maxima(soft.T), suppress_non_maxima(soft).T, rtol=0, atol=1e-12
    )


def test_suppress_non_maxima_damps_the_frame():
    ridge, _ = _ridge(0)
    kept = suppress_non_maxima(ridge)
    # The crest runs along row 30. Distances 0..4 keep 1/6..5/6, from 5 on all of it.
    expected = np.minimum(1, (np.arange(61) + 1) / 6)[:30]
    np.testing.assert_allclose(kept[30, :30], expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_suppress_non_maxima_of_a_narrow_picture(shape):
    assert suppress_non_maxima(np.full(shape, 0.5)).shape == shape


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((2, 2, 2)),), r"must be \[H, W\]"),
        ((np.zeros((2, 2)), 0), "must be >= 1, got 0"),
        ((np.zeros((2, 2)), 1, 0.9), "must be >= 1, got 1 and 0.9"),
    ],
)
def test_suppress_non_maxima_raises(arguments, message):
    with pytest.raises(ValueError, match=message):
        suppress_non_maxima(*arguments)
