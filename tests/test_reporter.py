import glob

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf import run_folder
from rpe_tf.reporter import Reporter
from rpe_tf.training import Progress


def progress(step, seconds_per_step=2.0):
    return Progress(step, 100, {"loss_loop_0": 0.25 * step}, 8.0, seconds_per_step, 65.0)


def events(run_dir):
    """(step, tag) of everything in TensorBoard's files."""
    return [
        (event.step, value.tag)
        for path in sorted(glob.glob(f"{run_dir}/tensorboard/*"))
        for event in tf.compat.v1.train.summary_iterator(path)
        for value in event.summary.value
    ]


def test_reporter_writes_a_row_a_report_and_adds_up_the_seconds(tmp_path):
    reporter = Reporter(str(tmp_path), 0, is_writing=True)
    reporter.report(progress(10))
    reporter.report(progress(15, seconds_per_step=4.0))
    figures = {"images_per_second": 8.0}
    assert run_folder.read_metrics(str(tmp_path)) == [
        {"step": 10, "loss_loop_0": 2.5, **figures, "train_seconds": 10 * 2.0},
        {"step": 15, "loss_loop_0": 3.75, **figures, "train_seconds": 10 * 2.0 + 5 * 4.0},
    ]
    assert reporter.train_seconds == 40.0
    tags = {"loss_loop_0", "images_per_second", "train_seconds"}
    assert set(events(tmp_path)) == {(step, tag) for step in (10, 15) for tag in tags}


def test_reporter_taken_up_drops_later_rows_and_goes_on_counting_seconds(tmp_path):
    reporter = Reporter(str(tmp_path), 0, is_writing=True)
    for step in (10, 20, 30):
        reporter.report(progress(step))
    reporter = Reporter(str(tmp_path), 20, is_writing=True)
    assert reporter.train_seconds == 40.0
    reporter.report(progress(30, seconds_per_step=1.0))
    rows = run_folder.read_metrics(str(tmp_path))
    assert [(row["step"], row["train_seconds"]) for row in rows] == [(10, 20), (20, 40), (30, 50)]


def test_reporter_that_is_not_writing_leaves_no_file(tmp_path):
    reporter = Reporter(str(tmp_path), 0, is_writing=False)
    reporter.report(progress(10))
    reporter.picture("examples", np.zeros([4, 4, 3], np.uint8), 10)
    assert reporter.train_seconds == 20.0
    assert list(tmp_path.iterdir()) == []


def test_reporter_picture_goes_to_tensorboard(tmp_path):
    reporter = Reporter(str(tmp_path), 0, is_writing=True)
    reporter.picture("examples", np.zeros([4, 4, 3], np.uint8), 10)
    assert events(tmp_path) == [(10, "examples")]


@pytest.mark.parametrize("seconds, said", [(65.0, "ETA 1:05"), (59.7, "ETA 1:00"), (0, "ETA 0:00")])
def test_reporter_logs_one_line(tmp_path, monkeypatch, seconds, said):
    lines = []
    monkeypatch.setattr("absl.logging.info", lambda form, *values: lines.append(form % values))
    reporter = Reporter(str(tmp_path), 0, is_writing=False)
    reporter.report(progress(10)._replace(seconds_left=seconds))
    assert lines == [f"step 10/100  loss_loop_0 2.5  8.0 images/s  {said}"]
