"""Runs an exported model on millions of pictures, on this machine or a cluster, by Apache Beam.

The answers are those of `predict_main`, in files of many pictures each. The same command goes on
after an interruption; pictures that cannot be predicted are listed in failed.jsonl.

Example:
  python -m export.batch_main --model=exports/nuclei --images='scans/*.png' --output_dir=out \
    --beam_option=--direct_num_workers=0 --beam_option=--direct_running_mode=multi_processing
"""

import json
import os
import sys

from absl import flags, logging

from data_pipeline import command_line
from data_pipeline.beam_runner import map_on_beam, require_written
from data_pipeline.conversion import default_num_shards, shard_names
from data_pipeline.labelled_picture import Source
from export import batch_pictures, batch_results, batch_run
from export.batch_parts import Part, predict_part, record_path
from export.pictures import require_other_folder
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
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 500_000_000, "Pictures of more pixels fail, before they are decoded.", 1
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


def predict_batch(parts: list[Part], runner: str, options: list[str]) -> dict:
    """Predicts all parts that are not there yet and returns the manifest, written last.

    Args:
      parts: of `batch_run.plan_batch`.
      runner: as in `beam_runner.run_on_beam`.
      options: likewise.

    Raises:
      ValueError, OSError: as `beam_runner.map_on_beam`.
    """
    items = [json.dumps(part._asdict()) for part in parts]
    with batch_run.shown_progress(parts):
        counts = map_on_beam(predict_part, items, runner=runner, options=options)
    logging.info(
        "%s: now predicted %d pictures with %d instances, %d failed",
        *(runner, *(counts.get(name, 0) for name in ("done", "instances", "failed"))),
    )
    require_written([record_path(part) for part in parts], runner)
    return batch_run.finish_batch(parts)


def _plan(model_folder: str, model: object) -> list[Part]:
    sources, names = _sources()
    settings = {
        "model_sha256": batch_run.model_sha256(model_folder),
        "input": "files" if _IMAGES.value else "shards",
        "write": batch_results.choose_kinds(model, _WRITE.value),
        "max_pixels": _MAX_PIXELS.value,
    }
    return batch_run.plan_batch(_OUTPUT_DIR.value, names, model_folder, settings, sources)


def _sources() -> tuple[list[Source], list[str]]:
    """Returns pictures or shards, and the names of the parts they are dealt out to."""
    if bool(_IMAGES.value) == bool(_SHARDS.value):
        raise ValueError("give either --images or --shards")
    if _SHARDS.value and _NUM_SHARDS.value:
        raise ValueError("--num_shards is for --images; of --shards each is a part")
    if _IMAGES.value:
        sources = batch_pictures.list_files(_IMAGES.value)
        require_other_folder([source.files[0] for source in sources], _OUTPUT_DIR.value)
        num_parts = _NUM_SHARDS.value or default_num_shards(len(sources))
    else:
        sources = batch_pictures.list_shards(_SHARDS.value)
        num_parts = len(sources)
    files = shard_names("part", num_parts, len(sources))
    return sources, [os.path.splitext(name)[0].removeprefix("part-") for name in files]


def main(argv: list[str]) -> int | None:
    """Predicts all pictures; returns 1 if too many of them failed."""
    del argv
    model_folder = find_version(_MODEL.value)
    parts = _plan(model_folder, batch_results.load_once(model_folder))
    manifest = predict_batch(parts, _RUNNER.value, _BEAM_OPTIONS.value)
    num_pictures, num_failed = manifest["num_pictures"], manifest["num_failed"]
    print(
        f"Predicted {num_pictures - num_failed} of {num_pictures} pictures into "
        f"{_OUTPUT_DIR.value}; {num_failed} failed, {manifest['num_instances']} instances"
    )
    if num_failed:
        path = os.path.join(_OUTPUT_DIR.value, batch_run.FAILED_FILE)
        print(f"{num_failed} pictures failed, see {path}", file=sys.stderr)
    if num_failed > _MAX_FAILED.value * num_pictures:
        print(
            f"error: {num_failed} of {num_pictures} pictures failed, more than "
            f"--max_failed_fraction={_MAX_FAILED.value:g}",
            file=sys.stderr,
        )
        return 1
    return None


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
