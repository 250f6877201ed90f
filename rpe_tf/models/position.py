"""Position of a pixel as sines and cosines: what a convolutional net, the same everywhere, lacks.

A wave has a length λ in pixels and a direction; waves of a set go through the directions by the
golden ratio and through the lengths by equal factors, so that any displacement turns some of them.
"""

import math

import keras
import numpy as np
import tensorflow as tf

POSITIONS = ("none", "channels", "rotation")

_GOLDEN = (math.sqrt(5) - 1) / 2


def wave_vectors(num_waves: int, wavelengths: tuple[float, float]) -> np.ndarray:
    """Returns [num_waves, 2] float32, 2π/λ · (sin θ, cos θ): radians a pixel down and right.

    Args:
      num_waves: ≥ 1.
      wavelengths: shortest and longest λ in pixels, 0 < shortest ≤ longest.

    Raises:
      ValueError: outside of these.
    """
    shortest, longest = wavelengths
    if num_waves < 1 or not 0 < shortest <= longest:
        raise ValueError(
            f"waves must be at least 1 and wavelengths rising and > 0, got {num_waves} and "
            f"{tuple(wavelengths)}"
        )
    lengths = np.geomspace(shortest, longest, num_waves)
    angles = np.pi * np.mod(np.arange(num_waves) * _GOLDEN, 1.0)
    directions = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return (2 * np.pi / lengths[:, np.newaxis] * directions).astype(np.float32)


def _phases(shape: tf.Tensor, vectors: np.ndarray) -> tf.Tensor:
    """Returns the phase of each wave at each pixel, [H, W, waves] float32 radians."""
    rows = tf.cast(tf.range(shape[1]), tf.float32)[:, tf.newaxis, tf.newaxis]
    columns = tf.cast(tf.range(shape[2]), tf.float32)[tf.newaxis, :, tf.newaxis]
    return rows * vectors[:, 0] + columns * vectors[:, 1]


@keras.utils.register_keras_serializable("rpe_tf")
class PositionChannels(keras.layers.Layer):
    """Appends sine and cosine of every wave to [B, H, W, C]: [B, H, W, C + 2 · num_waves]."""

    def __init__(self, num_waves: int, wavelengths: tuple[float, float], **kwargs) -> None:
        """Sets the waves, see `wave_vectors`, which also says what is refused."""
        super().__init__(**kwargs)
        self.num_waves, self.wavelengths = num_waves, tuple(wavelengths)
        self._vectors = wave_vectors(num_waves, self.wavelengths)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the features and the channels."""
        shape = tf.shape(features)
        phases = _phases(shape, self._vectors)
        channels = tf.cast(tf.concat([tf.sin(phases), tf.cos(phases)], axis=-1), features.dtype)
        channels = tf.tile(channels[tf.newaxis], [shape[0], 1, 1, 1])
        return tf.concat([features, channels], axis=-1)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Returns the shape with 2 · num_waves channels more."""
        return (*shape[:3], shape[3] + 2 * self.num_waves)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = {"num_waves": self.num_waves, "wavelengths": list(self.wavelengths)}
        return {**super().get_config(), **own}


@keras.utils.register_keras_serializable("rpe_tf")
class RotateByPosition(keras.layers.Layer):
    """Turns each pair of features [B, H, W, D] by the phase of a wave at the pixel.

    A semi-convolutional embedding on the sphere: with R(p) the rotation at pixel p, two pixels
    have the cosine f_iᵀ R(p_j − p_i) f_j, which depends on where they lie to each other alone. A
    net that answers with the way to an instance's centre gives each instance a code of its own,
    whatever it looks like. Lengths of features do not change.
    """

    def __init__(self, wavelengths: tuple[float, float], **kwargs) -> None:
        """Sets the shortest and longest wavelength in pixels, see `wave_vectors`."""
        super().__init__(**{"dtype": "float32", **kwargs})
        wave_vectors(1, wavelengths)
        self.wavelengths = tuple(wavelengths)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the turned features; D must be even."""
        first, second = tf.split(tf.cast(features, tf.float32), 2, axis=-1)
        phases = _phases(tf.shape(features), wave_vectors(first.shape[-1], self.wavelengths))
        sine, cosine = tf.sin(phases), tf.cos(phases)
        turned = [first * cosine - second * sine, first * sine + second * cosine]
        return tf.concat(turned, axis=-1)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Returns the shape unchanged."""
        return shape

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "wavelengths": list(self.wavelengths)}
