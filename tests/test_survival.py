"""What may befall a training, in processes of their own: stopped, killed, a full disk, NaN."""

import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from stripes import write_stripes

from rpe_tf import interruption, run_folder

_ROOT = pathlib.Path(__file__).parents[1]
_NUM_STEPS = 30
_FLAGS = [
    *("--width=8", "--num_levels=2", "--embedding_dim=4", "--batch_size=4", "--num_pixels=64"),
    *(f"--num_steps={_NUM_STEPS}", "--report_every=1", "--save_every=5", "--crop_size=24,24"),
    *("--deterministic", "--num_parts=2", "--clip_norm=1", "--average_momentum=0.9"),
]
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve pictures of three stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    write_stripes(folder)
    return folder


def start(run_dir, data, *flags, limit=None):
    """A training under way; limit: the most bytes a file of it may have."""

    def prepare():
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [
            *(sys.executable, "train_main.py", f"--run_dir={run_dir}"),
            *(f"--train_shards={data}/train-*", *_FLAGS, *flags),
        ],
        cwd=_ROOT,
        env={**os.environ, **_ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


def finish(process):
    """(exit code, what it said)."""
    said = process.communicate(timeout=400)[1]
    return process.returncode, said


def wait_for(process, run_dir, step):
    """Returns once a step is reported, or the process has ended."""
    while not any(row["step"] >= step for row in run_folder.read_metrics(str(run_dir))):
        if process.poll() is not None:
            return
        time.sleep(0.02)


def weights_of(run_dir):
    """Everything of the newest checkpoint by name."""
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints"))
    names = [x for x in reader.get_variable_to_shape_map() if not x.startswith(("save", "_CH"))]
    return {name: reader.get_tensor(name) for name in names}


def check_same_run(run_dir, other):
    """Same steps reported, same bits in every weight and state."""
    steps = [row["step"] for row in run_folder.read_metrics(str(run_dir))]
    assert steps == list(range(1, _NUM_STEPS + 1))
    mine, its = weights_of(run_dir), weights_of(other)
    assert mine.keys() == its.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], its[name], err_msg=name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """Folders and ends of a run undisturbed, and of one stopped at step 7 and started again."""
    folder = tmp_path_factory.mktemp("runs")
    undisturbed = start(folder / "undisturbed", data)
    stopped = start(folder / "stopped", data)
    wait_for(stopped, folder / "stopped", 7)
    stopped.send_signal(signal.SIGTERM)
    ends = {"undisturbed": finish(undisturbed), "stopped": finish(stopped)}
    shutil.copytree(folder / "stopped", folder / "copy")
    ends["again"] = finish(start(folder / "stopped", data))
    return {"folder": folder, "ends": ends}


def test_sigterm_ends_with_a_checkpoint_and_a_code_that_says_so(runs):
    code, said = runs["ends"]["stopped"]
    assert code == interruption.EXIT_CODE == 75
    last = run_folder.read_metrics(str(runs["folder"] / "copy"))[-1]["step"]
    assert 7 <= last < _NUM_STEPS
    assert f"stopped after step {last}, as asked; the same command goes on from there" in said
    newest = tf.train.latest_checkpoint(str(runs["folder"] / "copy" / "checkpoints"))
    assert newest.endswith(f"step-{last}")


def test_stopped_run_goes_on_to_the_same_bits(runs):
    assert runs["ends"]["undisturbed"][0] == runs["ends"]["again"][0] == 0
    check_same_run(runs["folder"] / "stopped", runs["folder"] / "undisturbed")


def test_full_disk_leaves_the_last_checkpoint_and_room_lets_it_go_on(runs, data, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(runs["folder"] / "copy", run_dir)
    newest = tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    size = os.path.getsize(f"{newest}.data-00000-of-00001")
    code, said = finish(start(run_dir, data, limit=size // 2))
    assert code == 1 and "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error: ")]
    assert finish(start(run_dir, data))[0] == 0
    check_same_run(run_dir, runs["folder"] / "undisturbed")


def test_non_finite_gradient_names_term_step_and_pictures(data, tmp_path):
    code, said = finish(start(tmp_path / "run", data, "--learning_rate=1e30"))
    error = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(error) == 1
    assert " at step " in error[0] and "Its pictures: p_" in error[0]


@pytest.mark.slow
def test_ten_kills_at_random_end_in_the_same_bits(runs, data, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw, run_dir, kinds = random.Random(seed), tmp_path / "run", []
    for kill in range(10):
        process = start(run_dir, data)
        reported = run_folder.read_metrics(str(run_dir))
        last = reported[-1]["step"] if reported else 0
        wait_for(process, run_dir, min(last + draw.randrange(1, 4), _NUM_STEPS - 1))
        # A save follows every fifth step at once, so that some kills fall into one.
        time.sleep(draw.random() * 0.1)
        process.send_signal(signal.SIGTERM if kill % 2 else signal.SIGKILL)
        kinds.append(finish(process)[0])
    assert set(kinds) <= {interruption.EXIT_CODE, -signal.SIGKILL, -signal.SIGTERM, 0}
    assert finish(start(run_dir, data))[0] == 0
    check_same_run(run_dir, runs["folder"] / "undisturbed")
