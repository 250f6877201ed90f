"""Says how training goes: a line of the log, metrics.jsonl, TensorBoard."""

import numpy as np
import tensorflow as tf
from absl import logging

from rpe_tf import run_folder
from rpe_tf.training import Progress


class Reporter:
    """Reports the progress of one run; every process has one, only the chief's writes files."""

    def __init__(self, run_dir: str, start_step: int, is_writing: bool) -> None:
        """Takes up a run at start_step; what was reported of later steps is dropped."""
        self._run_dir = run_dir
        self._is_writing = is_writing
        self._step = start_step
        kept = run_folder.read_metrics(run_dir)
        if is_writing:
            kept = run_folder.forget_metrics_after(run_dir, start_step)
        # Training time over all resumes, as far as it led to a reported step.
        self.train_seconds = kept[-1]["train_seconds"] if kept else 0.0
        self._events = None
        if is_writing:
            self._events = tf.summary.create_file_writer(f"{run_dir}/tensorboard")

    def report(self, progress: Progress) -> None:
        """Logs one line and writes the same figures to metrics.jsonl and TensorBoard."""
        steps, self._step = progress.step - self._step, progress.step
        self.train_seconds += progress.seconds_per_step * steps
        terms = "  ".join(f"{name} {value:.4g}" for name, value in progress.terms.items())
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        logging.info(
            "step %d/%d  %s  %.1f images/s  ETA %d:%02d",
            *(progress.step, progress.num_steps, terms, progress.images_per_second),
            *(minutes, seconds),
        )
        if not self._is_writing:
            return
        figures = {
            **progress.terms,
            "images_per_second": progress.images_per_second,
            "train_seconds": self.train_seconds,
        }
        run_folder.append_metrics(self._run_dir, {"step": progress.step, **figures})
        with self._events.as_default(step=progress.step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
        self._events.flush()

    def scores(self, split: str, scores: dict[str, float], step: int) -> None:
        """Logs the scores of a split and writes them to TensorBoard."""
        figures = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        logging.info("step %d, %s: %s", step, split, figures)
        if not self._is_writing:
            return
        with self._events.as_default(step=step):
            for name, value in scores.items():
                tf.summary.scalar(f"{split}/{name}", value)
        self._events.flush()

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Adds a picture [H, W, 3] uint8 to TensorBoard."""
        if not self._is_writing:
            return
        with self._events.as_default(step=step):
            tf.summary.image(name, picture[np.newaxis])
        self._events.flush()
