"""Whether an export answers as the checkpoint it was made of: same embedding, same read-out."""

import os
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from export import isolated_model
from export.trained_run import TrainedRun
from rpe_tf.inference.label_map import read_out

PACKAGES = ("rpe_tf", "data_pipeline", "export", "train_main")


class Difference(NamedTuple):
    """How far two sets of answers to one batch of pictures are apart."""

    name: str
    shape: tuple[int, ...]  # of the batch
    embedding: float  # largest absolute difference
    pixels: float  # fraction of pixels with another id than the embedding gives, given pixels
    pixels_of_bytes: float  # the same, given encoded pictures

    def is_within(self, embedding: float, pixels: float) -> bool:
        """Returns whether no difference exceeds these; NaN does."""
        return self.embedding <= embedding and max(self.pixels, self.pixels_of_bytes) <= pixels


def smooth_pictures(seed: int, num: int, height: int, width: int) -> np.ndarray:
    """Returns [num, height, width, 3] uint8 of coloured blobs about 16 pixels wide."""
    rng = np.random.default_rng(seed)
    cells = (max(height // 16, 2), max(width // 16, 2))
    noise = rng.integers(0, 256, [num, *cells, 3], dtype=np.uint8)
    enlarged = [Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC) for x in noise]
    return np.stack([np.asarray(x) for x in enlarged])


def read_out_maps(run: TrainedRun, embedding: np.ndarray) -> np.ndarray:
    """Returns the instance maps [N, H, W] that the run's read-out gives in this process."""
    read = tf.function(lambda one: read_out(one, **run.settings["read_out"]).instance)
    return np.stack([read(one).numpy() for one in tf.unstack(tf.constant(embedding))])


def export_answers(folder: str, batches: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what the SavedModel in folder answers in a new process without our packages.

    Args:
      folder: version folder.
      batches: [N, H, W, 3] uint8 each.

    Returns:
      `embedding/k`, `instance/k` and `instance_of_bytes/k` of the k-th batch.

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


def compare(run: TrainedRun, folder: str, batches: dict[str, np.ndarray]) -> list[Difference]:
    """Returns the differences between checkpoint and export, a row for each batch.

    Args:
      run: the restored run.
      folder: version folder of the export.
      batches: [N, H, W, 3] uint8 by name.

    Raises:
      ChildProcessError: as `export_answers`.
    """
    exported = export_answers(folder, list(batches.values()))
    differences = []
    for k, (name, images) in enumerate(batches.items()):
        ours = run.model(tf.constant(images), training=False).numpy()
        theirs = exported[f"embedding/{k}"]
        largest, pixels = float("inf"), [1.0, 1.0]
        if theirs.shape == ours.shape:
            largest = float(np.max(np.abs(theirs - ours)))
            # From the export's embedding: where a picture has no clear groups, a difference in the
            # last bit can decide between two partitions, and neither is wrong.
            maps = read_out_maps(run, theirs)
            pixels = [
                _fraction_different(exported[f"{key}/{k}"], maps)
                for key in ("instance", "instance_of_bytes")
            ]
        differences.append(Difference(name, images.shape, largest, *pixels))
    return differences


def _fraction_different(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(a != b)) if a.shape == b.shape else 1.0
