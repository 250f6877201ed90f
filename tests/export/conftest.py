"""Tiny runs, their exports, and pictures: made once, shared by the tests of export."""

import json
import os
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.parity import smooth_pictures
from export.trained_run import TrainedRun, restore_run
from export.version_folder import write_version
from rpe_tf.tasks import TASKS
from tests.export.colour_patches import train_on_patches

PROPOSALS = {
    "format": 1,
    "task": "proposals",
    "model": {"embedding_dim": 4, "width": 8, "num_levels": 3, "num_blocks": 1, "norm": "batch"},
    "read_out": {
        "concentration": 60.0,
        "mode_cosine": 0.9,
        "max_loops": 30,
        "min_area": 20,
        "background": "border",
    },
}
BOUNDARY = {
    "format": 1,
    "task": "boundary",
    "model": {
        **{"backbone": "resnet14", "width": 8, "output_stride": 8, "stem_stride": 4},
        **{"norm": "batch", "embedding_dim": 3},
    },
    "read_out": {"scales": [1.0]},
}
_CLASSED_MODEL = {
    **{"backbone": "encoder_decoder", "width": 8, "num_levels": 3, "num_blocks": 1},
    **{"norm": "batch", "embedding_dim": 4, "num_classes": 5},
}
INSTANCES = {
    "format": 1,
    "task": "instances",
    "model": _CLASSED_MODEL,
    "read_out": {
        **{"concentration": 60.0, "mode_cosine": 0.9, "max_loops": 30, "min_area": 20},
        "split_components": True,
    },
}
SEMANTIC = {"format": 1, "task": "semantic", "model": _CLASSED_MODEL, "read_out": {}}


class Exported(NamedTuple):
    run_dir: str
    run: TrainedRun
    export_dir: str
    loaded: object  # the SavedModel


def make_run(run_dir, seed, has_checkpoint=True, settings=PROPOSALS):
    """A run folder with weights of a seed; moments and scales of BatchNorm are not the initial."""
    os.makedirs(run_dir)
    with open(f"{run_dir}/settings.json", "w") as file:
        json.dump(settings, file)
    if not has_checkpoint:
        return str(run_dir)
    keras.utils.set_random_seed(seed)
    model = TASKS[settings["task"]].build_model(**settings["model"])
    rng = np.random.default_rng(seed)
    weights = model.get_weights()
    model.set_weights([x + rng.uniform(0, 0.2, x.shape) if x.ndim == 1 else x for x in weights])
    step = tf.Variable(7, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(model=model, step=step)
    manager = tf.train.CheckpointManager(
        checkpoint, f"{run_dir}/checkpoints", 3, checkpoint_name="step"
    )
    manager.save(checkpoint_number=7)
    return str(run_dir)


@pytest.fixture(scope="session")
def new_run():
    return make_run


def _export(folder, settings, seed=2, train=None):
    run_dir = make_run(folder / "run", seed=seed, settings=settings)
    run = restore_run(run_dir)
    if train is not None:
        train(run.model)  # the checkpoint stays as it was
    export_dir = str(folder / "export")
    version = write_version(run, export_dir, version=None, metrics={"recall_50": 0.5})
    return Exported(run_dir, run, export_dir, tf.saved_model.load(version))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    return _export(tmp_path_factory.mktemp("exported"), PROPOSALS)


@pytest.fixture(scope="session")
def exported_boundary(tmp_path_factory):
    return _export(tmp_path_factory.mktemp("exported_boundary"), BOUNDARY)


@pytest.fixture(scope="session")
def exported_instances(tmp_path_factory):
    return _export(tmp_path_factory.mktemp("exported_instances"), INSTANCES, seed=1)


@pytest.fixture(scope="session")
def exported_semantic(tmp_path_factory):
    return _export(tmp_path_factory.mktemp("exported_semantic"), SEMANTIC, seed=1)


@pytest.fixture(scope="session")
def trained_proposals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained_proposals")
    return _export(folder, PROPOSALS, train=train_on_patches)


@pytest.fixture(scope="session")
def trained_instances(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained_instances")
    return _export(folder, INSTANCES, seed=1, train=train_on_patches)


@pytest.fixture(scope="session")
def pictures():
    """Two pictures of 45×70 and one of 64×40."""
    return [*smooth_pictures(5, 2, 45, 70), *smooth_pictures(6, 1, 64, 40)]
