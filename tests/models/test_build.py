import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core.grouping_loss import grouping_loss
from rpe_tf.models.build import embedding_model, learned_grouping, training_model
from rpe_tf.models.normalization import NORMS, normalization

SMALL = {"width": 8, "num_levels": 3, "num_blocks": 1}
LOSS = {"margin": 0.5, "num_loops": 1, "concentration": 36.0, "num_pixels": 30}


def pictures(batch, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, [batch, height, width, 3]).astype(np.uint8)


def batch_of(size=16, batch=4):
    rng = np.random.default_rng(3)
    return {
        "image": pictures(batch, size, size),
        "instance": rng.integers(-1, 3, [batch, size, size]).astype(np.int32),
        "seed": rng.integers(0, 1000, [batch, 2]).astype(np.int32),
    }


def differ_in_moments(model):
    """Moves every vector away from its initial 0 or 1, so that no test passes by accident."""
    rng = np.random.default_rng(5)
    weights = model.get_weights()
    model.set_weights([w + rng.uniform(0, 0.2, w.shape) if w.ndim == 1 else w for w in weights])
    return model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return differ_in_moments(embedding_model(5, **SMALL))


@pytest.mark.parametrize("size", [(13, 21), (64, 64), (1, 1)])
def test_embedding_model_gives_unit_vectors_at_the_size_of_the_picture(model, size):
    embedding = model(pictures(2, *size), training=False)
    assert embedding.shape == (2, *size, 5)
    assert embedding.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)


def test_embedding_model_declares_any_size():
    model = embedding_model(5, **SMALL)
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, None, None, 5)
    assert model.input.name.split(":")[0] == "image"
    assert tf.as_dtype(model.input.dtype) == tf.uint8


@pytest.mark.parametrize("value", [0, 255])
def test_embedding_model_is_finite_at_the_ends_of_uint8(model, value):
    embedding = model(np.full([1, 9, 6, 3], value, np.uint8), training=False)
    assert np.isfinite(embedding).all()


def test_embedding_model_of_a_batch_equals_its_pictures_one_by_one(model):
    images = pictures(3, 13, 21)
    singles = np.concatenate([model(images[k : k + 1], training=False) for k in range(3)])
    np.testing.assert_allclose(model(images, training=False), singles, atol=1e-5)


def test_embedding_model_of_a_part_away_from_its_padding_and_border_moves_with_it(model):
    # A shift by the coarsest stride (4) moves the embedding along, except near the borders.
    image = pictures(1, 96, 96)
    whole, part = (np.asarray(model(x, training=False)) for x in (image, image[:, 4:, 8:]))
    np.testing.assert_allclose(whole[:, 44:52, 48:56], part[:, 40:48, 40:48], atol=1e-4)


def conv_weights(kernel, channels_in, channels_out):
    return kernel**2 * channels_in * channels_out


@pytest.mark.parametrize("norm", NORMS)
def test_embedding_model_variables_are_those_counted_by_hand(norm):
    model = embedding_model(5, norm=norm, **SMALL)
    convolutions = (
        conv_weights(3, 3, 8)  # stem
        + conv_weights(1, 8, 16) + conv_weights(3, 8, 16) + conv_weights(3, 16, 16)  # down1
        + conv_weights(1, 16, 32) + conv_weights(3, 16, 32) + conv_weights(3, 32, 32)  # down2
        + conv_weights(1, 32, 16) + 2 * conv_weights(3, 16, 16)  # narrow1, up1
        + conv_weights(1, 16, 8) + 2 * conv_weights(3, 8, 8)  # narrow0, up0
        + conv_weights(1, 8, 5) + 5  # embedding_conv has a bias
    )  # fmt: skip
    # Channels that are normalised: stem, then two a block of down1, down2, up1, up0.
    channels = 8 + 2 * 16 + 2 * 32 + 2 * 16 + 2 * 8
    stored = {"batch": 4, "frozen_batch": 4, "group": 2}[norm]  # moments, gamma and beta
    trained = {"batch": 2, "frozen_batch": 0, "group": 2}[norm]
    assert model.count_params() == convolutions + stored * channels
    assert (
        sum(np.prod(v.shape) for v in model.trainable_variables)
        == convolutions + trained * channels
    )


def test_embedding_model_grows_with_its_arguments():
    # The stem, two a block of 3·2 down and 3 up, shortcuts of 3 levels, 3 narrow, 1 last.
    model = embedding_model(3, width=8, num_levels=4, num_blocks=2)
    kernels = [v for v in model.trainable_variables if len(v.shape) == 4]
    assert len(kernels) == 1 + 2 * (3 * 2 + 3) + 3 + 3 + 1
    one_level = embedding_model(3, width=16, num_levels=1, num_blocks=1)
    assert one_level(pictures(1, 5, 7)).shape == (1, 5, 7, 3)
    # Pictures are padded to the coarsest stride and no further.
    assert [m.get_layer("scale_and_pad").multiple for m in (model, one_level)] == [8, 1]


@pytest.mark.parametrize("output_stride, extra", [(1, 0), (2, 0), (4, 9 * 8 * 8 + 4 * 8)])
def test_embedding_model_of_an_output_stride_is_the_same_net_on_coarser_pixels(
    output_stride, extra
):
    keras.utils.set_random_seed(0)
    plain, coarse = (
        embedding_model(5, **SMALL, output_stride=stride) for stride in (1, output_stride)
    )
    assert coarse.count_params() == plain.count_params() + extra
    assert coarse.get_layer("scale_and_pad").multiple == 4 * output_stride
    assert coarse(pictures(2, 13, 21)).shape == (2, 13, 21, 5)
    # A shift by the coarsest stride moves the embedding along, away from the border.
    shift, image = 4 * output_stride, pictures(1, 192, 192)
    whole, part = (coarse(x, training=False) for x in (image, image[:, shift:, 2 * shift :]))
    np.testing.assert_allclose(
        whole[:, 96:104, 96:104],
        part[:, 96 - shift : 104 - shift, 96 - 2 * shift : 104 - 2 * shift],
        atol=1e-4,
    )


def test_embedding_model_weights_saved_and_loaded_give_the_same(model, tmp_path):
    path = str(tmp_path / "net.weights.h5")
    model.save_weights(path)
    other = embedding_model(5, **SMALL)
    image = pictures(1, 13, 21)
    before = other(image, training=False).numpy()
    other.load_weights(path)
    expected = model(image, training=False)
    assert np.abs(before - expected).max() > 0.1
    np.testing.assert_allclose(other(image, training=False), expected, atol=1e-6)


def test_embedding_model_saved_whole_and_loaded_gives_the_same(model, tmp_path):
    path = str(tmp_path / "net.keras")
    model.save(path)
    image = pictures(1, 13, 21)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(
        loaded(image, training=False), model(image, training=False), atol=1e-6
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"embedding_dim": 1}, "embedding_dim must be at least 2, got 1"),
        ({"width": 12}, "width must be a multiple of 8, got 12"),
        ({"width": 0}, "width must be a multiple of 8, got 0"),
        ({"output_stride": 3}, r"output_stride of encoder_decoder must be one of \(1, 2, 4\)"),
        ({"norm": "layer"}, "norm must be .* got 'layer'"),
    ],
)
def test_embedding_model_refuses_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        embedding_model(**{"embedding_dim": 4, **SMALL, **arguments})


def test_normalization_refuses_unknown_norm():
    with pytest.raises(ValueError, match=r"norm must be .* got 'layer'"):
        normalization("layer")


def test_normalization_group_does_not_look_at_the_batch():
    layer = normalization("group")("norm")
    x = np.random.default_rng(0).normal(size=[3, 4, 4, 16]).astype(np.float32)
    singles = np.concatenate([layer(x[k : k + 1], training=True) for k in range(3)])
    np.testing.assert_allclose(layer(x, training=True), singles, atol=1e-5)


def test_training_model_losses_are_those_of_the_embedding_and_shares_weights(model):
    trained = training_model(model, LOSS)
    batch = batch_of()
    losses = trained(batch, training=False)
    assert losses.shape == (4, 2)
    assert [id(v) for v in trained.variables] == [id(v) for v in model.variables]
    embedding = model(batch["image"], training=False)
    expected = grouping_loss(
        tf.reshape(embedding, [4, 256, 5]),
        batch["instance"].reshape(4, 256),
        tf.constant(batch["seed"]),
        **LOSS,
    )
    np.testing.assert_allclose(losses, expected, atol=1e-5)


def test_training_model_learns_the_grouping_where_there_are_loops(model):
    learning = {**LOSS, "learn_grouping": True}
    trained = training_model(model, learning)
    own = learned_grouping(trained).trainable_variables
    assert [v.name.split(":")[0] for v in own] == ["log_concentration_factor"]
    # The model's own variables come first, as in the checkpoints of runs that learn none.
    assert [id(v) for v in trained.trainable_variables] == [
        id(v) for v in [*model.trainable_variables, *own]
    ]
    batch = batch_of()
    np.testing.assert_allclose(trained(batch), training_model(model, LOSS)(batch), atol=1e-5)
    for without in (
        training_model(model, learning, embedding_only=True),
        training_model(model, LOSS),
    ):
        assert learned_grouping(without) is None


def fit(model, batches):
    trained = training_model(model, LOSS)
    trained.compile(optimizer=keras.optimizers.SGD(0.1))
    history = trained.fit(tf.data.Dataset.from_tensors(batch_of()).repeat(batches), verbose=0)
    return history.history["loss"]


@pytest.mark.parametrize("norm", NORMS)
def test_training_model_fits_by_the_loss_it_adds(norm):
    keras.utils.set_random_seed(1)
    model = differ_in_moments(embedding_model(5, norm=norm, **SMALL))
    expected = training_model(model, LOSS)(batch_of(), training=True)
    before = model.get_weights()
    loss = fit(model, batches=1)
    # Mean over pictures of the sum over loops.
    np.testing.assert_allclose(loss[0], np.sum(expected, axis=1).mean(), rtol=1e-4)
    for old, new, variable in zip(before, model.get_weights(), model.weights, strict=True):
        is_trained = any(variable is v for v in model.trainable_variables)
        # Whatever is not trained are moments; frozen_batch also keeps gamma and beta.
        is_still = norm == "frozen_batch" and not is_trained
        assert (np.abs(old - new).max() == 0) == is_still, variable.name
    if norm == "frozen_batch":
        assert len(model.non_trainable_variables) == 4 * 9  # layers of normalisation
    assert np.isfinite(fit(model, batches=2)).all()
