"""The report of a run: from the files of a tiny one, whole, cut short, and empty."""

import json
import os
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from stripes import write_stripes

from rpe_tf import report, run_folder
from rpe_tf.report_pictures import Looked, draw_loops, look, picture_sections
from rpe_tf.tasks import TASKS

_MODELS = {
    "proposals": {"embedding_dim": 4, "width": 8, "num_levels": 2, "num_blocks": 1},
    "instances": {
        **{"backbone": "encoder_decoder", "width": 8, "num_levels": 2, "num_blocks": 1},
        **{"embedding_dim": 4, "num_classes": 3},
    },
    "boundary": {
        **{"backbone": "resnet14", "width": 8, "output_stride": 8, "stem_stride": 4},
        **{"norm": "batch", "embedding_dim": 3},
    },
}
_MODELS["semantic"] = _MODELS["instances"]
_GROUPING = {"concentration": 36.0, "min_area": 5}
_READ_OUTS = {
    **{"proposals": _GROUPING, "instances": _GROUPING},
    **{"semantic": {}, "boundary": {"scales": [1.0]}},
}
_ROWS = [
    {"step": 1, "loss_loop_0": 0.2, "loss_loop_1": 0.1, "gradient_norm": 1.0, "train_seconds": 3},
    {"step": 2, "loss_loop_0": 0.1, "loss_loop_1": 0.05, "gradient_norm": 2.0, "train_seconds": 90},
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stripes")
    write_stripes(folder, num_pictures=4, num_shards=1)
    return [str(path) for path in sorted(folder.glob("train-*"))]


def make_run(run_dir, task="proposals", eval_shards=(), rows=_ROWS, has_checkpoint=True):
    """A run folder with random weights; its flags hold characters that HTML means something by."""
    settings = {
        "task": task,
        "model": _MODELS[task],
        "loss": {"margin": 0.5},
        "read_out": _READ_OUTS[task],
        "training": {"num_steps": 2, "init_from": "<i>other</i>"},
        "data": {"train_shards": "a & b", "eval_shards": list(eval_shards)},
    }
    run_folder.write_settings(str(run_dir), settings)
    for row in rows:
        run_folder.append_metrics(str(run_dir), row)
    if has_checkpoint:
        keras.utils.set_random_seed(1)
        model = TASKS[task].build_model(**_MODELS[task])
        saved = tf.train.Checkpoint(model=model, step=tf.Variable(2, dtype=tf.int64))
        saved.write(str(run_dir / "checkpoints" / "step-2"))
    return str(run_dir)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def images(text):
    return re.findall(r"<img[^>]*>", text)


def test_report_holds_curves_scores_pictures_and_settings(tmp_path, shards):
    run_dir = make_run(tmp_path / "r<un>", eval_shards=[shards[0]])
    scores = {"recall_50": 0.4321, "splits": {"v&l": {"recall_50": 0.4321, "ari_all": None}}}
    run_folder.write_json(os.path.join(run_dir, "metrics.json"), scores)
    path = report.write_report(run_dir, num_looked=3)
    text = read(path)
    assert path == os.path.join(run_dir, "report.html")
    assert "proposals: r&lt;un&gt;" in text and "<un>" not in text and "<i>" not in text
    assert "2 of 2" in text and "1.5 minutes" in text
    assert "0.4321" in text and "v&amp;l" in text and "pooled over pictures" in text
    # Losses in one, the norm of the gradient; 2 + 1 pictures of 4 cells, each with 11 frames.
    plots = [x for x in images(text) if "svg" in x]
    assert len(plots) == 2 and len(images(text)) == 2 + 3 * (4 + 11)
    assert "margin" in text and "&lt;i&gt;other&lt;/i&gt;" in text
    found = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(x.startswith("data:image/") for x in found) and "://" not in text
    assert not [x for x in os.listdir(run_dir) if x.endswith(".part")]


def test_report_of_a_run_without_anything_says_so(tmp_path):
    run_dir = make_run(tmp_path / "run", rows=(), has_checkpoint=False)
    text = read(report.write_report(run_dir, output=str(tmp_path / "out.html")))
    for words in ("No step has been reported", "None yet", "has no --eval_shards"):
        assert words in text
    assert images(text) == [] and not os.path.exists(os.path.join(run_dir, "report.html"))


def test_report_of_a_run_without_checkpoint_tells_why_there_are_no_pictures(tmp_path, shards):
    run_dir = make_run(tmp_path / "run", has_checkpoint=False)
    text = read(report.write_report(run_dir, shards=shards))
    assert "holds no checkpoint" in text and len(images(text)) == 2


def test_report_survives_damaged_shards_and_shards_that_are_gone(tmp_path, shards):
    with open(shards[0], "rb") as file:
        (tmp_path / "cut.tfrecord").write_bytes(file.read()[:-40])
    run_dir = make_run(tmp_path / "run", eval_shards=[str(tmp_path / "gone-*")])
    text = read(report.write_report(run_dir, shards=[str(tmp_path / "cut.tfrecord")]))
    assert re.search("None: .*(truncated|corrupted)", text)
    assert "they are gone" in read(report.write_report(run_dir))


def test_report_takes_scores_of_an_evaluation(tmp_path):
    run_dir = make_run(tmp_path / "run")
    (tmp_path / "s.json").write_text(json.dumps({"pq": 0.125}))
    text = read(report.write_report(run_dir, scores_path=str(tmp_path / "s.json"), num_looked=0))
    assert "Scores, s.json" in text and "0.125" in text and "Pictures" not in text
    with pytest.raises(FileNotFoundError, match="evaluate_main"):
        report.write_report(run_dir, scores_path=str(tmp_path / "none.json"))
    for content, words in (("{", "is no JSON"), ("[]", "is no JSON object")):
        (tmp_path / "s.json").write_text(content)
        with pytest.raises(ValueError, match=words):
            report.write_report(run_dir, scores_path=str(tmp_path / "s.json"))


def test_report_refuses_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        report.write_report(str(tmp_path))


@pytest.mark.parametrize("task", ["instances", "semantic", "boundary"])
def test_every_task_shows_its_pictures(tmp_path, shards, task):
    run_dir = make_run(tmp_path / "run", task)
    text = read(report.write_report(run_dir, shards=shards, num_looked=2))
    cells = {"instances": 5 + 11, "semantic": 4, "boundary": 4}[task]
    assert text.count("<h3>p_") == 2 and len(images(text)) == 2 + 2 * cells
    assert ("range" in text.split("<script>")[0]) == (task == "instances")


def test_look_gives_the_best_first(tmp_path, shards, monkeypatch):
    run_dir = make_run(tmp_path / "run")
    figures = iter([0.25, 0.75, float("nan"), 0.5])
    monkeypatch.setattr("rpe_tf.report_pictures._quality", lambda *_: next(figures))
    found = look(run_dir, shards, 4)
    # The third is without a figure.
    assert [(x.name, x.figure) for x in found] == [("p_1", 0.75), ("p_3", 0.5), ("p_0", 0.25)]
    assert found[0].cells["picture"].shape == (30, 30, 3) and found[0].grid.shape == (30, 30, 4)


@pytest.mark.parametrize("num, best, worst", [(0, 0, 0), (1, 1, 0), (3, 2, 1), (9, 3, 3)])
def test_no_picture_is_both_best_and_worst(num, best, worst):
    cells = {"picture": np.zeros([2, 2, 3], np.uint8)}
    looked = [Looked(f"p{k}", 1.0 - k / 10, cells) for k in range(num)]
    found = picture_sections(looked, "semantic", None, 3)
    counts = [found.get(f"{x} pictures", "").count("<h3>") for x in ("Best", "Worst")]
    assert counts == [best, worst]
    if worst:
        last = found["Worst pictures"]
        assert last.index(f"p{num - 1}:") < last.index(f"p{num - worst}:") or worst == 1


def test_large_pictures_are_drawn_at_every_second_pixel(tmp_path, shards, monkeypatch):
    monkeypatch.setattr("rpe_tf.report_pictures._MOST_SIDE_PX", 15)
    monkeypatch.setattr("rpe_tf.report_pictures._GRID_PX", 10)
    run_dir = make_run(tmp_path / "run")
    (found,) = look(run_dir, shards, 1)
    assert found.cells["truth"].shape == (15, 15, 3) and found.grid.shape == (10, 10, 4)


@pytest.fixture
def piles():
    """[6, 8, 3] unit vectors: left and right halves are piles round two axes."""
    rng = np.random.default_rng(0)
    grid = rng.standard_normal([6, 8, 3]) * 0.15 + np.repeat([[1.0, 0, 0], [0, 1, 0]], 4, axis=0)
    return (grid / np.linalg.norm(grid, axis=-1, keepdims=True)).astype(np.float32)


def test_draw_loops_pulls_each_pile_together_and_not_both(piles):
    drawn = draw_loops(piles, np.ones([6, 8], bool), 36.0)
    assert len(drawn) == 11
    # D = 3 is drawn directly: (x + 1) / 2 of 255.
    np.testing.assert_allclose(drawn[0], 255 * (piles + 1) / 2, atol=0.51)
    spread = [np.ptp(x[:, :4].astype(int), axis=(0, 1)).max() for x in drawn]
    assert spread[-1] <= 2 < 20 < spread[0]
    # Right-angled: from 255 to 128 in red.
    assert abs(int(drawn[-1][0, 0, 0]) - int(drawn[-1][0, 7, 0])) > 100


def test_draw_loops_leaves_out_what_is_not_grouped(piles):
    is_grouped = np.ones([6, 8], bool)
    is_grouped[0] = False
    drawn = draw_loops(piles, is_grouped, 36.0)
    other = np.concatenate([np.tile(np.float32([0.6, 0.8, 0]), [1, 8, 1]), piles[1:]])
    assert all((x[0] == 255).all() for x in drawn)
    np.testing.assert_array_equal(drawn, draw_loops(other, is_grouped, 36.0))
