"""A SavedModel to LiteRT (TensorFlow Lite), and that run by LiteRT's own interpreter."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

FILE_NAME = "model.tflite"
PACKAGES = ("ai-edge-litert",)

# Kept in floating point under int8; all that is left are the convolutions. The exponents and norms
# of an embedding do not bear 256 levels.
_NOT_QUANTIZED = (
    *("ARG_MAX", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
    *("ADD", "ADD_N", "BROADCAST_TO", "CAST", "CONCATENATION", "COS", "DIV", "EXP", "GATHER"),
    *("GATHER_ND", "GREATER", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MEAN", "MINIMUM", "MUL"),
    *("PACK", "PAD", "PADV2", "POW", "REDUCE_MAX", "RELU", "RESHAPE", "RESIZE_BILINEAR"),
    *("REVERSE_V2", "ROUND", "RSQRT", "SELECT", "SELECT_V2", "SIN", "SLICE", "SOFTMAX", "SPLIT"),
    *("SQRT", "SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM", "TILE", "TRANSPOSE"),
    *("UNPACK", "ZEROS_LIKE"),
)


def convert(
    folder: str,
    path: str,
    precision: str = "float32",
    pictures: Iterable[dict[str, np.ndarray]] = (),
) -> None:
    """Writes the signature serving_default of the SavedModel in folder to path, a .tflite.

    Args:
      folder: of the SavedModel, with inputs of a fixed shape and no lists of tensors.
      path: of the file.
      precision: float32; float16: weights are stored in 16 bits; int8: convolutions are computed
        in 8 bits.
      pictures: inputs by name, at least one, that the ranges of int8 are taken from.

    Raises:
      ConverterError: of TensorFlow, if LiteRT has no conversion for an op; it names the op.
    """
    with tempfile.TemporaryDirectory() as work:
        frozen = os.path.join(work, "frozen")
        _freeze(folder, frozen)
        converter = tf.lite.TFLiteConverter.from_saved_model(frozen)
        content = _in_precision(converter, precision, list(pictures))
    with open(path, "wb") as file:
        file.write(content)


def load(path: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns the function from named inputs to named outputs of a .tflite file."""
    run = Interpreter(path, num_threads=os.cpu_count()).get_signature_runner("serving_default")
    return lambda inputs: {name: np.array(x) for name, x in run(**inputs).items()}


def _freeze(folder: str, frozen: str) -> None:
    """Writes the SavedModel with its variables as constants: LiteRT's own start empty."""
    loaded = tf.saved_model.load(folder)
    function = loaded.signatures["serving_default"]
    # As TensorFlow flattens a dict.
    names = sorted(function.structured_outputs)
    constant = convert_variables_to_constants_v2(function, lower_control_flow=False)
    specs = [tf.TensorSpec(x.shape, x.dtype, name=x.name.split(":")[0]) for x in constant.inputs]
    module = tf.Module()
    module.serve = tf.function(
        lambda *inputs: dict(zip(names, constant(*inputs), strict=True)), input_signature=specs
    )
    tf.saved_model.save(module, frozen, signatures={"serving_default": module.serve})


def _in_precision(
    converter: tf.lite.TFLiteConverter, precision: str, pictures: list[dict[str, np.ndarray]]
) -> bytes:
    """Returns the content of the file."""
    if precision == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()

    def examples() -> Iterator[dict[str, np.ndarray]]:
        yield from pictures

    converter.representative_dataset = examples
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(_NOT_QUANTIZED))
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=examples, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()
