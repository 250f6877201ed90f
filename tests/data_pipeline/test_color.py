"""Colour matrices: what each does to a colour, and that one product does what all of them do."""

import math

import numpy as np
import pytest

from data_pipeline import color

_RGB = np.array([[200.0, 100.0, 20.0], [0.0, 0.0, 0.0], [255.0, 255.0, 255.0], [3.0, 77.0, 190.0]])
_GREYS = np.array([[level] * 3 for level in (0.0, 1.0, 127.0, 255.0)])


def _apply(matrix, rgb):
    matrix = matrix.numpy().astype(np.float64)
    return rgb @ matrix[:, :3].T + matrix[:, 3]


@pytest.mark.parametrize(
    "identity",
    [
        color.brightness_matrix(0.0),
        color.contrast_matrix(1.0),
        color.saturation_matrix(1.0),
        color.hue_matrix(0.0),
        color.compose_colors(),
    ],
)
def test_matrices_of_no_change_are_identities(identity):
    np.testing.assert_array_equal(identity, np.eye(3, 4))


def test_brightness_matrix_adds_a_fraction_of_white():
    # 255 * 0.2 = 51.
    np.testing.assert_allclose(_apply(color.brightness_matrix(0.2), _RGB), _RGB + 51, atol=1e-4)
    np.testing.assert_allclose(_apply(color.brightness_matrix(-0.2), _RGB), _RGB - 51, atol=1e-4)


def test_contrast_matrix_keeps_mid_grey():
    # 2 * (200 - 127.5) + 127.5 = 272.5, and so on: clipping comes later.
    found = _apply(color.contrast_matrix(2.0), np.array([[200.0, 127.5, 20.0]]))
    np.testing.assert_allclose(found, [[272.5, 127.5, -87.5]], atol=1e-4)
    np.testing.assert_allclose(_apply(color.contrast_matrix(0.0), _RGB), 127.5, atol=1e-4)


def test_saturation_matrix_blends_with_grey():
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 20
    np.testing.assert_allclose(
        _apply(color.saturation_matrix(0.0), _RGB[:1]), [[grey] * 3], atol=1e-4
    )
    half = [(v + grey) / 2 for v in (200, 100, 20)]
    np.testing.assert_allclose(_apply(color.saturation_matrix(0.5), _RGB[:1]), [half], atol=1e-4)


def test_hue_matrix_turns_about_the_grey_axis():
    # A third of a turn takes red to green, green to blue and blue to red.
    third = _apply(color.hue_matrix(2 * math.pi / 3), _RGB)
    np.testing.assert_allclose(third, _RGB[:, [2, 0, 1]], atol=1e-3)
    turned = _apply(color.hue_matrix(0.3), _RGB)
    np.testing.assert_allclose(turned.sum(axis=1), _RGB.sum(axis=1), atol=1e-3)
    np.testing.assert_allclose(
        np.linalg.norm(turned, axis=1), np.linalg.norm(_RGB, axis=1), atol=1e-3
    )
    back = _apply(color.hue_matrix(-0.3), turned)
    np.testing.assert_allclose(back, _RGB, atol=1e-3)


@pytest.mark.parametrize("matrix", [color.saturation_matrix(1.7), color.hue_matrix(1.0)])
def test_grey_stays_grey(matrix):
    np.testing.assert_allclose(_apply(matrix, _GREYS), _GREYS, atol=1e-3)


def test_compose_colors_does_one_after_the_other():
    steps = [
        color.brightness_matrix(0.1),
        color.contrast_matrix(1.4),
        color.saturation_matrix(0.3),
        color.hue_matrix(0.8),
    ]
    expected = _RGB
    for step in steps:
        expected = _apply(step, expected)
    np.testing.assert_allclose(_apply(color.compose_colors(*steps), _RGB), expected, atol=1e-3)
    # The order counts: 1.4 * (v + 25.5) is not 1.4 * v + 25.5.
    swapped = color.compose_colors(steps[1], steps[0])
    assert not np.allclose(_apply(swapped, _RGB), _apply(color.compose_colors(*steps[:2]), _RGB))
