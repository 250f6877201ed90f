"""A SavedModel to OpenVINO's own format, and that run by OpenVINO."""

from collections.abc import Callable, Iterable

import nncf
import numpy as np
import openvino
from openvino import opset13 as opset

FILE_NAME = "model.xml"  # and model.bin beside it
PACKAGES = ("openvino", "nncf")

# By default it computes in bfloat16 where the processor can: grouping needs float32.
_PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
# What float16 and int8 are for. All else stays as it is: the exponents of mean shift and the norms
# of the vectors it compares do not bear 256 levels.
_QUANTIZED = {"Convolution", "GroupConvolution"}


def convert(
    folder: str,
    path: str,
    precision: str = "float32",
    pictures: Iterable[dict[str, np.ndarray]] = (),
) -> None:
    """Writes the signature serving_default of the SavedModel in folder to path, an .xml.

    Args:
      folder: of the SavedModel.
      path: of the file, and of the weights beside it, .bin.
      precision: float32; float16: weights are stored in 16 bits; int8: convolutions are computed
        in 8 bits.
      pictures: inputs by name, at least one, that the ranges of int8 are taken from.

    Raises:
      RuntimeError: of OpenVINO, if it has no conversion for an op; it names the op.
    """
    model = openvino.Core().read_model(folder)
    if precision == "int8":
        examples = list(pictures)
        others = {op.get_type_name() for op in model.get_ops()} - _QUANTIZED
        model = nncf.quantize(
            model,
            nncf.Dataset(examples),
            subset_size=len(examples),
            ignored_scope=nncf.IgnoredScope(types=sorted(others), validate=False),
        )
    if precision == "float16":
        _store_in_16_bits(model)
    openvino.save_model(model, path, compress_to_fp16=False)


def _store_in_16_bits(model: openvino.Model) -> None:
    """Replaces the weights of convolutions by float16 ones and a conversion to float32.

    `save_model` does it too, but of a model that groups it leaves every weight in 32 bits.
    """
    for node in model.get_ops():
        if node.get_type_name() not in _QUANTIZED:
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() == "Constant":
            stored = opset.constant(weight.data.astype(np.float16))
            node.input(1).replace_source_output(opset.convert(stored, "f32").output(0))


def load(path: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns the function from named inputs to named outputs of a file or a SavedModel's folder.

    Raises:
      RuntimeError: if it is neither.
    """
    core = openvino.Core()
    model = core.compile_model(core.read_model(path), "CPU", _PRECISE)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # A copy: the next call writes into the same memory.
        return {port.get_any_name(): x.copy() for port, x in model(inputs).items()}

    return run
