"""The figures of a run on boundaries, drawn by the command from a tiny run."""

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
from rpe_tf.checkpoints import EMBEDDING_ONLY
from rpe_tf.drawing import embedding_to_rgb
from rpe_tf.figures import boundary, boundary_pictures
from rpe_tf.models.build import boundary_model

_MODEL = {
    "embedding_dim": 3,
    "backbone": "resnet14",
    "width": 8,
    "output_stride": 8,
    "stem_stride": 4,
    "norm": "batch",
}
_SIZE = (40, 56)
_NAMES = ("first", "second", "folder/third")
_BRANCHES = [f"branch_{k}" for k in (2, 3, 4, 5)]


def _write_shards(path):
    """Three pictures of a bright rectangle, by two annotators; the second draws another line."""
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(path) as writer:
        for k, name in enumerate(_NAMES):
            instance = np.zeros(_SIZE, np.int32)
            instance[8 : 24 + k, 10:40] = 1
            image = 60 + 90 * instance[..., np.newaxis] + rng.integers(0, 20, [*_SIZE, 3])
            drawn = np.zeros([2, *_SIZE], bool)
            drawn[0, 8 : 24 + k, 10], drawn[0, 8, 10:40], drawn[1, 30] = True, True, True
            picture = LabelledPicture(
                image.astype(np.uint8), instance, None, np.stack([instance] * 2), drawn
            )
            writer.write(schema.encode_example(picture, name))


def _seeded_model(seed):
    keras.utils.set_random_seed(seed)
    return boundary_model(**_MODEL)


def _make_run(folder, *, has_embedding_only, patterns, task="boundary"):
    """A run folder: weights of seed 1 after step 20, those of seed 2 before fine-tuning, step 8."""
    os.makedirs(folder / "checkpoints")
    settings = {
        "format": 1,
        "task": task,
        "model": _MODEL,
        "loss": {"margin": 0.5},
        "read_out": {"scales": [1.0]},
        "data": {"eval_shards": patterns},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    rows = [{"step": 4, "loss_branch_2": 0.3}, {"step": 20, "logistic_fusion": 0.5}]
    rows = [{**row, "images_per_second": 3.0, "train_seconds": 2.0} for row in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    checkpoint = tf.train.Checkpoint(
        model=_seeded_model(1), step=tf.Variable(20, dtype=tf.int64, name="step")
    )
    manager = tf.train.CheckpointManager(
        checkpoint, str(folder / "checkpoints"), 3, checkpoint_name="step"
    )
    manager.save(checkpoint_number=20)
    if has_embedding_only:
        before = tf.train.Checkpoint(model=_seeded_model(2), step=tf.Variable(8, dtype=tf.int64))
        before.write(str(folder / "checkpoints" / EMBEDDING_ONLY))
    return str(folder)


def _files(folder):
    found = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return {os.path.relpath(path, folder) for path in found}


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    _write_shards(str(folder / "test-00000-of-00001.tfrecord"))
    return f"{folder}/test-*"


@pytest.fixture(scope="module")
def two_phases(tmp_path_factory, pattern):
    """Run folder, output folder and what `draw_run` returned."""
    folder = tmp_path_factory.mktemp("two_phases")
    # The second pattern matches nothing: only the first one is to be read.
    patterns = [pattern, "/nowhere/val-*"]
    run_dir = _make_run(folder / "run", has_embedding_only=True, patterns=patterns)
    return run_dir, folder / "out", *boundary.draw_run(run_dir, str(folder / "out"))


def test_draw_run_writes_the_files_it_names(two_phases):
    _, output_dir, paths, _ = two_phases
    sheets = {f"{name}.png" for name in _NAMES}
    assert _files(output_dir) == {"loss.png", "disc.png", "code.json", *sheets}
    assert {os.path.relpath(path, output_dir) for path in paths} == _files(output_dir)
    for path in paths:
        if path.endswith(".png"):
            assert np.ptp(np.asarray(Image.open(path).convert("RGB"))) > 100


def test_code_has_every_branch_before_and_after(two_phases):
    _, output_dir, _, code = two_phases
    assert json.loads((output_dir / "code.json").read_text()) == code
    assert code["steps"] == {"before": 8, "after": 20}
    assert code["within_px"] == 6.0
    for name in ("discs", "pictures"):
        assert list(code[name]["before"]) == list(code[name]["after"]) == _BRANCHES
        for stage in ("before", "after", "without_model"):
            for scores in code[name][stage].values():
                assert list(scores) == ["orientation_r2", "signed_distance_r2"]
                assert all(x is not None and x <= 1 for x in scores.values())
        assert code[name]["before"] != code[name]["after"]


def test_code_of_colours_on_discs_is_the_side_alone(two_phases):
    # Colours are ±30 or ±60 grey levels from the middle, and one weight serves both: of 12, the
    # mean of d², they explain (3 · 45)² / ((30² + 60²) / 2) = 8.1, so R² = 0.675. On the
    # antialiased twelfth of the ring colours go as 2 d instead: the mean of their square is less
    # by 2/3 of 1/12, that of their product with d by (1/4 − 1/6) / 12 of 3, 1/432.
    # 0.675 · (1 − 1/432)² / (1 − 1/18) = 0.711.
    scores = two_phases[3]["discs"]["without_model"]["colours"]
    assert scores["signed_distance_r2"] == pytest.approx(0.711, abs=0.015)
    assert abs(scores["orientation_r2"]) < 0.02


def test_code_counts_even_pictures_as_fitted_and_odd_ones_as_scored(two_phases):
    _, _, _, code = two_phases
    counted = code["pictures"]["num_pixels"]
    # Pictures 0 and 2 are fitted on, 1 is scored on; they are alike but for the rectangle's height.
    assert 1.8 < counted["fitted"] / counted["scored"] < 2.2
    # The first annotator's lines, 16 to 18 and 30 pixels long, 13 wide; the second's would add 700.
    assert 450 < counted["scored"] < 700


def test_sheet_has_the_embedding_of_both_weights(two_phases):
    _, output_dir, _, _ = two_phases
    sheet = np.asarray(Image.open(output_dir / "first.png"))
    image = sheet[_top_of(sheet, 0) :][: _SIZE[0]]
    image = image[:, 4 : 4 + _SIZE[1]]
    assert image[15, 20].min() >= 150 and image[2, 2].max() < 80
    for row, seed in ((1, 2), (2, 1)):  # before: weights of seed 2
        embedding = _seeded_model(seed)(image[np.newaxis])["embedding"][0].numpy()
        expected = embedding_to_rgb(embedding[..., :3])
        found = sheet[_top_of(sheet, row) :][: _SIZE[0], 4 : 4 + _SIZE[1]]
        np.testing.assert_allclose(found.astype(int), expected, atol=1)


def _top_of(sheet, row):
    """Returns the first line of the pictures of a row: titles leave columns white."""
    lines = (sheet[:, 4 : 4 + _SIZE[1]] < 250).any(axis=-1).all(axis=1)
    starts = np.flatnonzero(lines & ~np.r_[False, lines[:-1]])
    assert len(starts) == 3, starts
    return starts[row]


def test_disc_has_a_dark_and_a_light_one_for_each_stage(two_phases):
    _, output_dir, _, _ = two_phases
    disc = np.asarray(Image.open(output_dir / "disc.png"))
    # Two stages of two discs, 160 high and wide; five columns.
    assert disc.shape[0] > 4 * 160 and disc.shape[1] > 5 * 160
    column = disc[:, 4 + 80].mean(axis=-1)
    middles = [column[start : start + 160] for start in _runs_of_160(column)]
    assert [middle[80] > middle[10] for middle in middles] == [False, True, False, True]


def _runs_of_160(column):
    is_disc = np.r_[False, column < 240, False]
    starts = np.flatnonzero(np.diff(is_disc.astype(int)) > 0)
    ends = np.flatnonzero(np.diff(is_disc.astype(int)) < 0)
    return [start for start, end in zip(starts, ends, strict=True) if end - start == 160]


def test_draw_run_draws_the_first_pictures_but_measures_all(two_phases, tmp_path, pattern):
    run_dir, _, _, code = two_phases
    _, found = boundary.draw_run(run_dir, str(tmp_path), pattern, num_pictures=1)
    assert _files(tmp_path) == {"loss.png", "disc.png", "code.json", "first.png"}
    assert found["pictures"]["num_pixels"] == code["pictures"]["num_pixels"]


def test_command_without_embedding_only_weights_says_so(tmp_path, pattern):
    run_dir = _make_run(tmp_path / "run", has_embedding_only=False, patterns=[pattern])
    output_dir = tmp_path / "out"
    done = _command(f"--run_dir={run_dir}", f"--output_dir={output_dir}", "--num_pictures=0")
    assert done.returncode == 0, done.stderr
    sheets = {f"{name}.png" for name in _NAMES}
    assert _files(output_dir) == {"loss.png", "disc.png", "code.json", *sheets}
    code = json.loads((output_dir / "code.json").read_text())
    assert code["steps"] == {"before": None, "after": 20}
    assert code["discs"]["before"] is None and code["pictures"]["before"] is None
    assert list(code["pictures"]["after"]) == _BRANCHES
    assert "before fine-tuning is left out" in done.stderr
    assert "these rows are left out" in done.stdout
    rows = [line.split()[:3] for line in done.stdout.splitlines() if line.startswith("branch")]
    assert rows == [["branch", str(k), "after"] for k in (2, 3, 4, 5)]
    assert all(str(output_dir / name) in done.stdout for name in _files(output_dir))


def _command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rpe_tf.figures.boundary_main", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_draw_run_of_a_folder_without_run_or_checkpoint_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no run .*settings\.json is missing"):
        boundary.draw_run(str(tmp_path), str(tmp_path / "out"))
    run_dir = _make_run(tmp_path / "run", has_embedding_only=True, patterns=[])
    for path in pathlib.Path(run_dir, "checkpoints").glob("step-*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        boundary.draw_run(run_dir, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_restore_run_of_another_task_raises(tmp_path):
    run_dir = _make_run(tmp_path / "run", has_embedding_only=False, patterns=[], task="proposals")
    with pytest.raises(ValueError, match="task proposals, these figures are of a run with task bo"):
        boundary.restore_run(run_dir)


def test_draw_run_without_shards_raises(tmp_path):
    run_dir = _make_run(tmp_path / "run", has_embedding_only=False, patterns=[])
    with pytest.raises(ValueError, match="has no eval_shards; name pictures by --shards"):
        boundary.draw_run(run_dir, str(tmp_path / "out"))


def test_draw_run_without_reports_leaves_the_loss_out(two_phases, tmp_path, pattern):
    run_dir = _make_run(tmp_path / "run", has_embedding_only=False, patterns=[pattern])
    os.remove(f"{run_dir}/metrics.jsonl")
    paths, _ = boundary.draw_run(run_dir, str(tmp_path / "out"), num_pictures=1)
    assert _files(tmp_path / "out") == {"disc.png", "code.json", "first.png"}
    assert len(paths) == 3


def test_draw_loss_has_a_curve_a_term(tmp_path, monkeypatch):
    labels = []
    plot = boundary.plt.Axes.plot

    def record(axes, *arguments, label, **others):
        labels.append(label)
        return plot(axes, *arguments, label=label, **others)

    monkeypatch.setattr(boundary.plt.Axes, "plot", record)
    rows = [
        {"step": 1, "loss_branch_2": 0.2, "train_seconds": 1.0, "images_per_second": 2.0},
        {"step": 2, "logistic_branch_2": 0.4, "logistic_fusion": 0.5, "train_seconds": 2.0},
    ]
    path = tmp_path / "loss.svg"
    boundary.draw_loss(rows, str(path))
    assert labels == ["loss branch 2", "logistic branch 2", "logistic fusion"]
    assert path.stat().st_size > 1000


def test_figures_of_the_paper_are_drawn_from_a_run(two_phases, pattern, tmp_path):
    run = boundary.restore_run(two_phases[0])
    paths, numbers = boundary_pictures.draw_discs(str(tmp_path / "discs"), run)
    best = numbers["best_branch"]
    code = two_phases[3]["discs"]
    for name in ("orientation_r2", "signed_distance_r2"):
        assert best[name]["after"] == max(x[name] for x in code["after"].values())
        assert best[name]["without_model"] == code["without_model"]["colours"][name]
    shards_paths = sorted(map(str, pathlib.Path(pattern).parent.glob("test-*")))
    more, found = boundary_pictures.draw_boundaries(str(tmp_path / "maps"), run, shards_paths, 2)
    assert len(found["mean_on_boundary"]) == len(found["mean_elsewhere"]) == 2
    assert _files(tmp_path) == {os.path.basename(path) for path in (*paths, *more)}
    assert isinstance(found["holds"], bool) and isinstance(numbers["holds"], bool)
