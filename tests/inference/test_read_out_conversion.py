"""The classed read-out in other runtimes: OpenVINO and ONNX Runtime give equal maps and tables.

Of the read-out without classes the tests of pooling say the same.
"""

import numpy as np
import pytest
import tensorflow as tf
from runtimes import in_onnx_runtime, in_openvino

from rpe_tf.inference import instance_scoring
from rpe_tf.inference.class_instances import read_out_classed
from rpe_tf.inference.components import connected_components

_DIM, _CLASSES = 8, 4
_SCORER = {
    "features": list(instance_scoring.FEATURES),
    "weights": [0.1 * k for k in range(len(instance_scoring.FEATURES))],
    "bias": 0.25,
}


def picture(height, width, num_groups, seed):
    """Embedding and logits of squares in a grid, both with noise, some pixels of another group."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    cell = (y // 12) * 5 + x // 12
    stray = rng.random([height, width]) < 0.02
    mode = np.where(stray, rng.integers(0, num_groups, cell.shape), cell % num_groups)
    embedding = np.eye(_DIM)[mode] + rng.normal(0, 0.05, [height, width, _DIM])
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    logit = 4 * np.eye(_CLASSES)[(cell * 3 + 1) % _CLASSES] + rng.normal(0, 1, [*cell.shape, 4])
    return embedding.astype(np.float32), logit.astype(np.float32)


@pytest.fixture(scope="module")
def saved_read_out(tmp_path_factory):
    """A SavedModel of the read-out and of what it uses by options alone, and pictures with answers.

    The read-out without splitting would repeat all the grouping to add `largest_part`.
    """

    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, _DIM], name="embedding"),
                tf.TensorSpec([None, None, _CLASSES], name="logit"),
            ]
        )
        def read(self, embedding, logit):
            arguments = {"concentration": 36.0, "min_area": 6, "scorer": _SCORER}
            found = read_out_classed(embedding, logit, **arguments)._asdict()
            found["corners"] = connected_components(found["semantic"], 8)
            # Regions by corners fall apart by sides.
            num = tf.reduce_max(found["corners"])
            found["parts"] = instance_scoring.largest_part(found["corners"], num)
            return found

    module = Module()
    folder = str(tmp_path_factory.mktemp("export") / "read_out")
    tf.saved_model.save(module, folder, signatures={"serving_default": module.read})
    pictures = [picture(48, 60, 3, 0), picture(75, 50, 7, 1), picture(1, 1, 3, 2)]
    nothing = picture(30, 40, 4, 3)
    nothing[1][..., 0] = 9  # all background
    return folder, [
        (x, {key: value.numpy() for key, value in module.read(*x).items()})
        for x in (*pictures, nothing)
    ]


def check(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_pictures_have_instances_to_compare(saved_read_out):
    answers = [found for _, found in saved_read_out[1]]
    assert max(len(found["areas"]) for found in answers) > 3
    assert len(answers[-1]["areas"]) == len(answers[-1]["parts"]) == 0
    sizes = np.bincount(answers[1]["corners"].ravel())[1:]
    assert (answers[1]["parts"] < sizes).any() and (answers[1]["parts"] == sizes).any()


def test_read_out_classed_in_openvino_answers_alike(saved_read_out):
    folder, examples = saved_read_out
    run = in_openvino(folder)
    for (embedding, logit), expected in examples:
        check(run({"embedding": embedding, "logit": logit}), expected)


def test_read_out_classed_in_onnx_runtime_answers_alike(saved_read_out, tmp_path):
    folder, examples = saved_read_out
    run = in_onnx_runtime(folder, tmp_path / "read_outs.onnx")
    for (embedding, logit), expected in examples:
        check(run({"embedding": embedding, "logit": logit}), expected)
