"""A model that a server holds, used like one that was loaded: over TensorFlow Serving's gRPC.

It asks for `serving_bytes`: pictures go as PNG, and of the outputs those alone come back that are
read, so that label maps travel as PNG too. Needs tensorflow-serving-api (extra `[serving]`).
"""

import json
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.remote_model import RemoteModel, as_default
from export.rest_client import SIGNATURE

_SUFFIX = "_bytes"
# A server whose queue is full says UNAVAILABLE.
_RETRIES = {
    "maxAttempts": 5,
    "initialBackoff": "0.25s",
    "maxBackoff": "4s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_OPTIONS = [
    # gRPC takes 4 MB by default; a server of TensorFlow Serving sends and takes 2 GB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    (
        "grpc.service_config",
        json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRIES}]}),
    ),
]
# The fault of a request; anything else is one of the server or of the way to it.
_REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


class Address(NamedTuple):
    """Where a model is served."""

    server: str  # HOST:PORT
    model_name: str
    version: int | None = None  # None: the server's choice, the newest
    version_label: str | None = None  # such as stable; not with a version
    timeout_seconds: float = 60.0  # for one answer


class RemoteSignature:
    """The answers of a model's signature `serving_bytes`, worded as those of `serving_default`."""

    def __init__(self, address: Address) -> None:
        """Connects, and asks the server what the model gives.

        Raises:
          ValueError: if there is no such model or version, or it is none of this project.
          OSError: if the server cannot be reached.
        """
        channel = grpc.insecure_channel(address.server, options=_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._address = address
        outputs = _output_names(self._stub, address)
        maps = {name.removesuffix(_SUFFIX) for name in outputs if name.endswith(_SUFFIX)}
        self._asked = sorted(outputs - maps)
        self.structured_outputs = outputs | maps

    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the answer to one picture [1, H, W, 3] uint8.

        Raises:
          ValueError: if the server refuses the picture.
          OSError: if it cannot be reached, answers too late, or fails.
        """
        answer = self._ask(tf.io.encode_png(image[0], compression=1).numpy())
        return {name: tf.constant(x) for name, x in as_default(answer).items()}

    def _ask(self, image_bytes: bytes) -> dict[str, np.ndarray]:
        """Returns the outputs [1, …] for an encoded picture."""
        request = predict_pb2.PredictRequest(model_spec=_model_spec(self._address))
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image_bytes]))
        request.output_filter.extend(self._asked)
        answer = _call(self._stub.Predict, request, self._address)
        return {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}


def connect(address: Address) -> RemoteModel:
    """Returns the model at an address; raises as `RemoteSignature`."""
    return RemoteModel({"serving_default": RemoteSignature(address)})


def _output_names(stub: object, address: Address) -> set[str]:
    """Returns the names of the outputs of SIGNATURE."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=_model_spec(address), metadata_field=["signature_def"]
    )
    answer = _call(stub.GetModelMetadata, request, address)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    if SIGNATURE not in signatures.signature_def:
        raise ValueError(
            f"{address.model_name} at {address.server} has no signature {SIGNATURE}; it was not "
            "written by export.export_main"
        )
    return set(signatures.signature_def[SIGNATURE].outputs)


def _model_spec(address: Address) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=address.model_name, signature_name=SIGNATURE)
    if address.version is not None:
        spec.version.value = address.version
    elif address.version_label is not None:
        spec.version_label = address.version_label
    return spec


def _call(method: object, request: object, address: Address) -> object:
    try:
        return method(request, timeout=address.timeout_seconds)
    except grpc.RpcError as error:
        where = f"{address.model_name} at {address.server}"
        details = " ".join(error.details().split())  # one line, also where a graph failed
        if error.code() == grpc.StatusCode.NOT_FOUND:
            raise ValueError(f"{where} is not served: {details}") from None
        if error.code() in _REFUSALS:
            raise ValueError(f"{where} refuses the request: {details}") from None
        raise ConnectionError(f"{where} gives no answer ({error.code().name}): {details}") from None
