"""Pictures of a run on boundaries (Fig. 7, 14, 15 to 18), and what its embedding encodes.

Every picture of an embedding, and every number, is of the weights before fine-tuning, at the end of
the phase that trains the embedding alone, and of those after, where logistic layers were trained on
it. A run without that phase has only the latter.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")  # pictures are written to files; no screen is needed

import numpy as np
import tensorflow as tf
from absl import logging
from matplotlib import pyplot as plt
from PIL import Image

from data_pipeline import command_line, input_pipeline, shards
from rpe_tf import run_folder
from rpe_tf.checkpoints import EMBEDDING_ONLY, restore_weights
from rpe_tf.drawing import contact_sheet, embedding_to_rgb
from rpe_tf.figures import boundary_code
from rpe_tf.metrics.edge_thinning import suppress_non_maxima
from rpe_tf.tasks import TASKS
from rpe_tf.tasks.boundary import NUM_BRANCHES, make_predictor, paint_map

_NO_LOSSES = ("step", "images_per_second", "train_seconds")
_DISC_RADIUS_PX, _DISC_CONTRAST, _DISC_CENTRE_PX = 40.0, 120.0, (79.5, 79.5)


class TrainedRun(NamedTuple):
    """A run on boundaries, its weights restored.

    Attributes:
      embed: by stage, "before" (where the run has it) and "after", the compiled function from a
        picture [H, W, 3] uint8 to the embedding [H, W, 4 · D] of its four branches.
      steps: by stage, the training step of the weights.
      predict: from a picture to embedding and boundary map, see `make_predictor`; of "after".
      embedding_dim: D of each branch.
    """

    embed: dict[str, Callable]
    steps: dict[str, int]
    predict: Callable
    embedding_dim: int

    def embeddings(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the embedding [H, W, 4 · D] of a picture by stage."""
        return {stage: embed(tf.constant(image)).numpy() for stage, embed in self.embed.items()}


def restore_run(run_dir: str) -> TrainedRun:
    """Returns a run on boundaries; without weights from before fine-tuning, that is logged.

    Raises:
      FileNotFoundError: if run_dir holds no run or no checkpoint.
      ValueError: if the run is of another task, or its checkpoint does not fit its settings.
    """
    settings = run_folder.read_settings(run_dir)
    if settings["task"] != "boundary":
        raise ValueError(
            f"{run_dir} holds a run with task {settings['task']}, these figures are of a run "
            "with task boundary"
        )
    build_model = functools.partial(TASKS["boundary"].build_model, **settings["model"])
    after = build_model()
    steps = {"after": restore_weights(run_dir, after)}
    embed = {"after": _embedder(after)}
    before = build_model()
    try:
        steps = {"before": restore_weights(run_dir, before, kept=EMBEDDING_ONLY), **steps}
        embed = {"before": _embedder(before), **embed}
    except FileNotFoundError as error:  # The run itself is there: it has been read above.
        logging.info("before fine-tuning is left out: %s", error)
    predict = make_predictor(after, settings["read_out"])
    return TrainedRun(embed, steps, predict, settings["model"]["embedding_dim"])


def draw_run(
    run_dir: str, output_dir: str, pattern: str | None = None, num_pictures: int = 8
) -> tuple[list[str], dict]:
    """Returns the paths of the files written, and the content of code.json, one of them.

    The others are loss.png (where the run has reported a loss), disc.png, and a sheet a picture.

    Args:
      run_dir: folder of a run on boundaries that has a checkpoint.
      output_dir: made if absent.
      pattern: of shards, see `list_shards`; None: the first of the run's eval_shards.
      num_pictures: how many of their pictures are drawn, the first ones; 0: all. The code is
        measured on all of them in any case.

    Raises:
      FileNotFoundError, ValueError: as `restore_run`, `list_shards`, or if neither the run nor
        pattern names shards.
    """
    run = restore_run(run_dir)
    paths = shards.list_shards(pattern or first_eval_shards(run_dir))
    os.makedirs(output_dir, exist_ok=True)
    in_output = functools.partial(os.path.join, output_dir)
    written = [in_output("disc.png"), in_output("code.json")]
    rows = run_folder.read_metrics(run_dir)
    if rows:
        draw_loss(rows, in_output("loss.png"))
        written.append(in_output("loss.png"))
    draw_disc(run).save(in_output("disc.png"))
    found, halves = _draw_pictures(run, paths, output_dir, num_pictures)
    code = {
        "steps": {"before": None, **run.steps},
        "within_px": boundary_code.WITHIN_PX,
        "discs": disc_scores(run),
        "pictures": _scores(run, [halves]),
    }
    run_folder.write_json(in_output("code.json"), code)
    return [*written, *found], code


def draw_picture(
    image: np.ndarray,
    annotators: np.ndarray,
    boundary: np.ndarray,
    embeddings: dict[str, np.ndarray],
) -> Image.Image:
    """Returns a sheet of one picture: image and maps, then a row of four branches a stage.

    Args:
      image: [H, W, 3] uint8.
      annotators: [K, H, W] bool; their mean is drawn.
      boundary: [H, W] in [0, 1], the map found; drawn as it is, and thinned.
      embeddings: by stage, [H, W, 4 · D].
    """
    maps = (annotators.mean(axis=0), boundary, suppress_non_maxima(boundary))
    titles = ["image", "annotators", "boundary", "thinned"]
    sheets = [contact_sheet([[image, *map(paint_map, maps)]], titles)]
    for stage, embedding in embeddings.items():
        sheets.append(contact_sheet([_branches_as_rgb(embedding)], _branch_titles(stage)))
    return _stacked(sheets)


def disc_pictures() -> list[np.ndarray]:
    """Returns the discs of Fig. 14, dark on light and light on dark, [H, W, 3] uint8."""
    return [
        boundary_code.disc_picture(_DISC_RADIUS_PX, contrast, _DISC_CENTRE_PX)
        for contrast in (-_DISC_CONTRAST, _DISC_CONTRAST)
    ]


def disc_scores(run: TrainedRun) -> dict:
    """Returns R² of orientation and signed distance round discs, by stage and branch."""
    return _scores(run, [_disc_moments(run, False), _disc_moments(run, True)])


def draw_disc(run: TrainedRun) -> Image.Image:
    """Returns Fig. 14: discs dark on light and light on dark, and each branch's embedding."""
    discs = disc_pictures()
    embeddings = [run.embeddings(image) for image in discs]
    sheets = []
    for stage in run.embed:
        rows = [
            [image, *_branches_as_rgb(found[stage])]
            for image, found in zip(discs, embeddings, strict=True)
        ]
        sheets.append(contact_sheet(rows, ["disc", *_branch_titles(stage)]))
    return _stacked(sheets)


def draw_loss(rows: list[dict], path: str) -> None:
    """Writes every loss against the step; those of the embedding dashed, logistic ones solid.

    Args:
      rows: of metrics.jsonl, at least one.
      path: of the PNG or SVG file.
    """
    figure, axes = plt.subplots(figsize=(8, 4.5))
    # A dict keeps the order in which the terms first appear.
    terms = dict.fromkeys(name for row in rows for name in row if name not in _NO_LOSSES)
    for name in terms:
        points = [(row["step"], row[name]) for row in rows if name in row]
        style = "--" if name.startswith("loss_branch") else "-"
        axes.plot(*zip(*points, strict=True), style, label=name.replace("_", " "))
    axes.set(xlabel="step", ylabel="loss (Eq. 2, then logistic)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_pictures(
    run: TrainedRun, paths: Sequence[str], output_dir: str, num_pictures: int
) -> tuple[list[str], list[np.ndarray]]:
    """Returns the sheets written, and the moments of the pictures fitted and of those scored on."""
    written = []
    # Even pictures to fit on, odd ones to score on.
    halves = [_no_moments(run), _no_moments(run)]
    progress = command_line.progress_bar(sum(shards.count_examples(paths)), "drawing", "pictures")
    examples = input_pipeline.evaluation_dataset(paths, with_boundaries=True)
    for number, example in enumerate(examples):
        image = example["image"][0].numpy()
        annotators = example["annotator_boundary"][0].numpy()
        embeddings = run.embeddings(image)
        targets = boundary_code.picture_targets(image, annotators[0])
        halves[number % 2] += _moments(embeddings, image, targets)
        if not num_pictures or number < num_pictures:
            name = example["name"][0].numpy().decode()
            written.append(os.path.join(output_dir, f"{name}.png"))
            os.makedirs(os.path.dirname(written[-1]), exist_ok=True)  # Names may hold folders.
            boundary = run.predict(image)[1].numpy()
            draw_picture(image, annotators, boundary, embeddings).save(written[-1])
        progress.update()
    progress.close()
    return written, halves


def first_eval_shards(run_dir: str) -> str:
    """Returns the first pattern of a run's eval_shards.

    Raises:
      ValueError: if it has none.
    """
    patterns = run_folder.read_settings(run_dir)["data"]["eval_shards"]
    if not patterns:
        raise ValueError(f"the run in {run_dir} has no eval_shards; name pictures by --shards")
    return patterns[0]


def _embedder(model) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def embed(image: tf.Tensor) -> tf.Tensor:
        return model(image[tf.newaxis], training=False)["embedding"][0]

    return embed


def _columns(run: TrainedRun) -> dict[str, dict[str, range]]:
    """Returns where each branch of each stage, and the colours, are among the features."""
    columns, start = {}, 0
    for stage in run.embed:
        columns[stage] = {}
        for k in range(NUM_BRANCHES):
            columns[stage][f"branch_{k + 2}"] = range(start, start + run.embedding_dim)
            start += run.embedding_dim
    return {**columns, "without_model": {"colours": range(start, start + 3)}}


def _moments(
    embeddings: dict[str, np.ndarray], image: np.ndarray, targets: boundary_code.Targets
) -> np.ndarray:
    """Returns the moments of a picture, features in the order of `_columns`."""
    features = [x[targets.is_used] for x in (*embeddings.values(), image / 255)]
    return boundary_code.moments(np.concatenate(features, axis=-1), targets.values)


def _no_moments(run: TrainedRun) -> np.ndarray:
    num_features = len(run.embed) * NUM_BRANCHES * run.embedding_dim + 3
    return np.zeros([1 + num_features + boundary_code.NUM_TARGETS] * 2)


def _disc_moments(run: TrainedRun, is_light: bool) -> list[np.ndarray]:
    """Returns the moments of discs to fit on and of those to score on."""
    halves = [_no_moments(run), _no_moments(run)]
    for is_scored in (False, True):
        for image, targets in boundary_code.discs(is_light, is_scored):
            halves[is_scored] += _moments(run.embeddings(image), image, targets)
    return halves


def _scores(run: TrainedRun, groups: Sequence[Sequence[np.ndarray]]) -> dict:
    """Returns R² by stage and branch, the mean over groups, each of (fitted, scored) moments."""
    scores = {"before": None}
    for stage, sources in _columns(run).items():
        scores[stage] = {}
        for source, columns in sources.items():
            r2 = np.mean([boundary_code.r_squared(*x, columns) for x in groups], axis=0)
            scores[stage][source] = {
                "orientation_r2": _json_number(r2[:2].mean()),
                "signed_distance_r2": _json_number(r2[2]),
            }
    scores["num_pixels"] = {
        which: int(sum(x[half][0, 0] for x in groups))
        for half, which in enumerate(("fitted", "scored"))
    }
    return scores


def _json_number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def _branches_as_rgb(embedding: np.ndarray) -> list[np.ndarray]:
    return [embedding_to_rgb(x) for x in np.split(embedding, NUM_BRANCHES, axis=-1)]


def _branch_titles(stage: str) -> list[str]:
    return [f"branch {k + 2} {stage}" for k in range(NUM_BRANCHES)]


def _stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Returns sheets one below the other, white beside narrower ones."""
    height = sum(sheet.height for sheet in sheets)
    stacked = Image.new("RGB", (max(sheet.width for sheet in sheets), height), "white")
    top = 0
    for sheet in sheets:
        stacked.paste(sheet, (0, top))
        top += sheet.height
    return stacked
