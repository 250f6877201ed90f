"""The ops of a SavedModel, read from its file: none may need Python, all must be TensorFlow's."""

import os
from collections import Counter

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2

# What `tf.py_function`, `tf.numpy_function` and `Dataset.from_generator` put into a graph: names of
# functions of the Python process that traced them, which no other process has.
PYTHON_OPS = ("EagerPyFunc", "PyFunc", "PyFuncStateless")


def graph_ops(folder: str) -> Counter:
    """Returns how often each op stands in the graphs and functions of the SavedModel in folder.

    Calls of the model's own functions by their name, as graphs of TensorFlow 1 have them, are no
    ops and not among them.

    Raises:
      FileNotFoundError: if folder holds no saved_model.pb.
      ValueError: if that cannot be read.
    """
    path = os.path.join(folder, "saved_model.pb")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}; give a version folder of an export")
    model = saved_model_pb2.SavedModel()
    try:
        with open(path, "rb") as file:
            model.ParseFromString(file.read())
    except message.DecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); export the run again") from error
    ops, own = Counter(), set()
    for graph in (meta_graph.graph_def for meta_graph in model.meta_graphs):
        own |= {function.signature.name for function in graph.library.function}
        ops.update(node.op for node in graph.node)
        for function in graph.library.function:
            ops.update(node.op for node in function.node_def)
    return Counter({op: num for op, num in ops.items() if op not in own})


def refuse_python_ops(folder: str) -> Counter:
    """Returns the `graph_ops` of the SavedModel in folder if any TensorFlow can run them.

    Raises:
      ValueError: if one calls Python, or is not of TensorFlow itself: a server has neither.
      FileNotFoundError, ValueError: as `graph_ops`.
    """
    ops = graph_ops(folder)
    # Written into the wheel when it was built: what a program registers later is not among them.
    foreign = sorted(op for op in ops if op in PYTHON_OPS or not hasattr(tf.raw_ops, op))
    if foreign:
        raise ValueError(
            f"{folder} has ops that a server lacks: {', '.join(foreign)}; write the model with "
            "TensorFlow's own ops, without tf.py_function, tf.numpy_function and custom ops"
        )
    return ops
