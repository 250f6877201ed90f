"""A trace of some training steps for TensorBoard's profiler."""

from types import TracebackType

import tensorflow as tf
from absl import logging


class Tracer:
    """Traces the steps between two numbers; called before each call of the training step."""

    def __init__(self, steps: list[str], folder: str) -> None:
        """Takes [first, last], as a flag gives them, or nothing: no trace; and where it goes.

        Raises:
          ValueError: if these are not two numbers in order.
        """
        self._folder, self._is_tracing = folder, False
        self._first, self._last = 0, 0
        if not steps:
            return
        try:
            self._first, self._last = (int(step) for step in steps)
        except ValueError as error:
            raise ValueError(f"--profile must be FIRST,LAST, got {','.join(steps)}") from error
        if not 1 <= self._first <= self._last:
            raise ValueError(f"--profile must be FIRST,LAST from 1 on, got {','.join(steps)}")

    def __call__(self, step: int) -> None:
        """Starts before the first step or, after a restart, within; ends after the last."""
        if not self._is_tracing and self._first <= step <= self._last:
            tf.profiler.experimental.start(self._folder)
            self._is_tracing = True
        if step > self._last:
            self._end()

    def __enter__(self) -> "Tracer":
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends a trace that has not ended yet."""
        self._end()

    def _end(self) -> None:
        if self._is_tracing:
            tf.profiler.experimental.stop()
            self._is_tracing = False
            logging.info("trace written: tensorboard --logdir=%s", self._folder)
