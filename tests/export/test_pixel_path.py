"""A pixel's similarity with all others, and its path over the loops: by hand and by Eq. 3."""

import numpy as np
import pytest
import tensorflow as tf

from export.pixel_path import SAMPLED_PIXELS, draw_path, follow, principal_plane, similarity_map
from rpe_tf.core.mean_shift import mean_shift

KAPPA = 36.0


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def piles():
    """[10, 12, 3]: left and right halves are piles round two axes, and who is in which."""
    rng = np.random.default_rng(3)
    centre = np.zeros([10, 12, 3], np.float32)
    centre[:, :6, 0] = centre[:, 6:, 1] = 1.0
    return tf.constant(unit(centre + 0.1 * rng.standard_normal(centre.shape)))


def test_similarity_of_equal_right_angled_and_opposite_vectors():
    embedding = tf.constant([[[1.0, 0], [0, 1]], [[-1, 0], [1, 0]]])
    # ½ (1 + cosine) with the pixel in row 1, column 1.
    np.testing.assert_allclose(similarity_map(embedding, (1, 1)), [[1, 0.5], [0, 1]], atol=1e-7)


def test_the_path_is_that_of_mean_shift(piles):
    found = follow(piles, np.ones([10, 12], bool), (2, 3), KAPPA, 2)
    # All 120 pixels are fewer than a sample holds; the pixel clicked is among them once more.
    rows = tf.reshape(piles, [-1, 3])
    points = tf.concat([rows, rows[2 * 12 + 3][tf.newaxis]], axis=0)
    np.testing.assert_array_equal(found.sampled, np.arange(120))
    mean, axes, _ = principal_plane(rows.numpy())
    expected = [(mean_shift(points, KAPPA, t).numpy()[-1] - mean) @ axes for t in range(3)]
    np.testing.assert_allclose(found.path, expected, atol=1e-5)
    ends = (mean_shift(points, KAPPA, 2).numpy()[:-1] - mean) @ axes
    np.testing.assert_allclose(found.end, ends, atol=1e-5)
    np.testing.assert_allclose(found.start[27], found.path[0], atol=1e-6)


def test_the_loops_pull_a_pile_together_and_end_early(piles):
    found = follow(piles, np.ones([10, 12], bool), (2, 3), KAPPA, 50)
    assert 2 <= len(found.path) - 1 < 20
    is_left = found.sampled % 12 < 6
    for side in (is_left, ~is_left):
        assert np.ptp(found.end[side], axis=0).max() < 0.02 < np.ptp(found.start[side])
    np.testing.assert_allclose(found.path[-1], found.end[is_left].mean(axis=0), atol=0.01)


def test_without_loops_the_pixel_stays(piles):
    found = follow(piles, np.ones([10, 12], bool), (0, 0), KAPPA, 0)
    assert found.path.shape == (1, 2)
    np.testing.assert_array_equal(found.start, found.end)


def test_only_pixels_that_are_grouped_are_sampled_and_no_more_than_asked(piles):
    is_grouped = np.zeros([10, 12], bool)
    is_grouped[4] = True
    sampled = follow(piles, is_grouped, (4, 0), KAPPA, 1).sampled
    np.testing.assert_array_equal(sampled, np.arange(48, 60))
    large = tf.tile(piles, [5, 5, 1])
    sampled = follow(large, np.ones([50, 60], bool), (0, 0), KAPPA, 0).sampled
    assert len(np.unique(sampled)) == SAMPLED_PIXELS


def test_principal_plane_of_a_line_and_of_one_point():
    line = np.outer(np.arange(5.0), [0.6, 0.8, 0.0])
    mean, axes, shares = principal_plane(line)
    np.testing.assert_allclose(mean, [1.2, 1.6, 0.0])
    np.testing.assert_allclose(np.abs(axes[:, 0]), [0.6, 0.8, 0.0], atol=1e-12)
    np.testing.assert_allclose(shares, [1, 0], atol=1e-6)
    # Sums of squares 8 and 2 along the axes.
    _, _, shares = principal_plane(np.array([[0, 2.0], [0, -2], [1, 0], [-1, 0]]))
    np.testing.assert_allclose(shares, [0.8, 0.2], atol=1e-6)
    mean, axes, shares = principal_plane(np.array([[0.0, 1.0]]))
    np.testing.assert_array_equal(mean, [0, 1])
    assert axes.shape == (2, 2) and not shares.any()


def test_draw_path_has_the_colours_of_the_instances(piles):
    found = follow(piles, np.ones([10, 12], bool), (2, 3), KAPPA, 5)
    instance = np.ones([10, 12], np.int32)
    red, grey = (np.asarray(draw_path(found, x)) for x in (instance, 0 * instance))
    # The first colour of instances is a pure red; the picture of background has no colour at all.
    assert (red == (255, 0, 0)).all(axis=-1).any()
    assert (grey == grey[..., :1]).all()
