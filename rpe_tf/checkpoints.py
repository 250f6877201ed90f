"""Checkpoints of a run: weights, optimizer and step; the last few are kept, and the best one."""

import os
import re
import tempfile
from typing import NamedTuple

import keras
import tensorflow as tf
from absl import logging

from rpe_tf.train_step import LossScale

# Weights kept beside the newest ones: at the end of the phase that trains the embedding alone, and
# where the asked figure was best.
EMBEDDING_ONLY, BEST = "embedding_only", "best"
_CURES = {
    EMBEDDING_ONLY: (
        "train with --embedding_only_fraction between 0 and 1, and past that share of the steps"
    ),
    BEST: "train with --best_by and --eval_every",
}
_MAX_MESSAGE = 300


class Checkpoints(NamedTuple):
    """Restores the newest checkpoint of a run and writes further ones."""

    checkpoint: tf.train.Checkpoint
    manager: tf.train.CheckpointManager
    run_dir: str

    def restore_latest(self) -> int:
        """Returns the step restored, 0 where the run has no checkpoint yet.

        One that cannot be read, of a crash or a full disk, is passed over for the one before.

        Raises:
          ValueError: if a checkpoint does not hold what this run trains, or none can be read.
        """
        paths = _paths(self.run_dir)
        for path in paths:
            try:
                self.checkpoint.restore(path).assert_existing_objects_matched()
            # TensorFlow raises the second for a file that ends too early.
            except (tf.errors.OpError, IndexError) as error:
                logging.warning("%s cannot be read, it is passed over: %s", path, error)
            except AssertionError as error:
                raise ValueError(
                    f"{path} does not hold what this run trains; give the flags it was started "
                    "with, on the TensorFlow and Keras that settings.json has under versions; or "
                    f"start another --run_dir with --init_from={self.run_dir}: {_short(error)}"
                ) from error
            else:
                return int(self.checkpoint.step.numpy())
        if paths:
            raise ValueError(
                f"none of the {len(paths)} checkpoints in {_folder(self.run_dir)} can be read; "
                "start afresh in another --run_dir, or bring them back from a copy"
            )
        return 0

    def save(self, step: int) -> str:
        """Returns the path of the checkpoint written for this step."""
        self.checkpoint.step.assign(step)
        # TensorFlow writes data and index first, then renames the file that names the newest one:
        # a process killed in between leaves the one before as the newest.
        return self.manager.save(checkpoint_number=step)

    def keep_weights(self, name: str, step: int) -> None:
        """Writes the weights alone under a name, EMBEDDING_ONLY or BEST, replacing those there."""
        self.checkpoint.step.assign(step)
        path = os.path.join(self.manager.directory, name)
        tf.train.Checkpoint(model=self.checkpoint.model, step=self.checkpoint.step).write(path)


def open_checkpoints(
    run_dir: str,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    is_writing: bool,
    *,
    num_kept: int = 3,
    grouping: keras.layers.Layer | None = None,
    loss_scale: LossScale | None = None,
) -> Checkpoints:
    """Returns the checkpoints of a run; to be called under the strategy's scope.

    num_kept are the newest that stay, at least 1. grouping is a loss layer that has weights of its
    own, which the run needs to go on; so it does loss_scale.

    All workers must take part in a save, since some variables are read from all replicas; those
    that are not the chief (is_writing False) save to a temporary folder.
    """
    step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
    parts = {"model": model, "optimizer": optimizer, "step": step}
    if grouping is not None:
        parts["grouping"] = grouping
    if loss_scale is not None:
        parts |= loss_scale._asdict()
    checkpoint = tf.train.Checkpoint(**parts)
    folder = _folder(run_dir) if is_writing else tempfile.mkdtemp(prefix="rpe_tf_worker_")
    manager = tf.train.CheckpointManager(checkpoint, folder, num_kept, checkpoint_name="step")
    return Checkpoints(checkpoint, manager, run_dir)


def restore_weights(run_dir: str, model: keras.Model, *, kept: str | None = None) -> int:
    """Returns the step of the weights of a run that are now in the model.

    Args:
      run_dir: folder of the run.
      model: built from the run's settings.
      kept: EMBEDDING_ONLY, as they were when the phase that trains the embedding alone ended; BEST;
        or None for the best where the run kept them, else the newest.

    Raises:
      FileNotFoundError: if the run has no checkpoint, or none of that name.
      ValueError: if the checkpoint does not hold every weight of the model, in its shape.
    """
    path = weights_path(run_dir, kept)
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    try:
        # `read`, since `write` keeps no count of saves, which `restore` would miss.
        status = tf.train.Checkpoint(model=model, step=step).read(path)
        status.assert_existing_objects_matched().expect_partial()
    # The first for a weight that is missing, the second for one of another shape.
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"{path} does not fit the model of settings.json: {_short(error)}"
        ) from error
    return int(step.numpy())


def weights_path(run_dir: str, kept: str | None = None) -> str:
    """Returns the path of the weights that `restore_weights` reads.

    Raises:
      FileNotFoundError: if the run has no checkpoint, or none of that name.
    """
    path = os.path.join(_folder(run_dir), kept or BEST)
    if tf.io.gfile.exists(f"{path}.index"):
        return path
    if kept:
        raise FileNotFoundError(f"{run_dir} holds no such weights ({path}.index); {_CURES[kept]}")
    return newest_path(run_dir)


def stored_step(path: str) -> int:
    """Returns the step of the weights at a path of `weights_path`."""
    return int(tf.train.load_variable(path, "step/.ATTRIBUTES/VARIABLE_VALUE"))


def newest_path(run_dir: str) -> str:
    """Returns the path of the newest checkpoint of a run, as TensorFlow's readers take it.

    Raises:
      FileNotFoundError: if the run has none.
    """
    paths = _paths(run_dir)
    if not paths:
        raise FileNotFoundError(
            f"{run_dir} holds no checkpoint; let train_main.py reach its first one "
            "(--save_every steps)"
        )
    return paths[0]


def _paths(run_dir: str) -> list[str]:
    """Returns the checkpoints of a run, newest first.

    By their own names: the file in which TensorFlow notes the newest may be lost in a crash, and
    a run must not start at step 0 for that. The index of one is written after its data.
    """
    folder = _folder(run_dir)
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    steps = [int(found[1]) for x in names if (found := re.fullmatch(r"step-(\d+)\.index", x))]
    return [os.path.join(folder, f"step-{step}") for step in sorted(steps, reverse=True)]


def _short(error: Exception) -> str:
    """Returns a message without the values of all variables, which TensorFlow adds to it."""
    return str(error)[:_MAX_MESSAGE]


def _folder(run_dir: str) -> str:
    return os.path.join(run_dir, "checkpoints")
