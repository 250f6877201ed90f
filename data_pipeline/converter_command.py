"""What all converters share on the command line: their flags, and what they say at the end."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from absl import flags, logging

from data_pipeline import command_line, conversion
from data_pipeline.label_statistics import describe_statistics
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.local_runner import run_locally
from data_pipeline.shard_writing import ShardJob, describe_problem

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder for the shards and manifest.json; made if absent."
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards", None, "Files a split; by default 16, or one for 500 pictures if more.", 1
)
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "stop", conversion.ON_ERROR, "At a bad picture: stop, or skip it and list it."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 0, "Processes, 1 or more; 0: a core each, if the pictures are worth it.", 0
)
_RUNNER = flags.DEFINE_string(
    "runner",
    None,
    "Apache Beam runner instead of processes of this machine (extra [beam]): DirectRunner, "
    "DataflowRunner, FlinkRunner, SparkRunner, …; a shard is its unit of work.",
)
_BEAM_OPTIONS = flags.DEFINE_multi_string(
    "beam_option", [], "Option of the Beam pipeline, such as --project=NAME; may be repeated."
)

_SHOWN_NAMES = 5


def convert_splits(
    read: Callable[[Source], LabelledPicture],
    splits: Mapping[str, Sequence[Source]],
    *,
    classes: Sequence[str] = (),
    settings: Mapping[str, object],
) -> dict:
    """Converts each split as the shared flags say, prints what was written, returns the manifest.

    Args:
      read: as in `conversion.write_split`; it and what it closes over can be pickled.
      splits: sources by name of the split.
      classes: class names, index = semantic id.
      settings: of the conversion, as JSON values, such as the folders read.

    Raises:
      ValueError: as `conversion.write_split`.
    """
    for split, sources in splits.items():
        manifest = conversion.write_split(
            *(read, sources, _OUTPUT_DIR.value, split),
            num_shards=_NUM_SHARDS.value,
            classes=classes,
            settings=settings,
            on_error=_ON_ERROR.value,
            run=_runner(),
        )
        _report(split, manifest)
    patterns = [os.path.join(_OUTPUT_DIR.value, f"{split}-*") for split in splits]
    print("Next:")
    print(f"  python -m data_pipeline.inspect_main --shards='{patterns[0]}' --picture=sheet.png")
    scored = f" --eval_shards='{patterns[1]}'" if len(patterns) > 1 else ""
    print(f"  python train_main.py --run_dir=runs/mine --train_shards='{patterns[0]}'{scored}")
    return manifest


def run_converter(main: Callable[[list[str]], int | None]) -> None:
    """Starts a converter; --output_dir is required of all."""
    flags.mark_flag_as_required("output_dir")
    command_line.run(main)


def _runner() -> Callable[[list[ShardJob]], None]:
    if not _RUNNER.value:
        return functools.partial(run_locally, num_processes=_NUM_PROCESSES.value)
    from data_pipeline.beam_runner import run_on_beam  # Needs the extra [beam].

    return functools.partial(run_on_beam, runner=_RUNNER.value, options=_BEAM_OPTIONS.value)


def _report(split: str, manifest: dict) -> None:
    entry = manifest["splits"][split]
    print(f"{split}: {describe_statistics(entry['statistics'], manifest['classes'])}")
    for note, names in sorted(entry["notes"].items()):
        shown = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        print(f"{split}: {len(names)} pictures with {note}: {shown}")
    if entry["skipped"]:
        total = len(entry["skipped"]) + entry["num_examples"]
        logging.warning("%s: %d of %d pictures skipped:", split, len(entry["skipped"]), total)
        for problem in entry["skipped"]:
            print(f"  {describe_problem(problem)}", file=sys.stderr)
