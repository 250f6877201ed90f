"""Pictures of a trained run on digit scenes, and its scores as a table."""

import os

import matplotlib

matplotlib.use("Agg")  # pictures are written to files; no screen is needed

import tensorflow as tf
from matplotlib import pyplot as plt

from data_pipeline import input_pipeline, shards
from rpe_tf import run_folder
from rpe_tf.checkpoints import restore_weights
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.figures.sphere import draw_spheres
from rpe_tf.tasks import TASKS

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


def draw_run(run_dir: str, output_dir: str, num_scenes: int) -> list[str]:
    """Returns the paths of the pictures written: loss, scenes of each split, spheres if D = 3.

    Args:
      run_dir: folder of a run that has a checkpoint.
      output_dir: made if absent.
      num_scenes: scenes of each split, the first ones.
    """
    settings = run_folder.read_settings(run_dir)
    task, read_out = TASKS[settings["task"]], settings["read_out"]
    model = task.build_model(**settings["model"])
    restore_weights(run_dir, model)
    os.makedirs(output_dir, exist_ok=True)
    paths = [os.path.join(output_dir, "loss.png")]
    draw_loss(run_folder.read_metrics(run_dir), paths[0])
    for pattern in settings["data"]["eval_shards"]:
        examples = input_pipeline.evaluation_dataset(shards.list_shards(pattern)).take(num_scenes)
        name = shards.split_name(pattern)
        paths.append(os.path.join(output_dir, f"{name}.png"))
        task.draw(model, examples, read_out).save(paths[-1])
        if settings["model"]["embedding_dim"] == 3:
            paths.append(os.path.join(output_dir, f"{name}_sphere.png"))
            fullest = max(examples, key=lambda example: example["instance"].numpy().max())
            _draw_sphere(model, fullest, read_out["concentration"], paths[-1])
    return paths


def _draw_sphere(model, example: dict, concentration: float, path: str) -> None:
    embedding = model(example["image"], training=False)[0]
    moved = tiled_mean_shift(tf.reshape(embedding, [-1, 3]), concentration, 10)
    stages = {
        "embedding": embedding.numpy(),
        "after 10 loops": moved.numpy().reshape(embedding.shape),
    }
    draw_spheres(stages, example["instance"][0].numpy(), path)
