"""Scores folders of segmented nuclei in one table, from whatever program each comes.

Fluorescence and tissue stand apart, and so do the true nuclei that touch (another one within 2
pixels), those that are concave (area / area of the convex hull < 0.9), and the rest.

Examples:
  python -m export.predict_main --model=exports/nuclei --images='val/*.png' --output_dir=ours
  python -m tests.benchmarks.nuclei_scores --data=nuclei --predictions=ours,stardist
"""

import json
import os
from collections.abc import Sequence

from absl import app, flags

from tests.benchmarks import nuclei_figures

_DATA = flags.DEFINE_string("data", None, "Folder with index.csv and labels/.")
_PREDICTIONS = flags.DEFINE_list(
    "predictions", None, "Folders of <id>.png or <id>_instances.png, instance ids."
)
_SPLIT = flags.DEFINE_string("split", "val", "Of index.csv: which pictures.")
_JSON = flags.DEFINE_string("json", None, "File for the figures; optional.")


def main(argv: Sequence[str]) -> None:
    """Scores and prints; raises ValueError naming a prediction that is missing."""
    del argv
    nuclei = nuclei_figures.read_index(_DATA.value, _SPLIT.value)
    summaries = {}
    for folder in _PREDICTIONS.value:
        name = os.path.basename(os.path.normpath(folder))
        if name in summaries:
            raise ValueError(f"two folders of predictions are called {name}; rename one")
        records = nuclei_figures.score_folder(_DATA.value, nuclei, folder)
        summaries[name] = nuclei_figures.summarize(records)
    print(nuclei_figures.format_table(summaries))
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump(summaries, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    flags.mark_flags_as_required(["data", "predictions"])
    app.run(main)
