"""The tasks of the paper, one file each; a task is the functions that differ between them."""

from collections.abc import Callable
from typing import NamedTuple

from rpe_tf.models.build import (
    boundary_model,
    boundary_training_model,
    embedding_model,
    semantic_model,
    semantic_training_model,
    training_model,
)
from rpe_tf.tasks import boundary, instance_scorer, instances, proposals, semantic


class Task(NamedTuple):
    """What a task supplies; the arguments are spelled out at each function."""

    build_model: Callable  # model arguments → Keras model, picture → prediction
    build_training_model: Callable  # model, loss arguments, embedding_only → batch → losses
    loss_terms: Callable  # training model, batch → loss terms by name, each [B]
    evaluate: Callable  # model, examples, read-out arguments → metrics by name
    draw: Callable  # model, examples, read-out arguments → picture, PIL image
    read_out: tuple[str, ...]  # names of its read-out arguments
    loss: tuple[str, ...] = ()  # names of its loss arguments beside those of `grouping_loss`
    needs_boundaries: bool = False  # whether examples hold boundaries
    # model, examples, read-out arguments → the read-out argument `scorer`, fitted after training
    fit: Callable | None = None


_SEMANTIC_LOSS = ("cross_entropy_weight", "embedding_weight")

TASKS = {
    "boundary": Task(
        build_model=boundary_model,
        build_training_model=boundary_training_model,
        loss_terms=boundary.loss_terms,
        evaluate=boundary.evaluate,
        draw=boundary.draw,
        read_out=("scales",),
        needs_boundaries=True,
    ),
    "proposals": Task(
        build_model=embedding_model,
        build_training_model=training_model,
        loss_terms=proposals.loss_terms,
        evaluate=proposals.evaluate,
        draw=proposals.draw,
        read_out=(
            *("concentration", "concentrations", "mode_cosine", "max_loops", "min_area"),
            *("min_score", "background", "scales"),
        ),
    ),
    "instances": Task(
        build_model=semantic_model,
        build_training_model=semantic_training_model,
        loss_terms=semantic.loss_terms,
        evaluate=instances.evaluate,
        draw=instances.draw,
        read_out=(
            *("concentration", "mode_cosine", "max_loops", "min_area", "min_score"),
            *("split_components", "scales"),
        ),
        loss=_SEMANTIC_LOSS,
        fit=instance_scorer.fit,
    ),
    "semantic": Task(
        build_model=semantic_model,
        build_training_model=semantic_training_model,
        loss_terms=semantic.loss_terms,
        evaluate=semantic.evaluate,
        draw=semantic.draw,
        read_out=(),
        loss=_SEMANTIC_LOSS,
    ),
}
