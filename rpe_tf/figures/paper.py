"""The paper's figures by name: what each is drawn from, and the statement its numbers check."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import NamedTuple

from data_pipeline import command_line, shards
from rpe_tf.figures import (
    border_gradient,
    boundary,
    boundary_pictures,
    embedding_pictures,
    line_demonstration,
    loss_curve,
    margin_guide,
    pair_histograms,
    semantic_borders,
)
from rpe_tf.figures.trained_run import TrainedNet, load_net, read_examples

_CLASS_TASKS = ("semantic", "instances")


class Sources(NamedTuple):
    """The folders that figures are drawn from; None where none was given.

    Attributes:
      run_dir: run or export of task proposals or instances.
      sphere_run: the same with an embedding of three dimensions.
      semantic_run: of task semantic or instances, trained with the embedding loss.
      plain_run: the same trained with --embedding_weight=0.
      boundary_run: run of task boundary.
      shards: glob of the pictures for run_dir and sphere_run; None: the run's eval_shards.
      semantic_shards: for semantic_run and plain_run.
      boundary_shards: for boundary_run.
      num_pictures: that the numbers of figures are taken of, ≥ 1.
    """

    run_dir: str | None = None
    sphere_run: str | None = None
    semantic_run: str | None = None
    plain_run: str | None = None
    boundary_run: str | None = None
    shards: str | None = None
    semantic_shards: str | None = None
    boundary_shards: str | None = None
    num_pictures: int = 24


class Figure(NamedTuple):
    """One figure.

    Attributes:
      file: name of its files without suffix.
      statement: what it shows, as its numbers check it.
      needs: which of the sources it is drawn from.
      draw: from a path without suffix and the sources to the paths written and the numbers, among
        them `holds`.
    """

    file: str
    statement: str
    needs: tuple[str, ...]
    draw: Callable[[str, Sources], tuple[list[str], dict]]


# How to get each source, said where a figure is left out for want of it.
CURES = {
    "run_dir": "train_main.py --flagfile=rpe_tf/recipes/digits.flags, or an export",
    "sphere_run": "train_main.py --flagfile=rpe_tf/recipes/digits_sphere.flags",
    "semantic_run": "train_main.py --task=semantic",
    "plain_run": "train_main.py --task=semantic --embedding_weight=0",
    "boundary_run": "train_main.py --flagfile=rpe_tf/recipes/bsds_small.flags",
}


def draw_figures(sources: Sources, output_dir: str, names: list[str]) -> dict[str, dict]:
    """Returns the numbers of each figure by name; what was left out has `skipped`, the reason.

    Args:
      sources: what there is to draw from.
      output_dir: made if absent.
      names: of FIGURES.

    Raises:
      ValueError, FileNotFoundError: if a name is unknown, or a source is not what it should be.
    """
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ValueError(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    numbers = {}
    with command_line.progress_bar(len(names), "drawing", "figures") as progress:
        for name in names:
            numbers[name] = _draw_figure(FIGURES[name], sources, output_dir)
            progress.update(1)
    return numbers


def describe(name: str, found: dict) -> str:
    """Returns a line on what became of a figure."""
    if "skipped" in found:
        return f"{name:8} skipped: {found['skipped']}"
    verdict = "holds" if found["holds"] else "DOES NOT HOLD here"
    return f"{name:8} {verdict}: {found['statement']}"


def _draw_figure(figure: Figure, sources: Sources, output_dir: str) -> dict:
    missing = [need for need in figure.needs if getattr(sources, need) is None]
    if missing:
        cures = "; ".join(f"--{need}=… ({CURES[need]})" for need in missing)
        return {"skipped": f"give {cures}"}
    paths, numbers = figure.draw(os.path.join(output_dir, figure.file), sources)
    return {"statement": figure.statement, **numbers, "files": paths}


@functools.lru_cache(maxsize=2)
def _net_and_examples(path: str, pattern: str | None, num_pictures: int) -> tuple[TrainedNet, list]:
    net = load_net(path)
    return net, read_examples(net, pattern, num_pictures)


def _of_run(draw: Callable, source: str = "run_dir") -> Callable:
    def drawn(stem: str, sources: Sources) -> tuple[list[str], dict]:
        path = getattr(sources, source)
        return draw(stem, *_net_and_examples(path, sources.shards, sources.num_pictures))

    return drawn


@functools.lru_cache(maxsize=1)
def _pair(sources: Sources) -> tuple[semantic_borders.Pair, list]:
    nets = [load_net(path, _CLASS_TASKS) for path in (sources.semantic_run, sources.plain_run)]
    examples = read_examples(nets[0], sources.semantic_shards, sources.num_pictures)
    return semantic_borders.predict_pair(*nets, examples), examples


@functools.lru_cache(maxsize=1)
def _boundary_run(path: str) -> boundary.TrainedRun:
    return boundary.restore_run(path)


def _draw_boundaries(stem: str, sources: Sources) -> tuple[list[str], dict]:
    pattern = sources.boundary_shards or boundary.first_eval_shards(sources.boundary_run)
    run = _boundary_run(sources.boundary_run)
    return boundary_pictures.draw_boundaries(stem, run, shards.list_shards(pattern))


FIGURES = {
    "fig1": Figure(
        "fig1_overview",
        "loops draw an instance's pixels together, and as many instances are found as there are",
        ("run_dir",),
        _of_run(embedding_pictures.draw_overview),
    ),
    "fig2": Figure(
        "fig2_pair_loss",
        "slope −1 for one instance; for two 0 up to the margin and 1 beyond",
        (),
        lambda stem, _: loss_curve.draw(stem),
    ),
    "fig4": Figure(
        "fig4_sphere",
        "10 loops draw an instance's pixels together on the sphere",
        ("sphere_run",),
        _of_run(embedding_pictures.draw_sphere, "sphere_run"),
    ),
    "fig5": Figure(
        "fig5_border_gradient",
        "with a loop more of the gradient lies within 2 pixels of borders",
        ("run_dir",),
        _of_run(border_gradient.draw),
    ),
    "fig7": Figure(
        "fig7_boundaries",
        "the boundary found is stronger where an annotator drew one",
        ("boundary_run",),
        _draw_boundaries,
    ),
    "fig9": Figure(
        "fig9_trimap",
        "with the embedding loss mean IoU is higher in every band round class borders",
        ("semantic_run", "plain_run"),
        lambda stem, sources: semantic_borders.draw_curves(stem, _pair(sources)[0]),
    ),
    "fig10": Figure(
        "fig10_classes",
        "more pixels are right with the embedding loss alone than without it alone",
        ("semantic_run", "plain_run"),
        lambda stem, sources: semantic_borders.draw_maps(stem, *_pair(sources)),
    ),
    "fig11": Figure(
        "fig11_embeddings",
        "10 loops draw an instance's pixels together",
        ("run_dir",),
        _of_run(embedding_pictures.draw_pictures),
    ),
    "fig12": Figure(
        "fig12_pair_histograms",
        "10 loops sharpen the histograms of positive and negative pairs: both entropies fall",
        ("run_dir",),
        _of_run(pair_histograms.draw),
    ),
    "fig13": Figure(
        "fig13_line",
        "on a line loops enlarge the gradient, and a loss on every loop tightens the points",
        (),
        lambda stem, _: line_demonstration.draw(stem),
    ),
    "fig14": Figure(
        "fig14_discs",
        "after fine-tuning the embedding encodes orientation and signed distance, linearly",
        ("boundary_run",),
        lambda stem, sources: boundary_pictures.draw_discs(
            stem, _boundary_run(sources.boundary_run)
        ),
    ),
    "margin": Figure(
        "margin_guide",
        "no layout found has a smaller margin than the bound for its number of groups",
        (),
        lambda stem, _: margin_guide.draw(stem),
    ),
}
