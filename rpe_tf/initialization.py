"""Starts a model from one that was trained before: layers of equal name and shapes are copied.

The source is a run folder or an export, of any task and of either Keras: TensorFlow writes beside
the values of a checkpoint the full names of its variables, `layer/variable`, and these are all
that is read. Neither Keras objects nor the order of layers matter.
"""

import json
import os
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import trackable_object_graph_pb2

from rpe_tf import checkpoints, run_folder
from rpe_tf.models.layers import ScaleAndPad
from rpe_tf.saved_model import find_version, list_versions

# Names of the attributes under which runs and exports keep the model.
_IN_RUN, _IN_EXPORT = "model", "model_variables"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
# Names in a message; a ResNet has hundreds.
_SHOWN_NAMES = 6

Arrays = dict[str, dict[str, np.ndarray]]  # by layer and variable


class Source(NamedTuple):
    """What there is to start from."""

    path: str  # of the checkpoint or the version folder
    settings: dict  # of the run; keys `task`, `model` and others
    layers: Arrays


class InitReport(NamedTuple):
    """What became of every layer that has weights, of the model and of the source."""

    path: str  # of the checkpoint or the version folder
    taken: tuple[str, ...]  # copied, by name, in the model's order
    left: dict[str, str]  # of the model, not initialised: why
    unused: dict[str, str]  # of the source, not copied: why


def initialize(model: keras.Model, source: str | os.PathLike) -> InitReport:
    """Copies the weights of a run or an export into a model and returns what became of each layer.

    A layer is copied whole, where the source has one of its name with variables of the same names
    and shapes; any other stays as it is. Both sides' layers without partner are logged. Nothing
    is set if nothing fits.

    Args:
      model: any of `rpe_tf.models.build`; changed in place. Under a strategy, call in its scope.
      source: run folder (its best weights where it kept them, else the newest), version folder of
        an export, or the folder that holds the versions (the largest is taken).

    Returns:
      The `InitReport`.

    Raises:
      FileNotFoundError: if there is no such folder, or it holds neither a run with a checkpoint
        nor an export.
      ValueError: if the files cannot be read, or no layer of the model fits; says what was
        looked for.
    """
    found = read_source(os.fspath(source))
    targets = {x.name: x for x in model.layers if x.weights}
    shapes = {
        name: {_variable_name(w): tuple(w.shape) for w in layer.weights}
        for name, layer in targets.items()
    }
    report = match_layers(found, shapes)
    _warn_of_scaling(model, found)
    for name in report.taken:
        values = found.layers[name]
        targets[name].set_weights([values[variable] for variable in shapes[name]])
    _log(report, found)
    return report


def match_layers(source: Source, shapes: dict[str, dict[str, tuple]]) -> InitReport:
    """Returns which layers of a model can be taken from a source; copies nothing.

    Args:
      source: of `read_source`.
      shapes: shape of each variable of the model, by layer and variable.

    Raises:
      ValueError: if no layer can.
    """
    offered = {name: _shapes_of(values) for name, values in source.layers.items()}
    taken = tuple(name for name in shapes if offered.get(name) == shapes[name])
    report = InitReport(
        source.path,
        taken,
        {name: _why(name, shapes, offered) for name in shapes if name not in taken},
        {name: _why(name, offered, shapes) for name in offered if name not in taken},
    )
    if not taken:
        same_name = "; ".join(f"{n} {why}" for n, why in report.left.items() if n in offered)
        raise ValueError(
            f"no layer fits: the model looks for {_listed(shapes)}, and {source.path} (task "
            f"{source.settings.get('task')}, model {source.settings.get('model')}) has "
            f"{_listed(offered)}{'; ' + same_name if same_name else ''}; give a run or an export "
            "of the same backbone, or leave --init_from out"
        )
    return report


def read_source(folder: str) -> Source:
    """Returns settings and weights of a run folder or an export, see `initialize`.

    Raises:
      FileNotFoundError, ValueError: as `initialize`.
    """
    if not tf.io.gfile.isdir(folder):
        raise FileNotFoundError(f"no folder {folder}; check the path of the run or export")
    if tf.io.gfile.exists(os.path.join(folder, "settings.json")):
        path = checkpoints.weights_path(folder)
        return Source(path, run_folder.read_settings(folder), read_variables(path, _IN_RUN))
    is_export = os.path.isfile(os.path.join(folder, "saved_model.pb")) or list_versions(folder)
    if not is_export:
        raise FileNotFoundError(
            f"{folder} holds neither a run (settings.json, checkpoints/) nor an export "
            "(saved_model.pb, or numbered folders with one); give the folder of one of these"
        )
    path = find_version(folder)
    info = _read_info(os.path.join(path, "model_info.json"))
    variables = read_variables(os.path.join(path, "variables", "variables"), _IN_EXPORT)
    return Source(path, info["settings"], variables)


def read_variables(path: str, root: str) -> Arrays:
    """Returns the values of the variables in a checkpoint, by layer and variable.

    Args:
      path: of the checkpoint, without `.index`.
      root: name of the attribute of the saved object under which to look; others hold moments of
        the optimizer, say.

    Raises:
      ValueError: if the file cannot be read or has nothing of that name.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor(_OBJECT_GRAPH))
        arrays: Arrays = {}
        for full_name, key in _variables_under(graph, root):
            layer, _, variable = full_name.rpartition("/")
            arrays.setdefault(layer, {})[variable] = reader.get_tensor(key)
    # What the reader raises on damaged files, by version of TensorFlow and kind of damage.
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint ({error})") from error
    if not arrays:
        raise ValueError(f"{path} holds no {root!r}; it was written by another program")
    return arrays


def _variables_under(
    graph: trackable_object_graph_pb2.TrackableObjectGraph, root: str
) -> list[tuple[str, str]]:
    """Returns full name and key of every variable that can be reached from an attribute."""
    waiting = [x.node_id for x in graph.nodes[0].children if x.local_name == root]
    reached = set(waiting)
    while waiting:
        new = {x.node_id for x in graph.nodes[waiting.pop()].children} - reached
        reached |= new
        waiting += new
    attributes = [x for node in sorted(reached) for x in graph.nodes[node].attributes]
    return [(x.full_name, x.checkpoint_key) for x in attributes if x.name == _VALUE]


def _read_info(path: str) -> dict:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); the model was not written by export.export_main"
        ) from error


def _variable_name(variable: tf.Variable) -> str:
    """Returns the last part of a name: Keras 2 writes layer/kernel:0, Keras 3 kernel."""
    return variable.name.rpartition("/")[2].partition(":")[0]


def _shapes_of(values: dict[str, np.ndarray]) -> dict[str, tuple]:
    return {variable: value.shape for variable, value in values.items()}


def _why(name: str, own: dict[str, dict], others: dict[str, dict]) -> str:
    """Returns why a layer on one side has no partner on the other."""
    if name not in others:
        return "no layer of that name"
    here, there = own[name], others[name]
    if here.keys() != there.keys():
        return f"has {', '.join(sorted(here))}, there {', '.join(sorted(there))}"
    # A kernel says more than its bias.
    variable = max((x for x in here if here[x] != there[x]), key=lambda x: len(here[x]))
    return f"{variable} has shape {here[variable]}, there {there[variable]}"


def _warn_of_scaling(model: keras.Model, source: Source) -> None:
    """Says so where the source was trained on pictures of another scale: weights alone fit."""
    theirs = source.settings.get("model", {}).get("scaling", "unit")
    for ours in (x.scaling for x in model.layers if isinstance(x, ScaleAndPad)):
        if ours != theirs:
            logging.warning(
                "the weights were trained on pictures scaled %r, the model scales %r; "
                "--scaling=%s would go on as they were",
                *(theirs, ours, theirs),
            )


def _log(report: InitReport, source: Source) -> None:
    logging.info(
        "%d of %d layers taken from %s (task %s)",
        *(len(report.taken), len(report.taken) + len(report.left), report.path),
        source.settings.get("task"),
    )
    for what, layers in (("left at random", report.left), ("not used", report.unused)):
        if layers:
            reasons = "; ".join(f"{name} ({why})" for name, why in layers.items())
            logging.info("%s: %s", what, reasons)


def _listed(names: dict) -> str:
    shown = ", ".join(list(names)[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return f"{len(names)} layers ({shown}{f' and {more} more' if more > 0 else ''})"
