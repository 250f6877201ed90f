"""All that a training changes, opened together: model, optimizer, and where they are saved."""

from typing import NamedTuple

import keras
import tensorflow as tf
from absl import logging

from rpe_tf import checkpoints, initialization
from rpe_tf.models import pretrained
from rpe_tf.models.build import learned_grouping
from rpe_tf.optimizers import make_optimizer
from rpe_tf.tasks import TASKS
from rpe_tf.train_step import LossScale, make_loss_scale


class Learner(NamedTuple):
    """A model and what trains it, at the step it was left at."""

    model: keras.Model
    training_model: keras.Model  # of the last phase: its losses
    grouping: keras.layers.Layer | None  # the loss layer, if its grouping is learned
    variables: list[tf.Variable]  # what is trained
    optimizer: keras.optimizers.Optimizer
    loss_scale: LossScale | None
    saved: checkpoints.Checkpoints
    start_step: int


def open_learner(
    strategy: tf.distribute.Strategy,
    settings: dict,
    run_dir: str,
    *,
    is_chief: bool,
    num_kept: int,
) -> Learner:
    """Returns the learner of a run, restored from its newest checkpoint.

    Without one it starts from `pretrained` or `init_from` of the settings, or from random weights.

    Args:
      strategy: of the training.
      settings: as in settings.json.
      run_dir: folder of the run.
      is_chief: whether this worker writes.
      num_kept: newest checkpoints that stay.

    Raises:
      ValueError: if XLA is to compile moments over several replicas; or as what it restores from.
    """
    task, plan = TASKS[settings["task"]], settings["training"]
    replicas = strategy.num_replicas_in_sync
    if plan["jit_compile"] and settings["model"].get("norm") == "batch" and replicas > 1:
        raise ValueError(
            f"--jit_compile with {replicas} replicas needs --norm=group or --norm=frozen_batch: "
            "XLA cannot compile moments over all of them"
        )
    keras.utils.set_random_seed(plan["seed"])
    keras.mixed_precision.set_global_policy(plan["precision"])
    with strategy.scope():
        model = task.build_model(**settings["model"])
        optimizer = make_optimizer(
            *(plan["optimizer"], plan["learning_rate"], plan["num_steps"]),
            weight_decay=plan["weight_decay"],
            momentum=plan["momentum"],
            average_momentum=plan["average_momentum"],
        )
        # The last phase's, whose grouping may have weights of its own; they come after the model's.
        training_model = task.build_training_model(model, settings["loss"], False)
        grouping = learned_grouping(training_model)
        variables = model.trainable_variables + (grouping.trainable_variables if grouping else [])
        loss_scale = make_loss_scale() if plan["precision"] == "mixed_float16" else None
        saved = checkpoints.open_checkpoints(
            *(run_dir, model, optimizer, is_chief),
            num_kept=num_kept,
            grouping=grouping,
            loss_scale=loss_scale,
        )
        start_step = saved.restore_latest()
        if start_step == 0 and plan["pretrained"]:
            pretrained.load_weights(model, plan["pretrained"])
        if start_step == 0 and plan["init_from"]:
            initialization.initialize(model, plan["init_from"])
    logging.info(
        "%s weights; %s",
        f"{model.count_params():,}",
        f"going on from step {start_step}" if start_step else "starting at step 0",
    )
    trained = (model, training_model, grouping, variables, optimizer, loss_scale)
    return Learner(*trained, saved, start_step)


def learned_read_out(learner: Learner) -> dict:
    """Returns the read-out arguments that were learned beside the weights."""
    grouping = learner.grouping
    if grouping is None:
        return {}
    concentration, step_size = float(grouping.concentration), float(grouping.step_size)
    logging.info("learned: concentration %.4g, step size %.4g", concentration, step_size)
    return {"concentration": concentration}
