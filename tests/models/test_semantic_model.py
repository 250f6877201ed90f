"""The model of classes and embedding, DeepLab-v3's head, and their two losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core.cross_entropy import cross_entropy
from rpe_tf.core.grouping_loss import grouping_loss
from rpe_tf.models.build import embedding_model, semantic_model, semantic_training_model
from rpe_tf.models.heads import deeplab_head

SMALL = {"backbone": "encoder_decoder", "width": 8, "num_levels": 3, "num_blocks": 1}
RESNET = {
    **{"backbone": "resnet14", "width": 8, "output_stride": 8, "norm": "group"},
    "head_channels": 16,
}
GROUPING = {"margin": 0.5, "num_loops": 1, "concentration": 36.0, "num_pixels": 30}
LOSS = {**GROUPING, "cross_entropy_weight": 2.0, "embedding_weight": 0.5}


def batch_of(height, width, num_classes=3):
    rng = np.random.default_rng(3)
    maps = {"instance": 4, "semantic": num_classes}
    return {
        "image": rng.integers(0, 256, [2, height, width, 3]).astype(np.uint8),
        "seed": rng.integers(0, 1000, [2, 2]).astype(np.int32),
        **{
            name: rng.integers(-1, most, [2, height, width]).astype(np.int32)
            for name, most in maps.items()
        },
    }


@pytest.mark.parametrize("arguments", [SMALL, RESNET])
@pytest.mark.parametrize("size", [(13, 21), (1, 1), (32, 24)])
def test_semantic_model_gives_both_at_the_size_of_the_picture(arguments, size):
    keras.utils.set_random_seed(0)
    found = semantic_model(6, 3, **arguments)(batch_of(*size)["image"], training=False)
    assert found["embedding"].shape == (2, *size, 6)
    assert found["logit"].shape == (2, *size, 3)
    assert found["logit"].dtype == found["embedding"].dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=-1), 1, atol=1e-5)


def test_semantic_model_shares_features_and_has_the_embedding_of_embedding_model():
    # Of the encoder-decoder, but for the class layer it is the same net: C · (width + 1) more.
    alone, both = embedding_model(6, **SMALL), semantic_model(6, 3, **SMALL)
    assert both.count_params() == alone.count_params() + 3 * (8 + 1)


@pytest.mark.parametrize("position", ["channels", "rotation"])
def test_semantic_model_answers_twins_differently_only_where_told_positions(position):
    # A picture of one colour: without positions all pixels away from the border are alike.
    image = np.full([1, 96, 96, 3], 90, np.uint8)

    def spread(**where):
        keras.utils.set_random_seed(0)
        found = semantic_model(6, 2, **SMALL, **where)(image, training=False)["embedding"]
        inner = found.numpy()[0, 40:56, 40:56].reshape(-1, 6)
        return 1 - (inner @ inner.T).min()

    assert spread() < 1e-5 < 1e-2 < spread(position=position)


def test_semantic_model_refuses():
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        semantic_model(6, 1, **SMALL)
    with pytest.raises(ValueError, match="embedding_dim must be at least 2, got 1"):
        semantic_model(1, 2, **SMALL)
    with pytest.raises(ValueError, match="at least 2 and even, with positions by rotation, got 5"):
        semantic_model(5, 2, position="rotation", **SMALL)
    with pytest.raises(ValueError, match="position must be one of"):
        semantic_model(6, 2, position="x", **SMALL)


def test_deeplab_head_equals_its_parts_joined():
    """The picture's part spread out and joined with the others, as DeepLab-v3 is published."""
    keras.utils.set_random_seed(1)
    features = keras.Input([None, None, 8])
    head = keras.Model(features, deeplab_head(features, 8, 16, "frozen_batch"))
    x = np.random.default_rng(0).normal(size=[2, 40, 36, 8]).astype(np.float32)

    def normalized(y):  # Moments are 0 and 1 yet.
        return tf.nn.relu(y / np.sqrt(1 + 1e-3))

    # Rates 6, 12, 18 at stride 16 are 12, 24, 36 at stride 8.
    parts = []
    for name, rate in [("1x1", 1), ("rate12", 12), ("rate24", 24), ("rate36", 36)]:
        kernel = head.get_layer(f"aspp_{name}_conv").kernel
        parts.append(normalized(tf.nn.conv2d(x, kernel, 1, "SAME", dilations=rate)))
    mean = x.mean(axis=(1, 2), keepdims=True) @ head.get_layer("aspp_picture_conv").kernel[0, 0]
    parts.append(tf.broadcast_to(normalized(mean), [2, 40, 36, 16]))
    kernels = [head.get_layer(name).kernel for name in ("aspp_join", "aspp_join_picture")]
    joined = tf.nn.conv2d(tf.concat(parts, -1), tf.concat(kernels, axis=2), 1, "SAME")
    np.testing.assert_allclose(head(x), normalized(joined), atol=1e-4)


def test_semantic_training_model_gives_the_weighted_losses():
    model, batch = semantic_model(6, 3, **SMALL), batch_of(16, 12)
    losses = semantic_training_model(model, LOSS)(batch).numpy()
    found = model(batch["image"])
    entropy = cross_entropy(
        tf.reshape(found["logit"], [2, -1, 3]), batch["semantic"].reshape(2, -1)
    )
    grouping = grouping_loss(
        tf.reshape(found["embedding"], [2, -1, 6]),
        tf.reshape(batch["instance"], [2, -1]),
        tf.constant(batch["seed"]),
        **GROUPING,
    )
    assert losses.shape == (2, 3)
    np.testing.assert_allclose(losses[:, 0], 2.0 * entropy, rtol=1e-4)
    np.testing.assert_allclose(losses[:, 1:], 0.5 * grouping, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "change, embedding_only, columns",
    [
        ({"embedding_weight": 0.0}, False, 1),
        ({"cross_entropy_weight": 0.0}, False, 2),
        ({}, True, 2),
    ],
)
def test_semantic_training_model_leaves_out_what_has_no_weight(change, embedding_only, columns):
    model = semantic_model(6, 3, **SMALL)
    trained = semantic_training_model(model, {**LOSS, **change}, embedding_only)
    assert trained(batch_of(16, 12)).shape == (2, columns)
