import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.models.normalization import NORMS
from rpe_tf.models.resnet import resnet

PUBLISHED = {50: keras.applications.ResNet50, 101: keras.applications.ResNet101}


def net(depth, **arguments):
    """Model image → features of stages 2 to 5, and their strides."""
    image = keras.Input([None, None, 3])
    stages = resnet(image, depth, **arguments)
    assert [number for number, _, _ in stages] == [2, 3, 4, 5]
    model = keras.Model(image, [features for _, features, _ in stages])
    return model, [stride for _, _, stride in stages]


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def randomize(model):
    """Random moments, scales and shifts too; features of every stage of the order of 1."""
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            last = layer.name.endswith("_3_bn")
            gamma = rng.uniform(0.1, 0.3, size) if last else rng.uniform(0.5, 1.5, size)
            beta, mean = rng.normal(0, 0.1, [2, size])
            layer.set_weights([gamma, beta, mean, rng.uniform(0.5, 1.5, size)])
        elif layer.weights:  # convolutions
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])
    return model


def assert_close(result, expected, tolerance):
    """Relative to the largest value of a stage, which must not be all 0."""
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.shape == expected.shape
    assert 0.1 < np.abs(expected).max() < 1e4
    assert np.abs(result - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("depth", PUBLISHED)
@pytest.mark.parametrize("size", [(97, 65)], ids=str)
def test_resnet_of_stride_32_equals_keras_applications(depth, size):
    model, _ = net(depth, norm="frozen_batch", output_stride=32)
    keras.utils.set_random_seed(0)
    published = randomize(PUBLISHED[depth](include_top=False, weights=None))
    ours = {layer.name: layer for layer in model.layers if layer.weights}
    theirs = {layer.name: layer for layer in published.layers if layer.weights}
    assert ours.keys() == theirs.keys()
    for name, layer in theirs.items():
        ours[name].set_weights(layer.get_weights())
    image = pictures(1, *size, 3)
    stages = ["conv2_block3_out", "conv3_block4_out", f"conv4_block{(depth - 32) // 3}_out"]
    outputs = [published.get_layer(name).output for name in stages] + [published.output]
    expected = keras.Model(published.input, outputs)(image, training=False)
    for features, ours in zip(expected, model(image, training=True), strict=True):
        assert_close(ours, features, 1e-5)


@pytest.fixture(scope="module")
def coarse():
    """The net of stride 32, whose weights the others take over."""
    keras.utils.set_random_seed(1)
    return randomize(net(26, norm="frozen_batch", width=8, output_stride=32)[0])


@pytest.mark.parametrize(
    "output_stride, strides",
    [(16, [4, 8, 16, 16]), (8, [4, 8, 8, 8]), (4, [4, 4, 4, 4])],
)
@pytest.mark.parametrize("size", [(128, 96), (97, 65)], ids=str)
def test_resnet_dilated_is_the_net_of_stride_32_at_more_positions(
    coarse, output_stride, strides, size
):
    model, got = net(26, norm="frozen_batch", width=8, output_stride=output_stride)
    assert got == strides
    model.set_weights(coarse.get_weights())
    image = pictures(2, *size, 3)
    stages = zip(model(image), coarse(image), strides, (4, 8, 16, 32), strict=True)
    for fine, expected, stride, full in stages:
        step = full // stride
        # At the borders too: what is beyond them is 0 for both.
        assert_close(fine[:, ::step, ::step], expected, 1e-5)


@pytest.mark.parametrize("stem_stride, output_stride", [(4, 8), (4, 32), (2, 2), (2, 4), (2, 16)])
@pytest.mark.parametrize("size", [(1, 1), (40, 57)], ids=str)
def test_resnet_features_have_the_side_over_the_stride_rounded_up(stem_stride, output_stride, size):
    model, strides = net(
        14, norm="group", width=8, stem_stride=stem_stride, output_stride=output_stride
    )
    full = [stem_stride * 2**k for k in range(4)]
    assert strides == [min(stride, output_stride) for stride in full]
    stages = model(pictures(2, *size, 3))
    for features, stride, channels in zip(stages, strides, (32, 64, 128, 256), strict=True):
        assert features.shape == (2, *[-(-side // stride) for side in size], channels)
        assert np.isfinite(features).all()
        assert np.min(features) >= 0


@pytest.mark.parametrize("stem_stride, output_stride", [(4, 8), (2, 4), (4, 32)])
def test_resnet_feature_stands_on_pixel_stride_times_k(stem_stride, output_stride):
    # A picture mirrored about pixel 64 has, with mirrored kernels, features mirrored about 64.
    keras.utils.set_random_seed(2)
    model, strides = net(
        14, norm="frozen_batch", width=8, stem_stride=stem_stride, output_stride=output_stride
    )
    weights = model.get_weights()
    model.set_weights([(w + w[::-1, ::-1]) / 2 if w.ndim == 4 else w for w in weights])
    half = pictures(1, 129, 129, 3)
    for features, stride in zip(model(half + half[:, ::-1, ::-1]), strides, strict=True):
        centre = 64 // stride
        assert features.shape[1] == 2 * centre + 1
        assert_close(features[:, ::-1, ::-1], features, 1e-5)


def test_resnet_blocks_are_counted_and_width_scales_all():
    for depth, blocks in ((14, 4), (26, 8)):
        names = [layer.name for layer in net(depth, norm="batch", width=8)[0].layers]
        assert sum(name.endswith("_add") for name in names) == blocks
        assert sum(name.endswith("_2_conv") for name in names) * 3 + 2 == depth
    narrow, wide = (net(14, norm="batch", width=width)[0] for width in (8, 24))
    for layer in narrow.layers:
        if layer.weights:
            assert wide.get_layer(layer.name).weights[-1].shape == (3 * layer.weights[-1].shape[0],)


@pytest.mark.parametrize("norm", NORMS)
def test_resnet_trains_what_its_norm_lets(norm):
    keras.utils.set_random_seed(3)
    model, _ = net(14, norm=norm, width=8, stem_stride=2, output_stride=4)
    if norm != "group":
        randomize(model)
    image = pictures(2, 24, 32, 3)
    tested, trained = model(image, training=False), model(image, training=True)
    # Only the moments of the batch make a difference between training and testing.
    difference = np.abs(tested[-1] - trained[-1]).max()
    assert (difference > 1e-2) == (norm == "batch")
    before = {layer.name: layer.get_weights() for layer in model.layers}
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)

    def train_step():
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean(x**2) for x in model(image, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = [float(train_step()) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    for layer in model.layers:
        is_frozen = norm == "frozen_batch" and layer.name.endswith("_bn")
        for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
            # A bias before moments of the batch is without effect; its gradient is rounding.
            if norm != "batch" or not layer.name.endswith("_conv") or old.ndim == 4:
                assert np.array_equal(old, new) == is_frozen, layer.name


def test_resnet_saved_whole_and_loaded_stays_frozen(coarse, tmp_path):
    path = str(tmp_path / "net.keras")
    coarse.save(path)
    loaded = keras.models.load_model(path)
    image = pictures(1, 40, 57, 3)
    for result, expected in zip(loaded(image, training=True), coarse(image), strict=True):
        assert_close(result, expected, 1e-6)
    assert len(loaded.trainable_variables) == len(coarse.trainable_variables) == 2 * (1 + 24 + 4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 34}, r"depth must be one of \(14, 26, 50, 101\), got 34"),
        ({"width": 12}, "width must be a multiple of 8, got 12"),
        ({"width": 0}, "width must be a multiple of 8, got 0"),
        ({"norm": "layer"}, "norm must be .* got 'layer'"),
        ({"stem_stride": 1}, r"stem_stride must be one of \(2, 4\), got 1"),
        ({"output_stride": 12}, r"must be one of \(4, 8, 16, 32\) at stem_stride 4, got 12"),
        ({"output_stride": 2}, r"must be one of \(4, 8, 16, 32\) at stem_stride 4, got 2"),
        (
            {"stem_stride": 2, "output_stride": 32},
            r"must be one of \(2, 4, 8, 16\) at stem_stride 2, got 32",
        ),
    ],
)
def test_resnet_refuses_arguments_outside_their_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        net(**{"depth": 14, "norm": "group", "width": 8, **arguments})
