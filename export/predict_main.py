"""Segments picture files with an exported model: label maps, overlays and COCO results.

Example:
  python -m export.predict_main --model=exports/digits --images='scenes/*.png' --output_dir=out
"""

import os
import sys

import tensorflow as tf
from absl import flags

import rpe_tf
from data_pipeline import command_line
from data_pipeline.picture_files import read_picture
from export.pictures import list_pictures, output_stems, require_other_folder
from export.prediction_files import coco_results, write_json, write_pictures
from rpe_tf.saved_model import Segmenter

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported model (its newest version) or of one version."
)
_IMAGES = flags.DEFINE_string("images", None, "A picture, a folder, or a glob in quotes.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the results; made if absent.")


def segment_files(segmenter: Segmenter, paths: list[str], output_dir: str) -> list[str]:
    """Returns the paths that failed; writes the results of the others.

    Args:
      segmenter: the model.
      paths: picture files.
      output_dir: an existing folder other than theirs.
    """
    records, failed = [], []
    progress = command_line.progress_bar(len(paths), "segmenting", "pictures")
    for path, stem in zip(paths, output_stems(paths), strict=True):
        try:
            image = read_picture(path)
            prediction = segmenter.predict(image)
        except ValueError as error:
            failed.append(path)
            _show_error(error)
        except tf.errors.OpError as error:
            failed.append(path)
            _show_error(f"{path} cannot be segmented ({error.message}); try a smaller picture")
        else:
            write_pictures(output_dir, stem, image, prediction.instance)
            records += coco_results(path, f"{stem}_instances.png", prediction)
        progress.update()
    progress.close()
    write_json(os.path.join(output_dir, "predictions.json"), records)
    return failed


def _show_error(error: object) -> None:
    # After the progress bar, which has no end yet.
    print(f"\nerror: {error}", file=sys.stderr, flush=True)


def main(argv: list[str]) -> int | None:
    """Segments all pictures; returns 1 if one of them failed."""
    del argv
    paths = list_pictures(_IMAGES.value)
    require_other_folder(paths, _OUTPUT_DIR.value)
    segmenter = rpe_tf.load(_MODEL.value)
    os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
    failed = segment_files(segmenter, paths, _OUTPUT_DIR.value)
    print(f"Segmented {len(paths) - len(failed)} of {len(paths)} pictures into {_OUTPUT_DIR.value}")
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
