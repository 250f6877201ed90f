"""Scores and draws our embedding beside the authors' on the scenes they published (Fig. 4).

Example:
  python -m rpe_tf.figures.authors_digits_main --model=runs/sphere/export --concentration=144 \\
    --results=../shared/data/reference/author_toy/main001_results.mat --output_dir=runs/authors
"""

import os

import numpy as np
import tensorflow as tf
from absl import flags

from data_pipeline import command_line
from rpe_tf.figures.authors_digits import draw, grouped, read_published, score
from rpe_tf.run_folder import write_json
from rpe_tf.saved_model import find_version

_MODEL = flags.DEFINE_string("model", None, "Folder of an export with a 3-D embedding.")
_RESULTS = flags.DEFINE_string("results", None, "The authors' main001_results.mat.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for pictures and authors.json.")
_NUM_LOOPS = flags.DEFINE_integer("num_loops", 5, "Loops before the read-out; theirs: 5.", 0)
_CONCENTRATION = flags.DEFINE_float("concentration", None, "κ > 0 of our loops; theirs: 25.", 0)

_SHOWN = ("ari_foreground", "recall_50", "recall_75", "precision_50", "count_error")


def main(argv: list[str]) -> None:
    """Prints the table; writes authors.json, scenes.png and sphere.png."""
    del argv
    published = read_published(_RESULTS.value)
    loaded = tf.saved_model.load(find_version(_MODEL.value))
    outputs = loaded.signatures["embedding"](image=tf.constant(published.image))
    embedding = outputs["embedding"].numpy()
    shifted = np.stack([grouped(x, _CONCENTRATION.value, _NUM_LOOPS.value) for x in embedding])
    scores = {
        "authors": score(published.instance, published.embedding),
        "ours": score(published.instance, shifted),
    }
    os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
    write_json(os.path.join(_OUTPUT_DIR.value, "authors.json"), scores)
    for key in _SHOWN:
        print(f"{key:16} authors {scores['authors'][key]:.3f}  ours {scores['ours'][key]:.3f}")
    print("pictures:", *draw(published, embedding, shifted, _OUTPUT_DIR.value), sep="\n  ")


if __name__ == "__main__":
    flags.mark_flags_as_required(["model", "results", "output_dir", "concentration"])
    command_line.run(main)
