"""Pictures with nothing to learn from, or very much, through records and a step of each task."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import input_pipeline, schema
from data_pipeline.labelled_picture import LabelledPicture
from rpe_tf.optimizers import make_optimizer
from rpe_tf.tasks import TASKS
from rpe_tf.train_step import make_train_step

_SIDE = 60
_NET = {"backbone": "encoder_decoder", "width": 8, "num_levels": 2, "num_blocks": 1}
_RESNET = {"backbone": "resnet14", "width": 8, "output_stride": 8, "stem_stride": 4}
_MODELS = {
    "proposals": {**_NET, "norm": "group", "embedding_dim": 4},
    "semantic": {**_NET, "norm": "batch", "embedding_dim": 4, "num_classes": 3},
    "instances": {**_NET, "norm": "group", "embedding_dim": 4, "num_classes": 3},
    "boundary": {**_RESNET, "norm": "group", "embedding_dim": 3},
}
_LOSS = {"margin": 0.5, "num_loops": 1, "concentration": 36.0, "num_pixels": 500}
_CLASSES = {"cross_entropy_weight": 1.0, "embedding_weight": 1.0}


def _noise():
    return np.random.default_rng(0).integers(0, 256, [_SIDE, _SIDE, 3], dtype=np.uint8)


def _many():
    """300 instances of 9 pixels each, side by side."""
    row, column = np.mgrid[:_SIDE, :_SIDE] // 3
    number = 1 + row * (_SIDE // 3) + column
    return np.where(number <= 300, number, 0).astype(np.int32)


def _square():
    instance = np.zeros([_SIDE, _SIDE], np.int32)
    instance[10:30, 10:40] = 1
    return instance


_PICTURES = {
    "no instance": (_noise(), np.zeros([_SIDE, _SIDE], np.int32)),
    "300 instances": (_noise(), _many()),
    "one instance everywhere": (_noise(), np.ones([_SIDE, _SIDE], np.int32)),
    "black": (np.zeros([_SIDE, _SIDE, 3], np.uint8), _square()),
    "white": (np.full([_SIDE, _SIDE, 3], 255, np.uint8), _square()),
    "all void": (_noise(), np.full([_SIDE, _SIDE], -1, np.int32)),
    "one pixel": (_noise()[:1, :1], np.ones([1, 1], np.int32)),
}


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Batches of one, each picture once, by way of records; always in the same order."""
    path = str(tmp_path_factory.mktemp("odd") / "odd.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for name, (image, instance) in _PICTURES.items():
            writer.write(schema.encode_example(LabelledPicture(image, instance), name))
    return input_pipeline.training_dataset(
        *([path],),
        **{"num_examples": [len(_PICTURES)], "batch_size": 1, "seed": 0, "stride": 4},
        boundary_agreement="1",
    ).take(len(_PICTURES))


def _step(task):
    """A function of batches that makes a step, and what it trains."""
    keras.utils.set_random_seed(0)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = TASKS[task].build_model(**_MODELS[task])
        loss = _LOSS | (_CLASSES if TASKS[task].loss else {})
        training_model = TASKS[task].build_training_model(model, loss, False)
        optimizer = make_optimizer("adamw", 1e-3, 10, weight_decay=0.0, momentum=0.9)
    variables = model.trainable_variables
    step = make_train_step(
        *(strategy, lambda batch: TASKS[task].loss_terms(training_model, batch)),
        *(variables, optimizer, 1),
    )
    return step, model


@pytest.mark.parametrize("task", TASKS)
def test_a_step_on_any_picture_has_finite_losses_and_leaves_finite_weights(task, batches):
    step, model = _step(task)
    names = [batch["name"].numpy()[0].decode() for batch in batches]
    assert sorted(names) == sorted(_PICTURES)
    iterator = iter(batches)
    for name in names:
        results = step(iterator)
        assert results.is_finite.all(), (name, results.terms)
        for weight in model.weights:
            assert np.isfinite(weight.numpy()).all(), (name, weight.name)
        if name == "all void":
            values = {key: float(value[0]) for key, value in results.terms.items()}
            assert values == dict.fromkeys(values, 0.0)


def test_ids_past_255_come_through_records_apart(batches):
    found = next(x["instance"][0] for x in batches if x["name"][0] == b"300 instances")
    np.testing.assert_array_equal(found, _many())
    assert len(np.unique(found)) == 301
