"""Pictures checked pixel by pixel where that can be said in advance."""

import colorsys

import numpy as np
import pytest

from rpe_tf.drawing import (
    contact_sheet,
    embedding_to_rgb,
    instance_colors,
    overlay,
    paint_instances,
)


def _unit(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_instance_colors_first_is_red_and_all_follow_hsv():
    colors = instance_colors(12)
    assert colors.dtype == np.uint8 and colors.shape == (12, 3)
    assert colors[0].tolist() == [255, 0, 0]
    for k, color in enumerate(colors):
        hue = k * (5**0.5 - 1) / 2 % 1
        expected = colorsys.hsv_to_rgb(hue, 1 - 0.2 * (k % 3), 1 - 0.15 * (k % 2))
        np.testing.assert_allclose(color, 255 * np.array(expected), atol=0.5 + 1e-9)


def test_instance_colors_are_distinct_and_saturated():
    colors = instance_colors(400).astype(int)
    assert len(np.unique(colors, axis=0)) == 400
    assert (colors.max(axis=1) - colors.min(axis=1)).min() > 100
    np.testing.assert_array_equal(instance_colors(7), colors[:7])
    assert instance_colors(0).shape == (0, 3)


def test_instance_colors_rejects_negative():
    with pytest.raises(ValueError, match=">= 0"):
        instance_colors(-1)


def test_paint_instances_background_black_void_grey():
    painted = paint_instances(np.array([[0, -1, 1], [2, 2, 70_000]]))
    assert painted.dtype == np.uint8
    assert painted[0, :2].tolist() == [[0, 0, 0], [128, 128, 128]]
    np.testing.assert_array_equal(painted[0, 2], instance_colors(1)[0])
    np.testing.assert_array_equal(painted[1, :2], instance_colors(2)[[1, 1]])
    np.testing.assert_array_equal(painted[1, 2], instance_colors(70_000)[-1])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
def test_paint_instances_same_for_all_dtypes(dtype):
    instance = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(
        paint_instances(instance.astype(dtype)), paint_instances(instance)
    )


@pytest.mark.parametrize("instance", [np.zeros((2, 2)), np.zeros(4, int)])
def test_paint_instances_rejects(instance):
    with pytest.raises(ValueError, match="integers"):
        paint_instances(instance)


def test_overlay_by_hand():
    image = np.full((5, 7, 3), 100, np.uint8)
    instance = np.zeros((5, 7), int)
    instance[1:4, 1:5] = 1
    instance[0, 6] = -1
    drawn = overlay(image, instance, opacity=0.25)
    # Inside: 0.75 x 100 + 0.25 x (255, 0, 0), 138.75 and 75. Outline: red. Void: 0.75 x 100 + 32.
    expected = image.copy()
    expected[1:4, 1:5] = (255, 0, 0)
    expected[2, 2:4] = (139, 75, 75)
    expected[0, 6] = 107
    np.testing.assert_array_equal(drawn, expected)


def test_overlay_frame_is_no_outline_and_touching_instances_have_two():
    instance = np.array([[1, 1, 2, 2]] * 2)
    drawn = overlay(np.zeros((2, 4, 3), np.uint8), instance, opacity=0)
    colors = instance_colors(2)
    for row in drawn:
        np.testing.assert_array_equal(row, [[0, 0, 0], colors[0], colors[1], [0, 0, 0]])


@pytest.mark.parametrize(
    "image, instance, opacity, message",
    [
        (np.zeros((2, 2, 3)), np.zeros((2, 2), int), 0.5, "uint8"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), int), 0.5, "uint8"),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), int), 0.5, "height and width"),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), int), 1.5, "opacity"),
    ],
)
def test_overlay_rejects(image, instance, opacity, message):
    with pytest.raises(ValueError, match=message):
        overlay(image, instance, opacity)


def test_embedding_to_rgb_of_three_dimensions_by_hand():
    # (x + 1) / 2 x 255: -1 -> 0, 0 -> 127.5 (to even: 128), 0.6 -> 204, 0.8 -> 229.5 (230).
    rgb = embedding_to_rgb(np.array([[[-1.0, 0, 0], [0, 0.6, 0.8], [0, 0, 1]]]))
    assert rgb.tolist() == [[[0, 128, 128], [128, 204, 230], [128, 128, 255]]]


def test_embedding_to_rgb_accepts_the_rounding_of_float16():
    next_above_one = np.nextafter(np.float16(1), np.float16(2))
    embedding = np.array([[[next_above_one, 0, -next_above_one]]], np.float16)
    assert embedding_to_rgb(embedding).tolist() == [[[255, 128, 0]]]


def test_embedding_to_rgb_of_many_dimensions_reaches_an_end_of_the_range():
    rgb = embedding_to_rgb(_unit((6, 5, 64)))
    assert rgb.dtype == np.uint8 and rgb.shape == (6, 5, 3)
    assert rgb.min() == 0 or rgb.max() == 255


def test_embedding_to_rgb_directions_are_orthonormal():
    # The projection of the D unit vectors is the D x 3 matrix itself, up to one scale.
    rgb = embedding_to_rgb(np.eye(4)[None])[0].astype(float)
    gram = (rgb / 127.5 - 1).T @ (rgb / 127.5 - 1)
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(3), atol=0.03)


def test_embedding_to_rgb_depends_on_seed_only():
    embedding = _unit((4, 4, 16))
    np.testing.assert_array_equal(embedding_to_rgb(embedding, 1), embedding_to_rgb(embedding, 1))
    assert np.any(embedding_to_rgb(embedding, 1) != embedding_to_rgb(embedding, 2))


def test_embedding_to_rgb_of_zeros_is_the_middle():
    np.testing.assert_array_equal(embedding_to_rgb(np.zeros((2, 2, 8))), 128)


@pytest.mark.parametrize(
    "embedding, message",
    [
        (np.zeros((2, 2, 1)), "D >= 2"),
        (np.zeros((2, 3)), "D >= 2"),
        (np.full((2, 2, 4), np.nan), "finite"),
        (np.full((2, 2, 3), 1.1), "within"),
    ],
)
def test_embedding_to_rgb_rejects(embedding, message):
    with pytest.raises(ValueError, match=message):
        embedding_to_rgb(embedding)


def test_embedding_to_rgb_draws_two_dimensions_as_three():
    flat = np.array([[[1.0, 0.0], [0.0, -1.0]]])
    np.testing.assert_array_equal(
        embedding_to_rgb(flat), embedding_to_rgb(np.array([[[1.0, 0, 0], [0, -1.0, 0]]]))
    )


def test_contact_sheet_enlarges_by_nearest_neighbour():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    sheet = np.asarray(contact_sheet([[picture]], [""], scale=3))
    np.testing.assert_array_equal(sheet[-10:-4, 4:10], picture.repeat(3, 0).repeat(3, 1))
    assert np.all(sheet[-4:] == 255)


def test_contact_sheet_places_rows_and_columns():
    pictures = [[np.full((6, 60, 3), 10 * r + c, np.uint8) for c in range(2)] for r in range(3)]
    sheet = contact_sheet(pictures, ["a", "b"])
    assert sheet.mode == "RGB" and sheet.width == 4 + 2 * (60 + 4)
    pixels = np.asarray(sheet)
    for r in range(3):
        for c in range(2):
            top = sheet.height - (3 - r) * (6 + 4)
            block = pixels[top : top + 6, 4 + 64 * c : 64 + 64 * c]
            assert np.all(block == 10 * r + c) and block.shape == (6, 60, 3)
    titles = pixels[: sheet.height - 3 * (6 + 4)]
    assert (titles[:, :64] < 128).any() and (titles[:, 68:] < 128).any()


def test_contact_sheet_column_is_as_wide_as_its_title():
    tiny = np.zeros((2, 2, 3), np.uint8)
    narrow, wide = contact_sheet([[tiny]], ["i"]), contact_sheet([[tiny]], ["a long title here"])
    assert wide.width > narrow.width + 30
    assert np.all(np.asarray(wide)[:, -4:] == 255)  # Nothing of the title is cut off.


@pytest.mark.parametrize(
    "rows, titles, scale, message",
    [
        ([], ["a"], 1, "need a row"),
        ([[]], [], 1, "need a row"),
        ([[np.zeros((2, 2, 3), np.uint8)]], ["a", "b"], 1, "row 0 must have 2"),
        ([[np.zeros((2, 2), np.uint8)]], ["a"], 1, "picture 0 of row 0"),
        ([[np.zeros((2, 2, 3), np.uint8)]], ["a"], 0, "scale"),
        ([[np.zeros((2, 2, 3), np.uint8)]], ["a"], 1.5, "scale"),
    ],
)
def test_contact_sheet_rejects(rows, titles, scale, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(rows, titles, scale)
