"""The bars that training must pass; slow, run by `make prove`."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_BSDS = _ROOT.parent / "shared" / "data" / "bsds500"
_SEEDS = (0, 1, 2)


def _run(*command):
    subprocess.run([sys.executable, *map(str, command)], cwd=_ROOT, check=True)


@pytest.mark.slow
def test_digits_recipe_passes_its_bars_over_three_seeds(tmp_path):
    shards = tmp_path / "shards"
    _run("-m", "data_pipeline.make_digits", f"--output_dir={shards}", "--num_train=12000")
    scores = []
    for seed in _SEEDS:
        run_dir = tmp_path / f"seed_{seed}"
        _run(
            *("train_main.py", "--flagfile=rpe_tf/recipes/digits.flags", f"--seed={seed}"),
            *(f"--run_dir={run_dir}", f"--train_shards={shards}/train-*"),
            f"--eval_shards={shards}/test_mixed-*,{shards}/test_same-*",
        )
        scores.append(json.loads((run_dir / "metrics.json").read_text()))
        print(f"seed {seed}: {scores[-1]}")
    mean = {
        name: np.mean([score[name] for score in scores])
        for name in ("ari_foreground", "recall_50", "recall_75")
    }
    assert mean["ari_foreground"] >= 0.95
    assert mean["recall_50"] >= 0.99
    assert mean["recall_75"] >= 0.95


@pytest.mark.slow
@pytest.mark.skipif(not _BSDS.exists(), reason="needs ../shared/data")
def test_boundary_recipe_passes_its_bar_on_all_test_pictures(tmp_path):
    shards, run_dir, export, maps = (tmp_path / x for x in ("shards", "run", "export", "maps"))
    _run("-m", "data_pipeline.convert_bsds", f"--input_dir={_BSDS}", f"--output_dir={shards}")
    _run(
        *("train_main.py", "--flagfile=rpe_tf/recipes/bsds_small.flags", f"--run_dir={run_dir}"),
        f"--train_shards={shards}/train-*,{shards}/val-*",
    )
    _run("-m", "export.export_main", f"--run_dir={run_dir}", f"--export_dir={export}")
    images = _BSDS / "images" / "test"
    _run("-m", "export.predict_main", f"--model={export}", f"--images={images}",
         f"--output_dir={maps}")  # fmt: skip
    _run(
        *("-m", "rpe_tf.metrics.evaluate_main", "--task=boundary", f"--predictions={maps}"),
        *(f"--ground_truth={_BSDS}/groundTruth/test", "--nms", f"--json={tmp_path}/scores.json"),
    )
    scores = json.loads((tmp_path / "scores.json").read_text())
    print(scores["ods"], scores["ois"], scores["ap"])
    assert scores["num_images"] == 200
    assert scores["ods"] >= 0.70
