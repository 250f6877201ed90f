"""Pooled proposals of an export: the signature, the API for applications, files and command."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rpe_tf
from export.instance_answers import POOLED_MEANINGS, proposals_answers
from export.prediction_files import pooled_results
from export.served_module import ServedModule
from rpe_tf.inference.pooling import pool_proposals, pooling_arguments
from rpe_tf.metrics.rle import rle_decode
from rpe_tf.saved_model import POOLED_DTYPE, PooledPrediction, Segmenter

_TABLES = ("source", "boxes", "areas", "scores")


@pytest.fixture(scope="module")
def module(exported):
    """Of the exported run, with three concentrations in its settings."""
    settings = {**exported.run.settings["read_out"], "concentrations": [240.0, 30.0, 60.0]}
    return ServedModule(exported.run.model, proposals_answers(exported.run.model, settings))


def test_proposals_signature_pools_the_concentrations_of_the_settings(exported, module, pictures):
    images = np.stack(pictures[:2])
    served = module.proposals(tf.constant(images))
    assert set(served) <= set(POOLED_MEANINGS)
    assert served["maps"].shape == (2, 3, 45, 70)
    settings = {**exported.run.settings["read_out"], "concentrations": [30.0, 60.0, 240.0]}
    pool = tf.function(lambda x: pool_proposals(x, **pooling_arguments(settings)))
    nums = served["num_proposals"].numpy()
    for n, embedding in enumerate(tf.unstack(module.embedding(tf.constant(images))["embedding"])):
        expected = pool(embedding)
        np.testing.assert_array_equal(served["maps"][n], expected.maps)
        assert nums[n] == len(expected.areas) > 2
        assert expected.source.numpy()[:, 0].max() > 0  # not of the first map alone
        for name in _TABLES:
            np.testing.assert_allclose(
                served[name][n][: nums[n]], getattr(expected, name), atol=1e-5
            )
            assert served[name].shape[1] == nums.max()
            assert not np.any(served[name][n][nums[n] :])


def test_proposals_signature_batch_equals_singles(module, pictures):
    batch = module.proposals(tf.constant(np.stack(pictures[:2])))
    assert (batch["maps"][0] != batch["maps"][1]).numpy().any()
    for n in range(2):
        single = module.proposals(tf.constant(pictures[n][np.newaxis]))
        num = int(single["num_proposals"][0])
        assert num == batch["num_proposals"][n]
        np.testing.assert_array_equal(batch["maps"][n], single["maps"][0])
        for name in _TABLES:
            np.testing.assert_allclose(batch[name][n][:num], single[name][0], atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 16, 12), (1, 1, 1), (1, 7, 2)])
def test_proposals_signature_takes_no_picture_and_tiny_ones(module, shape):
    served = module.proposals(tf.fill([*shape, 3], tf.constant(9, tf.uint8)))
    assert all(x.shape[0] == shape[0] for x in served.values())
    assert served["source"].shape[2:] == [2]
    if shape[0]:
        assert served["maps"].shape == (1, 3, *shape[1:])


def test_exports_of_one_concentration_propose_what_they_segment(exported, pictures):
    segmenter = rpe_tf.load(exported.export_dir)
    assert segmenter.can_propose
    proposed, found = segmenter.propose(pictures[2]), segmenter.predict(pictures[2])
    assert proposed.table.dtype == POOLED_DTYPE and proposed.maps.dtype == np.int32
    np.testing.assert_array_equal(proposed.maps, [found.instance])
    assert not proposed.table["map"].any()
    assert (np.diff(proposed.table["score"]) <= 0).all()
    by_id = np.sort(proposed.table, order="id")
    for name in ("id", "area", "box"):
        np.testing.assert_array_equal(by_id[name], found.table[name])


def test_signature_is_described_beside_the_model(exported):
    with open(os.path.join(exported.export_dir, "1", "model_info.json")) as file:
        described = json.load(file)["signatures"]["proposals"]
    assert set(described["inputs"]) == {"image"}
    assert {name: x["shape"] for name, x in described["outputs"].items()} == {
        **{"maps": [None, 1, None, None], "num_proposals": [None]},
        **{"source": [None, None, 2], "boxes": [None, None, 4]},
        **{"areas": [None, None], "scores": [None, None]},
    }
    assert described["outputs"]["scores"]["meaning"] == POOLED_MEANINGS["scores"]


def test_propose_refuses_an_export_without_the_signature(exported, pictures):
    signatures = dict(exported.loaded.signatures)
    del signatures["proposals"]
    segmenter = Segmenter(types.SimpleNamespace(signatures=signatures))
    assert not segmenter.can_propose
    assert len(segmenter.predict(pictures[0]).table)
    with pytest.raises(ValueError, match="no signature proposals; export its run again"):
        segmenter.propose(pictures[0])


def test_pooled_results_hold_overlapping_masks():
    maps = np.zeros([2, 4, 6], np.int32)
    maps[0, 1:3, 2:6] = 1
    maps[1, 1:3, 2:4], maps[1, 1:3, 4:6] = 2, 1
    table = np.array([(1, 2, 4, 0.5, (1, 2, 3, 4)), (0, 1, 8, 0.25, (1, 2, 3, 6))], POOLED_DTYPE)
    first, second = json.loads(
        json.dumps(pooled_results("in/a.png", PooledPrediction(maps, table)))
    )
    # x = 2, y = 1, width = 4 − 2, height = 3 − 1
    assert first["bbox"] == [2, 1, 2, 2] and first["area"] == 4 and first["score"] == 0.5
    assert first["file_name"] == "in/a.png" and first["category_id"] == 1
    np.testing.assert_array_equal(rle_decode(first["segmentation"]), maps[1] == 2)
    assert second["bbox"] == [2, 1, 4, 2]
    np.testing.assert_array_equal(rle_decode(second["segmentation"]), maps[0] == 1)


def _start(*command):
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_predict_main_pooled_writes_what_the_evaluation_reads(
    exported, exported_boundary, pictures, tmp_path
):
    for name in ("scenes", "truth"):
        (tmp_path / name).mkdir()
    segmenter = rpe_tf.load(exported.export_dir)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "scenes" / f"p{k}.png")
        # The prediction is the truth, so all of it must be found.
        instance = segmenter.predict(picture).instance.astype(np.uint16)
        Image.fromarray(instance).save(tmp_path / "truth" / f"p{k}.png")
    arguments = ("export.predict_main", f"--images={tmp_path}/scenes", "--pooled")
    processes = [
        _start(*arguments, f"--model={exported.export_dir}", f"--output_dir={tmp_path}/out"),
        _start(
            *arguments, f"--model={exported_boundary.export_dir}", f"--output_dir={tmp_path}/no"
        ),
    ]
    (_, good), (_, refused) = (process.communicate(timeout=300) for process in processes)
    assert processes[0].returncode == 0, good
    assert processes[1].returncode == 1 and "Traceback" not in refused
    assert "--pooled is for models of proposals" in refused and not (tmp_path / "no").exists()
    assert "predictions.json" in os.listdir(tmp_path / "out")
    evaluation = _start(
        *("rpe_tf.metrics.evaluate_main", "--task=proposals", f"--json={tmp_path}/scores.json"),
        *(f"--predictions={tmp_path}/out/proposals.json", f"--ground_truth={tmp_path}/truth"),
    )
    out, err = evaluation.communicate(timeout=300)
    assert evaluation.returncode == 0, out + err
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["ar_100"] > 0.99 and scores["protocol"]["scored"]
    assert scores["num_true"] == scores["num_proposals"] > 6
