"""Runs an exported model on picture files: instances, classes or boundaries, as the model finds.

Instances become label maps, overlays and COCO results, classes `<stem>_semantic.png`, boundaries
`<stem>.png`: what `rpe_tf.metrics.evaluate_main` reads.

Example:
  python -m export.predict_main --model=exports/digits --images='scenes/*.png' --output_dir=out
"""

from absl import flags

import rpe_tf
from data_pipeline import command_line
from export.picture_predictions import predict_files
from export.pictures import list_pictures, require_other_folder
from rpe_tf.saved_model import BoundaryDetector, Segmenter

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


def main(argv: list[str]) -> int | None:
    """Predicts all pictures; returns 1 if one of them failed."""
    del argv
    paths = list_pictures(_IMAGES.value)
    output_dir = _OUTPUT_DIR.value
    require_other_folder(paths, output_dir)
    model = rpe_tf.load(_MODEL.value)
    if _THIN.value and not isinstance(model, BoundaryDetector):
        raise ValueError(f"--thin is for models of boundaries, {_MODEL.value} does not find any")
    if _POOLED.value and not (isinstance(model, Segmenter) and model.can_propose):
        raise ValueError(f"--pooled is for models of proposals; {_MODEL.value} does not pool any")
    return predict_files(model, paths, output_dir, is_thin=_THIN.value, is_pooled=_POOLED.value)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model", "images", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
