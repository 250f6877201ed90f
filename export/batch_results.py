"""What a model finds in a picture of a batch that is shown to it whole, and what is written."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

import rpe_tf
from data_pipeline import schema
from data_pipeline.label_statistics import count_labels
from data_pipeline.labelled_picture import LabelledPicture
from data_pipeline.picture_files import content_for_record, decode_picture
from export.batch_pictures import Picture
from export.large_pictures import Tiling
from export.prediction_files import coco_results, write_boundary, write_instances, write_semantic
from rpe_tf.saved_model import BoundaryDetector, Segmenter, SemanticSegmenter

KINDS = ("json", "png", "shards")
_loading = threading.Lock()


class Wanted(NamedTuple):
    """What is wanted of the pictures of a batch.

    Attributes:
      output_dir: where maps are written.
      kinds: of files, of `choose_kinds`.
      model_dir: what the model was loaded from.
      tiling: how large pictures are cut, and how large they may be.
    """

    output_dir: str
    kinds: Sequence[str]
    model_dir: str
    tiling: Tiling


class Answer(NamedTuple):
    """What was found in one picture; its maps are written, the rest is to be.

    Attributes:
      num_instances: how many instances there are.
      results: a dict an instance, as `predict_main` writes them to predictions.json, if wanted.
      example: a record of the picture with its labels; empty where none is wanted.
      statistics: of these labels, of `label_statistics`; likewise.
      problem: why nothing was found; else empty.
    """

    num_instances: int = 0
    results: Sequence[dict] = ()
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


def answer_whole(model: object, picture: Picture, wanted: Wanted) -> Answer:
    """Returns what a model finds in a picture shown to it in one, having written its maps.

    Args:
      model: of `load_once`.
      picture: of which only the content is there yet.
      wanted: of it.

    Raises:
      ValueError: it is no picture, or cannot be written in a form that is wanted.
      tf.errors.OpError: it cannot be predicted, such as for its size.
    """
    image = decode_picture(picture.name, picture.content)
    folder, stem, results = wanted.output_dir, picture.stem, []
    if isinstance(model, BoundaryDetector):
        boundary = model.predict(image)
        if "png" in wanted.kinds:
            write_boundary(folder, stem, boundary)
        return Answer()
    prediction = instance = semantic = None
    if isinstance(model, SemanticSegmenter):
        semantic = model.predict(image)
    elif model.has_classes:
        prediction = model.predict_classed(image)
        instance, semantic = prediction.instance, prediction.semantic
    else:
        prediction = model.predict(image)
        instance = prediction.instance
    if "json" in wanted.kinds:
        results = coco_results(picture.name, f"{stem}_instances.png", prediction)
    classes = [] if prediction is None else prediction.table["class"]
    found = Answer(len(classes), results)
    if "shards" in wanted.kinds:
        found = add_example(found, picture, instance, classes, semantic)
    # Last, so that a picture that fails leaves none.
    if "png" in wanted.kinds and instance is not None:
        write_instances(folder, stem, instance)
    if "png" in wanted.kinds and semantic is not None:
        write_semantic(folder, stem, semantic)
    return found


def add_example(
    answer: Answer,
    picture: Picture,
    instance: np.ndarray | None,
    classes: Sequence[int],
    semantic: np.ndarray | None,
) -> Answer:
    """Returns the answer with a record of the picture, labelled with what was found.

    Args:
      answer: of the picture.
      picture: with its content.
      instance: [H, W] int32 ids 0..K; None of a model of classes alone.
      classes: [K] of the instances.
      semantic: [H, W] int32 classes; None of a model without.

    Raises:
      ValueError: the labels do not fit into a record.
    """
    image = content_for_record(picture.name, picture.content)
    if instance is None:  # Of classes alone: no instances, which a record must say.
        labelled = LabelledPicture(image, np.zeros_like(semantic), semantic)
    elif semantic is None:
        labelled = LabelledPicture(image, instance)
    else:
        # In a record an instance has one class, that of its vote.
        class_of_id = np.concatenate([[0], classes]).astype(np.int32)
        labelled = LabelledPicture(image, instance, class_of_id[instance])
    return answer._replace(
        example=schema.encode_example(labelled, picture.stem),
        statistics=count_labels(labelled.instance, labelled.semantic),
    )
