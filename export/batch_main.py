"""Runs an exported model on millions of pictures, on this machine or a cluster, by Apache Beam.

The answers are those of `predict_main`, in files of many pictures each. The same command goes on
after an interruption; pictures that cannot be predicted are listed in failed.jsonl.

Example:
  python -m export.batch_main --model=exports/nuclei --images='scans/*.png' --output_dir=out \
    --beam_option=--direct_num_workers=0 --beam_option=--direct_running_mode=multi_processing
"""

from absl import flags

from data_pipeline import command_line
from data_pipeline.labelled_picture import Source
from export import batch_pictures, batch_results, batch_run
from export.large_pictures import MAX_PIXELS
from export.pictures import require_other_folder
from export.tiling import ALIGNMENT_PX, TILE_PX
from rpe_tf.saved_model import find_version

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported model (its newest version) or of one version."
)
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "A picture, a folder, a glob in quotes, a .txt with a path a line, or the failed.jsonl of "
    "another batch. Either this or --shards.",
)
_SHARDS = flags.DEFINE_string(
    "shards", None, "Glob of TFRecord shards of this project, of one split; a shard is a part."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder for the results; made if absent. Workers must reach it."
)
_WRITE = flags.DEFINE_list(
    "write",
    [],
    "Of json (COCO results), png (label and boundary maps) and shards (records of picture and "
    "labels), with commas; by default json, of models without instances png.",
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    None,
    "Parts of --images, each a unit of work and a file; by default 16, or one for 500 pictures.",
    1,
)
_TILE_PX = flags.DEFINE_integer(
    "tile_px",
    TILE_PX,
    "Sides in pixels beyond which a picture is cut into tiles, as predict_main's.",
    3 * ALIGNMENT_PX,
)
_OVERLAP_PX = flags.DEFINE_integer("overlap_px", None, "Of neighbouring tiles; likewise.", 1)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", MAX_PIXELS, "Pictures of more pixels fail, before they are decoded.", 1
)
_MAX_FAILED = flags.DEFINE_float(
    "max_failed_fraction", 0.0, "Share of pictures, in [0, 1], past which to end with 1.", 0.0, 1.0
)
_RUNNER = flags.DEFINE_string(
    "runner",
    "DirectRunner",
    "Apache Beam runner (extra [beam]): DirectRunner, DataflowRunner, FlinkRunner, SparkRunner, …",
)
_BEAM_OPTIONS = flags.DEFINE_multi_string(
    "beam_option", [], "Option of the Beam pipeline, such as --project=NAME; may be repeated."
)


def _list_sources() -> list[Source]:
    """Returns the pictures or shards."""
    if bool(_IMAGES.value) == bool(_SHARDS.value):
        raise ValueError("give either --images or --shards")
    if _IMAGES.value:
        sources = batch_pictures.list_files(_IMAGES.value)
        require_other_folder([source.files[0] for source in sources], _OUTPUT_DIR.value)
        return sources
    if _NUM_SHARDS.value:
        raise ValueError("--num_shards is for --images; of --shards each is a part")
    return batch_pictures.list_shards(_SHARDS.value)


def main(argv: list[str]) -> int | None:
    """Predicts all pictures; returns 1 if too many of them failed."""
    del argv
    sources = _list_sources()
    model_folder = find_version(_MODEL.value)
    settings = {
        "input": "files" if _IMAGES.value else "shards",
        "write": batch_results.choose_kinds(batch_results.load_once(model_folder), _WRITE.value),
        "tiling": [_TILE_PX.value, _OVERLAP_PX.value, _MAX_PIXELS.value],
    }
    num_parts = len(sources) if _SHARDS.value else _NUM_SHARDS.value
    parts = batch_run.plan_batch(_OUTPUT_DIR.value, model_folder, settings, sources, num_parts)
    manifest = batch_run.predict_batch(parts, _RUNNER.value, _BEAM_OPTIONS.value)
    return batch_run.report(manifest, _OUTPUT_DIR.value, _MAX_FAILED.value)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
