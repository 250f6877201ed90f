"""The paper's figures from tiny runs: what is drawn, what is left out and why, and the command."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipeline import schema
from data_pipeline.labelled_picture import LabelledPicture
from rpe_tf.figures import embedding_pictures, paper, trained_run
from rpe_tf.tasks import TASKS

_SIDE = 24
_LOSS = {"margin": 0.5, "concentration": 36.0, "num_loops": 1}
_READ_OUT = {"concentration": 36.0, "mode_cosine": 0.95, "max_loops": 10, "min_area": 4}
_NET = {"width": 8, "num_levels": 2, "num_blocks": 1}


def _write_shards(folder):
    """Three pictures of two rectangles of classes 1 and 2."""
    with tf.io.TFRecordWriter(str(folder / "test-00000-of-00001.tfrecord")) as writer:
        for k in range(3):
            instance = np.zeros([_SIDE, _SIDE], np.int32)
            instance[4 : 10 + k, 4:20], instance[14:20, 4:20] = 1, 2
            image = np.stack([60 * instance, 200 - 50 * instance, 30 + instance], axis=-1)
            picture = LabelledPicture(image.astype(np.uint8), instance, instance, None, None)
            writer.write(schema.encode_example(picture, f"picture_{k}"))
    return f"{folder}/test-*"


def _make_run(folder, task, patterns, embedding_dim, **loss):
    model = {"embedding_dim": embedding_dim, "backbone": "encoder_decoder", **_NET}
    if task != "proposals":
        model["num_classes"] = 3
    os.makedirs(folder / "checkpoints")
    settings = {
        **{"format": 1, "task": task, "model": model, "loss": {**_LOSS, **loss}},
        **{"read_out": {} if task == "semantic" else _READ_OUT, "data": {"eval_shards": patterns}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    keras.utils.set_random_seed(embedding_dim)
    net = TASKS[task].build_model(**model)
    step = tf.Variable(5, dtype=tf.int64, name="step")
    checkpoint = tf.train.Checkpoint(model=net, step=step)
    checkpoint.write(str(folder / "checkpoints" / "step-5"))
    return str(folder)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    pattern = _write_shards(folder)
    weights = {"semantic": 1.0, "plain": 0.0}
    runs = {
        f"{name}_run": _make_run(
            *(folder / name, "semantic", [pattern], 4), embedding_weight=weight
        )
        for name, weight in weights.items()
    }
    runs["run_dir"] = _make_run(folder / "digits", "proposals", [pattern], 16)
    runs["sphere_run"] = _make_run(folder / "sphere", "proposals", [pattern], 3)
    return paper.Sources(**runs, num_pictures=3)


def test_figures_of_runs_are_written_as_png_and_svg(sources, tmp_path):
    names = [x for x, figure in paper.FIGURES.items() if figure.needs]
    names = [x for x in names if "boundary_run" not in paper.FIGURES[x].needs]
    assert names == ["fig1", "fig4", "fig5", "fig9", "fig10", "fig11", "fig12"]
    numbers = paper.draw_figures(sources, str(tmp_path), names)
    for name in names:
        files = {f"{paper.FIGURES[name].file}.{suffix}" for suffix in ("png", "svg")}
        assert {os.path.basename(path) for path in numbers[name]["files"]} == files
        assert isinstance(numbers[name]["holds"], bool)
        picture = np.asarray(Image.open(tmp_path / f"{paper.FIGURES[name].file}.png").convert("L"))
        assert np.ptp(picture) > 100
    assert len(list(tmp_path.iterdir())) == 2 * len(names)
    json.dumps(numbers)  # Nothing of NumPy is left in them.
    assert numbers["fig5"]["num_pictures"] == numbers["fig12"]["num_pictures"] == 3
    assert len(numbers["fig12"]["overlap_by_loop"]) == 11
    angles = numbers["fig1"]["median_angle_degrees"]
    assert len(angles) == 4 and all(0 <= x < 180 for x in angles)


def test_a_figure_without_its_run_is_left_out_and_says_what_to_give(sources, tmp_path):
    found = paper.draw_figures(sources._replace(plain_run=None), str(tmp_path), ["fig9", "fig14"])
    assert found["fig9"] == {
        "skipped": "give --plain_run=… (train_main.py --task=semantic --embedding_weight=0)"
    }
    line = paper.describe("fig14", found["fig14"])
    assert line.startswith("fig14    skipped: give --boundary_run=… (train_main.py --flagfile=")
    assert not list(tmp_path.iterdir())


def test_describe_says_what_holds():
    assert paper.describe("fig2", {"holds": True, "statement": "a"}) == "fig2     holds: a"
    assert "DOES NOT HOLD" in paper.describe("fig2", {"holds": False, "statement": "a"})


def test_unknown_figures_and_unfit_runs_are_refused(sources, tmp_path):
    draw = paper.draw_figures
    with pytest.raises(ValueError, match="no figure fig3; there are fig1, fig2"):
        draw(sources, str(tmp_path), ["fig3"])
    with pytest.raises(ValueError, match="has task semantic, this figure is of task proposals"):
        draw(sources._replace(run_dir=sources.plain_run), str(tmp_path), ["fig1"])
    with pytest.raises(ValueError, match="has --embedding_dim=16; the sphere needs one of 3"):
        draw(sources._replace(sphere_run=sources.run_dir), str(tmp_path), ["fig4"])
    with pytest.raises(ValueError, match="was trained with the embedding loss"):
        draw(sources._replace(plain_run=sources.semantic_run), str(tmp_path), ["fig9"])


def test_median_angle_by_hand():
    # Instance 0: 0°, 0°, 90° has its mean direction at atan ½ = 26.57°, and these pixels are the
    # median; instance 1 is one point; void does not count.
    degrees = np.radians([[0.0, 0.0, 90.0, 30.0, 30.0, 77.0]])
    embedding = np.stack([np.cos(degrees), np.sin(degrees)], axis=-1)
    found = embedding_pictures.median_angle(embedding, np.array([[0, 0, 0, 1, 1, -1]]))
    assert found == pytest.approx((np.degrees(np.arctan(0.5)) + 0.0) / 2, abs=1e-5)
    assert np.isnan(embedding_pictures.median_angle(embedding, np.full([1, 6], -1)))


def test_crop_takes_the_middle():
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    example = trained_run.Example(image, image[..., 0], image[..., 1])
    cut, embedding = trained_run.crop(example, image[..., :2], side=4)
    np.testing.assert_array_equal(cut.image, image[1:5, 2:6])
    np.testing.assert_array_equal(cut.semantic, image[1:5, 2:6, 1])
    np.testing.assert_array_equal(embedding, image[1:5, 2:6, :2])


def test_labels_are_those_of_the_loss():
    instance = np.array([[0, 1, -1]])
    for is_void, expected in ((False, [[0, 1, -1]]), (True, [[-1, 1, -1]])):
        net = trained_run.TrainedNet(None, {"loss": {"foreground_only": is_void}}, "run")
        np.testing.assert_array_equal(net.labels(instance), expected)


def test_an_export_serves_as_run():
    export = pathlib.Path(__file__).parents[2] / "rpe_tf/pretrained/nuclei"
    if not export.exists():
        pytest.skip(f"{export} is not here")
    net = trained_run.load_net(str(export))
    found = net.predict(np.zeros([32, 40, 3], np.uint8))
    assert found["embedding"].shape == (32, 40, net.embedding_dim)
    assert found["instance"].shape == found["semantic"].shape == (32, 40)
    with pytest.raises(ValueError, match="no shard matches"):
        trained_run.read_examples(net, "/nowhere/x-*", 1)
    bare = net._replace(settings={"data": {"eval_shards": []}})
    with pytest.raises(ValueError, match="names no eval_shards; give --shards"):
        trained_run.read_examples(bare, None, 1)


def test_the_command_draws_says_and_keeps_earlier_numbers(tmp_path):
    (tmp_path / "numbers.json").write_text('{"fig13": {"holds": true}}')
    command = [sys.executable, "-m", "rpe_tf.figures.paper_main", f"--output_dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--only=fig2,fig1"], capture_output=True, text=True, check=True
    )
    assert "fig2     holds: slope" in done.stdout
    assert "fig1     skipped: give --run_dir=…" in done.stdout
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert list(numbers) == ["fig13", "fig2"]
    assert (tmp_path / "fig2_pair_loss.svg").exists()
