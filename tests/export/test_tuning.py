"""Read-out arguments are found where the picture says what they must be."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from export import tuning
from export.trained_run import TrainedRun, restore_run
from rpe_tf import run_folder
from tests.colour_model import GREEN, RED, colour_model, paint
from tests.export.conftest import INSTANCES, make_run

_ROOT = pathlib.Path(__file__).parents[2]
_ORANGE, _DIM_GREEN = (255, 140, 0), (0, 150, 0)
_READ_OUT = {
    **{"concentration": 2.0, "mode_cosine": 0.95, "max_loops": 50, "min_area": 5},
    "split_components": True,
}


def example():
    """Red touches orange; a third is green. Small green and dim green are no objects."""
    shapes = [(2, 2, 12, 12, RED), (2, 12, 12, 22, _ORANGE), (2, 28, 12, 38, GREEN)]
    false = [(20, 2, 23, 5, GREEN), (20, 12, 30, 22, _DIM_GREEN)]
    image = paint(34, 40, shapes + false)
    instance = np.zeros([34, 40], np.int32)
    for k, (y, x, y_end, x_end, _) in enumerate(shapes):
        instance[y:y_end, x:x_end] = k + 1
    labels = {"instance": instance, "semantic": np.array([0, 1, 1, 2], np.int32)[instance]}
    return {"image": tf.constant(image[None])} | {
        name: tf.constant(x[None]) for name, x in labels.items()
    }


def tune(figure="pq", examples=None, read_out=_READ_OUT, scales=()):
    run = TrainedRun({"task": "instances", "read_out": read_out}, colour_model(), 1)
    examples = [example()] if examples is None else examples
    return tuning.tune(run, lambda: examples, [60.0], [5, 20], figure, scales)


def test_tune_finds_concentration_area_and_score():
    tried = tune()
    best = tried[0]
    assert (best.scale, best.concentration, best.min_area, best.figure) == (1.0, 60.0, 20, 1.0)
    # Dim green is given up: its probability is 0.66, that of the others above 0.9.
    assert 0.6 < best.min_score <= 0.96
    figures = {choice[1:4]: choice.figure for choice in tried}
    # Own arguments merge red and orange; then the small square goes, then dim green.
    own = (2.0, 5, None)
    assert figures[own] < figures[60.0, 5, None] < figures[60.0, 20, None] < 1
    ranked = [choice.figure for choice in tried]
    assert ranked == sorted(ranked, reverse=True)


def test_tune_keeps_the_run_s_own_where_nothing_is_better():
    # No object, none found: every figure is nan.
    empty = {name: tf.zeros_like(x) for name, x in example().items()}
    assert tune(examples=[empty])[0][:4] == (1.0, 2.0, 5, None)


def test_tune_finds_the_scale_too():
    tried = tune(scales=[0.1, 1])
    assert {choice.scale for choice in tried} == {0.1, 1.0}
    # A tenth of the picture is 3 × 4 pixels, in which no object is left whole.
    assert tried[0][:3] == (1.0, 60.0, 20) and tried[-1].scale == 0.1
    # A threshold may pay at a scale that is not the best without any.
    thresholds = {choice.scale for choice in tune(scales=[1, 2]) if choice.min_score is not None}
    assert thresholds == {1.0, 2.0}
    # The run's own is not tried where it is not asked for.
    assert {choice.scale for choice in tune(scales=[2.0])} == {2.0}
    with pytest.raises(ValueError, match="scales must be at least one number above 0"):
        tune(scales=[0])


def test_tune_refuses_no_pictures_and_tasks_without_read_out():
    with pytest.raises(ValueError, match="no picture to tune on"):
        tune(examples=[])
    run = TrainedRun({"task": "semantic", "read_out": {}}, colour_model(), 1)
    with pytest.raises(ValueError, match="task semantic has no read-out"):
        tuning.tune(run, list, [1.0], [1], "pq")


def _picture(source):
    rng = np.random.default_rng(source.details)
    instance = np.zeros([24, 32], np.int32)
    instance[4:14, 4:14], instance[4:14, 18:28] = 1, 2
    image = rng.integers(0, 256, [24, 32, 3]).astype(np.uint8)
    return LabelledPicture(image, instance, (instance > 0).astype(np.int32))


def _tune(run_dir, folder, *flags):
    command = [sys.executable, "-m", "export.tune_main", f"--run_dir={run_dir}"]
    command += [f"--shards={folder}/val-*", *flags]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)


def test_tune_main_writes_what_restore_run_takes(tmp_path):
    sources = [Source(f"p_{k}", details=k) for k in range(3)]
    conversion.write_split(_picture, sources, str(tmp_path), "val", num_shards=1)
    run_dir = make_run(tmp_path / "run", seed=1, settings=INSTANCES)
    run_folder.write_read_out(run_dir, {"max_loops": 40})
    done = _tune(
        run_dir,
        tmp_path,
        "--concentrations=20",
        "--min_areas=5",
        "--num_pictures=2",
        "--test_scales=1.5",
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "tuning.json").read_text())
    best = record["tried"][0]
    assert record["figure"] == "pq" and best["concentration"] == 20.0
    read_out = restore_run(run_dir).settings["read_out"]
    assert read_out == INSTANCES["read_out"] | {
        **{name: best[name] for name in ("concentration", "min_area", "min_score")},
        "max_loops": 40,
        "scales": [1.5],
    }
    assert f"{best['concentration']:13.4g}" in done.stdout
    # What was found stays where a flag is refused.
    before = run_folder.read_found(run_dir)
    assert _tune(run_dir, tmp_path, "--concentrations=20", "--min_areas=0").returncode == 1
    assert run_folder.read_found(run_dir) == before
