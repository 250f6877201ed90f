"""Draws the paper's figures from trained runs, and checks the statement of each as a number.

Figures without a model need no flag but --output_dir; a figure whose run is not given is left out,
and a line says which flag to give and what to train.

Example:
  python -m rpe_tf.figures.paper_main --run_dir=runs/digits --output_dir=figures

Writes a PNG and an SVG a figure, and numbers.json, where figures drawn earlier keep their numbers.
"""

import json
import os

from absl import flags

from data_pipeline import command_line
from rpe_tf.figures.paper import FIGURES, Sources, describe, draw_figures
from rpe_tf.run_folder import write_json

_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder of the figures; made if absent.")
_ONLY = flags.DEFINE_list(
    "only", [], f"Figures to draw, separated by commas, of {', '.join(FIGURES)}; none: all."
)
_RUN_DIR = flags.DEFINE_string(
    "run_dir", None, "Run or export of task proposals or instances (Figs. 1, 5, 11, 12)."
)
_SPHERE_RUN = flags.DEFINE_string("sphere_run", None, "The same with D = 3 (Fig. 4).")
_SEMANTIC_RUN = flags.DEFINE_string(
    "semantic_run", None, "Run with classes and the embedding loss (Figs. 9, 10)."
)
_PLAIN_RUN = flags.DEFINE_string("plain_run", None, "The same with --embedding_weight=0.")
_BOUNDARY_RUN = flags.DEFINE_string("boundary_run", None, "Run of task boundary (Figs. 7, 14).")
_SHARDS = flags.DEFINE_string(
    "shards", None, "Glob of labelled pictures for --run_dir; default: the run's eval_shards."
)
_SEMANTIC_SHARDS = flags.DEFINE_string("semantic_shards", None, "The same for --semantic_run.")
_BOUNDARY_SHARDS = flags.DEFINE_string("boundary_shards", None, "The same for --boundary_run.")
_NUM_PICTURES = flags.DEFINE_integer("num_pictures", 24, "Pictures that numbers are taken of.", 1)


def main(argv: list[str]) -> None:
    """Draws the figures, prints a line on each, and updates numbers.json."""
    del argv
    sources = Sources(
        run_dir=_RUN_DIR.value,
        sphere_run=_SPHERE_RUN.value,
        semantic_run=_SEMANTIC_RUN.value,
        plain_run=_PLAIN_RUN.value,
        boundary_run=_BOUNDARY_RUN.value,
        shards=_SHARDS.value,
        semantic_shards=_SEMANTIC_SHARDS.value,
        boundary_shards=_BOUNDARY_SHARDS.value,
        num_pictures=_NUM_PICTURES.value,
    )
    numbers = draw_figures(sources, _OUTPUT_DIR.value, _ONLY.value or list(FIGURES))
    os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
    path = os.path.join(_OUTPUT_DIR.value, "numbers.json")
    drawn = {name: found for name, found in numbers.items() if "skipped" not in found}
    write_json(path, {**_earlier(path), **drawn})
    for name, found in numbers.items():
        print(describe(name, found))
    print("numbers:", path)


def _earlier(path: str) -> dict:
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run() -> None:
    """Runs the command."""
    flags.mark_flags_as_required(["output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
