"""Replicas of one process and of several train as one device does; a lost one ends the others."""

import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from clusters import finish, start_alone, start_hosts
from stripes import write_stripes

from rpe_tf import run_folder

_NUM_STEPS = 20
_FLAGS = [
    *("--width=8", "--num_levels=2", "--embedding_dim=4", "--batch_size=4", "--num_pixels=64"),
    *("--report_every=1", "--crop_size=24,24", "--norm=batch", "--clip_norm=0.5"),
    *("--optimizer=sgd", "--learning_rate=0.05", "--sharing=data"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve pictures of three stripes."""
    folder = tmp_path_factory.mktemp("stripes")
    write_stripes(folder)
    return folder


def flags_of(run_dir, data, num_steps=_NUM_STEPS):
    shards = f"--train_shards={data}/train-*"
    return [f"--run_dir={run_dir}", shards, f"--num_steps={num_steps}", *_FLAGS]


def weights_in(folder):
    """Weights of the only checkpoint under a folder, by name."""
    [index] = pathlib.Path(folder).rglob(f"step-{_NUM_STEPS}.index")
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    names = [x for x in reader.get_variable_to_shape_map() if x.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, data):
    """Folder of the run that others are compared with."""
    run_dir = tmp_path_factory.mktemp("one") / "run"
    code, said = finish(start_alone(*flags_of(run_dir, data), "--strategy=one_device"))
    assert code == 0, said
    return run_dir


def check_equal_runs(run_dir, other):
    """The same losses to 1e-5, and weights."""
    mine, its = (run_folder.read_metrics(str(x)) for x in (run_dir, other))
    assert len(mine) == len(its) == _NUM_STEPS
    # A norm sums squares of what rounding leaves of differences: hundreds of weights, each step.
    for name, rtol in (("loss_loop_0", 1e-5), ("loss_loop_1", 1e-5), ("gradient_norm", 1e-2)):
        pair = [[row[name] for row in rows] for rows in (mine, its)]
        np.testing.assert_allclose(*pair, rtol=rtol, atol=1e-5, err_msg=name)
    mine, its = weights_in(run_dir), weights_in(other)
    for name in mine:
        # Keras 2 stores a batch's variance over n − 1 on one device, over n where it is shared.
        rtol = 1e-3 if "moving_variance" in name else 0
        np.testing.assert_allclose(mine[name], its[name], rtol=rtol, atol=1e-4, err_msg=name)


def test_two_replicas_train_as_one_device(one_device, data, tmp_path):
    run_dir = tmp_path / "run"
    flags = flags_of(run_dir, data)
    code, said = finish(start_alone(*flags, "--strategy=mirrored", on_two_cpus=True))
    assert code == 0, said
    assert "2 replica(s)" in said
    check_equal_runs(run_dir, one_device)


def test_moments_over_replicas_compiled_by_xla_are_refused(data, tmp_path):
    flags = [*flags_of(tmp_path / "run", data), "--strategy=mirrored", "--jit_compile"]
    code, said = finish(start_alone(*flags, on_two_cpus=True))
    assert code == 1
    assert "error: --jit_compile with 2 replicas needs --norm=group or --norm=frozen_batch" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("num_hosts", [2, 4])
def test_hosts_train_as_one_device_and_hold_equal_weights(one_device, data, tmp_path, num_hosts):
    run_dir, own = tmp_path / "run", tmp_path / "own"
    for process in start_hosts(num_hosts, own, *flags_of(run_dir, data)):
        code, said = finish(process)
        assert code == 0, said
    check_equal_runs(run_dir, one_device)
    chief = weights_in(run_dir)
    for index in range(1, num_hosts):
        worker = weights_in(own / str(index))
        for name in chief:
            np.testing.assert_array_equal(worker[name], chief[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [3, 0])
def test_a_lost_worker_ends_the_others_and_a_restart_goes_on(data, tmp_path, lost):
    run_dir = tmp_path / "run"
    flags = [*flags_of(run_dir, data, num_steps=4000), "--save_every=5"]
    processes = start_hosts(4, tmp_path / "own", *flags)
    while len(run_folder.read_metrics(str(run_dir))) < 10:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
    processes[lost].kill()
    killed = time.monotonic()
    for index, process in enumerate(processes):
        code, said = finish(process, timeout=120)
        if index != lost:
            assert code not in (0, None), said
            print(f"worker {index} ended {time.monotonic() - killed:.0f} s later: {said[-300:]}")
    assert time.monotonic() - killed < 60
    step = int(tf.train.latest_checkpoint(str(run_dir / "checkpoints")).rsplit("-", 1)[1])
    again = [*flags_of(run_dir, data, num_steps=step + 5), "--save_every=5"]
    for process in start_hosts(4, tmp_path / "again", *again):
        assert finish(process)[0] == 0
    assert run_folder.read_metrics(str(run_dir))[-1]["step"] == step + 5
