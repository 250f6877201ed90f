"""Whether an export answers as the checkpoint it was made of: same embedding, same read-out."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from export import isolated_model
from export.trained_run import TrainedRun
from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.label_map import read_out
from rpe_tf.inference.pooling import single_arguments
from rpe_tf.metrics.contingency import contingency
from rpe_tf.tasks import boundary

PACKAGES = ("rpe_tf", "data_pipeline", "export", "train_main")


class Measures(NamedTuple):
    """How far two sets of answers are apart, or may be."""

    embedding: float  # largest absolute difference
    read_out: float  # of the read-outs of pixels, in the measure of their Comparison
    of_bytes: float  # the same, of the read-outs of encoded pictures

    def is_within(self, limits: "Measures") -> bool:
        """Returns whether none exceeds its limit; NaN does."""
        return all(x <= limit for x, limit in zip(self, limits, strict=True))


class Comparison(NamedTuple):
    """How the answers of a task are compared."""

    output: str  # the read-out's name among the export's answers
    read_out: Callable  # run, images, the export's embedding → read-outs [N, H, W]
    measure: Callable  # two read-outs → their distance
    limits: Measures
    column: str  # what the distance counts, a word
    form: str  # to print it, a format


class Difference(NamedTuple):
    """How far the answers to one batch of pictures are apart."""

    name: str
    shape: tuple[int, ...]  # of the batch
    measures: Measures


def smooth_pictures(seed: int, num: int, height: int, width: int) -> np.ndarray:
    """Returns [num, height, width, 3] uint8 of coloured blobs about 16 pixels wide."""
    rng = np.random.default_rng(seed)
    cells = (max(height // 16, 2), max(width // 16, 2))
    noise = rng.integers(0, 256, [num, *cells, 3], dtype=np.uint8)
    enlarged = [Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC) for x in noise]
    return np.stack([np.asarray(x) for x in enlarged])


def read_out_maps(run: TrainedRun, embedding: np.ndarray) -> np.ndarray:
    """Returns the instance maps [N, H, W] that the run's read-out gives in this process."""
    arguments = single_arguments(run.settings["read_out"])
    read = tf.function(lambda one: read_out(one, **arguments).instance)
    return np.stack([read(one).numpy() for one in tf.unstack(tf.constant(embedding))])


def boundary_maps(run: TrainedRun, images: np.ndarray) -> np.ndarray:
    """Returns the boundary maps [N, H, W] that the run's task gives in this process."""
    predictor = boundary.make_predictor(run.model, run.settings["read_out"])
    return np.stack([predictor(image)[1].numpy() for image in images])


def semantic_maps(run: TrainedRun, images: np.ndarray) -> np.ndarray:
    """Returns the class maps [N, H, W] that the run's model gives in this process."""
    return np.argmax(run.model(tf.constant(images), training=False)["logit"], axis=-1)


def classed_maps(run: TrainedRun, images: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """Returns instance, semantic and the instance's class [N, H, W, 3] of the run's read-out.

    embedding: of the images; the logits are those that the run's model gives in this process.
    """

    @tf.function
    def read(embedding: tf.Tensor, logit: tf.Tensor) -> ClassedInstances:
        return read_out_classed(embedding, logit, **run.settings["read_out"])

    logits = run.model(tf.constant(images), training=False)["logit"]
    maps = []
    for one, logit in zip(tf.unstack(tf.constant(embedding)), tf.unstack(logits), strict=True):
        found = read(one, logit)
        painted = np.pad(found.classes.numpy(), [(1, 0)])[found.instance.numpy()]
        maps.append(np.stack([found.instance, found.semantic, painted], axis=-1))
    return np.stack(maps)


def share_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the share of pixels on which two batches of `classed_maps` differ, in [0, 1].

    Ids may be exchanged: of each instance those pixels count that are not in the instance of the
    other map which shares most with it. Of the three maps the largest share.
    """
    shares = [float(np.mean(first[..., k] != second[..., k])) for k in (1, 2)]
    for maps in zip(first[..., 0], second[..., 0], strict=True):
        shared = contingency(*maps)
        for cells in (shared.rows, shared.columns):
            most = np.zeros(cells.max() + 1, np.int64)
            np.maximum.at(most, cells, shared.pixels)
            shares.append(1 - most.sum() / maps[0].size)
    return max(shares)


def export_answers(folder: str, batches: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what the SavedModel in folder answers in a new process without our packages.

    Args:
      folder: version folder.
      batches: [N, H, W, 3] uint8 each.

    Returns:
      What `isolated_model.answers_of` gives, each under `<name>/k` of the k-th batch.

    Raises:
      ChildProcessError: if the process failed, or one of PACKAGES could be imported there.
    """
    with tempfile.TemporaryDirectory() as work:
        pictures, answers = os.path.join(work, "pictures.npz"), os.path.join(work, "answers.npz")
        np.savez(pictures, **{str(k): images for k, images in enumerate(batches)})
        script = os.path.abspath(isolated_model.__file__)
        done = subprocess.run(
            [sys.executable, "-I", script, os.path.abspath(folder), pictures, answers, *PACKAGES],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise ChildProcessError(f"{folder} does not run in a process of its own: {last}")
        with np.load(answers) as file:
            found = {name: file[name] for name in file.files}
    if sorted(found.pop("refused")) != sorted(PACKAGES):
        raise ChildProcessError("the new process could import our packages, so it proves nothing")
    return found


def _embed(run: TrainedRun, images: np.ndarray) -> np.ndarray:
    """Returns the embedding [N, H, W, D] that the run's model gives in this process."""
    output = run.model(tf.constant(images), training=False)
    return (output["embedding"] if isinstance(output, dict) else output).numpy()


def compare(run: TrainedRun, folder: str, batches: dict[str, np.ndarray]) -> list[Difference]:
    """Returns the differences between checkpoint and export, a row for each batch.

    Args:
      run: the restored run.
      folder: version folder of the export.
      batches: [N, H, W, 3] uint8 by name.

    Raises:
      ChildProcessError: as `export_answers`.
      ValueError: if the export is of another kind of task than the run.
    """
    exported = export_answers(folder, list(batches.values()))
    comparison = COMPARISONS[run.settings["task"]]
    output = comparison.output
    if f"{output}/0" not in exported:
        raise ValueError(f"{folder} gives no {output}; it was not exported from such a run")
    differences = []
    for k, (name, images) in enumerate(batches.items()):
        ours = _embed(run, images)
        theirs = exported[f"embedding/{k}"]
        measures = Measures(*[float("inf")] * 3)
        if theirs.shape == ours.shape:
            maps = comparison.read_out(run, images, theirs)
            found = [exported[f"{key}/{k}"] for key in (output, f"{output}_of_bytes")]
            measures = Measures(
                float(np.max(np.abs(theirs - ours))),
                *(comparison.measure(x, maps) if x.shape == maps.shape else np.inf for x in found),
            )
        differences.append(Difference(name, images.shape, measures))
    return differences


COMPARISONS = {
    "boundary": Comparison(
        output="boundary",
        read_out=lambda run, images, _: boundary_maps(run, images),
        measure=lambda a, b: float(np.max(np.abs(a - b))),
        # The PNG has steps of 1 / 255.
        limits=Measures(1e-4, 1e-4, 0.5 / 255 + 1e-4),
        column="boundary",
        form=".1e",
    ),
    "instances": Comparison(
        output="classed",
        read_out=classed_maps,  # from the export's embedding, for the reason below
        measure=share_apart,
        limits=Measures(1e-4, 1e-3, 1e-3),
        column="pixels",
        form=".3%",
    ),
    "proposals": Comparison(
        output="instance",
        # From the export's embedding: where a picture has no clear groups, a difference in the
        # last bit can decide between two partitions, and neither is wrong.
        read_out=lambda run, _, embedding: read_out_maps(run, embedding),
        measure=lambda a, b: float(np.mean(a != b)),
        # A fraction: pixels tied between two modes may fall either way.
        limits=Measures(1e-4, 1e-3, 1e-3),
        column="pixels",
        form=".3%",
    ),
    "semantic": Comparison(
        output="semantic",
        read_out=lambda run, images, _: semantic_maps(run, images),
        measure=lambda a, b: float(np.mean(a != b)),
        limits=Measures(1e-4, 1e-3, 1e-3),
        column="pixels",
        form=".3%",
    ),
}
