"""The models that come with the package load, answer, and can be started from."""

import pathlib

import numpy as np
import pytest

import rpe_tf
from rpe_tf import initialization
from rpe_tf.metrics.matching import score_matching
from rpe_tf.run_folder import SETTINGS_FORMAT
from rpe_tf.tasks import TASKS

_MODELS = pathlib.Path(rpe_tf.__file__).parent / "pretrained"
_ALL = sorted(path.parent for path in _MODELS.glob("*/MODEL_CARD.md"))


def nuclei():
    """A dim picture with bright discs, two of which touch, as fluorescence shows nuclei."""
    y, x = np.mgrid[:128, :160]
    centres = [(30, 30), (30, 53), (90, 40), (70, 120)]
    instance = np.zeros([128, 160], np.int32)
    for k, (row, column) in enumerate(centres):
        instance[(y - row) ** 2 + (x - column) ** 2 < 11.5**2] = k + 1
    noise = np.random.default_rng(0).normal(0, 2, instance.shape)
    grey = np.clip(np.where(instance > 0, 70, 8) + noise, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1), instance


@pytest.mark.parametrize("path", _ALL, ids=[path.name for path in _ALL])
def test_pretrained_model_can_be_started_from(path):
    source = initialization.read_source(path)
    assert source.settings["format"] == SETTINGS_FORMAT
    model = TASKS[source.settings["task"]].build_model(**source.settings["model"])
    report = initialization.initialize(model, path)
    assert report.taken and not report.left and not report.unused


@pytest.mark.parametrize("path", _ALL, ids=[path.name for path in _ALL])
def test_nuclei_are_found(path):
    image, instance = nuclei()
    found, table = rpe_tf.load(path).predict(image)
    record = score_matching(instance, found)
    # Of the four at an IoU of 0.5.
    assert record.true_positives[0, 0] == 4
    assert len(table) <= 5 and (table["class"] == 1).all()
