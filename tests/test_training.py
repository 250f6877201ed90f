"""The training step and loop. Run as a program, it compares two replicas with one device."""

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
from rpe_tf.training import NonFiniteError, check_finite, make_train_step, train

_ROOT = pathlib.Path(__file__).parents[1]
_HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None
_OPTIMIZERS = ["sgd", "adamw"] + ["LAMB"] * _HAS_ADDONS


def linear_step(global_batch_size=4, num_terms=1):
    """A step on the loss (w x)² of each x, w at first 1, by plain gradient descent of rate 0.1."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        weight = tf.Variable(1.0)
        optimizer = make_optimizer("sgd", 0.1, 10**9, weight_decay=0.0, momentum=0.0)

    def losses_of(batch):
        loss = tf.square(weight * batch["x"])
        return {f"loss_loop_{k}": (k + 1) * loss for k in range(num_terms)}

    step = make_train_step(strategy, losses_of, [weight], optimizer, global_batch_size)
    return weight, step


def batches_of(*batches):
    return iter(tf.data.Dataset.from_tensor_slices({"x": tf.constant(batches, tf.float32)}))


def test_make_train_step_value_by_hand():
    weight, step = linear_step()
    terms = step(batches_of([1, 2, 3, 4]))
    # Mean of x² is (1 + 4 + 9 + 16)/4 = 7.5; d/dw of 7.5 w² at w = 1 is 15.
    assert {name: float(x) for name, x in terms.items()} == {
        "loss_loop_0": pytest.approx(7.5),
        "gradient_norm": pytest.approx(15.0),
    }
    assert float(weight) == pytest.approx(1 - 0.1 * 15)


def test_make_train_step_trains_on_the_sum_of_terms_and_reports_each():
    weight, step = linear_step(num_terms=2)
    terms = step(batches_of([1, 2, 3, 4]))
    assert float(terms["loss_loop_0"]) == pytest.approx(7.5)
    assert float(terms["loss_loop_1"]) == pytest.approx(2 * 7.5)
    assert float(weight) == pytest.approx(1 - 0.1 * 3 * 15, rel=1e-5)


def test_make_train_step_divides_by_the_global_batch():
    # Four pictures of a batch of eight: the other replica's half is missing from the sum.
    weight, step = linear_step(global_batch_size=8)
    assert float(step(batches_of([1, 2, 3, 4]))["loss_loop_0"]) == pytest.approx(7.5 / 2)
    assert float(weight) == pytest.approx(1 - 0.1 * 15 / 2)


def test_make_train_step_takes_the_next_batch_of_the_iterator():
    _, step = linear_step(global_batch_size=1)
    batches = batches_of([3.0], [0.0])
    assert float(step(batches)["loss_loop_0"]) == pytest.approx(9.0)
    assert float(step(batches)["loss_loop_0"]) == 0.0


class Loop:
    """Runs `train` on made-up terms, and records what it reports and saves."""

    def __init__(self, terms_at=lambda step: {"loss_loop_0": float(step)}):
        self.reports, self.saved, self.taken, self.terms_at = [], [], 0, terms_at

    def run(self, start_step, num_steps, report_every=3, save_every=4, total_steps=20):
        self.taken = start_step

        def train_step(batches):
            self.taken = next(batches)
            return {name: tf.constant(x) for name, x in self.terms_at(self.taken).items()}

        train(
            train_step,
            iter(range(start_step + 1, 100)),
            start_step=start_step,
            num_steps=num_steps,
            total_steps=total_steps,
            global_batch_size=8,
            report=self.reports.append,
            report_every=report_every,
            save=self.saved.append,
            save_every=save_every,
        )
        return self


def test_train_reports_and_saves_on_the_way_and_at_the_end():
    loop = Loop().run(0, 10)
    assert loop.taken == 10
    assert [report.step for report in loop.reports] == [3, 6, 9, 10]
    assert loop.saved == [4, 8, 10]


def test_train_reports_means_since_the_last_report():
    means = [report.terms["loss_loop_0"] for report in Loop().run(0, 7).reports]
    assert means == [(1 + 2 + 3) / 3, (4 + 5 + 6) / 3, 7.0]


def test_train_goes_on_from_its_start_step():
    loop = Loop().run(4, 8)
    # Multiples of report_every and save_every as in a run that was never stopped.
    assert [report.step for report in loop.reports] == [6, 8]
    assert [report.terms["loss_loop_0"] for report in loop.reports] == [(5 + 6) / 2, (7 + 8) / 2]
    assert loop.saved == [8]


@pytest.mark.parametrize("start_step", [8, 9])
def test_train_of_a_finished_run_does_nothing(start_step):
    loop = Loop().run(start_step, 8)
    assert (loop.taken, loop.reports, loop.saved) == (start_step, [], [])


def test_train_report_counts_to_the_end_of_the_run():
    reports = Loop().run(0, 6, total_steps=20).reports
    for report in reports:
        assert report.num_steps == 20
        assert report.seconds_left == pytest.approx((20 - report.step) * report.seconds_per_step)
        assert report.images_per_second == pytest.approx(8 / report.seconds_per_step)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_train_stops_at_the_first_term_that_is_not_finite_and_saves_nothing_after(value):
    # Step 8 would be saved and step 6 reported.
    for bad_step, saved, reported in ((8, [4], [3, 6]), (6, [4], [3]), (1, [], [])):
        loop = Loop(lambda step, bad=bad_step: {"a": 1.0, "b": value if step >= bad else 0.0})
        with pytest.raises(NonFiniteError, match=f"b is {value} at step {bad_step}\\."):
            loop.run(0, 20)
        assert loop.taken == bad_step
        assert loop.saved == saved
        assert [report.step for report in loop.reports] == reported


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_check_finite_names_the_first_bad_term_the_step_and_what_to_try(value):
    with pytest.raises(
        NonFiniteError, match=rf"^loss_loop_1 is {value} at step 12\. .*--learning_rate"
    ):
        check_finite({"loss_loop_0": 1.0, "loss_loop_1": value, "gradient_norm": value}, 12)
    # The command turns arithmetic errors into one line.
    assert issubclass(NonFiniteError, ArithmeticError)


def test_check_finite_lets_large_numbers_pass():
    assert check_finite({"loss_loop_0": 3e38, "gradient_norm": -1e-45, "zero": 0.0}, 1) is None


def test_make_train_step_reports_a_gradient_that_is_not_finite():
    # √|w| has the value 0 at w = 0, and no finite slope.
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        weight = tf.Variable(0.0)
        optimizer = make_optimizer("sgd", 0.1, 10, weight_decay=0.0, momentum=0.0)
    step = make_train_step(
        strategy,
        lambda batch: {"root": tf.sqrt(weight) * batch["x"]},
        *([weight], optimizer, 1),
    )
    terms = {name: float(x) for name, x in step(batches_of([1.0])).items()}
    assert terms["root"] == 0.0
    with pytest.raises(NonFiniteError, match="gradient_norm is"):
        check_finite(terms, 1)


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
    terms = [step(batches) for _ in range(3)]
    saved.save(3)
    terms.append(step(batches))
    # The data repeat after three batches: the fourth is the first of a new iterator.
    restarted, _, step, batches = opened(seed=1)
    step(batches)
    return {
        "replicas": strategy.num_replicas_in_sync,
        "losses": [[float(t["square"]), float(t["absolute"])] for t in terms],
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
