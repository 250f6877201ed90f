"""Requests that a server runs when it loads a model, so that the first real one is not slow.

`assets.extra/tf_serving_warmup_requests` is a TFRecord of `tensorflow.serving.PredictionLog`. The
few of its fields that matter are declared here, by the numbers that tensorflow/serving gives them,
so that an export does not need the package tensorflow-serving-api.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
)
from tensorflow.core.framework import tensor_pb2

from export.answers import Parameter
from export.parity import smooth_pictures
from export.served_module import EXAMPLE_KEY, ServedModule
from rpe_tf.inference.label_map import BACKGROUNDS

# Where TensorFlow Serving looks in a version folder.
PATH = os.path.join("assets.extra", "tf_serving_warmup_requests")

# Of the picture, (H, W) in pixels. What a server must prepare hangs little on the size, and the
# embedding, in the file for the signature `group`, has many numbers a pixel.
_SIDES = (45, 60)

# prediction_log.proto, predict.proto and model.proto of tensorflow/serving. A value of the map is
# declared as the bytes of a TensorProto: on the wire a message is nothing else.
_SCHEMA = """
name: "warm_up.proto" package: "tensorflow.serving" syntax: "proto3"
message_type {
  name: "PredictionLog"
  field { name: "predict_log" number: 6 type: TYPE_MESSAGE type_name: "PredictLog" }
}
message_type {
  name: "PredictLog"
  field { name: "request" number: 1 type: TYPE_MESSAGE type_name: "PredictRequest" }
}
message_type {
  name: "PredictRequest"
  field { name: "model_spec" number: 1 type: TYPE_MESSAGE type_name: "ModelSpec" }
  field { name: "inputs" number: 2 type: TYPE_MESSAGE label: LABEL_REPEATED
          type_name: "InputsEntry" }
  nested_type {
    name: "InputsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
  }
}
message_type {
  name: "ModelSpec"
  field { name: "signature_name" number: 3 type: TYPE_STRING }
}
"""


class Replayed(NamedTuple):
    """How long a warm-up request took."""

    signature: str
    first_seconds: float  # with all that is prepared once
    again_seconds: float


def write_warm_up(folder: str, described: Mapping[str, Mapping], values: Mapping) -> None:
    """Writes one request for each signature, in their order, to PATH in a version folder.

    Args:
      folder: of the version.
      described: the signatures as `signatures.describe_signatures` says them.
      values: tensors by name, one for every input of the signatures.
    """
    path = os.path.join(folder, PATH)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path) as writer:
        for name, parts in described.items():
            writer.write(_encode(name, {key: values[key] for key in parts["inputs"]}))


def example_values(
    module: ServedModule, parameters: Mapping[str, Parameter]
) -> dict[str, tf.Tensor]:
    """Returns what a module can be asked with, by the names of its inputs.

    That is one small picture, encoded and not; what `embedding` answers to it, for `group`; and the
    defaults of the parameters, [1] each.
    """
    image = smooth_pictures(0, 1, *_SIDES)
    png = tf.io.encode_png(image[0]).numpy()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))
    example = tf.train.Example(features=tf.train.Features(feature={EXAMPLE_KEY: feature}))
    return {
        **module.embedding(tf.constant(image)),
        "image": tf.constant(image),
        "image_bytes": tf.constant([png]),
        "examples": tf.constant([example.SerializeToString(deterministic=True)]),
        **{name: _default(parameter)[tf.newaxis] for name, parameter in parameters.items()},
    }


def read_warm_up(folder: str) -> list[tuple[str, dict[str, tf.Tensor]]]:
    """Returns the requests of a version folder: signature, and its inputs by name.

    Raises:
      FileNotFoundError: if there are none.
      ValueError: if a record is damaged or no such request.
    """
    path = os.path.join(folder, PATH)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}; export the run again to have warm-up requests")
    try:
        records = [record.numpy() for record in tf.data.TFRecordDataset(path)]
        return [_decode(record) for record in records]
    except (tf.errors.DataLossError, message.DecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); export the run again") from error


def replay(folder: str) -> Iterator[Replayed]:
    """Loads the model in a version folder and runs each of its warm-up requests twice.

    Raises:
      FileNotFoundError, ValueError: as `read_warm_up`.
      ValueError: if the model refuses a request; the message names its signature.
    """
    requests = read_warm_up(folder)
    loaded = tf.saved_model.load(folder)

    def seconds(name: str, inputs: dict[str, tf.Tensor]) -> float:
        started = time.perf_counter()
        outputs = loaded.signatures[name](**inputs)
        for output in outputs.values():
            output.numpy()
        return time.perf_counter() - started

    for name, inputs in requests:
        if name not in loaded.signatures:
            raise ValueError(f"{folder} has no signature {name}, which a warm-up request asks")
        try:
            yield Replayed(name, seconds(name, inputs), seconds(name, inputs))
        except (tf.errors.OpError, TypeError) as error:
            raise ValueError(f"{folder} refuses the warm-up request of {name}: {error}") from error


def _default(parameter: Parameter) -> tf.Tensor:
    """Returns the default of a parameter as a caller would give it, a scalar."""
    if parameter.dtype == tf.string:
        return tf.constant(BACKGROUNDS)[parameter.default]
    return parameter.default


def _encode(signature: str, inputs: Mapping[str, tf.Tensor]) -> bytes:
    log = _prediction_log()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        proto = tf.make_tensor_proto(tensor.numpy())
        request.inputs[name] = proto.SerializeToString(deterministic=True)
    return log.SerializeToString(deterministic=True)


def _decode(record: bytes) -> tuple[str, dict[str, tf.Tensor]]:
    log = _prediction_log()
    log.ParseFromString(record)
    request = log.predict_log.request
    tensors = {
        name: tf.constant(tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto)))
        for name, proto in request.inputs.items()
    }
    return request.model_spec.signature_name, tensors


def _prediction_log() -> message.Message:
    """Returns an empty PredictionLog."""
    # In a pool of its own: the package tensorflow-serving-api puts the same names into the default.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))
    descriptor = pool.FindMessageTypeByName("tensorflow.serving.PredictionLog")
    return message_factory.GetMessageClass(descriptor)()
