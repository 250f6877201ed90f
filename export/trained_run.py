"""A trained run as export and verification need it: settings, model with weights, step."""

from typing import NamedTuple

import keras

from rpe_tf.checkpoints import restore_weights
from rpe_tf.run_folder import read_out_arguments, read_settings
from rpe_tf.tasks import TASKS


class TrainedRun(NamedTuple):
    """What a run folder holds."""

    settings: dict  # settings.json, its `read_out` with what was found in training
    model: keras.Model  # image → prediction, weights of the checkpoint
    step: int  # of the checkpoint


def restore_run(run_dir: str) -> TrainedRun:
    """Returns the model of a run folder with the weights of its newest checkpoint.

    Raises:
      FileNotFoundError: if there is no settings.json or no checkpoint.
      ValueError: if the settings cannot be read or name a task that is unknown here, or
        read_out.json is no JSON object.
    """
    settings = read_settings(run_dir)
    task = settings["task"]
    if task not in TASKS:
        raise ValueError(f"{run_dir} was trained for task {task!r}; known here are {sorted(TASKS)}")
    settings["read_out"] = read_out_arguments(run_dir)
    model = TASKS[task].build_model(**settings["model"])
    return TrainedRun(settings, model, restore_weights(run_dir, model))
