"""A trained run as export and verification need it: settings, model with weights, step."""

import json
import os
from typing import NamedTuple

import keras

from rpe_tf.checkpoints import restore_weights, stored_step, weights_path
from rpe_tf.initialization import initialize
from rpe_tf.run_folder import read_out_arguments, read_settings
from rpe_tf.saved_model import find_version
from rpe_tf.tasks import TASKS


class TrainedRun(NamedTuple):
    """What a run folder holds."""

    settings: dict  # settings.json, its `read_out` with what was found in training
    model: keras.Model  # image → prediction, weights of the checkpoint
    step: int  # of the checkpoint
    class_names: list[str] | None = None  # of an export, where it has them


def restore_run(run_dir: str) -> TrainedRun:
    """Returns the model of a run folder with the weights of its newest checkpoint.

    Raises:
      FileNotFoundError: if there is no settings.json or no checkpoint.
      ValueError: if the settings cannot be read or name a task that is unknown here, or
        read_out.json is no JSON object.
    """
    settings = read_settings(run_dir)
    settings["read_out"] = read_out_arguments(run_dir)
    model = _build(run_dir, settings)
    try:
        step = restore_weights(run_dir, model)
    except ValueError:
        # Keras 2 and 3 number variables differently; layers have the same names in both.
        report = initialize(model, run_dir)
        if report.left or report.unused:
            raise
        step = stored_step(weights_path(run_dir))
    return TrainedRun(settings, model, step)


def restore_export(export_dir: str) -> tuple[TrainedRun, dict]:
    """Returns the run that an export was made of, without its folder, and the run's metrics.

    Args:
      export_dir: a version folder, or the folder that holds the versions: the largest.

    Raises:
      FileNotFoundError: if there is no export.
      ValueError: if it was not written by `export_main`, is of a task that is unknown here, or
        lacks weights that this version's model has.
    """
    folder = find_version(export_dir)
    path = os.path.join(folder, "model_info.json")
    try:
        with open(path, encoding="utf-8") as file:
            info = json.load(file)
        settings, step, metrics = (info[key] for key in ("settings", "step", "metrics"))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); give a folder written by export.export_main"
        ) from error
    model = _build(folder, settings)
    report = initialize(model, folder)
    if report.left:
        raise ValueError(f"{folder} has no weights for {report.left}; it is of another version")
    return TrainedRun(settings, model, step, _class_names(folder)), metrics


def _class_names(folder: str) -> list[str] | None:
    path = os.path.join(folder, "labels.txt")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def _build(folder: str, settings: object) -> keras.Model:
    if not isinstance(settings, dict) or not {"task", "model", "read_out"} <= settings.keys():
        raise ValueError(f"{folder} must state its task, model and read_out; it is no run of ours")
    task = settings["task"]
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"{folder} was trained for task {task!r}; known here are {sorted(TASKS)}")
    try:
        return TASKS[task].build_model(**settings["model"])
    except (TypeError, KeyError, AttributeError) as error:  # Of names and types.
        raise ValueError(
            f"{folder}: the settings of its model do not fit this version of rpe_tf ({error}); use "
            "the one that wrote them"
        ) from error
