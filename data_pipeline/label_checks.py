"""What must hold between a picture's labels before they may be trained on."""

from __future__ import annotations

import numpy as np

from data_pipeline.label_statistics import class_counts, find_segments
from data_pipeline.labelled_picture import LabelledPicture

# Shown in an error at the most; one bad picture may have hundreds.
_SHOWN_IDS = 5


def check_labels(picture: LabelledPicture, num_classes: int) -> list[str]:
    """Returns what is odd about the labels of a picture and yet no error.

    That sizes agree and ids fit their type is checked where they are encoded (`schema`).

    Args:
      picture: labels as `LabelledPicture` describes them.
      num_classes: number of class names, background included; 0 where classes have no names.

    Returns:
      Any of "no instance", "an instance of one pixel", each at most once.

    Raises:
      ValueError: a map is not made of integers or not [H, W], every pixel is void, an instance has
        pixels of several classes or of the background's, or a class has no name.
    """
    instance, semantic = picture.instance, picture.semantic
    _require_map("instance", instance)
    if (instance == -1).all():
        raise ValueError("every pixel is void, so there is nothing to learn; leave the picture out")
    ids, position, areas = find_segments(instance)
    if semantic is not None:
        _require_map("semantic", semantic)
        if semantic.shape != instance.shape:
            raise ValueError(
                f"instance map and semantic map differ in size: {instance.shape} and "
                f"{semantic.shape} pixels"
            )
        _require_named_classes(semantic, num_classes)
        _require_one_class(ids, position, semantic.reshape(-1))
    notes = []
    if not (ids > 0).any():
        notes.append("no instance")
    if (areas[ids > 0] == 1).any():
        notes.append("an instance of one pixel")
    return notes


def _require_map(name: str, labels: np.ndarray) -> None:
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        kind = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise ValueError(f"the {name} map must hold integers, got {kind}")
    if labels.ndim != 2 or 0 in labels.shape:
        raise ValueError(f"the {name} map must be [H, W] and not empty, got shape {labels.shape}")


def _require_named_classes(semantic: np.ndarray, num_classes: int) -> None:
    if num_classes and semantic.max() >= num_classes:
        raise ValueError(
            f"class {semantic.max()} has no name: there are {num_classes} classes, 0 to "
            f"{num_classes - 1}; void must be coded as such"
        )


def _require_one_class(ids: np.ndarray, position: np.ndarray, semantic: np.ndarray) -> None:
    counts = class_counts(position, semantic, len(ids))[ids > 0] > 0
    several = ids[ids > 0][counts.sum(axis=1) > 1]
    if len(several):
        first = np.flatnonzero(counts[counts.sum(axis=1) > 1][0]).tolist()
        raise ValueError(
            f"{len(several)} instances have pixels of several classes (0 is the background): ids "
            f"{several[:_SHOWN_IDS].tolist()}, the first has the classes {first}"
        )
    nowhere = ids[ids > 0][counts[:, :1].any(axis=1)] if counts.shape[1] else []
    if len(nowhere):
        raise ValueError(
            f"{len(nowhere)} instances have the background's class: ids "
            f"{nowhere[:_SHOWN_IDS].tolist()}"
        )
