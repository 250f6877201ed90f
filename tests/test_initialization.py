import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import digit_shards, digits
from export import signatures, version_folder
from export.trained_run import restore_run
from rpe_tf import checkpoints, run_folder
from rpe_tf.initialization import Source, initialize, match_layers, read_variables
from rpe_tf.optimizers import make_optimizer
from rpe_tf.tasks import TASKS

_SMALL = {
    **{"embedding_dim": 4, "backbone": "encoder_decoder"},
    **{"width": 8, "num_levels": 2, "num_blocks": 1},
}
_RESNET = {"embedding_dim": 4, "backbone": "resnet14", "width": 8, "norm": "batch"}
_CLASSES = {**_SMALL, "num_classes": 3}
_READ_OUT = {
    "proposals": {
        **{"concentration": 60.0, "mode_cosine": 0.9, "max_loops": 30, "min_area": 20},
        "background": "border",
    },
    "boundary": {"scales": [1.0]},
    "semantic": {},
}
_PICTURE = np.random.default_rng(0).integers(0, 256, [1, 12, 17, 3], np.uint8)


def build(task, arguments, seed=2):
    keras.utils.set_random_seed(seed)
    return TASKS[task].build_model(**arguments)


def one_step(model, optimizer):
    optimizer.apply_gradients([(tf.ones_like(x), x) for x in model.trainable_variables])


def make_run(run_dir, task="proposals", arguments=_SMALL, steps=(7,)):
    """(run folder, its model): a checkpoint of each step, with an optimizer that has moments."""
    settings = {"task": task, "model": arguments, "read_out": _READ_OUT[task]}
    run_folder.write_settings(str(run_dir), settings)
    model = build(task, arguments, seed=1)
    optimizer = make_optimizer("adamw", 0.1, 100, weight_decay=0.01, momentum=0.9)
    saved = checkpoints.open_checkpoints(str(run_dir), model, optimizer, True)
    for step in steps:
        tf.distribute.get_strategy().run(one_step, [model, optimizer])
        # Every weight gets a value of its own, moments of BatchNorm too.
        rng = np.random.default_rng(step)
        model.set_weights([x + rng.uniform(0.1, 0.3, x.shape) for x in model.get_weights()])
        saved.save(step)
    return str(run_dir), model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(folder of versions, the model)."""
    folder = tmp_path_factory.mktemp("exported")
    run_dir, model = make_run(folder / "run")
    export_dir = str(folder / "export")
    version_folder.write_version(restore_run(run_dir), export_dir, version=None, metrics={})
    return export_dir, model


@pytest.fixture(params=["run", "export"])
def source_and_model(request, tmp_path, exported):
    return make_run(tmp_path) if request.param == "run" else exported


def weights_by_layer(model):
    return {x.name: x.get_weights() for x in model.layers if x.weights}


def check_layers(model, other, names):
    ours, theirs = weights_by_layer(model), weights_by_layer(other)
    assert names
    for name in names:
        for a, b in zip(ours[name], theirs[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_initialize_gives_an_equal_model_the_same_outputs(source_and_model):
    source, trained = source_and_model
    model = build("proposals", _SMALL)
    assert np.abs(model(_PICTURE) - trained(_PICTURE)).max() > 0.01
    report = initialize(model, source)
    np.testing.assert_array_equal(model(_PICTURE), trained(_PICTURE))
    assert report.taken == tuple(weights_by_layer(model))
    assert (report.left, report.unused) == ({}, {})


def test_initialize_takes_the_newest_checkpoint(tmp_path):
    source, trained = make_run(tmp_path, steps=(9, 10))
    model = build("proposals", _SMALL)
    assert initialize(model, source).path.endswith("step-10")
    check_layers(model, trained, weights_by_layer(model))


def test_initialize_takes_the_largest_version_or_the_one_given(exported, tmp_path):
    version, trained = f"{exported[0]}/1", exported[1]
    source = str(tmp_path)
    shutil.copytree(version, f"{source}/2")
    shutil.copytree(version, f"{source}/10")
    assert initialize(build("proposals", _SMALL), source).path == f"{source}/10"
    model = build("proposals", _SMALL)
    assert initialize(model, f"{source}/2").path == f"{source}/2"
    check_layers(model, trained, weights_by_layer(model))


def test_initialize_leaves_a_head_of_another_dimension(source_and_model, caplog):
    source, trained = source_and_model
    model, untouched = (build("proposals", {**_SMALL, "embedding_dim": 6}) for _ in range(2))
    with caplog.at_level(logging.INFO, logger="absl"):
        report = initialize(model, source)
    # Width 8: the head is a 1×1 convolution from 8 channels to D.
    assert report.left == {"embedding_conv": "kernel has shape (1, 1, 8, 6), there (1, 1, 8, 4)"}
    assert report.unused == {"embedding_conv": "kernel has shape (1, 1, 8, 4), there (1, 1, 8, 6)"}
    backbone = set(weights_by_layer(model)) - {"embedding_conv"}
    assert set(report.taken) == backbone
    check_layers(model, trained, backbone)
    check_layers(model, untouched, ["embedding_conv"])
    num_layers = len(backbone) + 1
    assert f"{num_layers - 1} of {num_layers} layers taken from {source}" in caplog.text
    assert "left at random: embedding_conv (kernel has shape (1, 1, 8, 6)" in caplog.text
    assert "not used: embedding_conv (kernel has shape (1, 1, 8, 4)" in caplog.text


def test_initialize_leaves_a_class_head_that_the_source_has_not_got(source_and_model):
    source, trained = source_and_model
    model, untouched = (build("semantic", _CLASSES) for _ in range(2))
    report = initialize(model, source)
    assert report.left == {"class_conv": "no layer of that name"}
    assert report.unused == {}
    check_layers(model, trained, report.taken)
    check_layers(model, untouched, ["class_conv"])


def test_initialize_lists_a_class_head_that_the_model_has_not_got(tmp_path):
    source, trained = make_run(tmp_path, "semantic", _CLASSES)
    model = build("proposals", _SMALL)
    report = initialize(model, source)
    assert report.left == {}
    assert report.unused == {"class_conv": "no layer of that name"}
    check_layers(model, trained, weights_by_layer(model))


def test_initialize_leaves_a_head_of_other_classes(tmp_path):
    source, _ = make_run(tmp_path, "semantic", _CLASSES)
    report = initialize(build("semantic", {**_SMALL, "num_classes": 5}), source)
    assert report.left == {"class_conv": "kernel has shape (1, 1, 8, 5), there (1, 1, 8, 3)"}


def test_initialize_takes_the_backbone_of_a_run_on_boundaries(tmp_path):
    source, trained = make_run(tmp_path, "boundary", _RESNET)
    model = build("proposals", _RESNET)
    report = initialize(model, source)
    assert list(report.left) == ["embedding_conv"]
    assert {"branch2_conv", "logit5", "fusion"} <= set(report.unused)
    assert all(name.startswith(("branch", "logit", "fusion")) for name in report.unused)
    check_layers(model, trained, report.taken)


def test_initialize_reads_what_a_strategy_wrote_and_sets_what_it_made(tmp_path):
    strategy = tf.distribute.MirroredStrategy(["cpu:0"])
    with strategy.scope():
        source, trained = make_run(tmp_path)
        model = build("proposals", _SMALL)
        report = initialize(model, source)
    assert (report.left, report.unused) == ({}, {})
    check_layers(model, trained, weights_by_layer(model))


def test_initialize_sets_nothing_where_nothing_fits(source_and_model):
    source, _ = source_and_model
    model, untouched = (build("proposals", _RESNET) for _ in range(2))
    with pytest.raises(ValueError, match="no layer fits") as error:
        initialize(model, source)
    message = str(error.value)
    # Stem, 4 blocks of 3, 4 projections: 17 convolutions with norms; and the head.
    assert "the model looks for 35 layers (conv1_conv, " in message
    assert "has 13 layers (stem_conv, " in message and "'width': 8" in message
    # D is the same, but the last stage has 8 · 2^5 channels.
    assert "embedding_conv kernel has shape (1, 1, 256, 4), there (1, 1, 8, 4)" in message
    check_layers(model, untouched, weights_by_layer(model))


def test_initialize_goes_by_names_whatever_the_order_in_the_file(tmp_path):
    trained = build("proposals", _SMALL, seed=1)
    module = tf.Module()
    module.model_variables = signatures.tf_variables(trained)[::-1]
    tf.saved_model.save(module, str(tmp_path))
    (tmp_path / "model_info.json").write_text(json.dumps({"settings": {"model": _SMALL}}))
    model = build("proposals", _SMALL)
    assert initialize(model, tmp_path).left == {}
    check_layers(model, trained, weights_by_layer(model))


def test_initialize_warns_of_pictures_of_another_scale(tmp_path, caplog):
    source, _ = make_run(tmp_path, arguments={**_SMALL, "scaling": "picture"})
    initialize(build("proposals", {**_SMALL, "scaling": "picture"}), source)
    assert "scaled" not in caplog.text
    initialize(build("proposals", _SMALL), source)
    assert "trained on pictures scaled 'picture', the model scales 'unit'" in caplog.text


def test_initialize_names_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path}/gone"):
        initialize(build("proposals", _SMALL), tmp_path / "gone")


def test_initialize_says_what_an_empty_folder_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither a run .* nor an export"):
        initialize(build("proposals", _SMALL), tmp_path)


def test_initialize_needs_a_checkpoint_of_a_run(tmp_path):
    source, _ = make_run(tmp_path, steps=())
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no checkpoint"):
        initialize(build("proposals", _SMALL), source)


def test_initialize_refuses_a_model_of_another_program(tmp_path):
    module = tf.Module()
    module.model_variables = [tf.Variable([1.0], name="embedding_conv/kernel")]
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ValueError, match=r"model_info\.json cannot be read .*export_main"):
        initialize(build("proposals", _SMALL), tmp_path)
    module.model_variables = []
    tf.saved_model.save(module, str(tmp_path))
    (tmp_path / "model_info.json").write_text(json.dumps({"settings": {}}))
    with pytest.raises(ValueError, match="holds no 'model_variables'"):
        initialize(build("proposals", _SMALL), tmp_path)


@pytest.mark.parametrize("ending, kept", [("index", 50), ("data-00000-of-00001", 1000)])
def test_initialize_names_a_damaged_checkpoint(tmp_path, ending, kept):
    source, _ = make_run(tmp_path)
    path = tmp_path / "checkpoints" / f"step-7.{ending}"
    path.write_bytes(path.read_bytes()[:kept])
    model, untouched = (build("proposals", _SMALL) for _ in range(2))
    with pytest.raises(ValueError, match="step-7 cannot be read as a checkpoint"):
        initialize(model, source)
    check_layers(model, untouched, weights_by_layer(model))


def test_read_variables_goes_by_names_whatever_the_tree_and_its_order(tmp_path):
    tree = tf.Module()
    tree.any_list = [
        tf.Variable([3.0], name="head/bias"),
        tf.Variable([[1.0, 2.0]], name="stem/kernel"),
    ]
    tree.deeper = tf.Module()
    tree.deeper.x = tf.Variable([4.0], name="head/kernel")
    moments = tf.Variable([[9.0, 9.0]], name="stem/kernel")  # of the same name, elsewhere
    path = tf.train.Checkpoint(model=tree, optimizer=tf.train.Checkpoint(m=moments)).write(
        os.fspath(tmp_path / "saved")
    )
    found = read_variables(path, "model")
    assert {name: {k: x.tolist() for k, x in layer.items()} for name, layer in found.items()} == {
        "head": {"bias": [3.0], "kernel": [4.0]},
        "stem": {"kernel": [[1.0, 2.0]]},
    }


def test_match_layers_takes_a_layer_whole_or_not_at_all():
    arrays = {
        "same": {"kernel": np.zeros([2, 3]), "bias": np.zeros(3)},
        "wider": {"kernel": np.zeros([2, 3]), "bias": np.zeros(3)},
        "biased": {"kernel": np.zeros([2, 3]), "bias": np.zeros(3)},
        "extra": {"kernel": np.zeros([1])},
    }
    shapes = {
        "same": {"bias": (3,), "kernel": (2, 3)},  # the order within a layer says nothing
        "wider": {"kernel": (2, 3), "bias": (4,)},
        "biased": {"kernel": (2, 3)},
        "new": {"kernel": (1,)},
    }
    report = match_layers(Source("there", {}, arrays), shapes)
    assert report.taken == ("same",)
    assert report.left == {
        "wider": "bias has shape (4,), there (3,)",
        "biased": "has kernel, there bias, kernel",
        "new": "no layer of that name",
    }
    assert report.unused == {
        "wider": "bias has shape (3,), there (4,)",
        "biased": "has bias, kernel, there kernel",
        "extra": "no layer of that name",
    }


def test_train_main_starts_from_a_source_but_not_where_a_run_goes_on(tmp_path):
    source, trained = make_run(tmp_path / "source")
    scans, classes, is_test = digits.load_scans("sklearn", None)
    digit_shards.write_digit_shards(
        *(str(tmp_path), scans, classes, is_test),
        **{"num_train": 4, "num_test": 1, "num_shards": 1, "seed": 0, "scene_size": 64},
        **{"same_class_fraction": 0.3, "min_digits": 1, "source": "sklearn"},
    )

    def start(init_from, num_steps):
        command = [
            *(sys.executable, "train_main.py", f"--run_dir={tmp_path}/run"),
            *(f"--train_shards={tmp_path}/train-*", f"--init_from={init_from}"),
            *("--embedding_dim=4", "--width=8", "--num_levels=2", "--num_blocks=1"),
            *("--batch_size=2", "--crop_size=32,32", "--num_pixels=16", "--num_loops=0"),
            # So slowly that weights hardly leave where they started.
            *("--optimizer=sgd", "--learning_rate=1e-9", f"--num_steps={num_steps}"),
        ]
        root = pathlib.Path(__file__).parents[1]
        ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240)
        assert ended.returncode == 0, ended.stderr
        return ended.stderr

    assert "13 of 13 layers taken from" in start(source, 1)
    model = build("proposals", _SMALL)
    assert checkpoints.restore_weights(str(tmp_path / "run"), model) == 1
    for ours, theirs in zip(model.trainable_variables, trained.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # A source that is not there would stop a new run.
    said = start(tmp_path / "gone", 2)
    assert "going on from step 1" in said and "layers taken from" not in said
