"""Loads weights that keras.applications published or wrote into a ResNet of ours, by name."""

import os
import re

import h5py
import keras
import numpy as np

from rpe_tf.models.resnet import BLOCKS

IMAGENET = "imagenet"

_URL = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# File without top and its MD5, of keras.applications.resnet; trained on pictures scaled "imagenet".
_PUBLISHED = {
    50: (
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    101: (
        "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "88cf7a10940856eca736dc7b7e228a21",
    ),
}
_PUBLISHED_WIDTH = 64
_BACKBONE = re.compile(r"conv1_(conv|bn)|conv(\d)_block(\d+)_(\d)_(conv|bn)")
_TOP = "predictions"  # classifier of keras.applications, the only layer that may stay unused
_CLASSES = {"conv2d": "conv", "batch_normalization": "bn"}  # group of a .weights.h5: end of a name


def load_weights(model: keras.Model, source: str) -> None:
    """Sets the weights of the ResNet inside a model; its other layers stay as they are.

    Nothing is set unless everything fits.

    Args:
      model: with the layers of `resnet`, norm "batch" or "frozen_batch", on pictures that are
        scaled as the weights expect: "imagenet" of `ScaleAndPad` for the published ones.
      source: "imagenet" (downloads what keras.applications publishes, once, to ~/.keras/models) or
        a file of keras.applications.ResNet50 or ResNet101, with or without top: .h5 or .weights.h5
        of Keras 2 or 3.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if model holds no ResNet, none is published for it, or the file is not readable,
        lacks a layer, has one too many or one of other shapes; names them all.
      OSError: if the download fails; names what to fetch by hand.
    """
    layers = {x.name: x for x in model.layers if _BACKBONE.fullmatch(x.name)}
    if not layers:
        raise ValueError(f"no layers of a ResNet in the model {model.name!r}")
    path = _download(layers) if source == IMAGENET else source
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file of weights {path!r}; give a path or {IMAGENET!r}")
    weights = _read(path)
    weights.pop(_TOP, None)
    _check_fit(layers, weights, path)
    for name, layer in layers.items():
        layer.set_weights(weights[name])


def _download(layers: dict[str, keras.layers.Layer]) -> str:
    """Returns the path of the published weights, downloaded unless they are in Keras' cache."""
    matches = [_BACKBONE.fullmatch(name) for name in layers]
    blocks = tuple(len({m[3] for m in matches if m[2] == str(stage)}) for stage in range(2, 6))
    depth = next((depth for depth, known in BLOCKS.items() if known == blocks), None)
    width = layers["conv1_conv"].filters
    if depth not in _PUBLISHED or width != _PUBLISHED_WIDTH:
        raise ValueError(
            f"ImageNet weights are published for depths {tuple(_PUBLISHED)} of width "
            f"{_PUBLISHED_WIDTH}, got {depth} of width {width}"
        )
    name, md5 = _PUBLISHED[depth]
    try:
        return keras.utils.get_file(name, _URL + name, cache_subdir="models", file_hash=md5)
    except Exception as error:  # that is the class that get_file raises itself
        raise OSError(
            f"could not download {_URL}{name} ({error}); fetch it by hand (MD5 {md5}) and give "
            f"the path of the file in place of {IMAGENET!r}"
        ) from error


def _read(path: str) -> dict[str, list[np.ndarray]]:
    """Returns the weights of each layer that has any, in the layer's own order."""
    try:
        with h5py.File(path, "r") as file:
            if "layers" in file:
                return _read_groups(file["layers"])
            root = file.get("model_weights", file)  # a whole model in one .h5, or its weights only
            return {
                name: [_read_dataset(root, f"{name}/{weight}") for weight in weights]
                for name in _read_names(root, "layer_names")
                if (weights := _read_names(root[name], "weight_names"))
            }
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} holds no weights in a layout of Keras: {error}") from error


def _read_dataset(group: h5py.Group, key: str) -> np.ndarray:
    if not isinstance(group.get(key), h5py.Dataset):
        raise KeyError(f"no {key} in {group.name}")
    return np.asarray(group[key])


def _read_names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns a list of names, which Keras splits over numbered attributes where it is long."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        count = sum(bool(re.fullmatch(rf"{attribute}\d+", key)) for key in group.attrs)
        if not count:
            raise KeyError(f"no {attribute} in {group.name}")
        parts = [group.attrs[f"{attribute}{k}"] for k in range(count)]
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _read_groups(groups: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Returns the weights of a .weights.h5, whose groups are numbered by class: conv2d_7.

    Recent Keras 3 keeps the layer's own name beside; before, only the order tells.
    """
    named, numbered = {}, {}
    for key, group in groups.items():
        variables = group.get("vars", {})
        values = [_read_dataset(variables, str(k)) for k in range(len(variables))]
        if not values:
            continue
        if "name" in variables.attrs:
            named[str(variables.attrs["name"])] = values
        else:
            numbered[key] = values
    return named | _name_by_order(numbered) if numbered else named


def _name_by_order(numbered: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Returns the weights under the names that a ResNet with so many layers of a class has."""
    result = {}
    counts = {}
    for key in numbered:
        kind = re.sub(r"_\d+$", "", key)
        counts[kind] = counts.get(kind, 0) + 1
    for kind, ending in _CLASSES.items():
        names = _ordered_names(counts.pop(kind, 0), ending)
        for k, name in enumerate(names):
            result[name] = numbered[f"{kind}_{k}" if k else kind]
    if counts.pop("dense", 0) == 1:
        result[_TOP] = numbered["dense"]
    result.update({key: numbered[key] for key in numbered if re.sub(r"_\d+$", "", key) in counts})
    return result


def _ordered_names(count: int, ending: str) -> list[str]:
    """Returns the names of the layers of a class in the order of a keras.applications model."""
    for blocks in BLOCKS.values():
        names = ["conv1"]
        for stage, num_blocks in enumerate(blocks, start=2):
            # A functional model sorts by distance from its end, so that the projection stands
            # beside the last convolution of its block.
            names += [f"conv{stage}_block1_{unit}" for unit in (1, 2, 0, 3)]
            names += [
                f"conv{stage}_block{block}_{unit}"
                for block in range(2, num_blocks + 1)
                for unit in (1, 2, 3)
            ]
        if len(names) == count:
            return [f"{name}_{ending}" for name in names]
    raise KeyError(f"{count} layers for names that end in {ending!r}, unlike any ResNet")


def _check_fit(
    layers: dict[str, keras.layers.Layer], weights: dict[str, list[np.ndarray]], path: str
) -> None:
    problems = {
        "missing in the file": [name for name in layers if name not in weights],
        "left over in the file": [name for name in weights if name not in layers],
        "of another shape": [
            f"{name} ({', '.join(str(x.shape) for x in weights[name])} in the file)"
            for name, layer in layers.items()
            if name in weights
            and [x.shape for x in weights[name]] != [tuple(x.shape) for x in layer.weights]
        ],
    }
    if any(isinstance(x, keras.layers.GroupNormalization) for x in layers.values()):
        problems["of another kind"] = ["norm is group, moments need batch or frozen_batch"]
    texts = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if texts:
        raise ValueError(f"{path} does not fit the model; " + "; ".join(texts))
