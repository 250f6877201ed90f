"""Which ops are in a SavedModel, and that none needs Python or another's library."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.graph_ops import PYTHON_OPS, graph_ops, refuse_python_ops


def save(folder, function):
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(folder), module.serve)
    return str(folder)


def rewrite(folder, change):
    """Changes the SavedModel's first function."""
    model = saved_model_pb2.SavedModel()
    path = f"{folder}/saved_model.pb"
    with open(path, "rb") as file:
        model.ParseFromString(file.read())
    change(model.meta_graphs[0].graph_def.library.function[0])
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


@pytest.mark.parametrize(
    "fixture, expected",
    [
        ("exported", {"DecodeImage", "StatelessWhile"}),
        ("exported_boundary", {"Conv2D", "DecodeImage", "EncodePng"}),
        ("exported_instances", {"DecodeImage", "StatelessWhile"}),
        ("exported_semantic", {"DecodeImage", "EncodePng"}),
    ],
)
def test_exports_have_ops_of_tensorflow_alone(request, fixture, expected):
    exported = request.getfixturevalue(fixture)
    ops = refuse_python_ops(f"{exported.export_dir}/1")
    assert expected <= set(ops)
    # As TensorFlow itself counts them when it has loaded the model.
    loaded = set()
    for function in exported.loaded.signatures.values():
        graph = function.graph.as_graph_def()
        loaded |= {node.op for node in graph.node}
        loaded |= {node.op for inner in graph.library.function for node in inner.node_def}
    assert loaded - {"_Arg", "_Retval"} <= set(ops)


def test_graph_ops_counts_in_graph_and_functions_and_branches(tmp_path):
    def add(x):
        return tf.cond(x > 0, lambda: tf.exp(tf.exp(x)), lambda: tf.sin(x))

    ops = graph_ops(save(tmp_path, add))
    assert ops["Exp"] == 2 and ops["Sin"] == 1


def test_graph_ops_leaves_out_calls_by_the_name_of_a_function(tmp_path):
    folder = save(tmp_path, tf.exp)
    ops = graph_ops(folder)
    rewrite(folder, lambda function: function.node_def.add(op=function.signature.name))
    assert refuse_python_ops(folder) == ops


@pytest.mark.parametrize(
    "function, op",
    [
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32), "EagerPyFunc"),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), "PyFunc"),
        (
            lambda x: tf.numpy_function(lambda y: y, [x], tf.float32, stateful=False),
            "PyFuncStateless",
        ),
    ],
)
def test_refuse_python_ops_names_each_of_python(tmp_path, function, op):
    assert op in PYTHON_OPS
    # In a branch: functions of functions count too.
    folder = save(tmp_path, lambda x: tf.cond(x > 0, lambda: function(x), lambda: x))
    assert op in graph_ops(folder)
    with pytest.raises(ValueError, match=f"{folder} has ops that a server lacks: {op};"):
        refuse_python_ops(folder)


def test_refuse_python_ops_names_an_op_that_is_not_of_tensorflow(tmp_path):
    folder = save(tmp_path, tf.exp)
    refuse_python_ops(folder)

    def add_op(function):
        function.node_def.add(name="mine", op="MyMeanShift")

    rewrite(folder, add_op)
    with pytest.raises(ValueError, match="a server lacks: MyMeanShift;"):
        refuse_python_ops(folder)


def test_graph_ops_refuses_what_is_no_saved_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*saved_model\.pb; give a version"):
        graph_ops(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"\x12\xff")
    with pytest.raises(ValueError, match=r"saved_model\.pb is damaged"):
        graph_ops(str(tmp_path))
