"""Grouping in other runtimes: it uses only ops that OpenVINO and ONNX have, with equal answers."""

import numpy as np
import pytest
import tensorflow as tf
from runtimes import in_onnx_runtime, in_openvino

from rpe_tf.inference.grouping import group

_DIM = 8


@pytest.fixture(scope="module")
def saved_group(tmp_path_factory):
    """A SavedModel of `group` alone, and pictures of several sizes with its answers."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, _DIM], name="embedding")])
        def group(self, embedding):
            return group(embedding, 36.0)._asdict()

    module = Module()
    folder = str(tmp_path_factory.mktemp("export") / "group")
    tf.saved_model.save(module, folder, signatures={"serving_default": module.group})
    embeddings = [clusters(500, 3, 0.1), clusters(3000, 6, 0.1), clusters(20000, 8, 0.15)]
    embeddings[1][5] = 0
    return folder, [(x, {k: v.numpy() for k, v in module.group(x).items()}) for x in embeddings]


def clusters(count, num_clusters, spread):
    rng = np.random.default_rng(count)
    x = np.eye(_DIM)[rng.integers(0, num_clusters, count)] + rng.normal(0, spread, [count, _DIM])
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def check(found, expected):
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found["instance"], expected["instance"])
    np.testing.assert_allclose(found["modes"], expected["modes"], atol=1e-4)
    assert int(found["num_loops"]) == int(expected["num_loops"])
    assert bool(found["converged"]) == bool(expected["converged"])


def test_group_in_openvino_answers_alike(saved_group):
    folder, examples = saved_group
    run = in_openvino(folder)
    for embedding, expected in examples:
        check(run({"embedding": embedding}), expected)


def test_group_in_onnx_runtime_answers_alike(saved_group, tmp_path):
    folder, examples = saved_group
    run = in_onnx_runtime(folder, tmp_path / "group.onnx")
    for embedding, expected in examples:
        check(run({"embedding": embedding}), expected)
