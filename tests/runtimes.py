"""SavedModels in runtimes that are not TensorFlow; a test that needs an absent one is skipped."""

import subprocess
import sys

import pytest


def in_openvino(folder):
    """The function from named inputs to named outputs that OpenVINO makes of a SavedModel."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    # By default it computes in bfloat16 where the processor can: grouping needs float32.
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(folder), "CPU", precise)

    def run(inputs):
        outputs = model(inputs)
        return {port.get_any_name(): value for port, value in outputs.items()}

    return run


def in_onnx_runtime(folder, path):
    """The same by ONNX Runtime; the converted model is written to path."""
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", folder, "--tag", "serve"]
    command += ["--signature_def", "serving_default", "--output", str(path), "--opset", "18"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # It reports success after an error all the same.
    assert " - ERROR - " not in done.stderr, done.stderr
    session = runtime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))
