"""Writes what a model finds in picture files, whether it is loaded or served elsewhere."""

import os
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_pipeline.command_line import progress_bar
from data_pipeline.picture_files import read_picture
from export.pictures import output_stems
from export.prediction_files import (
    coco_results,
    pooled_results,
    write_boundary,
    write_json,
    write_pictures,
    write_semantic,
    write_semantic_overlay,
)
from rpe_tf.metrics.edge_thinning import suppress_non_maxima
from rpe_tf.saved_model import (
    BoundaryDetector,
    ClassedPrediction,
    PooledPrediction,
    Prediction,
    Segmenter,
    SemanticSegmenter,
)


def predict_files(
    model: Segmenter | BoundaryDetector | SemanticSegmenter,
    paths: list[str],
    output_dir: str,
    *,
    is_thin: bool = False,
    is_pooled: bool = False,
) -> int | None:
    """Returns 1 if a picture failed, which is then told; writes what the model finds in the others.

    Args:
      model: as `rpe_tf.load` returns it.
      paths: picture files.
      output_dir: a folder other than theirs; made if absent.
      is_thin: of boundaries: whether to suppress what is no maximum across them.
      is_pooled: of proposals: whether to write the pooled ones as well.
    """
    os.makedirs(output_dir, exist_ok=True)
    if isinstance(model, BoundaryDetector):
        failed = detect_in_files(model, paths, output_dir, is_thin)
        done = "Detected boundaries in"
    elif isinstance(model, SemanticSegmenter):
        failed = classify_files(model, paths, output_dir)
        done = "Found the classes of"
    else:
        failed = segment_files(model, paths, output_dir, is_pooled)
        done = "Segmented"
    print(f"{done} {len(paths) - len(failed)} of {len(paths)} pictures into {output_dir}")
    if failed:
        _show_error(f"{len(failed)} of {len(paths)} pictures failed, see above")
        return 1
    return None


def segment_files(
    segmenter: Segmenter, paths: list[str], output_dir: str, is_pooled: bool = False
) -> list[str]:
    """Returns the paths that failed; writes the instances of the others, and classes if there are.

    Args:
      segmenter: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
      is_pooled: whether to write the pooled proposals as well.
    """
    records, pooled = [], []
    find = segmenter.predict_classed if segmenter.has_classes else segmenter.predict

    def predict(
        image: np.ndarray,
    ) -> tuple[Prediction | ClassedPrediction, PooledPrediction | None]:
        return find(image), segmenter.propose(image) if is_pooled else None

    def write(path: str, stem: str, image: np.ndarray, found: tuple) -> None:
        prediction, proposals = found
        write_pictures(output_dir, stem, image, prediction.instance)
        if segmenter.has_classes:
            write_semantic(output_dir, stem, prediction.semantic)
        records.extend(coco_results(path, f"{stem}_instances.png", prediction))
        if proposals is not None:
            pooled.extend(pooled_results(path, proposals))

    failed = _predict_each(predict, paths, write, ("segmenting", "segmented"))
    write_json(os.path.join(output_dir, "predictions.json"), records)
    if is_pooled:
        write_json(os.path.join(output_dir, "proposals.json"), pooled)
    return failed


def detect_in_files(
    detector: BoundaryDetector, paths: list[str], output_dir: str, is_thin: bool
) -> list[str]:
    """Returns the paths that failed; writes the boundary maps of the others, `<stem>.png`.

    Args:
      detector: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
      is_thin: whether to suppress what is no maximum across the boundary.
    """

    def write(path: str, stem: str, image: np.ndarray, boundary: np.ndarray) -> None:
        del path, image
        write_boundary(output_dir, stem, suppress_non_maxima(boundary) if is_thin else boundary)

    return _predict_each(detector.predict, paths, write, ("detecting", "searched for boundaries"))


def classify_files(segmenter: SemanticSegmenter, paths: list[str], output_dir: str) -> list[str]:
    """Returns the paths that failed; writes the class maps of the others.

    Args:
      segmenter: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
    """

    def write(path: str, stem: str, image: np.ndarray, semantic: np.ndarray) -> None:
        del path
        write_semantic(output_dir, stem, semantic)
        write_semantic_overlay(output_dir, stem, image, semantic)

    return _predict_each(segmenter.predict, paths, write, ("classifying", "segmented"))


def _predict_each(
    predict: Callable, paths: list[str], write: Callable, verbs: tuple[str, str]
) -> list[str]:
    """Returns the paths that failed; calls write(path, stem, image, predict(image)) for the others.

    verbs: what is done, for the progress bar and for messages: -ing, and past participle.
    """
    failed = []
    progress = progress_bar(len(paths), verbs[0], "pictures")
    for path, stem in zip(paths, output_stems(paths), strict=True):
        try:
            image = read_picture(path)
            prediction = predict(image)
        except ValueError as error:
            failed.append(path)
            # A server does not know the name of the file.
            _show_error(error if path in str(error) else f"{path}: {error}")
        except tf.errors.OpError as error:
            failed.append(path)
            _show_error(f"{path} cannot be {verbs[1]} ({error.message}); try a smaller picture")
        else:
            write(path, stem, image, prediction)
        progress.update()
    progress.close()
    return failed


def _show_error(error: object) -> None:
    # After the progress bar, which has no end yet.
    print(f"\nerror: {error}", file=sys.stderr, flush=True)
