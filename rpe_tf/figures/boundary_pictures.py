"""Figs. 7, 14 and 15 to 18 from a run on boundaries: embedding of each branch, and the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_pipeline import input_pipeline
from rpe_tf.drawing import embedding_to_rgb
from rpe_tf.figures.boundary import NUM_BRANCHES, TrainedRun, disc_pictures, disc_scores
from rpe_tf.figures.canvas import draw_grid, save_figure
from rpe_tf.tasks.boundary import paint_map


def draw_discs(stem: str, run: TrainedRun) -> tuple[list[str], dict]:
    """Returns the paths of Fig. 14 and R² of orientation and signed distance on discs.

    It holds if both, in the best branch, are above those of the embedding before fine-tuning and
    of the colours alone.
    """
    rows, row_titles = [], []
    for image, ground in zip(disc_pictures(), ("dark on light", "light on dark"), strict=True):
        for stage, embedding in run.embeddings(image).items():
            rows.append([image, *_branches(embedding)])
            row_titles.append(f"{ground}, {stage}")
    titles = ["disc", *(f"branch {k + 2}" for k in range(NUM_BRANCHES))]
    title = "Embedding round a disc, before and after logistic fine-tuning (Fig. 14)"
    figure = draw_grid(rows, titles, title, row_titles=row_titles)
    scores = disc_scores(run)
    best = {}
    for stage in ("before", "after", "without_model"):
        sources = scores[stage] or {}
        for name in ("orientation_r2", "signed_distance_r2"):
            found = [x[name] for x in sources.values() if x[name] is not None]
            best.setdefault(name, {})[stage] = max(found, default=None)
    holds = all(
        x["after"] is not None
        and all(
            x["after"] > x[stage] for stage in ("before", "without_model") if x[stage] is not None
        )
        for x in best.values()
    )
    return save_figure(figure, stem), {"best_branch": best, "holds": holds}


def draw_boundaries(
    stem: str, run: TrainedRun, paths: Sequence[str], num_pictures: int = 3
) -> tuple[list[str], dict]:
    """Returns the paths of a sheet of the first pictures, and the map's mean on and off boundaries.

    Args:
      stem: as `save_figure`.
      run: restored.
      paths: of shards.
      num_pictures: ≥ 1.
    """
    rows, on, off = [], [], []
    examples = input_pipeline.evaluation_dataset(paths, with_boundaries=True).take(num_pictures)
    for example in examples:
        image, drawn = (example[x][0].numpy() for x in ("image", "annotator_boundary"))
        boundary = run.predict(image)[1].numpy()
        embedding = list(run.embeddings(image).values())[-1]
        rows.append(
            [image, paint_map(drawn.mean(axis=0)), paint_map(boundary), *_branches(embedding)]
        )
        on.append(float(boundary[drawn.any(axis=0)].mean()))
        off.append(float(boundary[~drawn.any(axis=0)].mean()))
    titles = ["picture", "annotators", "boundary found"]
    titles += [f"branch {k + 2}" for k in range(NUM_BRANCHES)]
    title = "Boundaries, and the embedding of each branch as colours (Figs. 7, 15 to 18)"
    numbers = {"mean_on_boundary": on, "mean_elsewhere": off, "holds": np.mean(on) > np.mean(off)}
    numbers["holds"] = bool(numbers["holds"])
    return save_figure(draw_grid(rows, titles, title, side=2.0), stem), numbers


def _branches(embedding: np.ndarray) -> list[np.ndarray]:
    return [embedding_to_rgb(x) for x in np.split(embedding, NUM_BRANCHES, axis=-1)]
