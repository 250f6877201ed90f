"""What a model finds in one picture of a batch, in each of the forms it can be written in."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import rpe_tf
from data_pipeline import schema
from data_pipeline.label_statistics import count_labels
from data_pipeline.labelled_picture import LabelledPicture
from data_pipeline.picture_files import content_for_record
from export.batch_pictures import Picture, decode
from export.prediction_files import coco_results, write_boundary, write_instances, write_semantic
from rpe_tf.saved_model import (
    BoundaryDetector,
    ClassedPrediction,
    Prediction,
    Segmenter,
    SemanticSegmenter,
)

KINDS = ("json", "png", "shards")
_loading = threading.Lock()


class Found(NamedTuple):
    """What a model finds in one picture; None where it does not look for it.

    Attributes:
      prediction: the instances.
      semantic: [H, W] int32 classes.
      boundary: [H, W] float32 in [0, 1].
    """

    prediction: Prediction | ClassedPrediction | None = None
    semantic: np.ndarray | None = None
    boundary: np.ndarray | None = None

    @property
    def num_instances(self) -> int:
        """How many instances there are."""
        return 0 if self.prediction is None else len(self.prediction.table)


class Answer(NamedTuple):
    """What is to be written about one picture.

    Attributes:
      found: None where there is a problem.
      example: a record of the picture with its labels; empty where none is wanted.
      statistics: of these labels, of `label_statistics`; likewise.
      problem: why nothing was found; else empty.
    """

    found: Found | None = None
    example: bytes = b""
    statistics: Mapping = MappingProxyType({})
    problem: str = ""


def load_once(folder: str) -> Segmenter | BoundaryDetector | SemanticSegmenter:
    """Returns the model of a folder as `rpe_tf.load`; a process loads it once for all threads."""
    with _loading:
        return _load(folder)


_load = functools.lru_cache(maxsize=1)(rpe_tf.load)


def choose_kinds(model: object, kinds: list[str]) -> list[str]:
    """Returns the kinds of files to write: those asked for, or if none the model's first.

    Raises:
      ValueError: if the model finds nothing that such a file could hold.
    """
    possible = {
        Segmenter: KINDS,
        SemanticSegmenter: ("png", "shards"),
        BoundaryDetector: ("png",),
    }[type(model)]
    for kind in kinds:
        if kind not in possible:
            what = "classes" if isinstance(model, SemanticSegmenter) else "boundaries"
            raise ValueError(
                f"--write={kind} is not for models of {what}; choose of {', '.join(possible)}"
            )
    return sorted(set(kinds)) or [possible[0]]


def answer(model: object, picture: Picture, kinds: Sequence[str], max_pixels: int) -> Answer:
    """Returns all that is to be written about a picture, or why there is nothing.

    Args:
      model: of `load_once`.
      picture: of which only the content is there yet.
      kinds: of `choose_kinds`.
      max_pixels: the most that one may have.
    """
    try:
        found = _find(model, decode(picture, max_pixels))
        if "shards" not in kinds:
            return Answer(found)
        labelled = _labelled(picture, found)
        example = schema.encode_example(labelled, picture.stem)
        return Answer(found, example, count_labels(labelled.instance, labelled.semantic))
    except tf.errors.OpError as error:
        reason = f"{picture.name} cannot be predicted ({error.message}); try a smaller picture"
        return Answer(problem=reason)
    except (ValueError, MemoryError) as error:
        return Answer(problem=str(error) or f"{picture.name} is too large for the memory")


def results_of(picture: Picture, found: Found) -> list[dict]:
    """Returns a dict an instance, as `predict_main` writes them to predictions.json."""
    return coco_results(picture.name, f"{picture.stem}_instances.png", found.prediction)


def write_maps(output_dir: str, stem: str, found: Found) -> None:
    """Writes the PNG files of `predict_main`, without overlays."""
    if found.prediction is not None:
        write_instances(output_dir, stem, found.prediction.instance)
    if found.semantic is not None:
        write_semantic(output_dir, stem, found.semantic)
    if found.boundary is not None:
        write_boundary(output_dir, stem, found.boundary)


def _find(model: object, image: np.ndarray) -> Found:
    if isinstance(model, BoundaryDetector):
        return Found(boundary=model.predict(image))
    if isinstance(model, SemanticSegmenter):
        return Found(semantic=model.predict(image))
    if not model.has_classes:
        return Found(model.predict(image))
    prediction = model.predict_classed(image)
    return Found(prediction, prediction.semantic)


def _labelled(picture: Picture, found: Found) -> LabelledPicture:
    image = content_for_record(picture.name, picture.content)
    if found.prediction is None:  # Of classes alone: no instances, which a record must say.
        return LabelledPicture(image, np.zeros_like(found.semantic), found.semantic)
    instance, table = found.prediction[:2]
    if found.semantic is None:
        return LabelledPicture(image, instance)
    # In a record an instance has one class, that of its vote.
    class_of_id = np.concatenate([[0], table["class"]]).astype(np.int32)
    return LabelledPicture(image, instance, class_of_id[instance])
