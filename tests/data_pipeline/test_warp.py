"""Resampling: against values by hand, SciPy and TensorFlow Addons, and against geometry itself."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from data_pipeline import color, warp

_SAME_COLOR = color.compose_colors()
# Few sizes in all of this file: each one is compiled.
_SIZE = (40, 56)


def _compiled(image, maps, matrix, size, colors=_SAME_COLOR):
    image, maps = warp.resample(tf.constant(image), maps, matrix, colors, tuple(size))
    return image.numpy(), {name: labels.numpy() for name, labels in maps.items()}


def _plain(image, maps, matrix, size, colors=_SAME_COLOR):
    size = tuple(tf.constant(side) for side in size)
    image, maps = warp.resample(tf.constant(image), maps, matrix, colors, size)
    return image.numpy(), {name: labels.numpy() for name, labels in maps.items()}


def _grey(rows):
    return np.repeat(np.array(rows, np.uint8)[..., np.newaxis], 3, axis=2)


def _random_picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return image, rng.integers(-1, 65535, (height, width)).astype(np.int32)


def _random_matrix(source, output, seed):
    """A turn, a scaling and a shear about the centres, and a shift."""
    rng = np.random.default_rng(seed)
    shear = tf.constant([[1.0, rng.uniform(-0.3, 0.3), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return warp.compose(
        warp.translation(source[1] / 2 + rng.uniform(-5, 5), source[0] / 2 + rng.uniform(-5, 5)),
        warp.horizontal_flip(bool(seed % 2), 0.0),
        warp.scaling(rng.uniform(0.5, 2)),
        shear,
        warp.rotation(rng.uniform(-math.pi, math.pi)),
        warp.translation(-output[1] / 2, -output[0] / 2),
    )


def _source_of_centres(matrix, size):
    """x and y [H, W] float64 of the source points of all output pixels."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    matrix = np.asarray(matrix, np.float64)
    return tuple(matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] for k in (0, 1))


def _is_near_whole(*coordinates):
    """Where float32 may decide between two pixels one way or the other."""
    return np.any([np.abs(c - np.round(c)) < 1e-3 for c in coordinates], axis=0)


@pytest.mark.parametrize("resample", [_plain, _compiled])
def test_horizontal_flip_swaps_left_and_right(resample):
    image, labels = _grey([[1, 2, 3], [4, 5, 6]]), np.array([[1, 2, 3], [4, 5, -1]], np.int32)
    flipped, maps = resample(image, {"a": labels}, warp.horizontal_flip(True, 3), (2, 3))
    np.testing.assert_array_equal(flipped, _grey([[3, 2, 1], [6, 5, 4]]))
    np.testing.assert_array_equal(maps["a"], [[3, 2, 1], [-1, 5, 4]])
    same, maps = resample(image, {"a": labels}, warp.horizontal_flip(False, 3), (2, 3))
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(maps["a"], labels)


def test_rotation_by_a_right_angle_is_clockwise():
    image, labels = _grey([[1, 2, 3], [4, 5, 6]]), np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    # Turned about its upper left corner the picture lies left of it, at x from -2 to 0.
    matrix = warp.compose(warp.rotation(math.pi / 2), warp.translation(-2.0, 0.0))
    turned, maps = _plain(image, {"a": labels}, matrix, (3, 2))
    np.testing.assert_array_equal(maps["a"], [[4, 1], [5, 2], [6, 3]])
    np.testing.assert_array_equal(turned, _grey([[4, 1], [5, 2], [6, 3]]))


def test_scaling_keeps_the_corner():
    image, labels = _grey([[10, 30]]), np.array([[7, 8]], np.int32)
    larger, maps = _plain(image, {"a": labels}, warp.scaling(2.0), (2, 4))
    # Centres 0.5, 1.5, 2.5, 3.5 lie at 0.25, 0.75, 1.25, 1.75 in the source, whose centres are at
    # 0.5 and 1.5: 10 at the edge, then 10 + 0.25 * 20 and 10 + 0.75 * 20, and 30 at the edge.
    np.testing.assert_array_equal(larger, _grey([[10, 15, 25, 30]] * 2))
    np.testing.assert_array_equal(maps["a"], [[7, 7, 8, 8]] * 2)
    smaller, _ = _plain(_grey([[10, 30, 50, 90]] * 2), {}, warp.scaling(0.5), (1, 2))
    # Each pixel covers two by two: (10 + 30) / 2 and (50 + 90) / 2.
    np.testing.assert_array_equal(smaller, _grey([[20, 70]]))


def test_translation_shows_a_point_at_the_origin():
    image, labels = _random_picture(5, 6)
    shifted, maps = _plain(image, {"a": labels}, warp.translation(2.0, 1.0), (4, 4))
    np.testing.assert_array_equal(shifted, image[1:, 2:])
    np.testing.assert_array_equal(maps["a"], labels[1:, 2:])


def test_compose_does_first_what_is_named_first():
    # The point (1, 0) enlarged twice is at (2, 0), and then shifted by 5 at (7, 0).
    matrix = warp.compose(warp.scaling(2.0), warp.translation(-5.0, 0.0))
    np.testing.assert_allclose(matrix @ tf.constant([[7.0], [0.0], [1.0]]), [[1], [0], [1]])


@pytest.mark.parametrize("resample", [_plain, _compiled])
def test_resample_interpolates_between_four_pixels(resample):
    image = np.array([[[10, 0, 7], [30, 100, 7]], [[50, 200, 7], [90, 40, 8]]], np.uint8)
    # The centre of the output pixel, (0.5, 0.5), is seen at (0.75, 1.25): a quarter of the way
    # from the first column of centres to the second, three quarters from the first row.
    found, _ = resample(image, {}, warp.translation(0.25, 0.75), (1, 1))
    red = 0.25 * (0.75 * 10 + 0.25 * 30) + 0.75 * (0.75 * 50 + 0.25 * 90)  # 48.75
    green = 0.25 * (0.75 * 0 + 0.25 * 100) + 0.75 * (0.75 * 200 + 0.25 * 40)  # 126.25
    blue = 7 + 0.75 * 0.25  # 7.1875
    np.testing.assert_array_equal(found, [[[round(red), round(green), round(blue)]]])


@pytest.mark.parametrize("seed", range(6))
def test_resample_is_scipys(seed):
    source = (31, 45)
    image, labels = _random_picture(*source, seed)
    matrix = _random_matrix(source, _SIZE, seed)
    found, maps = _compiled(image, {"a": labels}, matrix, _SIZE)
    # SciPy counts rows first and has pixel centres at whole numbers.
    x, y = _source_of_centres(matrix, _SIZE)
    centres = np.stack([y - 0.5, x - 0.5])
    smooth = np.stack(
        [
            ndimage.map_coordinates(channel, centres, order=1, mode="nearest")
            for channel in np.moveaxis(image.astype(np.float64), 2, 0)
        ],
        axis=2,
    )
    # Half a grey level of rounding; 255 times float32's error of a coordinate.
    np.testing.assert_allclose(found, smooth, atol=0.51)
    nearest = ndimage.map_coordinates(labels, centres, order=0, mode="grid-constant", cval=-1)
    decided = ~_is_near_whole(x, y)
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(maps["a"][decided], nearest[decided])


@pytest.mark.parametrize("seed", range(3))
def test_resample_is_that_of_addons(seed):
    tfa = pytest.importorskip("tensorflow_addons")
    source = (31, 45)
    image, labels = _random_picture(*source, seed)
    matrix = _random_matrix(source, _SIZE, seed)
    found, maps = _compiled(image, {"a": labels}, matrix, _SIZE)
    # Addons have pixel centres at whole numbers: index = M (index + ½) - ½.
    rows = matrix[:2].numpy().astype(np.float64)
    rows[:, 2] += rows[:, :2].sum(axis=1) / 2 - 0.5
    vector = [*rows.ravel(), 0.0, 0.0]

    def transform(picture, interpolation, fill):
        return tfa.image.transform(
            tf.constant(picture, tf.float32), vector, interpolation, fill, _SIZE, fill_value=-1.0
        ).numpy()

    np.testing.assert_allclose(found, transform(image, "bilinear", "nearest"), atol=0.52)
    decided = ~_is_near_whole(*_source_of_centres(matrix, _SIZE))
    expected = transform(labels[..., np.newaxis], "nearest", "constant")[..., 0]
    np.testing.assert_array_equal(maps["a"][decided], expected[decided])


def test_rotation_is_that_of_addons():
    tfa = pytest.importorskip("tensorflow_addons")
    image, labels = _random_picture(*_SIZE)
    height, width = _SIZE
    matrix = warp.compose(
        warp.translation(width / 2, height / 2),
        warp.rotation(-0.3),  # Addons turn anticlockwise.
        warp.translation(-width / 2, -height / 2),
    )
    found, maps = _compiled(image, {"a": labels}, matrix, _SIZE)
    turned = tfa.image.rotate(tf.constant(image, tf.float32), 0.3, "bilinear", "nearest")
    np.testing.assert_allclose(found, turned, atol=0.52)
    expected = tfa.image.rotate(
        tf.constant(labels[..., np.newaxis], tf.float32), 0.3, "nearest", fill_value=-1.0
    )
    decided = ~_is_near_whole(*_source_of_centres(matrix, _SIZE))
    np.testing.assert_array_equal(maps["a"][decided], expected.numpy()[decided, 0])


@pytest.mark.parametrize("seed", range(4))
def test_resample_compiled_is_plain(seed):
    source = (31, 45)
    image, labels = _random_picture(*source, seed)
    matrix = _random_matrix(source, _SIZE, seed)
    colors = color.compose_colors(color.contrast_matrix(1.3), color.hue_matrix(0.2))
    first, first_maps = _compiled(image, {"a": labels}, matrix, _SIZE, colors)
    second, second_maps = _plain(image, {"a": labels}, matrix, _SIZE, colors)
    np.testing.assert_allclose(first.astype(int), second.astype(int), atol=1)
    decided = ~_is_near_whole(*_source_of_centres(matrix, _SIZE))
    np.testing.assert_array_equal(first_maps["a"][decided], second_maps["a"][decided])


def test_resample_forth_and_back_returns_a_smooth_picture():
    height, width = _SIZE
    y, x = np.mgrid[:height, :width] + 0.5
    wave = 127 + 100 * np.sin(2 * math.pi * x / 40) * np.cos(2 * math.pi * y / 30)
    image = np.repeat(np.rint(wave).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    forth = warp.compose(
        warp.translation(width / 2, height / 2),
        warp.rotation(0.15),
        warp.translation(-width / 2, -height / 2),
    )
    there, _ = _compiled(image, {}, forth, _SIZE)
    again, _ = _compiled(there, {}, tf.linalg.inv(forth), _SIZE)
    # Linear interpolation errs by at most (|f_xx| + |f_yy|) / 8 a pass; three pictures are rounded.
    bound = 2 * (100 * (2 * math.pi / 40) ** 2 + 100 * (2 * math.pi / 30) ** 2) / 8 + 3 * 0.5
    inner = np.hypot(x - width / 2, y - height / 2) < min(height, width) / 2 - 1
    error = np.abs(again[..., 0] - wave)[inner]
    assert error.max() < bound
    assert error.max() > 0.5  # Or nothing was resampled.


@pytest.mark.parametrize("seed", range(4))
def test_a_boundary_moves_alike_in_image_and_labels(seed):
    source = (60, 64)
    rng = np.random.default_rng(seed)
    centre, radius = rng.uniform(25, 35, 2), rng.uniform(10, 18)
    y, x = np.mgrid[: source[0], : source[1]] + 0.5
    # Of a disc with an edge one pixel wide, mid-level is where the label changes.
    inside = np.clip(radius - np.hypot(x - centre[0], y - centre[1]) + 0.5, 0, 1)
    image = np.repeat(np.rint(255 * inside).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    labels = (inside > 0.5).astype(np.int32)
    matrix = warp.compose(
        warp.horizontal_flip(bool(seed % 2), source[1]),
        warp.scaling(rng.uniform(0.6, 1.5)),
        warp.rotation(rng.uniform(-0.2, 0.2)),
        warp.translation(*rng.uniform(-3, 3, 2)),
    )
    scale = abs(np.linalg.det(matrix[:2, :2])) ** -0.5
    found, maps = _compiled(image, {"a": labels}, matrix, _SIZE)
    warped_x, warped_y = _source_of_centres(matrix, _SIZE)
    # How far within the disc each output pixel's centre is, in output pixels.
    depth = scale * (radius - np.hypot(warped_x - centre[0], warped_y - centre[1]))
    # The label of the source pixel may be decided half a source diagonal away.
    half_source = scale * math.sqrt(0.5)
    covered = maps["a"] >= 0
    assert (depth[covered & (maps["a"] == 1)] > -half_source).all()
    assert (depth[covered & (maps["a"] == 0)] < half_source).all()
    # Bilinear reading is closer: a tenth of a source pixel, from the curvature of the disc.
    is_bright = found[..., 0] > 127
    assert (depth[covered & is_bright] > -0.1 * scale).all()
    assert (depth[covered & ~is_bright] < 0.1 * scale).all()
    # On the average over the boundary there is no shift at all between the two.
    shift = (maps["a"][covered].sum() - is_bright[covered].sum()) / (2 * math.pi * radius * scale)
    assert abs(shift) < 0.1


def test_resample_of_a_straight_edge_is_exact():
    # An edge at x = 20 between columns; enlarged by 1.5 it is at 30, shifted by 4 at 26.
    labels = np.repeat((np.arange(45) >= 20)[np.newaxis].astype(np.int32), 31, axis=0)
    matrix = warp.compose(warp.scaling(1.5), warp.translation(4.0, 0.0))
    found, maps = _compiled(_grey(255 * labels), {"a": labels}, matrix, _SIZE)
    covered = maps["a"] >= 0
    expected = np.broadcast_to(np.arange(_SIZE[1]) >= 26, _SIZE)
    np.testing.assert_array_equal(maps["a"][covered], expected[covered])
    np.testing.assert_array_equal(found[covered, 0] > 127, expected[covered])


def test_resample_makes_void_of_what_is_not_covered_and_of_nothing_else():
    source = (31, 45)
    image, _ = _random_picture(*source)
    labels = np.zeros(source, np.int32)
    for seed in range(6):
        matrix = _random_matrix(source, _SIZE, seed)
        _, maps = _compiled(image, {"a": labels}, matrix, _SIZE)
        x, y = _source_of_centres(matrix, _SIZE)
        is_covered = (x >= 0) & (x < source[1]) & (y >= 0) & (y < source[0])
        decided = ~_is_near_whole(x, y)
        np.testing.assert_array_equal(
            maps["a"][decided], np.where(is_covered, 0, -1)[decided], err_msg=f"seed {seed}"
        )


def test_resample_repeats_the_edge_where_nothing_is_covered():
    image, labels = _random_picture(3, 4)
    found, maps = _plain(image, {"a": labels}, warp.translation(-2.0, -1.0), (6, 9))
    padded = np.pad(image, [(1, 2), (2, 3), (0, 0)], mode="edge")
    np.testing.assert_array_equal(found, padded)
    np.testing.assert_array_equal(maps["a"], np.pad(labels, [(1, 2), (2, 3)], constant_values=-1))


def test_resample_changes_colour_after_interpolating_and_clips():
    image = np.array([[[0, 0, 0], [255, 200, 10]]], np.uint8)
    brighter, _ = _plain(
        image, {}, warp.translation(0.5, 0.0), (1, 1), color.brightness_matrix(0.2)
    )
    # Half-way 127.5, 100, 5; plus 51. Clipped before, 255 + 51 would have been 255.
    np.testing.assert_array_equal(brighter, [[[178, 151, 56]]])
    clipped, _ = _plain(image, {}, tf.eye(3), (1, 2), color.brightness_matrix(-0.5))
    np.testing.assert_array_equal(clipped, [[[0, 0, 0], [128, 72, 0]]])
    clipped, _ = _plain(image, {}, tf.eye(3), (1, 2), color.brightness_matrix(0.9))
    np.testing.assert_array_equal(clipped, [[[230, 230, 230], [255, 255, 240]]])


# Sides of one pixel, and pictures that just fit a buffer and just do not.
@pytest.mark.parametrize("source", [(1, 1), (1, 9), (9, 1), (6, 8), (7, 7), (6, 9), (13, 8)])
def test_resample_of_any_size_can_be_the_identity(source):
    image, labels = _random_picture(*source)
    for resample in (_plain, _compiled) if source in ((1, 1), (7, 7)) else (_plain,):
        found, maps = resample(image, {"a": labels}, tf.eye(3), source)
        np.testing.assert_array_equal(found, image)
        np.testing.assert_array_equal(maps["a"], labels)


def test_resample_keeps_large_ids_and_all_void():
    labels = np.array([[65534, 2**24 + 1, 2**31 - 1], [0, -1, 254]], np.int32)
    maps = {"ids": labels, "void": np.full((2, 3), -1, np.int32), "more": labels[::-1]}
    _, found = _compiled(np.zeros((2, 3, 3), np.uint8), maps, tf.eye(3), (2, 3))
    for name, expected in maps.items():
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("is_static", [True, False])
def test_resample_is_compiled_where_the_size_is_static(is_static):
    size = (2, 3) if is_static else (tf.constant(2), tf.constant(3))
    traced = tf.function(
        lambda image: warp.resample(image, {}, tf.eye(3), _SAME_COLOR, size), autograph=False
    ).get_concrete_function(tf.TensorSpec([None, None, 3], tf.uint8))
    functions = traced.graph.as_graph_def().library.function
    assert any(function.attr["_XlaMustCompile"].b for function in functions) == is_static


def test_resample_refuses_a_map_of_another_size():
    with pytest.raises(tf.errors.InvalidArgumentError):
        _plain(np.zeros((2, 3, 3), np.uint8), {"a": np.zeros((2, 4), np.int32)}, tf.eye(3), (2, 3))
