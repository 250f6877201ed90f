"""The distributed training step and loop: poly rate, finite check, checkpoints, resume.

Given functions and models; it knows no task.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import tensorflow as tf


class NonFiniteError(ArithmeticError):
    """A loss term or the gradient is NaN or infinite; the message names the term and the step."""


class Progress(NamedTuple):
    """What the loop reports at a step."""

    step: int
    num_steps: int
    terms: dict[str, float]  # mean over the images of the batches since the last report
    images_per_second: float
    seconds_per_step: float
    seconds_left: float


def make_train_step(
    strategy: tf.distribute.Strategy,
    losses_of: Callable[[dict], dict[str, tf.Tensor]],
    variables: list[tf.Variable],
    optimizer: keras.optimizers.Optimizer,
    global_batch_size: int,
) -> Callable[[Iterator], dict[str, tf.Tensor]]:
    """Returns the function that takes the next batch of an iterator and makes one step.

    This is the one place where losses are divided by the number of images over all replicas; the
    optimizer sums the gradients of the replicas.

    Args:
      strategy: where the step runs.
      losses_of: batch → loss terms by name, each [images of the replica]; their sum is trained.
      variables: what is trained.
      optimizer: built under the strategy's scope.
      global_batch_size: images over all replicas.

    Returns:
      iterator → terms by name, means over the global batch, and `gradient_norm`. Over several
      replicas that is the root of the summed squares of their shares, not the length of the sum.
    """
    # Not left to the first step: variables made while a step is traced for several replicas fail.
    # The optimizers of tensorflow-addons have no `build`, and make theirs outside of the trace.
    if hasattr(optimizer, "build"):
        with strategy.scope():
            optimizer.build(variables)

    names: list[str] = []  # of the terms, known once a step has been traced

    def replica_step(batch: dict) -> tf.Tensor:
        with tf.GradientTape() as tape:
            terms = losses_of(batch)
            names[:] = terms
            means = {name: tf.reduce_sum(term) / global_batch_size for name, term in terms.items()}
            loss = tf.add_n(list(means.values()))
        # None for variables that this phase does not train, such as the logistic layers in phase
        # one of the boundaries. (UnconnectedGradients.ZERO fails on the variables of Keras 3.)
        gradients = [
            tf.zeros_like(variable) if gradient is None else gradient
            for gradient, variable in zip(tape.gradient(loss, variables), variables, strict=True)
        ]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        squared = [tf.reduce_sum(tf.square(tf.cast(g, tf.float32))) for g in gradients]
        return tf.stack([*means.values(), tf.add_n(squared)])

    @tf.function
    def train_step(iterator: Iterator) -> dict[str, tf.Tensor]:
        shares = strategy.run(replica_step, args=(next(iterator),))
        # One vector, and so one reduction over the workers a step.
        *means, squared = tf.unstack(strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None))
        return {**dict(zip(names, means, strict=True)), "gradient_norm": tf.sqrt(squared)}

    return train_step


def train(
    train_step: Callable[[Iterator], dict[str, tf.Tensor]],
    batches: Iterator,
    *,
    start_step: int,
    num_steps: int,
    total_steps: int,
    global_batch_size: int,
    report: Callable[[Progress], None],
    report_every: int,
    save: Callable[[int], None],
    save_every: int,
) -> None:
    """Trains from start_step to num_steps, reporting and saving on the way and at the end.

    num_steps may be the end of a phase; total_steps, the end of the run, is what reports count to.

    Raises:
      NonFiniteError: at the first step with a term that is not finite. Nothing is saved after it,
        so the last checkpoint is sound.
    """
    sums: dict[str, float] = {}
    since, since_step = time.monotonic(), start_step
    for step in range(start_step + 1, num_steps + 1):
        terms = {name: float(x) for name, x in train_step(batches).items()}
        check_finite(terms, step)
        sums = {name: sums.get(name, 0.0) + x for name, x in terms.items()}
        if step % report_every == 0 or step == num_steps:
            steps, now = step - since_step, time.monotonic()
            seconds_per_step = (now - since) / steps
            progress = Progress(
                step,
                total_steps,
                {name: x / steps for name, x in sums.items()},
                global_batch_size / seconds_per_step,
                seconds_per_step,
                (total_steps - step) * seconds_per_step,
            )
            report(progress)
            sums, since, since_step = {}, now, step
        if step % save_every == 0 or step == num_steps:
            save(step)


def check_finite(terms: dict[str, float], step: int) -> None:
    """Returns nothing; stops on a term that is NaN or infinite.

    Raises:
      NonFiniteError: naming the first such term, the step, and what to try.
    """
    for name, value in terms.items():
        if not abs(value) < float("inf"):
            raise NonFiniteError(
                f"{name} is {value} at step {step}. The last checkpoint is from before it. Lower "
                "--learning_rate, or look at the pictures of these shards."
            )
