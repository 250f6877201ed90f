"""The command as a user starts it: processes of their own, side by side where they can be."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import digit_shards, digits
from rpe_tf import run_folder

_ROOT = pathlib.Path(__file__).parents[1]
_NUM_STEPS = 24
_FLAGS = [
    *("--width=16", "--num_levels=2", "--embedding_dim=4", "--batch_size=4", "--num_pixels=64"),
    *(f"--num_steps={_NUM_STEPS}", "--report_every=1", "--save_every=5"),
    *("--embedding_only_fraction=0.5", "--learning_rate=0.01", "--crop_size=48,48"),
]


def start(run_dir, data, *flags):
    """The running process of a training on the shards in a folder."""
    command = [
        *(sys.executable, "train_main.py", f"--train_shards={data}/train-*"),
        *(f"--eval_shards={data}/test_mixed-*", *_FLAGS, *flags),
    ]
    if run_dir is not None:
        command.append(f"--run_dir={run_dir}")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_CONFIG", None)
    return subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """(exit code, everything it said)."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out + err


def without_native_log(said):
    """The lines but for those of TensorFlow's own threads, which may still log after an error."""
    native = re.compile(r"[IWE]\d{4} \d\d:|WARNING: All log messages before absl::InitializeLog")
    return [line for line in said.splitlines() if not native.match(line)]


def kill_after(process, run_dir, step):
    """Kills the process as soon as it has reported a step."""
    try:
        while not any(row["step"] >= step for row in run_folder.read_metrics(str(run_dir))):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.kill()
    assert finish(process)[0] == -signal.SIGKILL


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """24 scenes to train on in two shards, 4 to score."""
    folder = tmp_path_factory.mktemp("digits")
    scans, classes, is_test = digits.load_scans("sklearn", None)
    digit_shards.write_digit_shards(
        str(folder),
        *(scans, classes, is_test),
        num_train=24,
        num_test=4,
        num_shards=2,
        seed=0,
        same_class_fraction=0.3,
        scene_size=64,
        min_digits=1,
        source="sklearn",
    )
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """Two folders of the same run: one never disturbed, one killed and started again."""
    folder = tmp_path_factory.mktemp("runs")
    undisturbed = start(folder / "undisturbed", data)
    kill_after(start(folder / "killed", data), folder / "killed", 13)
    before = {
        "steps": [row["step"] for row in run_folder.read_metrics(str(folder / "killed"))],
        "checkpoint": tf.train.latest_checkpoint(str(folder / "killed" / "checkpoints")),
    }
    said = {"undisturbed": finish(undisturbed), "killed": finish(start(folder / "killed", data))}
    return {"folder": folder, "before": before, "said": said}


@pytest.fixture(scope="module")
def failures(tmp_path_factory, data, runs):
    """(exit code, what it said) of starts that fail, by what is wrong."""
    folder = tmp_path_factory.mktemp("failures")
    truncated = folder / "truncated"
    shutil.copytree(data, truncated)
    shard = truncated / "train-00001-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-40])
    starts = {
        "another model": (runs["folder"] / "undisturbed", data, "--width=24"),
        "margin": (folder / "run", data, "--margin=1.5"),
        "flag value": (folder / "run", data, "--norm=layer"),
        "no run_dir": (None, data),
        "no shards": (folder / "run", folder / "nowhere"),
        "shard truncated": (folder / "run", truncated),
    }
    answers, names = {}, list(starts)
    for pair in (names[k : k + 2] for k in range(0, len(names), 2)):  # two at a time
        processes = {name: start(*starts[name]) for name in pair}
        answers |= {name: finish(process) for name, process in processes.items()}
    return {"folder": folder, **answers}


def weights_of(run_dir):
    """Values of the newest checkpoint by name, the model's and the optimizer's."""
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith(("model/", "optimizer/"))
    }


def steps_of(run_dir):
    return [row["step"] for row in run_folder.read_metrics(str(run_dir))]


def test_training_leaves_all_files_of_a_run(runs):
    run_dir = runs["folder"] / "undisturbed"
    code, said = runs["said"]["undisturbed"]
    assert code == 0, said
    expected = {"checkpoints", "flags.txt", "metrics.json", "metrics.jsonl", "settings.json"}
    assert set(os.listdir(run_dir)) == {*expected, "report.html", "tensorboard"}
    assert steps_of(run_dir) == list(range(1, _NUM_STEPS + 1))
    newest = tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    assert newest.endswith(f"step-{_NUM_STEPS}")


def test_training_begins_with_the_embedding_alone(runs):
    rows = run_folder.read_metrics(str(runs["folder"] / "undisturbed"))
    # embedding_only_fraction 0.5 of 24 steps.
    assert ["loss_loop_1" in row for row in rows] == [False] * 12 + [True] * 12
    assert all("loss_loop_0" in row and "gradient_norm" in row for row in rows)


def test_training_lowers_the_loss(runs):
    rows = run_folder.read_metrics(str(runs["folder"] / "undisturbed"))
    losses = [row["loss_loop_0"] for row in rows]
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:3])


def test_settings_and_flags_are_those_given(runs, data):
    run_dir = runs["folder"] / "undisturbed"
    settings = run_folder.read_settings(str(run_dir))
    assert settings["model"]["width"] == 16
    assert settings["training"]["num_steps"] == _NUM_STEPS
    [source] = settings["data"]["sources"]
    assert (source["folder"], source["classes"]) == (str(data), list(digits.CLASS_NAMES))
    # Concentration of the default margin 0.5: (3 / (1 − 0.5))².
    assert settings["loss"]["concentration"] == settings["read_out"]["concentration"] == 36.0
    lines = (run_dir / "flags.txt").read_text().splitlines()
    assert set(_FLAGS) - set(lines) == set()
    assert len(lines) == len(set(lines))


def test_scores_lead_with_those_of_the_first_split(runs):
    scores = json.loads((runs["folder"] / "undisturbed" / "metrics.json").read_text())
    split = scores["splits"]["test_mixed"]
    assert {name: scores[name] for name in split} == split
    assert scores["train_seconds"] > 0


def test_killed_run_goes_on_from_its_checkpoint_to_the_last_step(runs):
    code, said = runs["said"]["killed"]
    assert code == 0, said
    reported, checkpoint = runs["before"]["steps"], runs["before"]["checkpoint"]
    assert 13 <= reported[-1] < _NUM_STEPS
    step = int(checkpoint.rsplit("-", 1)[1])
    assert 10 <= step <= reported[-1]
    assert f"going on from step {step}" in said
    # Steps after the checkpoint were reported twice, and are in the file once.
    assert steps_of(runs["folder"] / "killed") == list(range(1, _NUM_STEPS + 1))


def test_killed_run_ends_where_the_undisturbed_one_does(runs):
    weights, expected = (weights_of(runs["folder"] / x) for x in ("killed", "undisturbed"))
    assert weights.keys() == expected.keys()
    # Weights of the model: stem 1 + 4, down1 3 + 8, narrow0 1, up0 2 + 8, last 2; AdamW keeps two
    # moments of each that is trained. Each name stands once, under the shorter of its paths.
    assert len(weights) >= 29 + 2 * 19
    for name, value in weights.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, rtol=1e-5, err_msg=name)
    rows, expected_rows = (
        run_folder.read_metrics(str(runs["folder"] / x)) for x in ("killed", "undisturbed")
    )
    for row, other in zip(rows, expected_rows, strict=True):
        assert row["loss_loop_0"] == pytest.approx(other["loss_loop_0"], abs=1e-5)
    scores, expected_scores = (
        json.loads((runs["folder"] / x / "metrics.json").read_text())["splits"]["test_mixed"]
        for x in ("killed", "undisturbed")
    )
    assert scores == pytest.approx(expected_scores, abs=1e-6, nan_ok=True)


def test_finished_run_started_again_trains_no_further_and_keeps_its_figures(runs, data):
    run_dir = runs["folder"] / "undisturbed"
    files = ("metrics.jsonl", "flags.txt", "settings.json", "checkpoints/checkpoint")

    def figures():
        scores = json.loads((run_dir / "metrics.json").read_text())
        del scores["total_seconds"]  # this evaluation's seconds are part of it
        return scores, {name: (run_dir / name).read_text() for name in files}

    before = figures()
    code, said = finish(start(run_dir, data))
    assert code == 0, said
    assert f"going on from step {_NUM_STEPS}" in said
    assert f"step {_NUM_STEPS}/{_NUM_STEPS}" not in said
    assert figures() == before


@pytest.mark.parametrize(
    "what, message",
    [
        ("another model", "undisturbed holds a run with model "),
        ("margin", "margin must be a similarity in [0, 1], got 1.5"),
        ("no shards", "no shard matches "),
        ("shard truncated", "truncated/train-00001-of-00002.tfrecord: record "),
    ],
)
def test_known_errors_are_one_line(failures, what, message):
    code, said = failures[what]
    assert code == 1
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert without_native_log(said)[-1] == lines[0]


@pytest.mark.parametrize(
    "what, message",
    [("flag value", "should be one of <batch|group|frozen"), ("no run_dir", "--run_dir")],
)
def test_wrong_flags_are_refused_before_anything_starts(failures, what, message):
    code, said = failures[what]
    assert code == 1
    assert "Traceback" not in said
    assert message in said


def test_refused_starts_leave_the_run_as_it_was(failures, runs):
    settings = run_folder.read_settings(str(runs["folder"] / "undisturbed"))
    assert settings["model"]["width"] == 16
    # Only the truncated shard was found out after the run had begun.
    assert "checkpoints" not in os.listdir(failures["folder"] / "run")
