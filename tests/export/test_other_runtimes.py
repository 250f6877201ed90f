"""Whole exports in runtimes that are not TensorFlow: net, grouping and read-out in one."""

import numpy as np
import pytest
import tensorflow as tf

from export.parity import smooth_pictures
from tests.runtimes import in_onnx_runtime, in_openvino

# Sides that are no multiple of the net's stride.
_BATCH = smooth_pictures(0, 2, 45, 70)
_FLOAT_ERROR = 1e-4
_TIED = 1e-3  # share of a picture's pixels


def check_equal(exported, run):
    served = exported.loaded.signatures["serving_default"](image=tf.constant(_BATCH))
    served = {name: x.numpy() for name, x in served.items()}
    found = run({"image": _BATCH})
    assert set(served) <= set(found)
    maps = [name for name in ("instance", "semantic", "boundary") if name in served]
    for name in maps:
        apart = np.abs(found[name] - served[name]) > _FLOAT_ERROR
        # Pixels tied between two modes may fall either way.
        assert apart.mean() <= _TIED
    for name in set(served) - set(maps):
        # Where a pixel fell the other way, areas and what follows from them differ by as much.
        loose = 0.01 if any((found[x] != served[x]).any() for x in maps) else _FLOAT_ERROR
        if served[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], served[name], atol=loose)
        elif loose == _FLOAT_ERROR or name in ("num_instances", "classes"):
            np.testing.assert_array_equal(found[name], served[name])


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
