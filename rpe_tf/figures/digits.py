"""Pictures of a trained run on digit scenes, and its scores as a table.

Example:
  python -m rpe_tf.figures.digits --run_dir=runs/digits --output_dir=runs/digits/pictures
"""

import os
import time

import matplotlib

matplotlib.use("Agg")  # pictures are written to files; no screen is needed

import tensorflow as tf
from absl import flags
from matplotlib import pyplot as plt

from data_pipeline import command_line, input_pipeline, shards
from rpe_tf import run_folder
from rpe_tf.checkpoints import restore_weights
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.figures.sphere import draw_spheres
from rpe_tf.tasks import TASKS

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of a trained run.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the pictures; made if absent.")
_STARTED = flags.DEFINE_float(
    "started", None, "Seconds since 1970 at which the demo began; its length goes to metrics.json."
)
_NUM_SCENES = flags.DEFINE_integer("num_scenes", 6, "Scenes a split that are drawn.", 1)

_SHOWN = ("ari_foreground", "ari_all", "recall_50", "recall_75", "average_recall", "count_error")


def draw_loss(rows: list[dict], path: str) -> None:
    """Writes the loss of each loop and their sum against the step.

    Args:
      rows: of metrics.jsonl.
      path: of the PNG or SVG file.
    """
    figure, axes = plt.subplots(figsize=(7, 4))
    terms = [name for name in rows[-1] if name.startswith("loss_loop_")]
    for name in terms:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), label=f"after {name.rsplit('_', 1)[1]} loops")
    axes.set(xlabel="step", ylabel="pair loss (Eq. 2)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def table(scores: dict) -> str:
    """Returns the scores of metrics.json as lines, a column a split."""
    splits = scores["splits"]
    lines = ["".join([f"{'':16}", *(f"{split:>12}" for split in splits)])]
    for name in _SHOWN:
        lines.append("".join([f"{name:16}", *(f"{s[name]:12.4f}" for s in splits.values())]))
    lines.append(
        f"trained in {scores['train_seconds']:.0f} s, {scores['total_seconds']:.0f} s in all"
    )
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    """Draws scenes, the loss, and for D = 3 the sphere; prints the table and the paths."""
    del argv
    settings = run_folder.read_settings(_RUN_DIR.value)
    task, read_out = TASKS[settings["task"]], settings["read_out"]
    model = task.build_model(**settings["model"])
    restore_weights(_RUN_DIR.value, model)
    os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
    paths = [os.path.join(_OUTPUT_DIR.value, "loss.png")]
    draw_loss(run_folder.read_metrics(_RUN_DIR.value), paths[0])
    for pattern in settings["data"]["eval_shards"]:
        examples = input_pipeline.evaluation_dataset(shards.list_shards(pattern))
        name = shards.split_name(pattern)
        paths.append(os.path.join(_OUTPUT_DIR.value, f"{name}.png"))
        task.draw(model, examples.take(_NUM_SCENES.value), read_out).save(paths[-1])
        if settings["model"]["embedding_dim"] == 3:
            paths.append(os.path.join(_OUTPUT_DIR.value, f"{name}_sphere.png"))
            example = max(
                examples.take(_NUM_SCENES.value), key=lambda x: x["instance"].numpy().max()
            )
            _draw_sphere(model, example, read_out["concentration"], paths[-1])
    scores = run_folder.read_scores(_RUN_DIR.value)
    if _STARTED.value is not None:
        scores["total_seconds"] = round(time.time() - _STARTED.value, 1)
        run_folder.write_json(os.path.join(_RUN_DIR.value, "metrics.json"), scores)
    print(table(scores))
    print("pictures:", *paths, sep="\n  ")


def _draw_sphere(model, example: dict, concentration: float, path: str) -> None:
    embedding = model(example["image"], training=False)[0]
    moved = tiled_mean_shift(tf.reshape(embedding, [-1, 3]), concentration, 10)
    stages = {
        "embedding": embedding.numpy(),
        "after 10 loops": moved.numpy().reshape(embedding.shape),
    }
    draw_spheres(stages, example["instance"][0].numpy(), path)


if __name__ == "__main__":
    flags.mark_flags_as_required(["run_dir", "output_dir"])
    command_line.run(main)
