"""The boundary model: a branch on each stage, a logistic layer a branch, a fusion (§5.2)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core.grouping_loss import grouping_loss
from rpe_tf.core.logistic_loss import balanced_logistic_loss
from rpe_tf.models.build import boundary_model, boundary_training_model, embedding_model
from rpe_tf.models.layers import Grow

SMALL = {"backbone": "resnet14", "width": 8, "norm": "batch"}
LOSS = {"margin": 0.5, "num_loops": 3, "concentration": 36.0, "num_pixels": 40}


def pictures(batch, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, [batch, height, width, 3]).astype(np.uint8)


def batch_of(batch=3, height=24, width=32):
    rng = np.random.default_rng(3)
    return {
        "image": pictures(batch, height, width),
        "boundary": rng.integers(-1, 2, [batch, height, width]).astype(np.int32),
        "seed": rng.integers(0, 1000, [batch, 2]).astype(np.int32),
    }


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return boundary_model(3, **SMALL)


@pytest.mark.parametrize("size", [(24, 40), (13, 21), (5, 3), (1, 9), (1, 1)])
def test_boundary_model_gives_unit_embeddings_and_five_logits_at_the_size_of_the_picture(
    model, size
):
    found = model(pictures(2, *size), training=False)
    assert found["logit"].shape == (2, *size, 5)
    assert found["embedding"].shape == (2, *size, 12)
    assert {x.dtype for x in found.values()} == {tf.float32}
    branches = np.reshape(found["embedding"], [2, *size, 4, 3])
    np.testing.assert_allclose(np.linalg.norm(branches, axis=-1), 1, atol=1e-5)


def test_boundary_model_logits_are_linear_in_their_own_branch_and_the_fusion_in_all(model):
    found = model(pictures(1, 16, 16), training=False)
    embedding, logit = found["embedding"][0].numpy(), found["logit"][0].numpy()
    for k in range(4):
        kernel, bias = model.get_layer(f"logit{k + 2}").get_weights()
        branch = embedding[..., 3 * k : 3 * k + 3]
        np.testing.assert_allclose(logit[..., k], branch @ kernel[0, 0, :, 0] + bias, atol=1e-5)
    kernel, bias = model.get_layer("fusion").get_weights()
    np.testing.assert_allclose(logit[..., 4], embedding @ kernel[0, 0, :, 0] + bias, atol=1e-5)


def test_boundary_model_of_a_batch_equals_its_pictures_one_by_one(model):
    images = pictures(3, 13, 21)
    whole = model(images, training=False)
    for name in whole:
        singles = [model(images[k : k + 1], training=False)[name] for k in range(3)]
        np.testing.assert_allclose(whole[name], np.concatenate(singles), atol=1e-5)


def test_boundary_model_of_a_shifted_picture_shifts_its_answer(model):
    # By the output stride, away from the borders: features stand where they say they do.
    image = pictures(1, 224, 224)
    whole, part = (
        model(x, training=False)["embedding"].numpy() for x in (image, image[:, 8:, 16:])
    )
    np.testing.assert_allclose(whole[:, 108:116, 116:124], part[:, 100:108, 100:108], atol=1e-4)


def test_boundary_training_model_phase_one_is_eq_2_of_every_branch(model):
    batch = batch_of()
    losses = boundary_training_model(model, LOSS, embedding_only=True)(batch, training=False)
    assert losses.shape == (3, 4)
    embedding = model(batch["image"], training=False)["embedding"]
    for k, branch in enumerate(tf.split(embedding, 4, axis=-1)):
        expected = grouping_loss(
            tf.reshape(branch, [3, -1, 3]),
            batch["boundary"].reshape(3, -1),
            tf.constant(batch["seed"]),
            **{**LOSS, "num_loops": 0},
        )
        np.testing.assert_allclose(losses[:, k], expected[:, 0], atol=1e-5)


def test_boundary_training_model_phase_two_is_the_logistic_loss_of_every_logit(model):
    batch = batch_of()
    losses = boundary_training_model(model, LOSS)(batch, training=False)
    assert losses.shape == (3, 5)
    logit = model(batch["image"], training=False)["logit"]
    for k in range(5):
        expected = balanced_logistic_loss(
            tf.reshape(logit[..., k], [3, -1]), batch["boundary"].reshape(3, -1)
        )
        np.testing.assert_allclose(losses[:, k], expected, atol=1e-5)


def test_boundary_training_model_phase_one_leaves_the_logistic_layers_alone(model):
    trained = boundary_training_model(model, LOSS, embedding_only=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(trained(batch_of(), training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    without = [
        getattr(variable, "path", variable.name)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None
    ]
    assert len(without) == 10  # kernel and bias of five
    assert all("logit" in name or "fusion" in name for name in without)


def test_boundary_model_saves_and_loads(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = pictures(1, 9, 17)
    for name, value in model(images, training=False).items():
        np.testing.assert_allclose(loaded(images, training=False)[name], value, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"embedding_dim": 1}, "embedding_dim must be at least 2, got 1"),
        ({"backbone": "encoder_decoder"}, "several stages, got 'encoder_decoder'"),
        ({"backbone": "vgg16"}, "backbone must be one of .* got 'vgg16'"),
        ({"output_stride": 5}, "output_stride must be one of .* got 5"),
    ],
)
def test_boundary_model_refuses_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        boundary_model(**{"embedding_dim": 3, **SMALL, **arguments})


@pytest.mark.parametrize("size", [(13, 21), (1, 1)])
def test_embedding_model_on_a_resnet_gives_unit_vectors_at_the_size_of_the_picture(size):
    model = embedding_model(5, **SMALL, stem_stride=2)
    embedding = model(pictures(2, *size), training=False)
    assert embedding.shape == (2, *size, 5)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)


def test_grow_places_features_where_they_stand():
    # Features at pixels 0, 4, 8 of a row of 12: linear between them, the last one repeated beyond.
    row = tf.constant([0.0, 4.0, 8.0])
    features = tf.tile(row[tf.newaxis, tf.newaxis, :, tf.newaxis], [1, 2, 1, 1])
    found = Grow(4)(features)
    assert found.shape == (1, 8, 12, 1)
    expected = [*range(9), 8, 8, 8]
    np.testing.assert_allclose(found[0, :, :, 0], [expected] * 8, atol=1e-6)
    down = Grow(4)(tf.transpose(features, [0, 2, 1, 3]))
    np.testing.assert_allclose(down[0, :, :, 0], np.transpose([expected] * 8), atol=1e-6)


def test_grow_of_stride_one_is_the_features():
    features = tf.random.normal([2, 3, 4, 5])
    np.testing.assert_array_equal(Grow(1)(features), features)


def test_grow_works_with_unknown_sides_and_keeps_half_precision():
    grow = Grow(2, dtype="mixed_bfloat16")
    traced = tf.function(
        grow.call, input_signature=[tf.TensorSpec([None, None, None, 3], "bfloat16")]
    )
    found = traced(tf.ones([1, 3, 5, 3], tf.bfloat16))
    assert found.shape == (1, 6, 10, 3)
    assert found.dtype == tf.bfloat16
    assert grow.compute_output_shape((None, None, 7, 3)) == (None, None, 14, 3)
