"""Connected components against scipy, on maps drawn by hand and on what makes labelling slow."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from rpe_tf.inference.components import connected_components

_TRACED = {
    connectivity: tf.function(
        lambda label, n=connectivity: connected_components(label, n),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    for connectivity in (4, 8)
}


def components(label, connectivity=4):
    return _TRACED[connectivity](tf.constant(label, tf.int32)).numpy()


def oracle(label, connectivity=4):
    """By scipy, a label at a time, numbered by the first pixel row by row."""
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    found, first = np.zeros(label.shape, np.int64), []
    for value in np.unique(label[label > 0]):
        parts, count = ndimage.label(label == value, structure)
        for part in range(1, count + 1):
            first.append(np.flatnonzero(parts == part)[0])
            found[parts == part] = first[-1] + 1
    order = np.concatenate([[0], np.sort(first) + 1]).astype(np.int64)
    return np.searchsorted(order, found)


def spiral(side):
    """A line one pixel wide that winds inwards, one pixel of background between its turns."""
    label = np.zeros([side, side], np.int32)
    y, x, step = 0, 0, (0, 1)
    label[0, 0] = 1

    def is_free(y, x):
        return 0 <= y < side and 0 <= x < side and not label[y, x]

    while True:
        ahead = step
        for step in (ahead, (ahead[1], -ahead[0])):
            beyond = y + 2 * step[0], x + 2 * step[1]
            inside = all(0 <= place < side for place in beyond)
            if is_free(y + step[0], x + step[1]) and (not inside or is_free(*beyond)):
                break
        else:
            return label
        y, x = y + step[0], x + step[1]
        label[y, x] = 1


def comb(side, heights):
    """Teeth in every other column, from the height given there down to a back in the last row."""
    label = np.zeros([side, side], np.int32)
    for column, height in zip(range(0, side, 2), heights, strict=True):
        label[height:, column] = 1
    label[-1] = 1
    return label


def test_connected_components_of_a_map_by_hand():
    label = np.array(
        [
            [5, 5, 0, 2],
            [0, 2, 2, 2],
            [5, 0, -1, 5],
            [5, 5, -1, 2],
        ]
    )
    # Row by row the first pixels are: 5 at the top left, 2 at the top right, 5 below, 5 and 2 on
    # the right. Void and background are 0.
    expected = [[1, 1, 0, 2], [0, 2, 2, 2], [3, 0, 0, 4], [3, 3, 0, 5]]
    assert components(label).tolist() == expected
    assert components(label).dtype == np.int32


def test_connected_components_over_corners_by_hand():
    label = np.array([[1, 0, 1, 2], [0, 1, 2, 1], [1, 0, 1, 2]])
    # Ones: all in one by corners; twos: (0, 3), (1, 2) and (2, 3).
    assert components(label, 8).tolist() == [[1, 0, 1, 2], [0, 1, 2, 1], [1, 0, 1, 2]]
    assert components(label, 4).max() == 9


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("num_labels", [1, 2, 3, 6])
def test_connected_components_equal_scipy_on_noise(connectivity, num_labels):
    rng = np.random.default_rng(num_labels)
    for shape in ((40, 50), (3, 90), (90, 3)):
        label = rng.integers(-1, num_labels + 1, shape)
        np.testing.assert_array_equal(components(label, connectivity), oracle(label, connectivity))
    smooth = ndimage.gaussian_filter(rng.random([80, 90]), 2)
    label = np.digitize(smooth, np.quantile(smooth, [0.3, 0.6, 0.8])).astype(np.int32)
    np.testing.assert_array_equal(components(label, connectivity), oracle(label, connectivity))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_connected_components_of_long_shapes_are_one(connectivity):
    side = 65
    rng = np.random.default_rng(0)
    teeth = len(range(0, side, 2))
    shapes = [
        spiral(side),
        comb(side, np.zeros(teeth, int)),
        comb(side, np.arange(teeth)),
        comb(side, np.arange(teeth)[::-1]),
        comb(side, rng.integers(0, side - 1, teeth)),
    ]
    assert shapes[0].sum() > side**2 / 2 - side
    for shape in shapes:
        for label in (shape, shape[::-1], shape[:, ::-1], shape.T, shape.T[::-1]):
            np.testing.assert_array_equal(components(label, connectivity), label)


def test_connected_components_of_a_checkerboard():
    label = np.indices([9, 8]).sum(axis=0) % 2
    assert components(label, 4).max() == 36
    assert components(label, 8).max() == 1
    assert components(label + 1, 4).max() == 72


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_connected_components_of_small_and_empty_maps(shape, connectivity):
    for value in (0, 3, -1):
        label = np.full(shape, value, np.int32)
        expected = np.full(shape, 1 if value > 0 else 0)
        for found in (components(label, connectivity), connected_components(label, connectivity)):
            np.testing.assert_array_equal(found, expected)


def test_connected_components_of_a_flipped_map_are_the_same_regions():
    label = np.random.default_rng(1).integers(0, 3, [30, 31])
    for flip in (np.flipud, np.fliplr, np.transpose):
        found, flipped = components(label), flip(components(flip(label)))
        pairs = {*zip(found.ravel().tolist(), flipped.ravel().tolist(), strict=True)}
        assert len(pairs) == found.max() + 1 == flipped.max() + 1


def test_connected_components_refuses_other_connectivities():
    with pytest.raises(ValueError, match=r"must be one of \(4, 8\), got 6"):
        connected_components(np.ones([2, 2], np.int32), 6)
