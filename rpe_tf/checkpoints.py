"""Checkpoints of a run: weights, optimizer and step; the last few are kept."""

import os
import tempfile
from typing import NamedTuple

import keras
import tensorflow as tf

_KEPT = 3

# Weights at the end of the phase that trains the embedding alone; kept beside the newest ones.
EMBEDDING_ONLY = "embedding_only"


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

    def keep_embedding_only(self, step: int) -> None:
        """Writes the weights as those of the end of the phase that trains the embedding alone."""
        self.checkpoint.step.assign(step)
        path = os.path.join(self.manager.directory, EMBEDDING_ONLY)
        tf.train.Checkpoint(model=self.checkpoint.model, step=self.checkpoint.step).write(path)


def open_checkpoints(
    run_dir: str,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    is_writing: bool,
    *,
    grouping: keras.layers.Layer | None = None,
) -> Checkpoints:
    """Returns the checkpoints of a run; to be called under the strategy's scope.

    grouping is a loss layer that has weights of its own, which the run needs to go on.

    All workers must take part in a save, since some variables are read from all replicas; those
    that are not the chief (is_writing False) save to a temporary folder.
    """
    step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
    parts = {"model": model, "optimizer": optimizer, "step": step}
    if grouping is not None:
        parts["grouping"] = grouping
    checkpoint = tf.train.Checkpoint(**parts)
    folder = _folder(run_dir) if is_writing else tempfile.mkdtemp(prefix="rpe_tf_worker_")
    manager = tf.train.CheckpointManager(checkpoint, folder, _KEPT, checkpoint_name="step")
    return Checkpoints(checkpoint, manager, run_dir)


def restore_weights(run_dir: str, model: keras.Model, *, embedding_only: bool = False) -> int:
    """Returns the step of the newest checkpoint of a run, its weights now in the model.

    Args:
      run_dir: folder of the run.
      model: built from the run's settings.
      embedding_only: to take the weights as they were when the phase that trains the embedding
        alone ended.

    Raises:
      FileNotFoundError: if the run has no checkpoint, or none of that phase.
      ValueError: if the checkpoint does not hold every weight of the model, in its shape.
    """
    path = newest_path(run_dir)
    if embedding_only:
        path = os.path.join(_folder(run_dir), EMBEDDING_ONLY)
        if not tf.io.gfile.exists(f"{path}.index"):
            raise FileNotFoundError(
                f"{run_dir} holds no weights of an embedding-only phase ({path}.index); train with "
                "--embedding_only_fraction between 0 and 1, and past that share of the steps"
            )
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    try:
        # `read`, since `write` keeps no count of saves, which `restore` would miss.
        status = tf.train.Checkpoint(model=model, step=step).read(path)
        status.assert_existing_objects_matched().expect_partial()
    # The first for a weight that is missing, the second for one of another shape.
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{path} does not fit the model of settings.json: {error}") from error
    return int(step.numpy())


def newest_path(run_dir: str) -> str:
    """Returns the path of the newest checkpoint of a run, as TensorFlow's readers take it.

    Raises:
      FileNotFoundError: if the run has none.
    """
    path = tf.train.latest_checkpoint(_folder(run_dir))
    if path is None:
        raise FileNotFoundError(
            f"{run_dir} holds no checkpoint; let train_main.py reach its first one "
            "(--save_every steps)"
        )
    return path


def _folder(run_dir: str) -> str:
    return os.path.join(run_dir, "checkpoints")
