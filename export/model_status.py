"""Status and metadata of a model, as TensorFlow Serving's REST interface words them."""

from collections.abc import Mapping

from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.model_versions import Servable, VersionState

# Of the states that a version may have, why it was not loaded; TensorFlow's name for any reason.
_OK, _FAILED = "OK", "UNKNOWN"


def describe_states(states: Mapping[int, VersionState]) -> dict:
    """Returns the JSON object of `GET /v1/models/NAME`.

    Args:
      states: by version, in the order they are told in.
    """
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": state.state,
                "status": {
                    "error_code": _FAILED if state.error else _OK,
                    "error_message": state.error,
                },
            }
            for version, state in states.items()
        ]
    }


def describe_servable(servable: Servable) -> dict:
    """Returns the JSON object of `GET /v1/models/NAME/metadata`."""
    return {
        "model_spec": {
            "name": servable.model,
            "signature_name": "",
            "version": str(servable.version),
        },
        "metadata": {
            "signature_def": {
                "signature_def": {
                    name: _describe_signature(definition)
                    for name, definition in servable.signature_defs.items()
                }
            }
        },
    }


def _describe_signature(definition: meta_graph_pb2.SignatureDef) -> dict:
    return {
        "inputs": {name: _describe_tensor(x) for name, x in definition.inputs.items()},
        "outputs": {name: _describe_tensor(x) for name, x in definition.outputs.items()},
        "method_name": definition.method_name,
    }


def _describe_tensor(info: meta_graph_pb2.TensorInfo) -> dict:
    shape = info.tensor_shape
    return {
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(side.size), "name": side.name} for side in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
        "name": info.name,
    }
