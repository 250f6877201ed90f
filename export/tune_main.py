"""Searches scale, concentration, smallest area and score threshold on validation pictures.

What is best is written into the run's read_out.json: an export made afterwards has it as its
defaults. All that was tried stands in tuning.json.

Example:
  python -m export.tune_main --run_dir=runs/nuclei --shards='shards/val-*'
"""

import os
from collections.abc import Iterator

from absl import flags

from data_pipeline import command_line, damage, input_pipeline, shards
from export import tuning
from export.trained_run import restore_run
from rpe_tf import run_folder

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the trained run.")
_SHARDS = flags.DEFINE_string("shards", None, "Glob of labelled shards; not those of the test.")
_CONCENTRATIONS = flags.DEFINE_list(
    "concentrations", [], "κ > 0 each; by default the run's own times 1/4, 1/2, 1 and 2."
)
_MIN_AREAS = flags.DEFINE_list("min_areas", ["5", "10", "20", "40"], "Pixels, ≥ 1 each.")
_TEST_SCALES = flags.DEFINE_list(
    "test_scales",
    [],
    "Factors > 0 of a picture's size at which the net reads it, as 1,1.25,1.5; by default the "
    "run's own. Time and memory of the net grow with the square.",
)
_FIGURE = flags.DEFINE_enum(
    "figure", "pq", tuning.FIGURES, "What to make large: of evaluate_main --task=instances."
)
_NUM_PICTURES = flags.DEFINE_integer("num_pictures", 200, "Pictures at the most.", lower_bound=1)
_FACTORS = (0.25, 0.5, 1.0, 2.0)
_SHOWN = 8


def main(argv: list[str]) -> None:
    """Tunes and writes; raises ValueError on flags outside their range."""
    del argv
    run = restore_run(_RUN_DIR.value)
    own = run.settings["read_out"]
    if "concentration" not in own:
        raise ValueError(f"task {run.settings['task']} has no read-out to tune")
    concentrations = [float(x) for x in _CONCENTRATIONS.value]
    concentrations = concentrations or [factor * own["concentration"] for factor in _FACTORS]
    min_areas = [int(x) for x in _MIN_AREAS.value]
    if min(concentrations) <= 0 or min(min_areas) < 1:
        raise ValueError("--concentrations must be above 0 and --min_areas 1 or more")
    paths = shards.list_shards(_SHARDS.value)
    num_pictures = min(_NUM_PICTURES.value, sum(shards.count_examples(paths)))

    bar = command_line.progress_bar(2 * num_pictures, "tuning", "pictures")
    with damage.named(paths), bar:

        def examples() -> Iterator[dict]:
            for example in input_pipeline.evaluation_dataset(paths).take(num_pictures):
                yield example
                bar.update(1)

        scales = [float(x) for x in _TEST_SCALES.value]
        tried = tuning.tune(run, examples, concentrations, min_areas, _FIGURE.value, scales)
    _write(tried)


def _write(tried: list[tuning.Choice]) -> None:
    print(
        f"{'scale':>5}  {'concentration':>13}  {'min_area':>8}  {'min_score':>9}  {_FIGURE.value}"
    )
    for choice in tried[:_SHOWN]:
        score = "any" if choice.min_score is None else f"{choice.min_score:.4f}"
        arguments = f"{choice.scale:5.4g}  {choice.concentration:13.4g}  {choice.min_area:8}"
        print(f"{arguments}  {score:>9}  {choice.figure:.4f}")
    found = tried[0]._asdict()
    found["scales"] = [found.pop("scale")]
    rows = [choice._asdict() for choice in tried]
    record = {"shards": _SHARDS.value, "figure": _FIGURE.value, "tried": rows}
    run_folder.write_json(os.path.join(_RUN_DIR.value, "tuning.json"), record)
    del found["figure"]
    run_folder.write_read_out(_RUN_DIR.value, run_folder.read_found(_RUN_DIR.value) | found)
    print(f"The first is written to {os.path.join(_RUN_DIR.value, 'read_out.json')}. Export again.")


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["run_dir", "shards"])
    command_line.run(main)


if __name__ == "__main__":
    run()
