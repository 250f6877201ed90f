"""A net at other sizes of a picture: its answers lie where the picture's pixels do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.picture_scale import at_scale, embedding_predictor, only_scale
from rpe_tf.models.position import RotateByPosition, wave_vectors


def _grey(image):
    return tf.cast(image, tf.float32)[..., :1]


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_at_scale_stays_in_place(scale):
    # A ramp is a ramp at every scale, but for the borders.
    ramp = np.repeat(np.arange(0, 160, 4)[np.newaxis, :, np.newaxis], 3, axis=-1)
    image = tf.constant(np.repeat(ramp, 40, axis=0)[np.newaxis], tf.uint8)
    seen = []

    def predict(x):
        seen.append(tuple(x.shape[1:3]))
        return {"across": _grey(x), "twice": 2 * _grey(x)}

    found = at_scale(predict, image, scale)
    assert seen == [(40 * scale, 40 * scale)]
    inside = (0, slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(found["across"][inside], _grey(image)[inside], atol=1)
    np.testing.assert_allclose(found["twice"], 2 * found["across"])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3)])
def test_at_scale_returns_the_picture_s_size(size):
    # 0.01 of any of these is less than a pixel; one is left.
    for scale in (0.01, 0.7, 1.35):
        found = at_scale(_grey, tf.fill([2, *size, 3], tf.constant(7, tf.uint8)), scale)
        np.testing.assert_array_equal(found, np.full([2, *size, 1], 7.0))


def test_at_scale_reads_every_pixel_of_a_picture_made_smaller():
    # A pixel of a quarter of the size lies between two black columns; as many are bright around it.
    stripes = np.tile(np.array([200, 0, 0, 200], np.uint8), [32, 8])
    image = tf.constant(np.repeat(stripes[np.newaxis, :, :, np.newaxis], 3, axis=-1))
    found = at_scale(_grey, image, 0.25)
    np.testing.assert_allclose(found[0, 8:-8, 8:-8], 100, atol=1)


def _model(layer):
    image = keras.Input([None, None, 3], dtype="uint8")
    return keras.Model(image, layer(image))


class _Directions(keras.layers.Layer):
    """Colours as directions; with them the colours themselves as logits."""

    def call(self, image):
        colour = tf.cast(image, tf.float32)
        return {"embedding": tf.math.l2_normalize(colour + 1, axis=-1), "logit": colour}


def test_embedding_predictor_gives_unit_vectors_at_any_scale():
    image = np.random.default_rng(0).integers(0, 256, [1, 12, 17, 3]).astype(np.uint8)
    model = _model(_Directions(dtype="float32"))
    found = embedding_predictor(model, {"scales": [1.5]})(tf.constant(image))
    assert found["embedding"].shape == (1, 12, 17, 3) and found["logit"].shape == (1, 12, 17, 3)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=-1), 1, atol=1e-6)
    # Logits are not of length 1, and are left as they are.
    direct = at_scale(lambda x: model(x)["logit"], tf.constant(image), 1.5)
    np.testing.assert_allclose(found["logit"], direct)


@pytest.mark.parametrize("read_out", [{}, {"scales": [1]}, {"scales": (1.0,), "min_area": 3}])
def test_embedding_predictor_at_scale_one_is_the_net(read_out):
    image = tf.constant(np.random.default_rng(0).integers(0, 256, [1, 9, 7, 3]), tf.uint8)
    model = _model(keras.layers.Lambda(lambda x: 3 * tf.cast(x, tf.float32)))
    found = embedding_predictor(model, read_out)(image)
    np.testing.assert_array_equal(found["embedding"], 3 * tf.cast(image, tf.float32))


def test_position_turns_by_the_pixels_that_the_net_reads():
    class Turned(keras.layers.Layer):
        def call(self, image):
            ones = tf.ones_like(tf.cast(image[..., :1], tf.float32))
            first = tf.concat([ones, ones, 0 * ones, 0 * ones], axis=-1) / np.sqrt(2)
            return RotateByPosition((200.0, 400.0))(first)

    image = tf.zeros([1, 30, 30, 3], tf.uint8)
    found = embedding_predictor(_model(Turned()), {"scales": [2.0]})(image)["embedding"][0]
    # Half the wavelength in pixels of the picture.
    phases = wave_vectors(2, (100.0, 200.0)) @ np.array([12, 5])
    cosine = float(tf.reduce_sum(found[17, 10] * found[5, 5]))
    np.testing.assert_allclose(cosine, np.mean(np.cos(phases)), atol=1e-3)


@pytest.mark.parametrize(
    "scales, message",
    [
        ([], "scales must be at least one number above 0"),
        ([0.0], "scales must be at least one number above 0"),
        ([float("nan")], "scales must be at least one number above 0"),
        ([float("inf")], "scales must be at least one number above 0"),
        ([1.0, 2.0], r"read at one scale, got \[1.0, 2.0\]"),
    ],
)
def test_only_scale_refuses_none_several_and_impossible_ones(scales, message):
    with pytest.raises(ValueError, match=message):
        only_scale({"scales": scales})
