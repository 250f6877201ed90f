"""Checkpoints of a run: weights, optimizer and step; the last few are kept."""

import os
import tempfile
from typing import NamedTuple

import keras
import tensorflow as tf

_KEPT = 3


class Checkpoints(NamedTuple):
    """Restores the newest checkpoint of a run and writes further ones."""

    checkpoint: tf.train.Checkpoint
    manager: tf.train.CheckpointManager
    run_dir: str

    def restore_latest(self) -> int:
        """Returns the step restored, 0 where the run has no checkpoint yet."""
        path = tf.train.latest_checkpoint(_folder(self.run_dir))
        if path is None:
            return 0
        self.checkpoint.restore(path).assert_existing_objects_matched()
        return int(self.checkpoint.step.numpy())

    def save(self, step: int) -> str:
        """Returns the path of the checkpoint written for this step."""
        self.checkpoint.step.assign(step)
        # TensorFlow writes data and index first, then renames the file that names the newest one:
        # a process killed in between leaves the one before as the newest.
        return self.manager.save(checkpoint_number=step)


def open_checkpoints(
    run_dir: str, model: keras.Model, optimizer: keras.optimizers.Optimizer, is_writing: bool
) -> Checkpoints:
    """Returns the checkpoints of a run; to be called under the strategy's scope.

    All workers must take part in a save, since some variables are read from all replicas; those
    that are not the chief (is_writing False) save to a temporary folder.
    """
    step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    folder = _folder(run_dir) if is_writing else tempfile.mkdtemp(prefix="rpe_tf_worker_")
    manager = tf.train.CheckpointManager(checkpoint, folder, _KEPT, checkpoint_name="step")
    return Checkpoints(checkpoint, manager, run_dir)


def restore_weights(run_dir: str, model: keras.Model) -> int:
    """Returns the step of the newest checkpoint of a run, its weights now in the model.

    Raises:
      FileNotFoundError: if the run has no checkpoint.
      ValueError: if the checkpoint does not hold every weight of the model, in its shape.
    """
    path = tf.train.latest_checkpoint(_folder(run_dir))
    if path is None:
        raise FileNotFoundError(
            f"{run_dir} holds no checkpoint; let train_main.py reach its first one "
            "(--save_every steps)"
        )
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    try:
        status = tf.train.Checkpoint(model=model, step=step).restore(path)
        status.assert_existing_objects_matched().expect_partial()
    # The first for a weight that is missing, the second for one of another shape.
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{path} does not fit the model of settings.json: {error}") from error
    return int(step.numpy())


def _folder(run_dir: str) -> str:
    return os.path.join(run_dir, "checkpoints")
