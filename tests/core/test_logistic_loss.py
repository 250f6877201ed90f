"""The class-balanced logistic loss."""

import numpy as np
import oracles
import pytest
import tensorflow as tf
from points import gradient_error

from rpe_tf.core.logistic_loss import balanced_logistic_loss


def test_balanced_logistic_loss_preset():
    # One boundary pixel at logit 0: −log ½ = log 2. Three others at logits 0, 0, log 3: −log(1 − ½)
    # twice, and −log(1 − ¾) = log 4: (2 log 2 + 2 log 2)/3. Void takes no part, whatever its logit.
    logit = tf.constant([[0.0, 0.0, 0.0, np.log(3.0), 50.0]], tf.float64)
    label = tf.constant([[1, 0, 0, 0, -1]])
    expected = 0.5 * np.log(2) + 0.5 * 4 * np.log(2) / 3
    assert balanced_logistic_loss(logit, label).numpy() == pytest.approx([expected])


def test_balanced_logistic_loss_equals_the_oracle():
    rng = np.random.default_rng(0)
    logit, label = rng.normal(0, 3, [4, 23]), rng.integers(-1, 2, [4, 23])
    found = balanced_logistic_loss(tf.constant(logit), tf.constant(label))
    expected = [oracles.logistic_loss(*pair) for pair in zip(logit, label, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_balanced_logistic_loss_jacobian():
    rng = np.random.default_rng(1)
    logit, label = rng.normal(size=[2, 9]), tf.constant(rng.integers(-1, 2, [2, 9]))
    assert gradient_error(lambda x: balanced_logistic_loss(x, label), logit) < 1e-6


def test_balanced_logistic_loss_relations():
    rng = np.random.default_rng(2)
    logit, label = rng.normal(size=[1, 12]), rng.integers(0, 2, [1, 12])
    loss = balanced_logistic_loss(tf.constant(logit), tf.constant(label)).numpy()
    # Either class counts the same: boundaries and others may change places.
    swapped = balanced_logistic_loss(tf.constant(-logit), tf.constant(1 - label))
    np.testing.assert_allclose(swapped, loss)
    # Repeating the pixels of one class changes nothing.
    more = np.concatenate([logit, logit[:, label[0] == 0]], axis=1)
    labels = np.concatenate([label, label[:, label[0] == 0]], axis=1)
    np.testing.assert_allclose(balanced_logistic_loss(tf.constant(more), tf.constant(labels)), loss)
    # Masked = left out; a permutation changes nothing.
    masked = np.where(np.arange(12) < 5, -1, label)
    np.testing.assert_allclose(
        balanced_logistic_loss(tf.constant(logit), tf.constant(masked)),
        balanced_logistic_loss(tf.constant(logit[:, 5:]), tf.constant(label[:, 5:])),
    )
    order = rng.permutation(12)
    permuted = balanced_logistic_loss(tf.constant(logit[:, order]), tf.constant(label[:, order]))
    np.testing.assert_allclose(permuted, loss)


@pytest.mark.parametrize(
    "label, expected", [([-1, -1], 0.0), ([1, 1], 0.5 * np.log(2)), ([0, -1], 0.5 * np.log(2))]
)
def test_balanced_logistic_loss_of_one_class_or_none(label, expected):
    logit = tf.zeros([1, 2], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(logit)
        loss = balanced_logistic_loss(logit, tf.constant([label]))
    assert loss.numpy() == pytest.approx([expected])
    assert np.isfinite(tape.gradient(loss, logit)).all()


def test_balanced_logistic_loss_of_large_logits_is_finite():
    loss = balanced_logistic_loss(tf.constant([[-1e4, 1e4]]), tf.constant([[1, 0]]))
    assert loss.numpy() == pytest.approx([1e4])
