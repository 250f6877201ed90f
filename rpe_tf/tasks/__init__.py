"""The tasks of the paper, one file each; a task is the functions that differ between them."""

from collections.abc import Callable
from typing import NamedTuple

from rpe_tf.models.build import embedding_model, training_model
from rpe_tf.tasks import proposals


class Task(NamedTuple):
    """What a task supplies; the arguments are spelled out at each function."""

    build_model: Callable  # model arguments → Keras model, picture → prediction
    build_training_model: Callable  # model, loss arguments → Keras model, batch → losses
    loss_terms: Callable  # training model, batch → loss terms by name, each [B]
    evaluate: Callable  # model, examples, read-out arguments → metrics by name
    draw: Callable  # model, examples, read-out arguments → picture, PIL image


TASKS = {
    "proposals": Task(
        build_model=embedding_model,
        build_training_model=training_model,
        loss_terms=proposals.loss_terms,
        evaluate=proposals.evaluate,
        draw=proposals.draw,
    ),
}
