"""The weights of a run where a figure of its scores was highest, kept beside the newest ones."""

from collections.abc import Callable

from absl import logging

from rpe_tf import run_folder
from rpe_tf.checkpoints import BEST, Checkpoints


def keep_if_best(
    saved: Checkpoints,
    figure: str,
    scores: dict[str, float],
    step: int,
    *,
    is_chief: bool,
    wait: Callable[[], object] = lambda: None,
) -> bool:
    """Returns whether a figure is the highest so far; the weights are then kept.

    All workers must take part, with equal scores: they decide alike, and none of them goes on
    before the weights are there. best.json, which says what is kept, is written last: cut off
    before it, a run that goes on comes to the same step and keeps them again.

    Args:
      saved: checkpoints of the run.
      figure: a name in scores; higher is better.
      scores: of the model as it is.
      step: of these weights.
      is_chief: whether this worker writes the run's files.
      wait: returns once all workers have called it.

    Raises:
      ValueError: if the scores have no such figure; names those there are.
    """
    if figure not in scores:
        raise ValueError(f"--best_by={figure} is no figure of this task; there are {list(scores)}")
    best = run_folder.read_best(saved.run_dir)
    wait()  # All have read it, so that it may be written.
    if best.get("figure") == figure and best["value"] >= scores[figure]:
        return False
    saved.keep_weights(BEST, step)
    if is_chief:
        run_folder.write_best(saved.run_dir, figure, scores[figure], step)
    wait()  # It is written, so that all may read it.
    logging.info("best so far by %s: %.4g at step %d", figure, scores[figure], step)
    return True
