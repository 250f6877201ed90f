"""The loss layer that learns how it groups, and its ways to choose pairs."""

import math

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from rpe_tf.core.grouping_loss import map_grouping_loss
from rpe_tf.models.layers import EmbeddingLoss

LOSS = {
    "margin": 0.4,
    "num_loops": 2,
    "concentration": 6.0,
    "step_size": 0.8,
    "num_pixels": 0,
}


def _labelled(batch=2, height=3, width=4, dim=3):
    rng = np.random.default_rng(1)
    embedding = rng.normal(size=[batch, height, width, dim])
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    instance = rng.integers(-1, 3, [batch, height, width]).astype(np.int32)
    seed = rng.integers(0, 1000, [batch, 2]).astype(np.int32)
    return [tf.constant(x) for x in (embedding.astype(np.float32), instance, seed)]


def _oracle(inputs, concentration, step_size):
    """Returns the losses summed over pictures and loops, in float64."""
    total = 0.0
    for embedding, instance in zip(*(x.numpy() for x in inputs[:2]), strict=True):
        used = instance >= 0
        for loop in range(LOSS["num_loops"] + 1):
            points = oracles.mean_shift(embedding[used], concentration, loop, step_size)
            total += oracles.pair_loss(points, instance[used], LOSS["margin"])
    return total


def _training_model(**arguments):
    inputs = [
        keras.Input([None, None, 3], name="embedding"),
        keras.Input([None, None], dtype="int32", name="instance"),
        keras.Input([2], dtype="int32", name="seed"),
    ]
    layer = EmbeddingLoss(LOSS, learn_grouping=True, name="embedding_loss", **arguments)
    return keras.Model(inputs, layer(inputs)), layer


def test_learned_grouping_starts_at_the_given_values():
    plain, learned = EmbeddingLoss(LOSS), EmbeddingLoss(LOSS, learn_grouping=True)
    assert float(learned.concentration) == pytest.approx(6.0)
    assert float(learned.step_size) == pytest.approx(0.8)
    assert (plain.concentration, plain.step_size) == (6.0, 0.8)
    assert (len(plain.weights), len(learned.trainable_variables)) == (0, 2)
    # Weights of 0: weight decay then pulls to the given values.
    assert all(float(w) == 0.0 for w in learned.weights)
    inputs = _labelled()
    np.testing.assert_allclose(learned(inputs), plain(inputs), rtol=1e-5)


def test_learned_grouping_has_the_gradients_of_log_concentration_and_logit_of_the_step():
    layer, inputs = EmbeddingLoss(LOSS, learn_grouping=True), _labelled()
    factor, shift = layer.trainable_variables
    factor.assign(0.3)
    shift.assign(-0.5)

    def step_size_at(b):
        return 1 / (1 + math.exp(-(b + math.log(0.8 / 0.2))))

    assert float(layer.concentration) == pytest.approx(6.0 * math.exp(0.3), rel=1e-6)
    assert float(layer.step_size) == pytest.approx(step_size_at(-0.5), rel=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs))
    found = tape.gradient(loss, layer.trainable_variables)

    def oracle(a, b):
        return _oracle(inputs, 6.0 * math.exp(a), step_size_at(b))

    assert float(loss) == pytest.approx(oracle(0.3, -0.5), rel=1e-5)
    h = 1e-4
    by_a = (oracle(0.3 + h, -0.5) - oracle(0.3 - h, -0.5)) / (2 * h)
    by_b = (oracle(0.3, -0.5 + h) - oracle(0.3, -0.5 - h)) / (2 * h)
    assert min(abs(by_a), abs(by_b)) > 1e-3
    assert float(found[0]) == pytest.approx(by_a, rel=1e-3)
    assert float(found[1]) == pytest.approx(by_b, rel=1e-3)


def test_learned_grouping_leaves_a_full_step_as_it_is():
    layer = EmbeddingLoss({**LOSS, "step_size": 1.0}, learn_grouping=True)
    assert len(layer.trainable_variables) == 1
    assert layer.step_size == 1.0


def test_learned_grouping_is_trained_by_fit_and_lowers_the_loss():
    model, layer = _training_model()
    assert len(model.trainable_variables) == 2
    inputs = _labelled()
    before = float(tf.reduce_sum(model(inputs)))
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(inputs, epochs=5, batch_size=2, verbose=0)
    assert float(layer.concentration) != pytest.approx(6.0, abs=1e-3)
    assert 0.0 < float(layer.step_size) < 1.0
    assert float(tf.reduce_sum(model(inputs))) < before - 1e-3


def test_learned_grouping_comes_back_from_a_checkpoint_and_from_saved_weights(tmp_path):
    model, layer = _training_model()
    for variable, value in zip(layer.trainable_variables, (0.7, -0.2), strict=True):
        variable.assign(value)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    weights = str(tmp_path / "model.weights.h5")
    model.save_weights(weights)
    for restore in (
        lambda other: tf.train.Checkpoint(model=other).read(path).assert_consumed(),
        lambda other: other.load_weights(weights),
    ):
        other, other_layer = _training_model()
        restore(other)
        assert float(other_layer.concentration) == pytest.approx(6.0 * math.exp(0.7), rel=1e-6)
        assert float(other_layer.step_size) == pytest.approx(float(layer.step_size))


def test_learned_grouping_without_loops_has_its_weights_and_no_gradient():
    layer = EmbeddingLoss({**LOSS, "num_loops": 0}, learn_grouping=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(_labelled()))
    assert len(layer.trainable_variables) == 2
    assert all(g is None for g in tape.gradient(loss, list(layer.trainable_variables)))


def test_learned_grouping_in_a_replica_step():
    cpu = tf.config.list_logical_devices("CPU")[0].name
    strategy = tf.distribute.MirroredStrategy([cpu])
    with strategy.scope():
        model, layer = _training_model()
    inputs = _labelled()

    @tf.function
    def gradients():
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(inputs, training=True))
            return tape.gradient(loss, model.trainable_variables)

        return strategy.run(step)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs))
    expected = tape.gradient(loss, layer.trainable_variables)
    for a, b in zip(gradients(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_ways_to_choose_pairs_reach_the_loss():
    inputs = _labelled(height=6, width=8)
    # Sizes far apart, or an equal draw would be much like any other.
    sizes = np.random.default_rng(2).choice([-1, 0, 1, 2], [2, 6, 8], p=[0.1, 0.3, 0.1, 0.5])
    inputs[1] = tf.constant(sizes, tf.int32)
    options = {
        **{"radius": 2.5, "normalizer": "pairs", "equal_draw": True, "num_pixels": 15},
        **{"border_fraction": 0.5, "border_px": 1, "foreground_only": True},
    }
    layer = EmbeddingLoss({**LOSS, **options}, weight=3.0)
    expected = 3.0 * map_grouping_loss(*inputs, **{**LOSS, **options})
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-6)
    for name in options:
        if name in ("num_pixels", "border_px"):
            continue
        without = {k: v for k, v in options.items() if k != name}
        assert not np.allclose(EmbeddingLoss({**LOSS, **without}, 3.0)(inputs), expected), name


def test_layer_rebuilt_from_its_config_learns_too():
    layer = EmbeddingLoss({**LOSS, "radius": 2.0}, learn_grouping=True)
    rebuilt = keras.layers.deserialize(keras.layers.serialize(layer))
    assert rebuilt.get_config() == layer.get_config()
    assert len(rebuilt.trainable_variables) == 2
    np.testing.assert_array_equal(rebuilt(_labelled()), layer(_labelled()))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"radius": -2.0}, "radius must be 0 or more, got -2"),
        ({"concentration": 0.0}, "concentration must be above 0"),
        ({"step_size": 0.0}, "step_size must be in"),
        ({"border_fraction": -1.0}, "border_fraction must be in"),
        ({"num_pixels": 0, "equal_draw": True}, "num_pixels 0 takes all"),
    ],
)
def test_embedding_loss_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingLoss({**LOSS, **change}, learn_grouping=True)
