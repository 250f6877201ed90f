"""Fig. 4 and a table: our embedding beside the authors' on the scenes they published.

Both embeddings take the same loops of mean shift (Eq. 3) and the same read-out: greedy groups of
pixels within a cosine of 0.95 of the first pixel left over; the largest group is background.

Example:
  python -m rpe_tf.figures.authors_digits --model=exports/sphere --output_dir=runs/authors \\
    --results=../shared/data/reference/author_toy/main001_results.mat
"""

import os
from typing import NamedTuple

import numpy as np
import scipy.io
import tensorflow as tf
from absl import flags

from data_pipeline import command_line
from rpe_tf.core.mean_shift import mean_shift
from rpe_tf.drawing import contact_sheet, embedding_to_rgb, paint_instances
from rpe_tf.figures.sphere import draw_spheres
from rpe_tf.metrics.instance_scores import score_image, summarize
from rpe_tf.run_folder import write_json
from rpe_tf.saved_model import find_version

_MODEL = flags.DEFINE_string("model", None, "Folder of an export with a 3-D embedding.")
_RESULTS = flags.DEFINE_string("results", None, "The authors' main001_results.mat.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for pictures and authors.json.")
_NUM_LOOPS = flags.DEFINE_integer("num_loops", 5, "Loops before the read-out; theirs: 5.", 0)
_CONCENTRATION = flags.DEFINE_float("concentration", None, "κ > 0 of our loops; theirs: 25.", 0)

_READ_OUT_COSINE = 0.95
_DRAWN_SCENES = (2, 23, 18, 28)


class Published(NamedTuple):
    """What the authors' file holds."""

    image: np.ndarray  # [30, 64, 64, 3] uint8
    instance: np.ndarray  # [30, 64, 64] int32
    embedding: np.ndarray  # [30, 64, 64, 3] after the last of 5 loops, κ = 25


def read_published(path: str) -> Published:
    """Returns scenes, truth and the authors' embedding after their last loop."""
    content = scipy.io.loadmat(path)
    image = np.rint(np.moveaxis(content["imgMat"], -1, 0) * 255).astype(np.uint8)
    instance = np.moveaxis(content["instanceMaskMat"][:, :, 0], -1, 0).astype(np.int32)
    embedding = np.moveaxis(content["predInstanceMaskMat"][0, -1], -1, 0)
    return Published(image, instance, embedding)


def greedy_instances(points: np.ndarray, cosine: float = _READ_OUT_COSINE) -> np.ndarray:
    """Returns the instance map [H, W] int32 of grouped points [H, W, D]; the largest group is 0."""
    x = points.reshape(-1, points.shape[-1])
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    group, count = np.full(len(x), -1), 0
    while (group < 0).any():
        first = int(np.argmax(group < 0))
        near = (group < 0) & (x @ x[first] >= cosine)
        near[first] = True
        group[near] = count
        count += 1
    background = np.bincount(group).argmax()
    return np.where(group == background, 0, group + 1).reshape(points.shape[:2]).astype(np.int32)


def grouped(embedding: np.ndarray, concentration: float, num_loops: int) -> np.ndarray:
    """Returns the pixels [H, W, D] of one scene after num_loops loops."""
    points = embedding.reshape(-1, embedding.shape[-1])
    moved = mean_shift(tf.constant(points), concentration, num_loops)
    return moved.numpy().reshape(embedding.shape)


def main(argv: list[str]) -> None:
    """Prints the table, writes authors.json, scenes.png and sphere.png."""
    del argv
    published = read_published(_RESULTS.value)
    loaded = tf.saved_model.load(find_version(_MODEL.value))
    outputs = loaded.signatures["embedding"](image=tf.constant(published.image))
    embedding = outputs["embedding"].numpy()
    shifted = np.stack([grouped(x, _CONCENTRATION.value, _NUM_LOOPS.value) for x in embedding])
    scores = {}
    for name, points in (("authors", published.embedding), ("ours", shifted)):
        found = [greedy_instances(x) for x in points]
        records = [score_image(*pair) for pair in zip(published.instance, found, strict=True)]
        scores[name] = summarize(records)
    os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
    write_json(os.path.join(_OUTPUT_DIR.value, "authors.json"), scores)
    for key in ("ari_foreground", "recall_50", "recall_75", "precision_50", "count_error"):
        print(f"{key:16} authors {scores['authors'][key]:.3f}  ours {scores['ours'][key]:.3f}")
    _draw(published, embedding, shifted)
    print(f"pictures: {_OUTPUT_DIR.value}/scenes.png, {_OUTPUT_DIR.value}/sphere.png")


def _draw(published: Published, embedding: np.ndarray, shifted: np.ndarray) -> None:
    rows = [
        [
            published.image[k],
            paint_instances(published.instance[k]),
            embedding_to_rgb(published.embedding[k]),
            paint_instances(greedy_instances(published.embedding[k])),
            embedding_to_rgb(embedding[k]),
            embedding_to_rgb(shifted[k]),
            paint_instances(greedy_instances(shifted[k])),
        ]
        for k in _DRAWN_SCENES
    ]
    titles = ["scene", "truth", "authors, 5 loops", "their instances", "ours", "ours, grouped"]
    sheet = contact_sheet(rows, [*titles, "our instances"], 2)
    sheet.save(os.path.join(_OUTPUT_DIR.value, "scenes.png"))
    k = _DRAWN_SCENES[0]
    draw_spheres(
        {"before": embedding[k], f"after {_NUM_LOOPS.value} loops": shifted[k]},
        published.instance[k],
        os.path.join(_OUTPUT_DIR.value, "sphere.png"),
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["model", "results", "output_dir", "concentration"])
    command_line.run(main)
