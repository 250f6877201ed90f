"""Proposals with a ResNet as a user makes them: train, export, verify, predict, evaluate."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data_pipeline import conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from rpe_tf import run_folder

_ROOT = pathlib.Path(__file__).parents[1]
_STEPS = 4


def _picture(source):
    """Two bright squares on dark ground."""
    rng = np.random.default_rng(source.details)
    instance = np.zeros([40, 48], np.int32)
    top, left = rng.integers(2, 10, 2)
    instance[top : top + 14, left : left + 14] = 1
    instance[top + 12 : top + 26, left + 20 : left + 34] = 2
    image = np.array([30, 230, 230])[instance] + rng.integers(-9, 10, instance.shape)
    return LabelledPicture(image[..., np.newaxis].repeat(3, axis=-1).astype(np.uint8), instance)


def start(module, *flags):
    """The running process of a command."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """All that was said by a process that went well."""
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of two splits, pictures and labels of one, and a run with its export."""
    folder = tmp_path_factory.mktemp("proposals")
    sources = [Source(f"p_{k}", details=k) for k in range(8)]
    for split, part in (("train", sources[:6]), ("test", sources[6:])):
        conversion.write_split(_picture, part, str(folder), split, num_shards=1)
    for name in ("pictures", "labels"):
        (folder / name).mkdir()
    for k, source in enumerate(sources[6:]):
        picture = _picture(source)
        Image.fromarray(picture.image).save(folder / "pictures" / f"{k}.png")
        Image.fromarray(picture.instance.astype(np.uint16)).save(folder / "labels" / f"{k}.png")
    training = start(
        *("train_main", "--task=proposals", "--backbone=resnet14", "--width=8", "--norm=batch"),
        *("--embedding_dim=64", "--num_loops=1", "--num_pixels=100", "--batch_size=2"),
        "--concentrations=36,144",
        *(f"--num_steps={_STEPS}", "--report_every=1", "--picture_every=0"),
        *(f"--train_shards={folder}/train-*", f"--eval_shards={folder}/test-*"),
        f"--run_dir={folder}/run",
    )
    finish(training)
    finish(start("export.export_main", f"--run_dir={folder}/run", f"--export_dir={folder}/export"))
    return folder


def test_proposals_of_a_resnet_train_with_loops(folder):
    rows = run_folder.read_metrics(str(folder / "run"))
    assert [{name for name in row if name.startswith("loss")} for row in rows] == [
        {"loss_loop_0", "loss_loop_1"}
    ] * _STEPS
    settings = run_folder.read_settings(str(folder / "run"))
    assert settings["model"]["embedding_dim"] == 64
    assert settings["model"]["output_stride"] == 8
    assert settings["read_out"]["concentrations"] == [36.0, 144.0]
    scores = json.loads((folder / "run" / "metrics.json").read_text())
    assert {"average_recall", "recall_50", "ar_10", "ar_50_60"} <= set(scores["splits"]["test"])


def test_export_of_a_resnet_is_verified_predicts_and_is_evaluated(folder):
    verification = start(
        "export.verify_main", f"--run_dir={folder}/run", f"--export_dir={folder}/export"
    )
    prediction = start(
        *("export.predict_main", f"--model={folder}/export", f"--images={folder}/pictures"),
        *(f"--output_dir={folder}/predicted", "--pooled"),
    )
    assert "The export answers as the checkpoint" in finish(verification)
    assert "Segmented 2 of 2 pictures" in finish(prediction)
    records = json.loads((folder / "predicted" / "proposals.json").read_text())
    assert all(0 <= record["score"] <= 1 for record in records)
    evaluations = {
        name: start(
            *("rpe_tf.metrics.evaluate_main", "--task=proposals", f"--json={folder}/{name}.json"),
            *(f"--predictions={folder}/{predictions}", f"--ground_truth={folder}/labels"),
        )
        for name, predictions in (("map", "predicted"), ("pooled", "predicted/proposals.json"))
    }
    for name, evaluation in evaluations.items():
        finish(evaluation)
        scores = json.loads((folder / f"{name}.json").read_text())
        assert {"ar_10", "ar_60", "ar_100", "ar_50_10", "ar_50_60"} <= set(scores)
        assert scores["num_true"] == 4
        if name == "pooled":
            assert scores["num_proposals"] == len(records)
