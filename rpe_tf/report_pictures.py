"""Labelled pictures as a trained run sees them: the best, the worst, and the loops of grouping."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import input_pipeline
from rpe_tf import html_page, run_folder
from rpe_tf.checkpoints import restore_weights
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.drawing import embedding_to_rgb, overlay, paint_instances
from rpe_tf.metrics import boundary_pr, edge_thinning, matching, mean_iou
from rpe_tf.tasks import TASKS, boundary, instances, proposals, semantic

# Of a row of the report, in pixels; larger pictures are drawn at every second, third … pixel.
_MOST_SIDE_PX = 256
# Of the grid of pixels that the loops are drawn on, and loops.
_GRID_PX, _LOOPS = 64, 10
# Thresholds of a boundary picture's own F.
_THRESHOLDS = boundary_pr.spread_thresholds(9)
# Of pixels that take no part in the grouping.
_NOT_GROUPED = (255, 255, 255)
# What pictures are ranked by.
FIGURES = {
    "proposals": "PQ, class-free",
    "instances": "PQ, class-free",
    "semantic": "mIoU",
    "boundary": "F at the best of 9 thresholds",
}


class Looked(NamedTuple):
    """A picture, what was found in it, and how good that is."""

    name: str
    figure: float  # of FIGURES; nan where it is undefined
    cells: dict[str, np.ndarray]  # title → [h, w, 3] uint8
    grid: np.ndarray | None = None  # [h, w, D] float32, embedding of the pixels the loops go over
    is_grouped: np.ndarray | None = None  # [h, w] bool, of the grid


def look(run_dir: str, shards: Sequence[str], num_looked: int) -> list[Looked]:
    """Returns the first pictures of shards as the run's model sees them, best first.

    Args:
      run_dir: folder of a run that has a checkpoint.
      shards: paths.
      num_looked: pictures at the most.

    Raises:
      FileNotFoundError, ValueError: if the run or its checkpoint cannot be read.
      tf.errors.DataLossError: if a shard is damaged.
    """
    settings = run_folder.read_settings(run_dir)
    task = TASKS[settings["task"]]
    model = task.build_model(**settings["model"])
    restore_weights(run_dir, model)
    look_at = _LOOKS[settings["task"]](model, run_folder.read_out_arguments(run_dir))
    examples = input_pipeline.evaluation_dataset(shards, with_boundaries=task.needs_boundaries)
    found = [look_at(_one(example)) for example in examples.take(num_looked)]
    # Pictures without a figure, as those without an object, are neither best nor worst.
    return sorted((x for x in found if not np.isnan(x.figure)), key=lambda x: (-x.figure, x.name))


def picture_sections(
    looked: Sequence[Looked], task: str, concentration: float | None, num_shown: int
) -> dict[str, str]:
    """Returns heading → HTML: the best and the worst pictures, each with the loops over it.

    Args:
      looked: of `look`.
      task: that of the run.
      concentration: κ of the read-out, where there are grids.
      num_shown: of each of the two, at the most; none is shown twice.
    """
    num_best = min(num_shown, (len(looked) + 1) // 2)
    num_worst = min(num_shown, len(looked) - num_best)
    has_loops = any(x.grid is not None for x in looked)
    said = f"Of {len(looked)} labelled pictures, ranked by {FIGURES[task]}."
    sections = {}
    for name, chosen in (
        ("Best pictures", looked[:num_best]),
        ("Worst pictures", looked[::-1][:num_worst]),
    ):
        rows = [_row(x, concentration) for x in chosen]
        if rows:
            sections[name] = html_page.words(said, is_small=True) + "".join(rows)
    if has_loops and sections:
        name = next(iter(sections))
        slider = html_page.slider("Loops of grouping, in the last picture of each row:", _LOOPS)
        sections[name] = slider + sections[name]
    return sections


def draw_loops(grid: np.ndarray, is_grouped: np.ndarray, concentration: float) -> list[np.ndarray]:
    """Returns the grid as colours, [h, w, 3] uint8, before the first loop and after each of ten.

    One projection colours all, so that a colour means the same in each; pixels that are not grouped
    are white.

    Args:
      grid: [h, w, D] float32 unit vectors.
      is_grouped: [h, w] bool; the others pull nobody.
      concentration: κ > 0.

    Raises:
      ValueError: if the embedding is not finite.
    """
    dim = grid.shape[-1]
    loop, stages = _one_loop(dim), [grid]
    for _ in range(_LOOPS):
        points = loop(stages[-1].reshape(-1, dim), is_grouped.ravel(), concentration)
        stages.append(points.numpy().reshape(grid.shape))
    colors = np.split(embedding_to_rgb(np.concatenate(stages)), len(stages))
    return [np.where(is_grouped[..., None], x, np.uint8(_NOT_GROUPED)) for x in colors]


@functools.cache
def _one_loop(dim: int) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the compiled function from points [N, dim], mask and concentration to points."""
    specs = [((None, dim), tf.float32), ((None,), tf.bool), ((), tf.float32)]

    @tf.function(input_signature=[tf.TensorSpec(*spec) for spec in specs])
    def loop(points: tf.Tensor, mask: tf.Tensor, concentration: tf.Tensor) -> tf.Tensor:
        return tiled_mean_shift(points, concentration, 1, mask=mask)

    return loop


def _row(looked: Looked, concentration: float | None) -> str:
    parts = [html_page.picture(pixels, title) for title, pixels in looked.cells.items()]
    if looked.grid is not None:
        drawn = draw_loops(looked.grid, looked.is_grouped, concentration)
        parts.append(html_page.frames(drawn, "loops of grouping"))
    return html_page.heading(f"{looked.name}: {looked.figure:.3f}") + html_page.row(parts)


def _one(example: dict) -> dict[str, np.ndarray]:
    return {name: value[0].numpy() for name, value in example.items()}


def _looked(example: dict, figure: float, cells: dict, **grid: np.ndarray) -> Looked:
    """Returns the parts of a picture, reduced to what the report shows."""
    side = max(example["image"].shape[:2])
    step, grid_step = -(-side // _MOST_SIDE_PX), -(-side // _GRID_PX)
    small = {title: pixels[::step, ::step] for title, pixels in cells.items()}
    grids = {name: values[::grid_step, ::grid_step] for name, values in grid.items()}
    return Looked(example["name"].decode(), figure, small, **grids)


def _quality(truth: np.ndarray, predicted: np.ndarray) -> float:
    return matching.summarize([matching.score_matching(truth, predicted)])["pq"]


def _proposals(model: keras.Model, read_out: dict) -> Callable[[dict], Looked]:
    predictor = proposals.make_predictor(model, read_out)

    def look_at(example: dict) -> Looked:
        image, truth = example["image"], example["instance"]
        embedding, found = predictor(image)
        instance, embedding = found.instance.numpy(), embedding.numpy()
        cells = {
            "picture": image,
            "truth": paint_instances(truth),
            "embedding": embedding_to_rgb(embedding),
            "instances": overlay(image, instance),
        }
        everywhere = np.ones(truth.shape, bool)
        figure = _quality(truth, instance)
        return _looked(example, figure, cells, grid=embedding, is_grouped=everywhere)

    return look_at


def _instances(model: keras.Model, read_out: dict) -> Callable[[dict], Looked]:
    predictor = instances.make_predictor(model, read_out)

    def look_at(example: dict) -> Looked:
        image, truth = example["image"], example["instance"]
        embedding, found = predictor(image)
        instance, classes = found.instance.numpy(), found.semantic.numpy()
        embedding = embedding.numpy()
        cells = {
            "picture": image,
            "truth": paint_instances(truth),
            "embedding": embedding_to_rgb(embedding),
            "classes": overlay(image, classes),
            "instances": overlay(image, instance),
        }
        figure = _quality(truth, instance)
        return _looked(example, figure, cells, grid=embedding, is_grouped=classes > 0)

    return look_at


def _semantic(model: keras.Model, read_out: dict) -> Callable[[dict], Looked]:
    del read_out
    predictor, num_classes = semantic.make_predictor(model), model.output["logit"].shape[-1]

    def look_at(example: dict) -> Looked:
        image, truth = example["image"], example["semantic"]
        embedding, found = (x.numpy() for x in predictor(image))
        cells = {
            "picture": image,
            "true classes": paint_instances(truth),
            "embedding": embedding_to_rgb(embedding),
            "classes": overlay(image, found),
        }
        figure = mean_iou.mean_iou(mean_iou.confusion_matrix(truth, found, num_classes))
        return _looked(example, figure, cells)

    return look_at


def _boundary(model: keras.Model, read_out: dict) -> Callable[[dict], Looked]:
    predictor = boundary.make_predictor(model, read_out)

    def look_at(example: dict) -> Looked:
        image, annotators = example["image"], example["annotator_boundary"]
        embedding, found = (x.numpy() for x in predictor(image))
        thinned = edge_thinning.suppress_non_maxima(found)
        counts = boundary_pr.score_image(thinned, annotators, _THRESHOLDS)
        fusion = np.split(embedding, boundary.NUM_BRANCHES, axis=-1)[-1]
        cells = {
            "picture": image,
            "annotators": boundary.paint_map(annotators.mean(axis=0)),
            "embedding, last branch": embedding_to_rgb(fusion),
            "boundary": boundary.paint_map(found),
        }
        figure = boundary_pr.summarize([counts], _THRESHOLDS)["ods"]
        return _looked(example, figure, cells)

    return look_at


_LOOKS = {
    "proposals": _proposals,
    "instances": _instances,
    "semantic": _semantic,
    "boundary": _boundary,
}
