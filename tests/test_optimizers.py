import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.optimizers import make_optimizer

HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None
needs_addons = pytest.mark.skipif(not HAS_ADDONS, reason="tensorflow-addons is not installed")


def moved_by(optimizer, gradient, start=0.0, step=0):
    """The weight after one step of a gradient, taken at that step of the run."""
    weight = tf.Variable(start)
    optimizer.iterations.assign(step)
    optimizer.apply_gradients([(tf.constant(gradient), weight)])
    return float(weight.numpy())


@pytest.mark.parametrize(
    "step, rate",
    [
        (0, 0.1),
        (50, 0.1 * (1 - 50 / 100) ** 0.9),
        (99, 0.1 * (1 - 99 / 100) ** 0.9),
        (100, 0.0),
        (120, 0.0),
    ],
)
def test_make_optimizer_rate_is_poly(step, rate):
    sgd = make_optimizer("sgd", 0.1, 100, weight_decay=0.0, momentum=0.0)
    np.testing.assert_allclose(moved_by(sgd, 1.0, step=step), -rate, atol=1e-7)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_make_optimizer_adam_moves_by_the_rate(name):
    # The first step of Adam is rate · g / |g|, whatever the gradient's size.
    adam = make_optimizer(name, 0.1, 100, weight_decay=0.0, momentum=0.0)
    np.testing.assert_allclose(moved_by(adam, 4.0), -0.1, atol=1e-5)


def test_make_optimizer_sgd_has_momentum():
    sgd = make_optimizer("sgd", 0.1, 10**9, weight_decay=0.0, momentum=0.5)
    weight = tf.Variable(0.0)
    for _ in range(2):
        sgd.apply_gradients([(tf.constant(1.0), weight)])
    # Velocities −0.1 and −0.1·0.5 − 0.1.
    np.testing.assert_allclose(weight.numpy(), -0.1 - 0.15, atol=1e-6)


@pytest.mark.parametrize(
    "name, expected", [("sgd", 2 - 0.1 * 0.5 * 2), ("adamw", 2 - 0.1 * 0.5 * 2), ("adam", 2.0)]
)
def test_make_optimizer_weight_decay_is_a_share_of_the_rate(name, expected):
    optimizer = make_optimizer(name, 0.1, 100, weight_decay=0.5, momentum=0.0)
    np.testing.assert_allclose(moved_by(optimizer, 0.0, start=2.0), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["adagradd", "", "Unknown", "weight_decay_optimizers"])
def test_make_optimizer_refuses_unknown_names(name):
    with pytest.raises(ValueError, match=f"optimizer must be one of sgd, .* got {name!r}"):
        make_optimizer(name, 0.1, 10, weight_decay=0.0, momentum=0.9)


@needs_addons
@pytest.mark.parametrize("name", ["LAMB", "RectifiedAdam"])
def test_make_optimizer_of_addons_takes_steps_on_the_poly_rate(name):
    optimizer = make_optimizer(name, 0.1, 100, weight_decay=0.0, momentum=0.9)
    assert moved_by(optimizer, 1.0, start=1.0) < 1.0
    done = make_optimizer(name, 0.1, 100, weight_decay=0.0, momentum=0.9)
    assert moved_by(done, 1.0, start=1.0, step=100) == 1.0


@needs_addons
def test_make_optimizer_of_addons_takes_weight_decay():
    decayed = make_optimizer("LAMB", 0.1, 100, weight_decay=0.5, momentum=0.9)
    plain = make_optimizer("LAMB", 0.1, 100, weight_decay=0.0, momentum=0.9)
    assert moved_by(decayed, 0.0, start=1.0) < moved_by(plain, 0.0, start=1.0) == 1.0


@needs_addons
@pytest.mark.parametrize("name", ["AdamW", "Lookahead", "SWA", "COCOB", "CyclicalLearningRate"])
def test_make_optimizer_of_addons_refuses_those_that_need_more_than_a_rate(name):
    # AdamW would take the rate for its weight decay, its first argument.
    with pytest.raises(ValueError, match=f"a learning rate is enough for.* got {name!r}"):
        make_optimizer(name, 0.1, 100, weight_decay=0.1, momentum=0.9)
