"""Writes tiny exports of every task, and what they answer, for other versions of TensorFlow to try.

  python -m tests.export.make_version_data

Run it by the Python of either stack: in tests/export/data/exports.tar.xz the exports of this
TensorFlow are replaced, those of others stay. VERSION/TASK there holds a SavedModel, its answers in
`answers.npz` to the pictures in `pictures.npz`, and the parameters of the tuned signatures in
`chosen.json`.
"""

import io
import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from export import isolated_model
from export.expected_answers import parameter_cases
from export.trained_run import TrainedRun
from export.version_folder import write_version
from rpe_tf.tasks import TASKS
from tests.archives import read_archive, write_archive
from tests.export.conftest import BOUNDARY, INSTANCES, PROPOSALS, SEMANTIC

ARCHIVE = pathlib.Path(__file__).parent / "data" / "exports.tar.xz"
# Of float maps and vectors every tenth row and column is kept: they do not compress.
_STEP = 10
# Weights repeat so many random eighths: those do.
_NUM_WEIGHTS = 61
_PARTS = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")


def pictures():
    """Two pictures of 20×24 and one of 23×17, of coloured squares, [N, H, W, 3] uint8 by name."""
    cells = np.random.default_rng(0).integers(0, 256, [3, 4, 4, 3], dtype=np.uint8)
    squares = cells.repeat(7, axis=1).repeat(7, axis=2)
    return {"batch": squares[:2, :20, :24], "single": squares[2:, :23, :17]}


def tiny_run(settings, seed=0):
    """A run of these settings with weights of a seed, the same in every version."""
    smaller = {"num_levels": 2} if "num_levels" in settings["model"] else {}
    settings = {**settings, "model": {**settings["model"], **smaller}}
    model = TASKS[settings["task"]].build_model(**settings["model"])
    rng = np.random.default_rng(seed)
    numbers = np.round(8 * rng.normal(size=_NUM_WEIGHTS)) / 8
    model.set_weights(
        [
            # About as large as he_normal's, and a power of 2.
            np.resize(numbers, x.shape) * 2 ** np.round(np.log2(2 / np.prod(x.shape[:-1])) / 2)
            if x.ndim > 1
            else x + rng.integers(0, 4, x.shape) / 16
            for x in model.get_weights()
        ]
    )
    return TrainedRun(settings, model, 1)


def answers_of(folder, chosen, batches):
    """What the export in folder answers, as `BATCH/CASE/OUTPUT`; of float maps a part."""
    signatures = tf.saved_model.load(str(folder)).signatures
    answers = {}
    for name, images in batches.items():
        for key, value in isolated_model.answers_of(signatures, images, chosen).items():
            is_float_map = value.dtype.kind == "f" and value.shape[1:3] == images.shape[1:3]
            answers[f"{name}/{key}"] = value[:, ::_STEP, ::_STEP] if is_float_map else value
    return answers


def main():
    """Replaces this version's part of the archive."""
    files = {
        name: x for name, x in read_archive(ARCHIVE).items() if not name.startswith(tf.__version__)
    }
    files["pictures.npz"] = npz(pictures())
    for settings in (PROPOSALS, BOUNDARY, INSTANCES, SEMANTIC):
        run = tiny_run(settings)
        with tempfile.TemporaryDirectory() as work:
            folder = write_version(run, work, version=None, metrics={})
            place = f"{tf.__version__}/{settings['task']}"
            cases = parameter_cases(run)
            chosen = {label: values for label, values in cases.items() if label == "other"}
            files[f"{place}/chosen.json"] = json.dumps(chosen).encode()
            files[f"{place}/answers.npz"] = npz(answers_of(folder, chosen, pictures()))
            for part in _PARTS:
                files[f"{place}/{part}"] = pathlib.Path(folder, part).read_bytes()
    write_archive(ARCHIVE, files)


def npz(arrays):
    """Arrays by name as the bytes of an NPZ file, not compressed: the archive is."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


if __name__ == "__main__":
    main()
