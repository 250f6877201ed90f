"""A SavedModel to ONNX, and that run by ONNX Runtime."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnxruntime import quantization
from tf2onnx import optimizer, tf_loader, tfonnx
from tf2onnx.optimizer.const_fold_optimizer import ConstFoldOptimizer
from tf2onnx.optimizer.identity_optimizer import IdentityOptimizer
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

FILE_NAME = "model.onnx"
PACKAGES = ("tf2onnx", "onnx", "onnxruntime")

_OPSET = 18
# Of the converter's twelve passes, each repeated over the bodies of all loops, those without which
# the file does not load or is slow; the runtime has the others itself, and takes a second.
_PASSES = {
    "transpose": TransposeOptimizer,
    "constants": ConstFoldOptimizer,
    "identity": IdentityOptimizer,
}
# What int8 is for. All else stays in floating point: the exponents of mean shift and the norms of
# the vectors it compares do not bear 256 levels.
_QUANTIZED = ("Conv", "ConvTranspose")
# Weights with fewer numbers than this stay as they are: biases, moments, constants of the loops.
_LEAST_STORED_IN_16_BITS = 256


class _Errors(logging.Handler):
    """Keeps what the converter reports as an error before it goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the text of a record."""
        self.lines.append(record.getMessage())


class _Reader(quantization.CalibrationDataReader):
    """Gives inputs one after the other, as calibration asks for them."""

    def __init__(self, pictures: Iterable[dict[str, np.ndarray]]) -> None:
        self._pictures: Iterator[dict[str, np.ndarray]] = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the next inputs by name, None after the last."""
        return next(self._pictures, None)


def convert(
    folder: str,
    path: str,
    precision: str = "float32",
    pictures: Iterable[dict[str, np.ndarray]] = (),
) -> None:
    """Writes the signature serving_default of the SavedModel in folder to path, an .onnx.

    Args:
      folder: of the SavedModel.
      path: of the file.
      precision: float32; float16: weights are stored in 16 bits; int8: convolutions are computed
        in 8 bits.
      pictures: inputs by name, at least one, that the ranges of int8 are taken from.

    Raises:
      ValueError: if ONNX has no conversion for an op; it names the op.
    """
    model = _convert(folder)
    if precision == "float16":
        _store_in_16_bits(model.graph)
    if precision == "int8":
        _quantize(model, path, pictures)
    else:
        onnx.save(model, path)


def load(path: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns the function from named inputs to named outputs of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def _convert(folder: str) -> onnx.ModelProto:
    """Returns the model; refuses what the converter logs as an error, after which it goes on."""
    errors, logger = _Errors(), logging.getLogger("tf2onnx")
    logger.setLevel(logging.WARNING)
    logger.addHandler(errors)
    try:
        graph_def, inputs, outputs, tables, names = tf_loader.from_saved_model(
            folder,
            None,
            None,
            tag=["serve"],
            signatures=["serving_default"],
            return_initialized_tables=True,
            return_tensors_to_rename=True,
        )
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            converted = tfonnx.process_tf_graph(
                graph,
                opset=_OPSET,
                continue_on_error=True,
                input_names=inputs,
                output_names=outputs,
                initialized_tables=tables,
                tensors_to_rename=names,
            )
    finally:
        logger.removeHandler(errors)
    if errors.lines:
        raise ValueError(f"{folder} cannot be converted to onnx: {'; '.join(errors.lines)}")
    # It would copy the whole graph before each pass, to go on from there if that fails.
    converted = optimizer.optimize_graph(converted, catch_errors=False, optimizers=_PASSES)
    return converted.make_model(f"converted from {folder}")


def _store_in_16_bits(graph: onnx.GraphProto) -> None:
    """Replaces weights by float16 ones and a cast to float32, which the runtime does once."""
    weights = [
        x
        for x in graph.initializer
        if x.data_type == onnx.TensorProto.FLOAT and np.prod(x.dims) >= _LEAST_STORED_IN_16_BITS
    ]
    casts = []
    for weight in weights:
        name = weight.name
        stored = onnx.numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(onnx.numpy_helper.from_array(stored, f"{name}/float16"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}/float16"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _quantize(model: onnx.ModelProto, path: str, pictures: Iterable[dict[str, np.ndarray]]) -> None:
    """Writes the model with convolutions of int8, a scale a channel, to path."""
    with tempfile.TemporaryDirectory() as work:
        plain, fused = os.path.join(work, "plain.onnx"), os.path.join(work, "fused.onnx")
        onnx.save(model, plain)
        # Normalisation goes into the convolution before it, whose range it sets.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = fused
        onnxruntime.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
        quantization.quantize_static(
            fused,
            path,
            _Reader(pictures),
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=_last_convolutions(onnx.load(fused).graph),
            per_channel=True,
        )


def _last_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of the convolutions that no other one follows.

    Their outputs would be rounded to 256 levels as well; and where those go on into a loop, the
    runtime's propagation of the rounding ends the process.
    """
    reaches: set[str] = set()  # tensors that a convolution follows
    last = []
    for node in reversed(graph.node):  # in the order of their computation
        is_followed = not reaches.isdisjoint(node.output)
        if node.op_type in _QUANTIZED and not is_followed:
            last.append(node.name)
        if node.op_type in _QUANTIZED or is_followed:
            reaches.update(node.input)
    return last
