"""Training of classes and instances as a user starts it: losses, scorer, scores, their settings."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from rpe_tf import run_folder

_ROOT = pathlib.Path(__file__).parents[1]
_CLASSES = ["background", "square", "bar"]
_INSTANCES = (
    *("--position=rotation", "--wavelengths=8,64", "--learn_grouping", "--step_size=0.9"),
    "--embedding_only_fraction=0.5",
)


def _picture(source):
    """Two bright squares that touch, class 1, and a dark bar, class 2, on grey."""
    rng = np.random.default_rng(source.details)
    instance = np.zeros([40, 48], np.int32)
    top, left = rng.integers(2, 8, 2)
    instance[top : top + 12, left : left + 12] = 1
    instance[top : top + 12, left + 12 : left + 24] = 2
    instance[26:32, 8:40] = 3
    semantic = np.array([0, 1, 1, 2], np.int32)[instance]
    image = np.array([120, 230, 230, 20])[instance] + rng.integers(-9, 10, instance.shape)
    image = image[..., np.newaxis].repeat(3, axis=-1).astype(np.uint8)
    return LabelledPicture(image, instance, semantic)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of two splits with a manifest that names their classes."""
    folder = tmp_path_factory.mktemp("semantic")
    sources = [Source(f"p_{k}", details=k) for k in range(8)]
    for split, part in (("train", sources[:6]), ("test", sources[6:])):
        conversion.write_split(_picture, part, str(folder), split, num_shards=1, classes=_CLASSES)
    return folder


def start(folder, task, *flags, run=None):
    """The running process of a training of a task."""
    command = [
        *(sys.executable, "train_main.py", f"--task={task}", f"--run_dir={folder}/{run or task}"),
        *(f"--train_shards={folder}/train-*", f"--eval_shards={folder}/test-*"),
        *("--width=8", "--num_levels=3", "--embedding_dim=4", "--batch_size=2", "--num_steps=8"),
        *("--num_pixels=100", "--report_every=1", "--picture_every=0", "--noaugment", *flags),
    ]
    return subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    """(exit code, all that was said)."""
    said, _ = process.communicate(timeout=240)
    return process.returncode, said


@pytest.fixture(scope="module")
def runs(folder):
    """Run folders by task."""
    started = {
        "semantic": start(folder, "semantic", "--embedding_weight=0"),
        "instances": start(folder, "instances", *_INSTANCES),
    }
    for process in started.values():
        code, said = finish(process)
        assert code == 0, said
    return {task: folder / task for task in started}


def test_semantic_training_reports_its_losses_and_scores(runs):
    rows = run_folder.read_metrics(str(runs["semantic"]))
    assert [{name for name in row if "loss" in name or "entropy" in name} for row in rows] == [
        {"cross_entropy"}
    ] * 8
    assert rows[-1]["cross_entropy"] < rows[0]["cross_entropy"]
    scores = json.loads((runs["semantic"] / "metrics.json").read_text())["splits"]["test"]
    assert {"miou", "pixel_accuracy", "miou_within_3px", "miou_within_10px"} == set(scores)


def test_instances_training_takes_its_classes_from_the_shards(runs):
    settings = run_folder.read_settings(str(runs["instances"]))
    assert settings["model"]["num_classes"] == len(_CLASSES)
    assert settings["model"]["wavelengths"] == [8.0, 64.0]
    assert settings["read_out"]["split_components"] is True


def test_instances_training_fits_a_scorer_and_scores(runs):
    rows = run_folder.read_metrics(str(runs["instances"]))
    assert {"cross_entropy", "loss_loop_0", "loss_loop_1"} <= set(rows[-1])
    assert run_folder.read_out_arguments(str(runs["instances"]))["scorer"]["weights"]
    scores = json.loads((runs["instances"] / "metrics.json").read_text())["splits"]["test"]
    assert {"ap_r_50", "ap_r_vol", "pq", "matching_50", "miou"} <= set(scores)


def test_instances_training_learns_how_to_group_and_goes_on_with_it(folder, runs):
    run_dir = str(runs["instances"])
    given = run_folder.read_settings(run_dir)["read_out"]["concentration"]
    learned = run_folder.read_out_arguments(run_dir)["concentration"]
    # Four steps of Adam at 5e-3 on log κ.
    assert 1e-4 < abs(np.log(learned / given)) < 4 * 5e-3
    # Once more from the last checkpoint, without a step to make: κ comes from there.
    (runs["instances"] / "read_out.json").unlink()
    code, said = finish(start(folder, "instances", *_INSTANCES))
    assert code == 0 and "going on from step 8" in said
    assert run_folder.read_out_arguments(run_dir)["concentration"] == learned


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--cross_entropy_weight=0", "--embedding_weight=0"), "cannot both be 0"),
        (("--position=rotation", "--wavelengths=8"), "--wavelengths must be two numbers, got 8"),
        (("--position=rotation", "--embedding_dim=5"), "at least 2 and even"),
        (("--learn_grouping", "--num_loops=0"), "--learn_grouping needs loops"),
        (("--task=instances", "--test_scales=1,2"), "read at one scale, got [1.0, 2.0]"),
    ],
)
def test_training_refuses_flags_that_do_not_fit(folder, flags, message):
    code, said = finish(start(folder, "semantic", *flags, run="refused"))
    assert code == 1 and message in said


def test_training_asks_for_the_classes_that_no_manifest_names(tmp_path):
    with tf.io.TFRecordWriter(f"{tmp_path}/train-00000-of-00001.tfrecord"):
        pass
    code, said = finish(start(tmp_path, "semantic", "--eval_shards="))
    assert code == 1 and "set --num_classes" in said
