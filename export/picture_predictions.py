"""Writes what a model finds in picture files, whether it is loaded or served elsewhere."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_pipeline.command_line import progress_bar
from data_pipeline.picture_files import read_picture
from export.large_pictures import Tiling, is_large, predict_large
from export.pictures import output_stems
from export.prediction_files import (
    coco_results,
    json_list,
    pooled_results,
    write_boundary,
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


class Tiles(NamedTuple):
    """How pictures too large for one pass are predicted."""

    model_dir: str  # what the model was loaded from
    tiling: Tiling


def predict_files(
    model: Segmenter | BoundaryDetector | SemanticSegmenter,
    paths: list[str],
    output_dir: str,
    *,
    is_thin: bool = False,
    is_pooled: bool = False,
    tiles: Tiles | None = None,
) -> int | None:
    """Returns 1 if a picture failed, which is then told; writes what the model finds in the others.

    Args:
      model: as `rpe_tf.load` returns it.
      paths: picture files.
      output_dir: a folder other than theirs; made if absent.
      is_thin: of boundaries: whether to suppress what is no maximum across them.
      is_pooled: of proposals: whether to write the pooled ones as well.
      tiles: how large pictures are cut; None: all are predicted in one pass.
    """
    os.makedirs(output_dir, exist_ok=True)
    if isinstance(model, BoundaryDetector):
        failed = detect_in_files(model, paths, output_dir, is_thin, tiles)
        done = "Detected boundaries in"
    elif isinstance(model, SemanticSegmenter):
        failed = classify_files(model, paths, output_dir, tiles)
        done = "Found the classes of"
    else:
        failed = segment_files(model, paths, output_dir, is_pooled, tiles)
        done = "Segmented"
    print(f"{done} {len(paths) - len(failed)} of {len(paths)} pictures into {output_dir}")
    if failed:
        _show_error(f"{len(failed)} of {len(paths)} pictures failed, see above")
        return 1
    return None


def segment_files(
    segmenter: Segmenter,
    paths: list[str],
    output_dir: str,
    is_pooled: bool = False,
    tiles: Tiles | None = None,
) -> list[str]:
    """Returns the paths that failed; writes the instances of the others, and classes if there are.

    Args:
      segmenter: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
      is_pooled: whether to write the pooled proposals as well.
      tiles: as `predict_files`.
    """
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
        add_records(coco_results(path, f"{stem}_instances.png", prediction))
        if proposals is not None:
            add_pooled(pooled_results(path, proposals))

    with contextlib.ExitStack() as files:
        add_records = files.enter_context(json_list(os.path.join(output_dir, "predictions.json")))
        if is_pooled:
            add_pooled = files.enter_context(json_list(os.path.join(output_dir, "proposals.json")))
        by_tiles = _by_tiles(
            segmenter, output_dir, tiles, is_pooled=is_pooled, add_records=add_records
        )
        return _predict_each(predict, paths, write, ("segmenting", "segmented"), by_tiles)


def detect_in_files(
    detector: BoundaryDetector,
    paths: list[str],
    output_dir: str,
    is_thin: bool,
    tiles: Tiles | None = None,
) -> list[str]:
    """Returns the paths that failed; writes the boundary maps of the others, `<stem>.png`.

    Args:
      detector: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
      is_thin: whether to suppress what is no maximum across the boundary.
      tiles: as `predict_files`.
    """

    def write(path: str, stem: str, image: np.ndarray, boundary: np.ndarray) -> None:
        del path, image
        write_boundary(output_dir, stem, suppress_non_maxima(boundary) if is_thin else boundary)

    by_tiles = _by_tiles(detector, output_dir, tiles, is_thin=is_thin)
    verbs = ("detecting", "searched for boundaries")
    return _predict_each(detector.predict, paths, write, verbs, by_tiles)


def classify_files(
    segmenter: SemanticSegmenter,
    paths: list[str],
    output_dir: str,
    tiles: Tiles | None = None,
) -> list[str]:
    """Returns the paths that failed; writes the class maps of the others.

    Args:
      segmenter: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
      tiles: as `predict_files`.
    """

    def write(path: str, stem: str, image: np.ndarray, semantic: np.ndarray) -> None:
        del path
        write_semantic(output_dir, stem, semantic)
        write_semantic_overlay(output_dir, stem, image, semantic)

    by_tiles = _by_tiles(segmenter, output_dir, tiles)
    return _predict_each(segmenter.predict, paths, write, ("classifying", "segmented"), by_tiles)


def _by_tiles(
    model: Segmenter | BoundaryDetector | SemanticSegmenter,
    output_dir: str,
    tiles: Tiles | None,
    *,
    is_pooled: bool = False,
    **options: object,
) -> Callable[[str, str], bool]:
    """Returns (path, stem) → whether the picture was large, and then is predicted and written.

    options: of `predict_large`.
    """

    def predict(path: str, stem: str) -> bool:
        if tiles is None or not is_large(path, tiles.tiling):
            return False
        if is_pooled:
            raise ValueError(
                f"{path} is beyond --tile_px={tiles.tiling.tile_px}, and proposals are pooled in "
                "one pass only; raise --tile_px, cut the picture, or leave out --pooled"
            )
        output = os.path.join(output_dir, stem)
        predict_large(model, tiles.model_dir, path, output, tiling=tiles.tiling, **options)
        return True

    return predict


def _predict_each(
    predict: Callable,
    paths: list[str],
    write: Callable,
    verbs: tuple[str, str],
    by_tiles: Callable[[str, str], bool],
) -> list[str]:
    """Returns the paths that failed; calls write(path, stem, image, predict(image)) for the others.

    Args:
      predict: image → what the model finds.
      paths: picture files.
      write: as above.
      verbs: what is done, for the progress bar and for messages: -ing, and past participle.
      by_tiles: as `_by_tiles` returns it; has done those of which it says so.
    """
    failed = []
    progress = progress_bar(len(paths), verbs[0], "pictures")
    for path, stem in zip(paths, output_stems(paths), strict=True):
        try:
            is_done = by_tiles(path, stem)
            image = None if is_done else read_picture(path)
            prediction = None if is_done else predict(image)
        except ValueError as error:
            failed.append(path)
            # A server does not know the name of the file.
            _show_error(error if path in str(error) else f"{path}: {error}")
        except tf.errors.OpError as error:
            failed.append(path)
            _show_error(f"{path} cannot be {verbs[1]} ({error.message}); try a smaller picture")
        else:
            if not is_done:
                write(path, stem, image, prediction)
        progress.update()
    progress.close()
    return failed


def _show_error(error: object) -> None:
    # After the progress bar, which has no end yet.
    print(f"\nerror: {error}", file=sys.stderr, flush=True)
