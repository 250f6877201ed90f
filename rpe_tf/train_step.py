"""One step of training, over all replicas: gradients, their sum, the update, or none of it.

Given functions and variables; it knows no task.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

# float16: the loss is scaled so that small gradients do not become zero. Twice as much after so
# many sound steps, half as much after one that overflows (Micikevicius et al., 2018).
_FIRST_LOSS_SCALE, _SOUND_STEPS = 2.0**15, 2000


class StepOptions(NamedTuple):
    """What may vary in a step."""

    num_parts: int = 1  # batches whose gradients are added up before the update
    clip_norm: float | None = None  # longest gradient over all weights and images
    jit_compile: bool = False  # by XLA: losses and gradients


class LossScale(NamedTuple):
    """State of the loss scaling; of a checkpoint's parts."""

    scale: tf.Variable  # float32
    sound_steps: tf.Variable  # int64, since it last changed


class StepResults(NamedTuple):
    """Of the steps of one call, a row each."""

    terms: dict[str, np.ndarray]  # [steps], means over the global batch; and gradient_norm
    is_stopping: bool  # whether any worker was asked to stop

    @property
    def is_finite(self) -> np.ndarray:
        """[steps]: where all terms are; other steps changed nothing."""
        return np.isfinite(np.stack([*self.terms.values()])).all(axis=0)


def make_loss_scale() -> LossScale:
    """Returns the state at step 0; to be called under the strategy's scope."""
    arguments = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
    return LossScale(
        tf.Variable(_FIRST_LOSS_SCALE, name="loss_scale", **arguments),
        tf.Variable(0, dtype=tf.int64, name="sound_steps", **arguments),
    )


def make_train_step(
    strategy: tf.distribute.Strategy,
    losses_of: Callable[[dict], dict[str, tf.Tensor]],
    variables: Sequence[tf.Variable],
    optimizer: keras.optimizers.Optimizer,
    global_batch_size: int,
    options: StepOptions = StepOptions(),  # noqa: B008 (a constant)
    loss_scale: LossScale | None = None,
) -> Callable[..., StepResults]:
    """Returns the function (batches, num_steps = 1, is_stopping = False) that makes steps.

    This is the one place where losses are divided by the number of images over all replicas; the
    optimizer sums the gradients of the replicas. A step whose losses or gradient are not finite on
    any of them changes nothing on any. is_stopping is this worker's own; the results have that of
    all, so that workers stop after the same step.

    Args:
      strategy: where the step runs.
      losses_of: batch → loss terms by name, each [images of the replica]; their sum is trained.
      variables: what is trained.
      optimizer: built under the strategy's scope.
      global_batch_size: images of an update, over all replicas and parts.
      options: see StepOptions. With `num_parts` an update takes as many batches off the iterator.
      loss_scale: of `make_loss_scale`, for float16.

    Returns:
      The function; its `gradient_norm` is the length of the gradient before clipping. Over several
      replicas without clipping it is the root of the summed squares of their shares. It raises
      ValueError if XLA cannot compile what it shall.
    """
    # Not left to the first step: variables made while a step is traced for several replicas fail.
    # The optimizers of tensorflow-addons have no `build`, and make theirs outside of the trace.
    if hasattr(optimizer, "build"):
        with strategy.scope():
            optimizer.build(variables)
    names: list[str] = []  # of the terms, known once a step has been traced
    replica_gradients = _make_gradients(
        *(losses_of, variables, global_batch_size, options, loss_scale, names)
    )

    def replica_update(gradients: list[tf.Tensor]) -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def one_step(batches: Iterator, is_stopping: tf.Tensor) -> tf.Tensor:
        parts = [next(batches) for _ in range(options.num_parts)]
        gradients, shares = strategy.run(replica_gradients, args=(parts, is_stopping))
        # One vector, and so one reduction over the workers a step beside the gradients' own.
        sums = strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)
        is_finite = tf.reduce_all(tf.math.is_finite(sums))
        if is_finite:
            strategy.run(replica_update, args=(gradients,))
        if loss_scale is not None:
            _adapt(loss_scale, is_finite)
        return sums

    @tf.function
    def steps(batches: Iterator, num_steps: tf.Tensor, is_stopping: tf.Tensor) -> tf.Tensor:
        rows = tf.TensorArray(tf.float32, size=num_steps)
        for step in tf.range(num_steps):
            rows = rows.write(step, one_step(batches, is_stopping))
        return rows.stack()

    def train_step(batches: Iterator, num_steps: int = 1, is_stopping: bool = False) -> StepResults:
        with _uncompiled_named():
            rows = steps(batches, tf.constant(num_steps), tf.constant(is_stopping)).numpy()
        *means, squared, stopping = rows.T
        norm = np.sqrt(squared / (strategy.num_replicas_in_sync if options.clip_norm else 1))
        terms = {**dict(zip(names, means, strict=True)), "gradient_norm": norm}
        return StepResults(terms, bool((stopping > 0).any()))

    return train_step


def _make_gradients(
    losses_of: Callable[[dict], dict[str, tf.Tensor]],
    variables: Sequence[tf.Variable],
    global_batch_size: int,
    options: StepOptions,
    loss_scale: LossScale | None,
    names: list[str],
) -> Callable[[list[dict], tf.Tensor], tuple[list[tf.Tensor], tf.Tensor]]:
    """Returns the function of a replica's batches and is_stopping; it fills in the terms' names.

    Its result: the replica's gradients, and its share of the terms, of the squared norm and of
    is_stopping in one vector.
    """

    def part_gradients(batch: dict) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            terms = losses_of(batch)
            names[:] = terms
            means = [tf.reduce_sum(term) / global_batch_size for term in terms.values()]
            loss = tf.add_n(means) * (loss_scale.scale if loss_scale else 1.0)
        # None for variables that this phase does not train, such as the logistic layers in phase
        # one of the boundaries. (UnconnectedGradients.ZERO fails on the variables of Keras 3.)
        gradients = [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(tape.gradient(loss, variables), variables, strict=True)
        ]
        return means, gradients

    if options.jit_compile:
        part_gradients = tf.function(part_gradients, jit_compile=True)

    def replica_gradients(
        batches: list[dict], is_stopping: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        means, gradients = zip(*[part_gradients(_numbers(x)) for x in batches], strict=True)
        means, gradients = ([tf.add_n(x) for x in zip(*p, strict=True)] for p in (means, gradients))
        if loss_scale is not None:
            gradients = [gradient / loss_scale.scale for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        if options.clip_norm is not None:
            gradients, norm = _clipped(gradients, options.clip_norm)
        squared = tf.square(tf.cast(norm, tf.float32))
        return gradients, tf.stack([*means, squared, tf.cast(is_stopping, tf.float32)])

    return replica_gradients


@contextlib.contextmanager
def _uncompiled_named() -> Iterator[None]:
    """Raises ValueError with the op's name in place of XLA's error of one that it does not have."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if not (named := re.search(r"on XLA_\w+: (\w+)", error.message)):
            raise
        raise ValueError(
            f"XLA cannot compile {named[1]} in TensorFlow {tf.__version__}: train without "
            "--jit_compile, or on a newer TensorFlow"
        ) from error


def _numbers(batch: dict) -> dict:
    """Returns a batch without its names of pictures: no loss takes them, and XLA has no strings."""
    return {name: x for name, x in batch.items() if x.dtype != tf.string}


def _clipped(gradients: list[tf.Tensor], clip_norm: float) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns a replica's share of the clipped sum of all replicas' gradients, and its length."""
    replica = tf.distribute.get_replica_context()
    gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    norm = tf.linalg.global_norm(gradients)
    # The optimizer sums over replicas once more: each gives an equal part.
    factor = tf.minimum(clip_norm / norm, 1.0) / replica.num_replicas_in_sync
    return [gradient * factor for gradient in gradients], norm


def _adapt(loss_scale: LossScale, is_finite: tf.Tensor) -> None:
    """Doubles the scale after enough sound steps, halves it after one that is not."""
    scale, sound = loss_scale
    steps = tf.where(is_finite, sound + 1, 0)
    grows = steps >= _SOUND_STEPS
    factor = tf.where(is_finite, tf.where(grows, 2.0, 1.0), 0.5)
    scale.assign(tf.clip_by_value(scale * factor, 1.0, 2.0**24))
    sound.assign(tf.where(grows, tf.zeros_like(steps), steps))
