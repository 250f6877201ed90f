"""Boundary training as a user starts it: two phases, their checkpoints and scores."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import schema
from data_pipeline.labelled_picture import LabelledPicture
from rpe_tf import run_folder
from rpe_tf.checkpoints import restore_weights
from rpe_tf.tasks import TASKS

_ROOT = pathlib.Path(__file__).parents[1]
_NUM_STEPS = 6


def write_squares(path, num):
    """Bright squares on dark ground, each outlined by two annotators a pixel apart."""
    rng = np.random.default_rng(num)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for k in range(num):
            top, left = rng.integers(4, 16, 2)
            instance = np.zeros([40, 56], np.int32)
            instance[top : top + 16, left : left + 20] = 1
            image = np.where(instance[..., np.newaxis] > 0, 220, 40).repeat(3, -1).astype(np.uint8)
            edge = np.zeros([2, 40, 56], bool)
            for shift in (0, 1):
                edge[shift, top - shift, left : left + 20] = True
                edge[shift, top : top + 16, left - shift] = True
            picture = LabelledPicture(image, instance, None, np.stack([instance] * 2), edge)
            writer.write(schema.encode_example(picture, f"square{k}"))


def train(folder, *flags):
    """(exit code, all that was said) of a training with shards and run in a folder."""
    done = subprocess.run(
        [
            *(sys.executable, "train_main.py", "--task=boundary", "--backbone=resnet14"),
            *("--width=8", "--norm=batch", "--batch_size=2", "--num_pixels=200"),
            *(f"--train_shards={folder}/train-*", f"--eval_shards={folder}/test-*"),
            *("--report_every=1", "--save_every=2", "--picture_every=0"),
            *(f"--num_steps={_NUM_STEPS}", f"--run_dir={folder}/run", *flags),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards, and a run on them half of which trains the embedding alone."""
    folder = tmp_path_factory.mktemp("boundary")
    write_squares(folder / "train-00000-of-00001.tfrecord", 6)
    write_squares(folder / "test-00000-of-00001.tfrecord", 2)
    code, said = train(folder, "--embedding_only_fraction=0.5", "--test_scales=0.5,1")
    assert code == 0, said
    return folder


def test_boundary_training_reports_the_losses_of_its_two_phases(folder):
    rows = run_folder.read_metrics(str(folder / "run"))
    names = [{name for name in row if name.startswith(("loss", "logistic"))} for row in rows]
    branches = range(2, 6)
    first = {f"loss_branch_{k}" for k in branches}
    second = {"logistic_fusion", *(f"logistic_branch_{k}" for k in branches)}
    assert names == [first] * 3 + [second] * 3


def test_boundary_training_scores_its_maps(folder):
    scores = json.loads((folder / "run" / "metrics.json").read_text())["splits"]["test"]
    expected = {"ods", "ods_threshold", "ods_precision", "ods_recall", "ois", "ap"}
    assert expected <= set(scores)
    assert all(0 <= value <= 1 for value in scores.values())


def test_boundary_training_keeps_the_weights_of_phase_one(folder):
    settings = run_folder.read_settings(str(folder / "run"))
    assert settings["read_out"] == {"scales": [0.5, 1.0]}
    first, last = (TASKS["boundary"].build_model(**settings["model"]) for _ in range(2))
    assert restore_weights(str(folder / "run"), first, kept="embedding_only") == 3
    assert restore_weights(str(folder / "run"), last) == _NUM_STEPS
    changed = {
        getattr(a, "path", a.name): not np.array_equal(a, b)
        for a, b in zip(first.trainable_variables, last.trainable_variables, strict=True)
    }
    assert any(changed[name] for name in changed if "conv1_conv" in name)
    # Phase two starts from logistic layers that phase one left as they were drawn, but for the
    # weight decay.
    keras.utils.set_random_seed(0)
    drawn = TASKS["boundary"].build_model(**settings["model"]).get_layer("fusion").get_weights()
    for kept, new in zip(first.get_layer("fusion").get_weights(), drawn, strict=True):
        np.testing.assert_allclose(kept, new, rtol=1e-4)


def test_finished_boundary_training_goes_on_with_its_scores_alone(folder):
    code, said = train(folder, "--embedding_only_fraction=0.5", "--test_scales=0.5,1")
    assert code == 0, said
    assert f"going on from step {_NUM_STEPS}" in said


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--boundary_agreement=most", "boundary agreement must be drawn, or the number"),
        ("--test_scales=0", "scales must be at least one number above 0"),
        ("--backbone=encoder_decoder", "--task=boundary needs a ResNet"),
        ("--output_stride=2", "output_stride must be one of (4, 8, 16, 32) at stem_stride 4"),
    ],
)
def test_wrong_boundary_flags_end_in_one_line_and_leave_nothing(folder, flag, message):
    code, said = train(folder, f"--run_dir={folder}/refused", flag)
    assert code == 1
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (folder / "refused").exists()


def test_pretrained_weights_that_are_missing_end_in_one_line(folder):
    code, said = train(folder, f"--run_dir={folder}/untrained", "--pretrained=missing.h5")
    assert code == 1
    assert "Traceback" not in said
    assert any(x.startswith("error: ") and "missing.h5" in x for x in said.splitlines())
