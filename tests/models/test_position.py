"""Where a pixel lies, as channels and as a rotation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.models.position import PositionChannels, RotateByPosition, wave_vectors


def features(height, width, dim, seed=0):
    return np.random.default_rng(seed).normal(size=[2, height, width, dim]).astype(np.float32)


def test_wave_vectors_have_the_stated_lengths_and_first_direction():
    vectors = wave_vectors(3, (10.0, 40.0))
    # Lengths 10, 20, 40: equal factors of 2. Angle 0 first: sine 0 down, cosine 1 right.
    np.testing.assert_allclose(2 * np.pi / np.linalg.norm(vectors, axis=1), [10, 20, 40], rtol=1e-6)
    np.testing.assert_allclose(vectors[0], [0, 2 * np.pi / 10], atol=1e-6)


@pytest.mark.parametrize("arguments", [(0, (1, 2)), (3, (0, 2)), (3, (5, 2))])
def test_wave_vectors_refuses(arguments):
    with pytest.raises(ValueError, match="waves must be at least 1 and wavelengths rising"):
        wave_vectors(*arguments)


def test_rotate_by_position_equals_complex_numbers_turned():
    x = features(3, 4, 6)
    found = RotateByPosition((4.0, 16.0))(x).numpy()
    vectors = wave_vectors(3, (4.0, 16.0))
    for row in range(3):
        for column in range(4):
            turn = np.exp(1j * (vectors[:, 0] * row + vectors[:, 1] * column))
            turned = (x[:, row, column, :3] + 1j * x[:, row, column, 3:]) * turn
            np.testing.assert_allclose(found[:, row, column, :3], turned.real, atol=1e-5)
            np.testing.assert_allclose(found[:, row, column, 3:], turned.imag, atol=1e-5)


def test_rotate_by_position_gives_cosines_of_the_displacement_alone():
    one = np.broadcast_to(features(1, 1, 8)[:1], [1, 9, 9, 8])
    found = RotateByPosition((6.0, 30.0))(one).numpy()[0]
    np.testing.assert_allclose(found[0, 1] @ found[3, 5], found[4, 2] @ found[7, 6], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(one[0, 0, 0]), 1e-5)
    # Twins far apart differ: that is what it is for.
    unit = found / np.linalg.norm(found, axis=-1, keepdims=True)
    assert unit[0, 0] @ unit[7, 8] < 0.9


def test_position_channels_appends_sines_and_cosines():
    x = features(3, 5, 2)
    found = PositionChannels(2, (8.0, 32.0))(x).numpy()
    assert found.shape == (2, 3, 5, 6)
    np.testing.assert_array_equal(found[..., :2], x)
    phase = wave_vectors(2, (8.0, 32.0)) @ [2, 4]
    np.testing.assert_allclose(found[1, 2, 4, 2:], [*np.sin(phase), *np.cos(phase)], atol=1e-5)


@pytest.mark.parametrize(
    "layer, dim", [(PositionChannels(2, (8.0, 32.0)), 3 + 4), (RotateByPosition((8.0, 32.0)), 3)]
)
def test_layers_say_their_shape_and_rebuild(layer, dim):
    assert layer.compute_output_shape((None, None, 5, 3)) == (None, None, 5, dim)
    again = type(layer).from_config(layer.get_config())
    x = features(4, 5, 4)
    np.testing.assert_array_equal(again(x), layer(x))


def test_rotate_by_position_stays_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        turned = RotateByPosition((8.0, 32.0))(tf.ones([1, 2, 2, 4], tf.float16))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert turned.dtype == tf.float32
