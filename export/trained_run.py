"""A trained run as export and verification need it: settings, model with weights, step."""

import json
import os
from typing import NamedTuple

import keras
import tensorflow as tf

from rpe_tf.checkpoints import restore_weights
from rpe_tf.run_folder import read_settings
from rpe_tf.tasks import TASKS


class TrainedRun(NamedTuple):
    """What a run folder holds."""

    settings: dict  # settings.json, and scorer.json as read_out's `scorer` where there is one
    model: keras.Model  # image → prediction, weights of the checkpoint
    step: int  # of the checkpoint


def restore_run(run_dir: str) -> TrainedRun:
    """Returns the model of a run folder with the weights of its newest checkpoint.

    Raises:
      FileNotFoundError: if there is no settings.json or no checkpoint.
      ValueError: if the settings cannot be read or name a task that is unknown here, or the scorer
        is no JSON.
    """
    settings = read_settings(run_dir)
    task = settings["task"]
    if task not in TASKS:
        raise ValueError(f"{run_dir} was trained for task {task!r}; known here are {sorted(TASKS)}")
    scorer = _read_scorer(run_dir)
    if scorer is not None:
        settings["read_out"]["scorer"] = scorer
    model = TASKS[task].build_model(**settings["model"])
    return TrainedRun(settings, model, restore_weights(run_dir, model))


def _read_scorer(run_dir: str) -> dict | None:
    """Returns what the run fitted for the scores of instances; None if it fitted nothing."""
    path = os.path.join(run_dir, "scorer.json")
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}); train the run to its end") from error
