"""The training step. Run as a program, it compares two replicas with one device."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.checkpoints import open_checkpoints
from rpe_tf.optimizers import make_optimizer
from rpe_tf.train_step import StepOptions, make_loss_scale, make_train_step

_ROOT = pathlib.Path(__file__).parents[1]
_HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None
_OPTIMIZERS = ["sgd", "adamw"] + ["LAMB"] * _HAS_ADDONS


def linear_step(global_batch_size=4, num_terms=1, options=None, squared=tf.square):
    """A step on the loss (w x)² of each x, w at first 1, by plain gradient descent of rate 0.1."""
    options = options or StepOptions()
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        weight = tf.Variable(1.0)
        optimizer = make_optimizer("sgd", 0.1, 10**9, weight_decay=0.0, momentum=0.0)

    def losses_of(batch):
        loss = squared(weight * batch["x"])
        return {f"loss_loop_{k}": (k + 1) * loss for k in range(num_terms)}

    step = make_train_step(strategy, losses_of, [weight], optimizer, global_batch_size, options)
    return weight, step


def terms_of(results):
    """Terms of the only step of a call."""
    return {name: float(*values) for name, values in results.terms.items()}


def batches_of(*batches):
    # With names of the pictures, as batches of shards have them.
    names = tf.fill([len(batches), len(batches[0])], "picture")
    batch = {"x": tf.constant(batches, tf.float32), "name": names}
    return iter(tf.data.Dataset.from_tensor_slices(batch))


def test_make_train_step_value_by_hand():
    weight, step = linear_step()
    terms = terms_of(step(batches_of([1, 2, 3, 4])))
    # Mean of x² is (1 + 4 + 9 + 16)/4 = 7.5; d/dw of 7.5 w² at w = 1 is 15.
    assert terms == {
        "loss_loop_0": pytest.approx(7.5),
        "gradient_norm": pytest.approx(15.0),
    }
    assert float(weight) == pytest.approx(1 - 0.1 * 15)


def test_make_train_step_trains_on_the_sum_of_terms_and_reports_each():
    weight, step = linear_step(num_terms=2)
    terms = terms_of(step(batches_of([1, 2, 3, 4])))
    assert float(terms["loss_loop_0"]) == pytest.approx(7.5)
    assert float(terms["loss_loop_1"]) == pytest.approx(2 * 7.5)
    assert float(weight) == pytest.approx(1 - 0.1 * 3 * 15, rel=1e-5)


def test_make_train_step_divides_by_the_global_batch():
    # Four pictures of a batch of eight: the other replica's half is missing from the sum.
    weight, step = linear_step(global_batch_size=8)
    assert terms_of(step(batches_of([1, 2, 3, 4])))["loss_loop_0"] == pytest.approx(7.5 / 2)
    assert float(weight) == pytest.approx(1 - 0.1 * 15 / 2)


def test_make_train_step_takes_the_next_batch_of_the_iterator():
    _, step = linear_step(global_batch_size=1)
    batches = batches_of([3.0], [0.0])
    assert terms_of(step(batches))["loss_loop_0"] == pytest.approx(9.0)
    assert terms_of(step(batches))["loss_loop_0"] == 0.0


def test_make_train_step_of_several_steps_equals_one_by_one():
    weight, step = linear_step(global_batch_size=1)
    together = step(batches_of([3.0], [2.0], [1.0]), 3)
    other, other_step = linear_step(global_batch_size=1)
    batches = batches_of([3.0], [2.0], [1.0])
    alone = [terms_of(other_step(batches)) for _ in range(3)]
    assert together.terms["loss_loop_0"].tolist() == [x["loss_loop_0"] for x in alone]
    assert float(weight) == float(other)


def test_make_train_step_in_parts_equals_the_whole_batch():
    weight, step = linear_step(options=StepOptions(num_parts=2))
    terms = terms_of(step(batches_of([1, 2], [3, 4])))
    # As test_make_train_step_value_by_hand.
    assert terms == {"loss_loop_0": pytest.approx(7.5), "gradient_norm": pytest.approx(15.0)}
    assert float(weight) == pytest.approx(1 - 0.1 * 15)


@pytest.mark.parametrize("clip_norm, moved", [(3.0, 0.1 * 3), (20.0, 0.1 * 15)])
def test_make_train_step_shortens_only_longer_gradients(clip_norm, moved):
    weight, step = linear_step(options=StepOptions(clip_norm=clip_norm))
    terms = terms_of(step(batches_of([1, 2, 3, 4])))
    assert terms["gradient_norm"] == pytest.approx(15.0)  # before it is clipped
    assert float(weight) == pytest.approx(1 - moved)


def test_make_train_step_compiled_by_xla_equals_plain():
    weight, step = linear_step(options=StepOptions(jit_compile=True))
    assert terms_of(step(batches_of([1, 2, 3, 4])))["loss_loop_0"] == pytest.approx(7.5)
    assert float(weight) == pytest.approx(1 - 0.1 * 15)


def test_make_train_step_names_what_xla_cannot_compile():
    def squared(x):
        return tf.py_function(tf.square, [x], tf.float32)

    _, step = linear_step(options=StepOptions(jit_compile=True), squared=squared)
    message = "XLA cannot compile EagerPyFunc in TensorFlow .*: train without --jit_compile"
    with pytest.raises(ValueError, match=message):
        step(batches_of([1, 2, 3, 4]))


@pytest.mark.parametrize("asked", [False, True])
def test_make_train_step_hands_on_that_it_shall_stop(asked):
    assert linear_step()[1](batches_of([1, 2, 3, 4]), 1, asked).is_stopping == asked


def root_step(loss_scale=None):
    """A step on √|w| · x at w = 0, which has the value 0 and no finite slope."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        weight = tf.Variable(0.0)
        optimizer = make_optimizer("adamw", 0.1, 10, weight_decay=0.1, momentum=0.0)
    step = make_train_step(
        strategy,
        lambda batch: {"root": tf.sqrt(weight) * batch["x"]},
        *([weight], optimizer, 1, StepOptions(), loss_scale),
    )
    return weight, optimizer, step


def test_make_train_step_changes_nothing_where_the_gradient_is_not_finite():
    weight, optimizer, step = root_step()
    results = step(batches_of([1.0]))
    assert terms_of(results)["root"] == 0.0
    assert not results.is_finite[0] and not np.isfinite(terms_of(results)["gradient_norm"])
    assert float(weight) == 0.0 and int(np.asarray(optimizer.iterations)) == 0


def test_loss_scale_halves_where_it_overflows_and_doubles_after_many_sound_steps():
    loss_scale = make_loss_scale()
    step = root_step(loss_scale)[2]
    before = float(loss_scale.scale)
    step(batches_of([1.0]))
    assert float(loss_scale.scale) == before / 2
    loss_scale.sound_steps.assign(1998)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        weight = tf.Variable(1.0)
        optimizer = make_optimizer("sgd", 0.1, 10**9, weight_decay=0.0, momentum=0.0)
    step = make_train_step(
        strategy,
        lambda batch: {"square": tf.square(weight * batch["x"])},
        *([weight], optimizer, 1, StepOptions(), loss_scale),
    )
    terms = step(batches_of([1.0], [0.0], [0.0]), 2).terms
    assert terms["gradient_norm"][0] == pytest.approx(2.0)  # the scale is not in it
    assert float(weight) == pytest.approx(0.8)
    assert float(loss_scale.scale) == before and int(loss_scale.sound_steps) == 0


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory):
    """Figures of two replicas and of one device, made in a process that has two logical CPUs."""
    # They must be made before TensorFlow starts, so not in the process of the other tests.
    process = subprocess.run(
        [sys.executable, __file__, str(tmp_path_factory.mktemp("replicas"))],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("optimizer", _OPTIMIZERS)
def test_two_replicas_equal_one_device_with_the_double_batch(two_replicas, optimizer):
    one, two = two_replicas[optimizer]["one"], two_replicas[optimizer]["two"]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    for a, b in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
    assert np.abs(np.subtract(one["weights"][0], one["first_weights"])).max() > 0.01


@pytest.mark.parametrize("optimizer", _OPTIMIZERS)
@pytest.mark.parametrize("how", ["one", "two"])
def test_restarted_training_takes_the_same_next_step(two_replicas, optimizer, how):
    run = two_replicas[optimizer][how]
    for a, b in zip(run["weights"], run["restarted_weights"], strict=True):
        np.testing.assert_allclose(b, a, atol=1e-6)


def _train_tiny(strategy, optimizer_name, run_dir):
    """Four steps of a two-layer net on a global batch of eight, the fourth also after a restart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=[24, 3]).astype(np.float32)

    def one_worker(context):
        size = context.get_per_replica_batch_size(8)
        return tf.data.Dataset.from_tensor_slices({"x": x, "y": x[:, 0] * 3}).batch(size).repeat()

    def opened(seed):
        keras.utils.set_random_seed(seed)
        with strategy.scope():
            inputs = keras.Input([3])
            hidden = keras.layers.Dense(4, activation="tanh")(inputs)
            model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
            optimizer = make_optimizer(optimizer_name, 0.1, 100, weight_decay=0.1, momentum=0.9)
            saved = open_checkpoints(run_dir, model, optimizer, is_writing=True)
            saved.restore_latest()

        def losses_of(batch):
            error = model(batch["x"], training=True)[:, 0] - batch["y"]
            return {"square": tf.square(error), "absolute": tf.abs(error)}

        step = make_train_step(strategy, losses_of, model.trainable_variables, optimizer, 8)
        return model, saved, step, iter(strategy.distribute_datasets_from_function(one_worker))

    model, saved, step, batches = opened(seed=0)
    first = model.get_weights()[0].tolist()
    terms = [terms_of(step(batches)) for _ in range(3)]
    saved.save(3)
    terms.append(terms_of(step(batches)))
    # The data repeat after three batches: the fourth is the first of a new iterator.
    restarted, _, step, batches = opened(seed=1)
    step(batches)
    return {
        "replicas": strategy.num_replicas_in_sync,
        "losses": [[t["square"], t["absolute"]] for t in terms],
        "first_weights": first,
        "weights": [w.tolist() for w in model.get_weights()],
        "restarted_weights": [w.tolist() for w in restarted.get_weights()],
    }


def _compare_replicas(folder):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategies = {
        "one": tf.distribute.OneDeviceStrategy("CPU:0"),
        "two": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    }
    return {
        name: {
            how: _train_tiny(strategy, name, f"{folder}/{name}_{how}")
            for how, strategy in strategies.items()
        }
        for name in _OPTIMIZERS
    }


if __name__ == "__main__":
    print(json.dumps(_compare_replicas(sys.argv[1])))
