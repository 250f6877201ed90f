"""The training loop: steps, reports, checkpoints, and what ends it early.

Given functions; it knows neither task nor files.
"""

import gc
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from absl import logging

from rpe_tf.train_step import StepResults

# Steps in a row that are left out before training gives up, whatever it was told.
_MOST_SKIPPED = 50


class NonFiniteError(ArithmeticError):
    """A loss term or the gradient is NaN or infinite; the message names term, step and records."""


class StopRequested(Exception):  # noqa: N818 (no error)
    """Training was asked to stop; the checkpoint of the step it names is written."""

    def __init__(self, step: int) -> None:
        """Takes the last step that was made."""
        super().__init__(f"stopped after step {step}")
        self.step = step


class Progress(NamedTuple):
    """What the loop reports at a step."""

    step: int
    num_steps: int
    terms: dict[str, float]  # mean over the images of the batches since the last report
    images_per_second: float
    seconds_per_step: float
    seconds_left: float


class Schedule(NamedTuple):
    """When the loop does what, in steps."""

    start_step: int
    num_steps: int  # where the loop ends: that of a phase, maybe
    total_steps: int  # the end of the run, which reports count to
    report_every: int
    save_every: int
    steps_per_call: int = 1  # made without coming back to Python


def train(
    train_step: Callable[..., StepResults],
    batches: Iterator,
    schedule: Schedule,
    *,
    global_batch_size: int,
    report: Callable[[Progress], None],
    save: Callable[[int], None],
    is_stopping: Callable[[], bool] = lambda: False,
    skips_non_finite: bool = False,
    records_of: Callable[[int], list[str]] = lambda step: [],
    before: Callable[[int], None] = lambda step: None,
) -> None:
    """Trains from start_step to num_steps, reporting and saving on the way and at the end.

    Args:
      train_step: of `make_train_step`.
      batches: what it takes.
      schedule: see Schedule.
      global_batch_size: images a step.
      report: takes the progress, every `report_every` steps.
      save: writes the checkpoint of a step.
      is_stopping: whether this worker was asked to stop.
      skips_non_finite: go on after a step that is not finite; it has changed nothing.
      records_of: names of the pictures of a step.
      before: is told of the step that comes next, once a call of train_step.

    Raises:
      NonFiniteError: at the first step with a term that is not finite, or with skips_non_finite at
        the 50th in a row. Nothing is saved after it.
      StopRequested: once a worker was asked to stop and the step is saved.
    """
    step, since, sums, skipped_in_row = schedule.start_step, time.monotonic(), [], 0
    while step < schedule.num_steps:
        before(step + 1)
        results = train_step(batches, _steps_until_due(step, schedule), is_stopping())
        for k, is_finite in enumerate(results.is_finite):
            step += 1
            terms = {name: float(values[k]) for name, values in results.terms.items()}
            skipped_in_row = 0 if is_finite else skipped_in_row + 1
            if not is_finite:
                error = _non_finite_error(terms, step, records_of)
                if not skips_non_finite or skipped_in_row == _MOST_SKIPPED:
                    raise error
                logging.warning("left out: %s", error)
            sums.append(terms if is_finite else {})
        if _is_due(step, schedule.report_every, schedule) or results.is_stopping:
            now = time.monotonic()
            report(_progress(step, schedule, sums, now - since, global_batch_size))
            since, sums = now, []
        if _is_due(step, schedule.save_every, schedule) or results.is_stopping:
            save(step)
            # Scores and pictures made there leave compiled functions in cycles, some MB each.
            gc.collect()
        if results.is_stopping:
            raise StopRequested(step)


def _steps_until_due(step: int, schedule: Schedule) -> int:
    """Returns how many steps to make at once: not past a report, a save or the end."""
    every = (schedule.report_every, schedule.save_every)
    until = [schedule.num_steps - step, *(n - step % n for n in every)]
    return min(schedule.steps_per_call, *until)


def _is_due(step: int, every: int, schedule: Schedule) -> bool:
    return step % every == 0 or step == schedule.num_steps


def _progress(
    step: int, schedule: Schedule, terms: list[dict], seconds: float, global_batch_size: int
) -> Progress:
    sound = [x for x in terms if x]
    means = {name: float(np.mean([x[name] for x in sound])) for name in sound[0]} if sound else {}
    if len(sound) < len(terms):
        means["skipped_steps"] = float(len(terms) - len(sound))
    seconds_per_step = seconds / len(terms)
    return Progress(
        step,
        schedule.total_steps,
        means,
        global_batch_size / seconds_per_step,
        seconds_per_step,
        (schedule.total_steps - step) * seconds_per_step,
    )


def _non_finite_error(
    terms: dict[str, float], step: int, records_of: Callable[[int], list[str]]
) -> NonFiniteError:
    """Returns the error that names the first such term, the step, its pictures, and what to try."""
    name, value = next((name, x) for name, x in terms.items() if not np.isfinite(x))
    records = records_of(step)
    pictures = f" Its pictures: {', '.join(records)}." if records else ""
    return NonFiniteError(
        f"{name} is {value} at step {step}.{pictures} The weights are as before it. Lower "
        "--learning_rate or set --clip_norm, look at these pictures, or leave such steps out with "
        "--on_non_finite=skip."
    )
