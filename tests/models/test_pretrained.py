import importlib

import h5py
import keras
import numpy as np
import pytest

from rpe_tf.models import pretrained
from rpe_tf.models.layers import ScaleAndPad
from rpe_tf.models.pretrained import load_weights
from rpe_tf.models.resnet import resnet

IS_KERAS_2 = keras.__version__.startswith("2.")


def net(depth=50, width=64, norm="frozen_batch", **arguments):
    """A ResNet with one more layer, which has nothing to do with the weights loaded."""
    image = keras.Input([None, None, 3], dtype="uint8")
    x = ScaleAndPad(32, "imagenet")(image)
    x = resnet(x, depth, width=width, norm=norm, **arguments)[-1][1]
    return keras.Model(image, keras.layers.Conv2D(4, 1, name="embedding_conv")(x), name="net")


@pytest.fixture(scope="module")
def built():
    return net()


@pytest.fixture
def model(built):
    built.set_weights([np.full(w.shape, 2.0) for w in built.get_weights()])
    return built


@pytest.fixture(scope="module")
def published():
    """ResNet50 of keras.applications by include_top, every value another one."""
    whole = keras.applications.ResNet50(weights=None)
    rng = np.random.default_rng(0)
    whole.set_weights([rng.random(w.shape, np.float32) for w in whole.get_weights()])
    # What include_top=False builds; a second net would double the time of this module.
    return {
        True: whole,
        False: keras.Model(whole.input, whole.get_layer("conv5_block3_out").output),
    }


def write_h5(model, path, layers=None):
    """Old .h5 of weights only, as keras.applications publishes and Keras 2 writes."""
    with h5py.File(path, "w") as file:
        layers = {x.name: x for x in model.layers} if layers is None else layers
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, layer in layers.items():
            values = layer.get_weights()
            weights = [f"{name}/w{k}:0" for k in range(len(values))]
            group = file.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, value in zip(weights, values, strict=True):
                group[weight] = value


def write(model, path, layout):
    if layout == "weights.h5":
        model.save_weights(path)
    elif layout == "weights.h5 without names":  # Keras before 3.4 or so: only the order tells
        model.save_weights(path)
        with h5py.File(path, "a") as file:
            for group in file["layers"].values():
                group["vars"].attrs.pop("name", None)
    elif layout == "whole model":
        model.save(path)
    elif IS_KERAS_2:
        model.save_weights(path)
    else:  # Keras 3 does not write it any more
        write_h5(model, path)


def assert_loaded(model, published):
    for layer in model.layers:
        if layer.weights and layer.name != "embedding_conv":
            expected = published.get_layer(layer.name).get_weights()
            for value, other in zip(layer.get_weights(), expected, strict=True):
                np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize(
    "layout, name",
    [
        ("weights only", "net.h5"),
        ("whole model", "net.h5"),
        ("weights.h5", "net.weights.h5"),
        ("weights.h5 without names", "net.weights.h5"),
    ],
)
def test_load_weights_of_keras_applications(model, published, top, layout, name, tmp_path):
    path = str(tmp_path / name)
    write(published[top], path, layout)
    load_weights(model, path)
    assert_loaded(model, published[top])
    assert (model.get_layer("embedding_conv").get_weights()[0] == 2).all()


def test_load_weights_with_names_split_over_attributes(model, published, tmp_path):
    path = tmp_path / "net.h5"
    write_h5(published[False], path)
    with h5py.File(path, "a") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:70], names[70:]
    load_weights(model, str(path))
    assert_loaded(model, published[False])


def test_load_weights_tells_the_published_depths_by_the_number_of_their_layers():
    for depth, num_blocks in ((50, 6), (101, 23)):
        names = pretrained._ordered_names(depth - 1 + 4, "conv")  # no top, but four projections
        assert len(set(names)) == depth + 3
        assert names[0] == "conv1_conv"
        assert names.count(f"conv4_block{num_blocks}_3_conv") == 1
        assert names[-1] == "conv5_block3_3_conv"


@pytest.fixture(scope="module")
def small():
    return net(14, 8)


def weighted_layers(model):
    return {x.name: x for x in model.layers if x.weights and x.name != "embedding_conv"}


@pytest.mark.parametrize(
    "dropped, put, messages",
    [
        (
            ["conv2_block1_0_conv"],
            {"conv9_conv": "conv2_block1_0_conv"},
            ["missing in the file: conv2_block1_0_conv", "left over in the file: conv9_conv"],
        ),
        (["conv1_bn", "conv1_conv"], {}, ["missing in the file: conv1_conv, conv1_bn"]),
        (
            [],
            {"conv1_conv": "conv2_block1_3_conv"},
            [r"of another shape: conv1_conv \(\(1, 1, 8, 32\), \(32,\) in the file\)"],
        ),
        ([], {"conv1_bn": "conv1_conv"}, ["of another shape: conv1_bn"]),
        ([], {"extra": "conv1_bn"}, ["left over in the file: extra"]),
    ],
    ids=["renamed", "missing", "shape", "number", "left over"],
)
def test_load_weights_names_what_does_not_fit_and_sets_nothing(
    small, dropped, put, messages, tmp_path
):
    path = str(tmp_path / "net.h5")
    other = net(14, 8)
    layers = weighted_layers(other)
    kept = {name: layer for name, layer in layers.items() if name not in dropped}
    write_h5(other, path, kept | {name: layers[source] for name, source in put.items()})
    before = small.get_weights()
    for message in messages:
        with pytest.raises(ValueError, match=message):
            load_weights(small, path)
    for old, new in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_load_weights_refuses_the_weights_of_another_depth(model, tmp_path):
    path = str(tmp_path / "net.weights.h5")
    write(net(26, 64), path, "weights.h5 without names")
    with pytest.raises(ValueError, match="unlike any ResNet"):
        load_weights(model, path)  # one convolution too many, of which nothing says the name
    write_h5(None, path, weighted_layers(net(14, 64)))
    with pytest.raises(ValueError, match="missing in the file: conv2_block2_1_conv, "):
        load_weights(model, path)


def test_load_weights_refuses_a_net_of_groups(tmp_path):
    path = str(tmp_path / "net.h5")
    write_h5(None, path, weighted_layers(net(14, 8)))
    with pytest.raises(ValueError, match="of another kind: norm is group"):
        load_weights(net(14, 8, norm="group"), path)


def test_load_weights_refuses_what_is_no_file_of_keras(small, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of weights .*none\.h5"):
        load_weights(small, str(tmp_path / "none.h5"))
    path = tmp_path / "net.h5"
    path.write_bytes(b"\x80\x04 a pickle, say")
    with pytest.raises(ValueError, match=r"net\.h5 holds no weights in a layout of Keras"):
        load_weights(small, str(path))
    write_h5(None, path, weighted_layers(small))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"net\.h5 holds no weights in a layout of Keras"):
        load_weights(small, str(path))
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(ValueError, match="no layer_names"):
        load_weights(small, str(path))
    write_h5(None, path, weighted_layers(small))
    with h5py.File(path, "a") as file:
        del file["conv1_conv/conv1_conv/w1:0"]
    with pytest.raises(ValueError, match="conv1_conv/w1:0"):
        load_weights(small, str(path))


def test_load_weights_refuses_a_model_without_a_resnet():
    image = keras.Input([None, None, 3])
    model = keras.Model(image, keras.layers.Conv2D(4, 1)(image), name="other")
    with pytest.raises(ValueError, match="no layers of a ResNet in the model 'other'"):
        load_weights(model, "imagenet")


def test_load_weights_imagenet_says_what_to_fetch_where_there_is_no_network(model, monkeypatch):
    def fail(*_args, **_kwargs):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(OSError, match=r"https://.*/resnet50_.*_notop\.h5 .*URL fetch failure"):
        load_weights(model, "imagenet")


def test_load_weights_imagenet_takes_the_file_that_keras_applications_takes(
    model, published, monkeypatch, tmp_path
):
    path = str(tmp_path / "net.h5")
    write_h5(published[False], path)
    asked = []

    def get_file(*names, **arguments):
        asked.append((names, arguments))
        return path

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    load_weights(model, "imagenet")
    assert_loaded(model, published[False])
    (names, arguments), *others = asked
    assert not others
    theirs = importlib.import_module("keras.src.applications.resnet")
    assert names[1] == theirs.BASE_WEIGHTS_PATH + names[0]
    for depth, (name, md5) in pretrained._PUBLISHED.items():
        assert name == f"resnet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5"
        assert md5 == theirs.WEIGHTS_HASHES[f"resnet{depth}"][1]
    assert arguments == {"cache_subdir": "models", "file_hash": pretrained._PUBLISHED[50][1]}


@pytest.mark.parametrize(
    "depth, width, got", [(26, 64, "26 of width 64"), (50, 8, "50 of width 8")]
)
def test_load_weights_imagenet_refuses_nets_that_were_not_published(depth, width, got):
    with pytest.raises(ValueError, match=rf"published for depths \(50, 101\) .* got {got}"):
        load_weights(net(depth, width), "imagenet")
