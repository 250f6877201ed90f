"""A model that a server holds, used like one that was loaded: over TensorFlow Serving's REST."""

import io
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import types_pb2

from export import rest_client

_SUFFIX = "_bytes"


class RemoteModel(NamedTuple):
    """What `rpe_tf.saved_model` reads of a loaded model, of one behind a URL."""

    signatures: Mapping[str, Callable]  # `serving_default`, image [1, H, W, 3] uint8 → outputs


class RemoteSignature:
    """The answers of a model's signature `serving_bytes`, worded as those of `serving_default`."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """Asks the server what the model gives.

        Args:
          url: of a model or a version of it, as in `rest_client.predict`.
          timeout_seconds: for one answer.

        Raises:
          ValueError: if there is no such model, or none of this project.
          OSError: if the server cannot be reached.
        """
        signatures = rest_client.signatures(url, timeout_seconds=timeout_seconds)
        if rest_client.SIGNATURE not in signatures:
            raise ValueError(
                f"{url} has no signature {rest_client.SIGNATURE}; it was not written by "
                "export.export_main"
            )
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._outputs = signatures[rest_client.SIGNATURE]["outputs"]
        maps = {name.removesuffix(_SUFFIX) for name in self._outputs if name.endswith(_SUFFIX)}
        self.structured_outputs = {*self._outputs, *maps}

    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the answer to one picture [1, H, W, 3] uint8; raises as `rest_client.predict`."""
        png = tf.io.encode_png(image[0], compression=1).numpy()
        answer = rest_client.predict(self._url, png, timeout_seconds=self._timeout_seconds)
        outputs = {
            name: np.array([value], object)
            if name.endswith(_SUFFIX)
            else _array(value, self._outputs[name])
            for name, value in answer.items()
            if name + _SUFFIX not in answer  # The maps that also came as lists are not read twice.
        }
        return {name: tf.constant(x) for name, x in as_default(outputs).items()}


def connect(url: str, *, timeout_seconds: float = 60.0) -> RemoteModel:
    """Returns the model behind a URL; raises as `RemoteSignature`."""
    return RemoteModel({"serving_default": RemoteSignature(url.rstrip("/"), timeout_seconds)})


def as_default(answer: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what `serving_default` gives for one picture, of what `serving_bytes` gave.

    Args:
      answer: outputs [1, …] by name. A server that put the picture into a batch with others leaves
        rows of 0 behind the instances of the tables.
    """
    found = {}
    for name, value in answer.items():
        if name.endswith(_SUFFIX):
            samples = _samples(value[0])
            is_strength = name == f"boundary{_SUFFIX}"
            map_ = samples / np.float32(255) if is_strength else samples.astype(np.int32)
            found[name.removesuffix(_SUFFIX)] = map_[np.newaxis]
        elif value.ndim > 1:
            found[name] = value[:, : int(answer["num_instances"][0])]
        else:
            found[name] = value
    return found


def _samples(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def _array(value: object, described: Mapping) -> np.ndarray:
    """Returns the value for one picture as a batch [1, …] of the type that metadata describe."""
    dtype = tf.as_dtype(types_pb2.DataType.Value(described["dtype"])).as_numpy_dtype
    array = np.asarray([value], dtype)
    if array.size:
        return array
    # An empty list does not say how long its rows would be.
    sides = [int(side["size"]) for side in described["tensor_shape"]["dim"]]
    return np.zeros([1, *(max(side, 0) for side in sides[1:])], dtype)
