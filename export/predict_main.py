"""Runs an exported model on picture files: instances, classes or boundaries, as the model finds.

Instances become label maps, overlays and COCO results, classes `<stem>_semantic.png`, boundaries
`<stem>.png`: what `rpe_tf.metrics.evaluate_main` reads.

Example:
  python -m export.predict_main --model=exports/digits --images='scenes/*.png' --output_dir=out
"""

import os
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import flags

import rpe_tf
from data_pipeline import command_line
from data_pipeline.picture_files import read_picture
from export.pictures import list_pictures, output_stems, require_other_folder
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

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported model (its newest version) or of one version."
)
_IMAGES = flags.DEFINE_string("images", None, "A picture, a folder, or a glob in quotes.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the results; made if absent.")
_THIN = flags.DEFINE_bool(
    "thin", False, "Of boundaries: thin the maps by non-maximum suppression before writing them."
)
_POOLED = flags.DEFINE_bool(
    "pooled",
    False,
    "Of proposals: also write proposals.json, those of all the run's concentrations, overlapping.",
)


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
    progress = command_line.progress_bar(len(paths), verbs[0], "pictures")
    for path, stem in zip(paths, output_stems(paths), strict=True):
        try:
            image = read_picture(path)
            prediction = predict(image)
        except ValueError as error:
            failed.append(path)
            _show_error(error)
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


def main(argv: list[str]) -> int | None:
    """Predicts all pictures; returns 1 if one of them failed."""
    del argv
    paths = list_pictures(_IMAGES.value)
    output_dir = _OUTPUT_DIR.value
    require_other_folder(paths, output_dir)
    model = rpe_tf.load(_MODEL.value)
    finds_boundaries = isinstance(model, BoundaryDetector)
    if _THIN.value and not finds_boundaries:
        raise ValueError(f"--thin is for models of boundaries, {_MODEL.value} does not find any")
    if _POOLED.value and not (isinstance(model, Segmenter) and model.can_propose):
        raise ValueError(f"--pooled is for models of proposals; {_MODEL.value} does not pool any")
    os.makedirs(output_dir, exist_ok=True)
    if finds_boundaries:
        failed = detect_in_files(model, paths, output_dir, _THIN.value)
        done = "Detected boundaries in"
    elif isinstance(model, SemanticSegmenter):
        failed = classify_files(model, paths, output_dir)
        done = "Found the classes of"
    else:
        failed = segment_files(model, paths, output_dir, _POOLED.value)
        done = "Segmented"
    print(f"{done} {len(paths) - len(failed)} of {len(paths)} pictures into {output_dir}")
    if failed:
        _show_error(f"{len(failed)} of {len(paths)} pictures failed, see above")
        return 1
    return None


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model", "images", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
