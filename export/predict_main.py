"""Runs an exported model on picture files: instances, classes or boundaries, as the model finds.

Instances become label maps, overlays and COCO results, classes `<stem>_semantic.png`, boundaries
`<stem>.png`: what `rpe_tf.metrics.evaluate_main` reads.

Example:
  python -m export.predict_main --model=exports/digits --images='scenes/*.png' --output_dir=out
"""

from absl import flags

import rpe_tf
from data_pipeline import command_line
from export.large_pictures import MAX_PIXELS, Tiling
from export.picture_predictions import Tiles, predict_files
from export.pictures import list_pictures, require_other_folder
from export.tiling import ALIGNMENT_PX, TILE_PX
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
_TILE_PX = flags.DEFINE_integer(
    "tile_px",
    TILE_PX,
    "Sides in pixels beyond which a picture is cut into overlapping tiles of that size, whose "
    f"answers are stitched; used to a multiple of {ALIGNMENT_PX}, and 0.7 GB of memory a million "
    "pixels or more.",
    lower_bound=3 * ALIGNMENT_PX,
)
_OVERLAP_PX = flags.DEFINE_integer(
    "overlap_px",
    None,
    f"Of neighbouring tiles, in pixels, rounded up to a multiple of {ALIGNMENT_PX}; left out: as "
    "far as the model sees to both sides of a pixel.",
    lower_bound=1,
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", MAX_PIXELS, "Of a picture, which is refused above; at least 1.", lower_bound=1
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
    tiling = Tiling(_TILE_PX.value, _OVERLAP_PX.value, _MAX_PIXELS.value)
    return predict_files(
        model,
        paths,
        output_dir,
        is_thin=_THIN.value,
        is_pooled=_POOLED.value,
        tiles=Tiles(_MODEL.value, tiling),
    )


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model", "images", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
