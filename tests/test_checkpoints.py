import importlib.util
import os
import shutil
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf import checkpoints
from rpe_tf.optimizers import make_optimizer

HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None
ADDONS = pytest.param(
    "LAMB",
    marks=pytest.mark.skipif(not HAS_ADDONS, reason="tensorflow-addons is not installed"),
)


def net(width=4):
    inputs = keras.Input([3])
    hidden = keras.layers.Dense(width, name="hidden")(inputs)
    hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, name="out")(hidden))


def opened(run_dir, optimizer="adamw", seed=0, is_writing=True):
    keras.utils.set_random_seed(seed)
    model = net()
    made = make_optimizer(optimizer, 0.1, 100, weight_decay=0.01, momentum=0.9)
    return model, made, checkpoints.open_checkpoints(str(run_dir), model, made, is_writing)


def train(model, optimizer, steps):
    @tf.function
    def one_step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - 3.0))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for step in steps:
        one_step(tf.constant(np.random.default_rng(step).normal(size=[8, 3]), tf.float32))


def check_equal(model, other, **tolerance):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize("optimizer_name", ["sgd", "adam", "adamw", ADDONS])
def test_restore_latest_goes_on_as_if_never_stopped(tmp_path, optimizer_name):
    model, optimizer, saved = opened(tmp_path, optimizer_name)
    train(model, optimizer, range(3))
    saved.save(3)
    train(model, optimizer, range(3, 6))
    # Other weights at first; moments of the optimizer and the rate's step come from the file.
    other, other_optimizer, other_saved = opened(tmp_path, optimizer_name, seed=1)
    assert other_saved.restore_latest() == 3
    assert int(np.asarray(other_optimizer.iterations)) == 3
    train(other, other_optimizer, range(3, 6))
    check_equal(model, other, atol=1e-6)


def test_restore_latest_of_a_new_run_is_step_0_and_changes_nothing(tmp_path):
    model, _, saved = opened(tmp_path)
    before = model.get_weights()
    assert saved.restore_latest() == 0
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_save_keeps_the_last_three_also_after_a_restart(tmp_path):
    _, _, saved = opened(tmp_path)
    paths = [saved.save(step) for step in (10, 20)]
    assert paths[0] == str(tmp_path / "checkpoints" / "step-10")
    _, _, saved = opened(tmp_path)
    assert saved.restore_latest() == 20
    for step in (30, 40):
        saved.save(step)
    indices = [x for x in os.listdir(tmp_path / "checkpoints") if x.endswith(".index")]
    assert sorted(indices) == ["step-20.index", "step-30.index", "step-40.index"]
    assert opened(tmp_path)[2].restore_latest() == 40


def test_restore_latest_takes_the_one_before_where_a_save_was_cut_off(tmp_path):
    model, optimizer, saved = opened(tmp_path)
    train(model, optimizer, range(1))
    saved.save(10)
    weights = model.get_weights()
    folder = tmp_path / "checkpoints"
    shutil.copy(folder / "checkpoint", tmp_path / "names_step_10")
    train(model, optimizer, range(1, 3))
    saved.save(20)
    # Killed before the newest was named, its data half written.
    shutil.copy(tmp_path / "names_step_10", folder / "checkpoint")
    data = folder / "step-20.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    other, _, saved = opened(tmp_path, seed=1)
    assert saved.restore_latest() == 10
    for a, b in zip(weights, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    saved.save(20)
    assert opened(tmp_path)[2].restore_latest() == 20


def test_restore_latest_survives_a_moved_run(tmp_path):
    model, _, saved = opened(tmp_path / "here")
    saved.save(10)
    os.rename(tmp_path / "here", tmp_path / "there")
    other, _, saved = opened(tmp_path / "there", seed=1)
    assert saved.restore_latest() == 10
    check_equal(model, other)


def test_open_checkpoints_of_other_workers_read_the_run_and_write_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chief_model, _, chief = opened(tmp_path / "run")
    chief.save(10)
    before = sorted(os.listdir(tmp_path / "run" / "checkpoints"))
    model, _, worker = opened(tmp_path / "run", seed=1, is_writing=False)
    assert worker.restore_latest() == 10
    check_equal(chief_model, model)
    path = worker.save(20)
    assert not path.startswith(str(tmp_path / "run"))
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == before


def test_restore_weights_needs_no_optimizer(tmp_path):
    model, optimizer, saved = opened(tmp_path)
    train(model, optimizer, range(2))
    saved.save(7)
    other = net()
    assert checkpoints.restore_weights(str(tmp_path), other) == 7
    check_equal(model, other)


def test_restore_weights_names_the_run_without_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no checkpoint"):
        checkpoints.restore_weights(str(tmp_path), net())


@pytest.mark.parametrize("other_shape", [True, False], ids=["another shape", "one layer more"])
def test_restore_weights_refuses_a_checkpoint_of_another_model(tmp_path, other_shape):
    opened(tmp_path)[2].save(7)
    if other_shape:
        other = net(width=5)
    else:
        model = net()
        other = keras.Model(model.input, keras.layers.Dense(1, name="more")(model.output))
    with pytest.raises(ValueError, match=r"step-7 does not fit the model of settings\.json"):
        checkpoints.restore_weights(str(tmp_path), other)


def test_keep_embedding_only_stays_while_others_are_deleted(tmp_path):
    model, optimizer, saved = opened(tmp_path)
    train(model, optimizer, range(1))
    saved.keep_weights(checkpoints.EMBEDDING_ONLY, 1)
    kept = [w.copy() for w in model.get_weights()]
    for step in range(2, 8):
        train(model, optimizer, [step])
        saved.save(step)
    other = net()
    assert checkpoints.restore_weights(str(tmp_path), other, kept="embedding_only") == 1
    for a, b in zip(other.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(a, b)
    assert checkpoints.restore_weights(str(tmp_path), other) == 7
    check_equal(other, model)


def test_restore_weights_without_an_embedding_only_phase_says_what_to_do(tmp_path):
    model, _, saved = opened(tmp_path)
    saved.save(3)
    with pytest.raises(FileNotFoundError, match="embedding_only_fraction between 0 and 1"):
        checkpoints.restore_weights(str(tmp_path), model, kept="embedding_only")
