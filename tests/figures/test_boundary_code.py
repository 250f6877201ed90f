"""Normals, signed distances, and how well a linear map reads them from an embedding."""

import numpy as np
import pytest

from rpe_tf.figures import boundary_code
from rpe_tf.figures.boundary_code import (
    disc_picture,
    disc_targets,
    discs,
    moments,
    picture_targets,
    r_squared,
)


def _edge(height=20, width=30, column=14):
    """Dark left of a column, bright right of it, halfway on it; the boundary is the column."""
    image = np.full([height, width, 3], 40, np.uint8)
    image[:, column], image[:, column + 1 :] = 120, 200
    boundary = np.zeros([height, width], bool)
    boundary[:, column] = True
    return image, boundary


def _maps(targets):
    """Targets as [H, W, 3], nan where they are undefined."""
    maps = np.full([*targets.is_used.shape, 3], np.nan)
    maps[targets.is_used] = targets.values
    return maps


def test_picture_targets_of_a_vertical_edge():
    maps = _maps(picture_targets(*_edge()))
    # Bright is to the right: the normal is (1, 0), the distance that of the columns.
    np.testing.assert_array_equal(maps[7, 12:17, 2], [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(maps[7, 8:21, :2], np.tile([1.0, 0.0], [13, 1]), atol=1e-12)
    # 6 pixels on either side, no more: columns 8 to 20.
    assert np.isfinite(maps[:, 8:21]).all()
    assert np.isnan(maps[:, :8]).all() and np.isnan(maps[:, 21:]).all()


def test_picture_targets_of_an_edge_turned_and_inverted():
    image, boundary = _edge()
    # Transposed, bright is below: the normal is (0, 1), φ = 90° from columns towards rows.
    below = _maps(picture_targets(image.transpose(1, 0, 2), boundary.T))
    np.testing.assert_allclose(below[14, 7], [0, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(below[12:17, 7, 2], [-2, -1, 0, 1, 2])
    # Inverted, bright is to the left: both the normal and the side's sign turn.
    inverted = _maps(picture_targets(255 - image, boundary))
    np.testing.assert_allclose(inverted[7, 14], [-1, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(inverted[7, 12:17, 2], [2, 1, 0, -1, -2])


def test_picture_targets_weighs_colours_as_luminance():
    # Blue 200 gives 22.8 of luminance, green 100 gives 58.7: the green side is the brighter one.
    image = np.zeros([9, 21, 3], np.uint8)
    image[:, :10, 2], image[:, 10:, 1] = 200, 100
    boundary = np.zeros([9, 21], bool)
    boundary[:, 10] = True
    np.testing.assert_allclose(_maps(picture_targets(image, boundary))[4, 12], [1, 0, 2], atol=1e-9)


def test_picture_targets_leaves_out_what_is_on_neither_side():
    image, boundary = _edge()
    boundary[10:] = False  # The line ends in row 9; below it, straight on, is neither side.
    is_used = picture_targets(image, boundary).is_used
    assert is_used[9, 14] and not is_used[10:, 14].any()
    # Beside that, the end is the nearest pixel: (11, 16) is 2 columns and 2 rows off, 8^½ pixels.
    maps = _maps(picture_targets(image, boundary))
    np.testing.assert_allclose(maps[11, 16], [1, 0, 8**0.5], atol=1e-12)


def test_picture_targets_without_gradient_or_boundary_are_none():
    image, boundary = _edge()
    for found in (
        picture_targets(np.full_like(image, 90), boundary),
        picture_targets(image, np.zeros_like(boundary)),
    ):
        assert not found.is_used.any()
        assert found.values.shape == (0, 3)


def test_picture_targets_exception_raised():
    image, boundary = _edge()
    with pytest.raises(ValueError, match=r"got \(20, 30, 3\) and \(20, 29\)"):
        picture_targets(image, boundary[:, :-1])


def test_disc_picture_preset():
    # Ground 128 − 60 / 2 = 98, disc 158; the pixel 40 from the centre is half covered: 128.
    image = disc_picture(40.0, 60.0, (80.0, 79.0), seed=3).astype(float)
    assert image.shape == (160, 160, 3)
    rows, columns = np.indices([160, 160])
    far = np.hypot(rows - 80, columns - 79)
    # Means of thousands of values whose noise has a standard deviation of 4.
    assert image[far < 39].mean() == pytest.approx(158, abs=0.3)
    assert image[far > 41].mean() == pytest.approx(98, abs=0.3)
    assert image[far > 41].std() == pytest.approx(4, abs=0.2)
    edge = np.mean([disc_picture(40.0, 60.0, (80.0, 79.0), seed)[80, 119] for seed in range(99)])
    assert edge == pytest.approx(128, abs=1)
    dark = disc_picture(40.0, -60.0, (80.0, 79.0), seed=3).astype(float)
    assert dark[far < 39].mean() == pytest.approx(98, abs=0.3)


def test_disc_targets_preset():
    maps = _maps(disc_targets(40.0, (80.0, 79.0)))
    np.testing.assert_allclose(maps[80, 79 + 42], [1, 0, 2])  # to the right, outside
    np.testing.assert_allclose(maps[80 - 37, 79], [0, -1, -3], atol=1e-12)  # above, inside
    # 24² + 32² = 40²: on the circle, the normal (0.6, 0.8).
    np.testing.assert_allclose(maps[80 + 32, 79 + 24], [0.6, 0.8, 0], atol=1e-12)
    assert np.isfinite(maps[80, 79 + 46]).all() and np.isnan(maps[80, 79 + 47]).all()
    assert np.isnan(maps[80, 79]).all()


def test_disc_targets_agree_with_picture_targets():
    # A light disc's normal points inward, to the bright side; a dark one's outward, as ours.
    centre_px, radius_px = (81.3, 77.6), 40.0
    expected = _maps(disc_targets(radius_px, centre_px))
    boundary = np.abs(np.nan_to_num(expected[..., 2], nan=9)) < 0.5
    found = _maps(picture_targets(disc_picture(radius_px, -120.0, centre_px), boundary))
    both = np.isfinite(found[..., 2]) & np.isfinite(expected[..., 2])
    assert both.sum() > 2500
    # Off by the pixels of the boundary, half a pixel, and the noise in the gradient.
    assert np.abs(found - expected)[both][:, 2].max() < 1
    assert (found[both][:, :2] * expected[both][:, :2]).sum(axis=-1).mean() > 0.99


def test_disc_targets_exception_raised():
    with pytest.raises(ValueError, match="must be above 6, got 6"):
        disc_targets(6.0, (80.0, 80.0))


def test_discs_differ_between_fit_and_score():
    for is_light in (False, True):
        fitted, scored = discs(is_light, False), discs(is_light, True)
        pictures = [image for image, _ in (*fitted, *scored)]
        assert len({image.tobytes() for image in pictures}) == 8
        for found, radii in ((fitted, [24, 24, 40, 40]), (scored, [32, 32, 48, 48])):
            # A ring 12 pixels wide has 2 π r · 12 pixels.
            measured = [len(targets.values) / (24 * np.pi) for _, targets in found]
            np.testing.assert_allclose(measured, radii, rtol=0.02)
        for image, targets in (*fitted, *scored):
            # Both sides in full: of a ring 12 pixels wide within the picture, inside is half.
            assert 0.4 < (targets.values[:, 2] < 0).mean() < 0.5
            inside = image.mean(axis=-1)[targets.is_used][targets.values[:, 2] < -1].mean()
            assert (inside > 128) == is_light


def _random_targets(seed, n=4000):
    rng = np.random.default_rng(seed)
    phi, distance = rng.uniform(0, 2 * np.pi, n), rng.uniform(-6, 6, n)
    return np.stack([np.cos(phi), np.sin(phi), distance], axis=-1)


def test_r_squared_of_the_code_itself_is_1():
    a, b = _random_targets(0), _random_targets(1)
    # Scaled, mixed and shifted: a linear map with intercept undoes it.
    mix, shift = np.array([[1.0, 2, 0], [0, 1, 0.5], [3, 0, 0.1]]), np.array([5.0, -3, 2])
    fitted, scored = moments(a @ mix + shift, a), moments(b @ mix + shift, b)
    np.testing.assert_allclose(r_squared(fitted, scored, range(3)), 1, atol=1e-9)


def test_r_squared_reads_only_the_columns_given():
    a, b = _random_targets(0), _random_targets(1)
    found = r_squared(moments(a, a), moments(b, b), [2])
    assert found[2] == pytest.approx(1, abs=1e-9)
    assert np.abs(found[:2]).max() < 0.01


def test_r_squared_of_the_side_alone_is_three_quarters_of_the_distance():
    a, b = _random_targets(0, 40000), _random_targets(1, 40000)
    fitted, scored = moments(np.sign(a[:, 2:]), a), moments(np.sign(b[:, 2:]), b)
    # E (d − 3 sign d)² = 6²/12 = 3, E d² = 12²/12 = 12; standard error about 0.003.
    assert r_squared(fitted, scored, [0])[2] == pytest.approx(1 - 3 / 12, abs=0.01)


def test_r_squared_of_noise_and_of_a_constant_is_at_most_about_0():
    a, b = _random_targets(0), _random_targets(1)
    noise = np.random.default_rng(2).normal(size=[2, 4000, 3])
    found = r_squared(moments(noise[0], a), moments(noise[1], b), range(3))
    assert np.abs(found).max() < 0.01
    constant = np.ones([4000, 3])
    found = r_squared(moments(constant, a), moments(constant, b), range(3))
    assert (found <= 1e-12).all() and (found > -0.01).all()


def test_r_squared_is_scored_on_pixels_not_fitted():
    # 6 pixels and 6 weights: the fit is exact on them whatever they are, and worthless elsewhere.
    rng = np.random.default_rng(0)
    a, b = _random_targets(0, 6), _random_targets(1, 500)
    fitted = moments(rng.normal(size=[6, 5]), a)
    scored = moments(rng.normal(size=[500, 5]), b)
    np.testing.assert_allclose(r_squared(fitted, fitted, range(5)), 1, atol=1e-6)
    assert (r_squared(fitted, scored, range(5)) < 0).all()


def test_r_squared_equals_the_definition_pixel_by_pixel():
    rng = np.random.default_rng(3)
    (a, b), x = (_random_targets(0, 300), _random_targets(1, 200)), rng.normal(size=[500, 4])
    x[:300, :3] += a
    x[300:, :3] += b
    with_ones = np.concatenate([np.ones([500, 1]), x], axis=-1)
    weights = np.linalg.lstsq(with_ones[:300], a, rcond=None)[0]
    error = ((with_ones[300:] @ weights - b) ** 2).sum(axis=0)
    expected = 1 - error / ((b - b.mean(axis=0)) ** 2).sum(axis=0)
    # Moments of parts add up to those of the whole.
    fitted = moments(x[:100], a[:100]) + moments(x[100:300], a[100:])
    found = r_squared(fitted, moments(x[300:], b), range(4))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert (expected > 0.1).all()


def test_r_squared_is_nan_where_undefined():
    a = _random_targets(0, 50)
    full, empty = moments(a, a), moments(a[:0], a[:0])
    assert np.isnan(r_squared(full, empty, range(3))).all()
    assert np.isnan(r_squared(empty, full, range(3))).all()
    same = np.array([[1.0, 0.0, 2.0]]) * np.ones([50, 1])
    assert np.isnan(r_squared(full, moments(a, same), range(3))).all()


def test_table_has_a_row_a_branch_and_dashes_where_undefined():
    one = {"orientation_r2": 0.25, "signed_distance_r2": None}
    scores = {"before": None, "after": {"branch_2": one}, "without_model": {"colours": one}}
    lines = boundary_code.table({"discs": scores, "pictures": scores}).splitlines()
    assert [line.split() for line in lines] == [
        ["R²", "within", "6", "px", "discs", "pictures"],
        ["orientation", "distance", "orientation", "distance"],
        ["branch", "2", "after", "0.250", "-", "0.250", "-"],
        ["colours", "without", "model", "0.250", "-", "0.250", "-"],
    ]
