"""Pooling in other runtimes: OpenVINO and ONNX Runtime give the same maps and proposals."""

import numpy as np
import pytest
import tensorflow as tf
from runtimes import in_onnx_runtime, in_openvino

from rpe_tf.inference.pooling import pool_proposals

_DIM = 8


def picture(num_rows, num_columns, num_groups, spread):
    """Squares of random directions, every pixel with noise of its own."""
    rng = np.random.default_rng(num_groups)
    cells = rng.normal(size=[num_groups, _DIM])[
        rng.integers(0, num_groups, [num_rows, num_columns])
    ]
    x = cells.repeat(6, 0).repeat(6, 1)
    x += rng.normal(0, spread, x.shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def saved_pooling(tmp_path_factory):
    """A SavedModel of `pool_proposals` alone, and pictures of several sizes with its answers."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, _DIM], name="embedding")])
        def pool(self, embedding):
            return pool_proposals(embedding, concentrations=[20.0, 40.0, 80.0])._asdict()

    module = Module()
    folder = str(tmp_path_factory.mktemp("export") / "pooling")
    tf.saved_model.save(module, folder, signatures={"serving_default": module.pool})
    pictures = [picture(8, 10, 12, 0.25), picture(5, 4, 3, 0.1), picture(1, 1, 1, 0.01)]
    return folder, [(x, {k: v.numpy() for k, v in module.pool(x).items()}) for x in pictures]


def check(found, expected):
    assert found.keys() == expected.keys()
    for name in ("maps", "source", "boxes", "areas"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)


def test_saved_pooling_has_many_proposals_and_none(saved_pooling):
    nums = [len(expected["areas"]) for _, expected in saved_pooling[1]]
    assert nums[0] > 9 and nums[-1] == 0


def test_pooling_in_openvino_answers_alike(saved_pooling):
    folder, examples = saved_pooling
    run = in_openvino(folder)
    for embedding, expected in examples:
        check(run({"embedding": embedding}), expected)


def test_pooling_in_onnx_runtime_answers_alike(saved_pooling, tmp_path):
    folder, examples = saved_pooling
    run = in_onnx_runtime(folder, tmp_path / "pooling.onnx")
    for embedding, expected in examples:
        check(run({"embedding": embedding}), expected)
