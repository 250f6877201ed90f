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
# Of the samples of a served PNG map, by the name of the map: what the pixels signature gives.
_READ_MAP = {
    "instance": lambda samples: samples.astype(np.int32),
    "semantic": lambda samples: samples.astype(np.int32),
    "boundary": lambda samples: samples.astype(np.float32) / 255.0,
}


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
        found = {}
        for name, value in answer.items():
            if name.endswith(_SUFFIX):
                stem = name.removesuffix(_SUFFIX)
                found[stem] = tf.constant(_READ_MAP[stem](_samples(value))[np.newaxis])
            # The maps that also came as lists are not read twice.
            elif name + _SUFFIX not in answer:
                found[name] = tf.constant(_array(value, self._outputs[name]))
        return found


def connect(url: str, *, timeout_seconds: float = 60.0) -> RemoteModel:
    """Returns the model behind a URL; raises as `RemoteSignature`."""
    return RemoteModel({"serving_default": RemoteSignature(url.rstrip("/"), timeout_seconds)})


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
