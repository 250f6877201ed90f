import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from rpe_tf.core.grouping_loss import grouping_loss
from rpe_tf.models.layers import CropAndNormalize, EmbeddingLoss, MeanShift, ScaleAndPad

LOSS = {"margin": 0.5, "num_loops": 2, "concentration": 36.0, "num_pixels": 20}


def unit(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def labelled(batch=3, height=5, width=7, dim=4):
    rng = np.random.default_rng(1)
    instance = rng.integers(-1, 3, [batch, height, width]).astype(np.int32)
    seed = rng.integers(0, 1000, [batch, 2]).astype(np.int32)
    return [tf.constant(x) for x in (unit([batch, height, width, dim]), instance, seed)]


def test_scale_and_pad_maps_uint8_to_minus_1_and_1_and_repeats_the_last_row_and_column():
    image = np.array([[0, 255, 51], [102, 204, 153]], np.uint8)[np.newaxis, ..., np.newaxis]
    padded = ScaleAndPad(4)(image.repeat(3, axis=-1))
    # x / 127.5 − 1 of 0, 255, 51; 102, 204, 153; the column of 51 and 153, then the row repeated.
    last = [-0.2, 0.6, 0.2, 0.2]
    expected = [[-1, 1, -0.6, -0.6], last, last, last]
    assert padded.dtype == tf.float32
    for channel in range(3):
        np.testing.assert_allclose(padded[0, ..., channel], expected, atol=1e-6)


def test_scale_and_pad_imagenet_is_the_preprocessing_of_keras_applications():
    image = np.random.default_rng(0).integers(0, 256, [2, 3, 5, 3]).astype(np.uint8)
    padded = ScaleAndPad(4, scaling="imagenet")(image)
    expected = keras.applications.resnet.preprocess_input(image.astype(np.float32))
    assert padded.shape == (2, 4, 8, 3)
    np.testing.assert_allclose(padded[:, :3, :5], expected, atol=1e-5)
    np.testing.assert_array_equal(padded[:, 3:], padded[:, 2:3])
    np.testing.assert_array_equal(padded[:, :, 5:], np.repeat(padded[:, :, 4:5], 3, axis=2))


def test_scale_and_pad_picture_has_mean_0_and_deviation_1_in_each_picture():
    # Values 10 and 30: mean 20, deviation 10. Values 100 and 102: deviation 1, below 4, so ÷ 4.
    image = np.array([[10, 30], [100, 102]], np.uint8)[:, np.newaxis, :, np.newaxis]
    scaled = ScaleAndPad(1, scaling="picture")(image.repeat(3, axis=-1))
    np.testing.assert_allclose(scaled[:, 0, :, 1], [[-1, 1], [-0.25, 0.25]], atol=1e-5)


def test_scale_and_pad_refuses_an_unknown_scaling():
    with pytest.raises(ValueError, match=r"scaling must be one of .* got 'none'"):
        ScaleAndPad(4, "none")


@pytest.mark.parametrize("multiple, shape", [(1, (5, 7)), (5, (5, 10)), (8, (8, 8))])
def test_scale_and_pad_goes_to_the_next_multiple(multiple, shape):
    layer = ScaleAndPad(multiple)
    assert layer(np.zeros([2, 5, 7, 3], np.uint8)).shape == (2, *shape, 3)
    assert layer.compute_output_shape((2, 5, 7, 3)) == (2, *shape, 3)
    assert layer.compute_output_shape((None, None, 7, 3)) == (None, None, shape[1], 3)


def test_crop_and_normalize_cuts_to_the_picture_and_scales_to_1():
    features = np.random.default_rng(0).normal(size=[2, 8, 8, 3]).astype(np.float32)
    image = np.zeros([2, 5, 7, 3], np.uint8)
    embedding = CropAndNormalize()([features, image])
    cut = features[:, :5, :7]
    np.testing.assert_allclose(
        embedding, cut / np.linalg.norm(cut, axis=-1, keepdims=True), atol=1e-6
    )
    shapes = [(2, 8, 8, 3), (2, None, 7, 3)]
    assert CropAndNormalize().compute_output_shape(shapes) == (2, None, 7, 3)


def test_crop_and_normalize_leaves_zero_vectors_and_half_precision_behind():
    features = tf.zeros([1, 2, 2, 3], tf.float16)
    embedding = CropAndNormalize()([features, np.zeros([1, 2, 2, 3], np.uint8)])
    assert embedding.dtype == tf.float32
    np.testing.assert_array_equal(embedding, np.zeros([1, 2, 2, 3]))


@pytest.mark.parametrize("num_loops, step_size", [(0, 1.0), (1, 1.0), (3, 0.5)])
def test_mean_shift_layer_equals_oracle_for_each_of_the_batch(num_loops, step_size):
    points = unit([2, 9, 4])
    moved = MeanShift(10.0, num_loops, step_size)(points)
    expected = [oracles.mean_shift(x, 10.0, num_loops, step_size) for x in points]
    np.testing.assert_allclose(moved, expected, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0, 1, 1.0), "concentration must be above 0, got 0"),
        ((36.0, -1, 1.0), "num_loops must be 0 or more, got -1"),
        ((36.0, 1, 0.0), r"step_size must be in \(0, 1\], got 0"),
        ((36.0, 1, 1.5), r"step_size must be in \(0, 1\], got 1.5"),
    ],
)
def test_mean_shift_layer_refuses_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        MeanShift(*arguments)


def test_embedding_loss_returns_grouping_loss_and_adds_the_mean_of_its_sum():
    embedding, instance, seed = labelled()
    layer = EmbeddingLoss(LOSS)
    losses = layer([embedding, instance, seed])
    expected = grouping_loss(
        tf.reshape(embedding, [3, 35, 4]), tf.reshape(instance, [3, 35]), seed, **LOSS
    )
    assert losses.shape == (3, 3)  # three pictures; loops 0, 1 and 2
    np.testing.assert_allclose(losses, expected, atol=1e-6)
    assert len(layer.losses) == 1
    np.testing.assert_allclose(layer.losses[0], expected.numpy().sum(axis=1).mean(), atol=1e-6)


def test_embedding_loss_of_a_model_shows_in_its_losses():
    inputs = [
        keras.Input([None, None, 4], name="embedding"),
        keras.Input([None, None], dtype="int32", name="instance"),
        keras.Input([2], dtype="int32", name="seed"),
    ]
    model = keras.Model(inputs, EmbeddingLoss(LOSS)(inputs))
    losses = model(labelled(), training=True)
    assert model.output_shape == (None, 3)
    assert len(model.losses) == 1
    np.testing.assert_allclose(model.losses[0], losses.numpy().sum(axis=1).mean(), atol=1e-6)


@pytest.mark.parametrize(
    "change, message", [({"margin": 1.5}, "margin"), ({"normalizer": "none"}, "normalizer")]
)
def test_embedding_loss_refuses_arguments_outside_their_range(change, message):
    with pytest.raises(ValueError, match=f"{message} must be"):
        EmbeddingLoss({**LOSS, **change})


@pytest.mark.parametrize(
    "layer, inputs",
    [
        (ScaleAndPad(4, name="pad"), np.full([1, 5, 7, 3], 9, np.uint8)),
        (ScaleAndPad(4, "imagenet", name="scaled"), np.full([1, 5, 7, 3], 9, np.uint8)),
        (
            CropAndNormalize(name="crop"),
            [unit([1, 8, 8, 4]) * 3, np.zeros([1, 5, 7, 3], np.uint8)],
        ),
        (MeanShift(9.0, 2, 0.5, name="shift"), unit([2, 6, 3])),
        (EmbeddingLoss(LOSS, name="loss"), labelled()),
    ],
    ids=lambda x: x.name if hasattr(x, "name") else "",
)
def test_layers_rebuilt_from_their_config_do_the_same(layer, inputs):
    rebuilt = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(rebuilt) is type(layer)
    assert rebuilt.get_config() == layer.get_config()
    assert rebuilt.name == layer.name
    np.testing.assert_array_equal(rebuilt(inputs), layer(inputs))
