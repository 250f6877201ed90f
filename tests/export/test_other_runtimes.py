"""Whole exports in runtimes that are not TensorFlow: net, grouping and read-out in one."""

import numpy as np
import pytest
import tensorflow as tf

from export.parity import smooth_pictures
from tests.runtimes import in_onnx_runtime, in_openvino

# Sides that are no multiple of the net's stride.
_BATCH = smooth_pictures(0, 2, 45, 70)
_FLOAT_ERROR = 1e-4


def check_equal(exported, run):
    served = exported.loaded.signatures["serving_default"](image=tf.constant(_BATCH))
    found = run({"image": _BATCH})
    assert set(served) <= set(found)
    for name, expected in served.items():
        if expected.dtype.is_floating:
            np.testing.assert_allclose(found[name], expected, atol=_FLOAT_ERROR)
        else:
            np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize(
    "fixture", ["exported", "exported_boundary", "exported_instances", "exported_semantic"]
)
def test_openvino_answers_as_tensorflow(request, fixture):
    exported = request.getfixturevalue(fixture)
    check_equal(exported, in_openvino(f"{exported.export_dir}/1"))


@pytest.mark.parametrize("fixture", ["exported_boundary", "exported_semantic"])
def test_onnx_runtime_answers_as_tensorflow(request, fixture, tmp_path):
    exported = request.getfixturevalue(fixture)
    check_equal(exported, in_onnx_runtime(f"{exported.export_dir}/1", tmp_path / "model.onnx"))
