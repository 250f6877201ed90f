"""SavedModels in runtimes that are not TensorFlow; a test that needs an absent one is skipped."""

import importlib

import pytest

_NEEDS = {
    "openvino": ("openvino", "nncf"),
    "onnx": ("tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
}


def need(runtime):
    """Skips the test where a package of the runtime is absent; returns the module for it."""
    for package in _NEEDS[runtime]:
        pytest.importorskip(package)
    return importlib.import_module(f"export.{runtime}_conversion")


def in_openvino(folder):
    """The function from named inputs to named outputs that OpenVINO makes of a SavedModel."""
    return need("openvino").load(folder)


def in_onnx_runtime(folder, path):
    """The same by ONNX Runtime; the converted model is written to path."""
    module = need("onnx")
    module.convert(folder, str(path))
    return module.load(str(path))
