"""Table and curves of a run."""

import numpy as np
import pytest
from PIL import Image

from rpe_tf.figures import digits, sphere

_SCORES = {name: 0.5 for name in digits._SHOWN}


def test_table_has_a_column_a_split():
    second = {**_SCORES, "ari_foreground": 0.25}
    scores = {
        "splits": {"test_mixed": _SCORES, "test_same": second},
        "train_seconds": 12.3,
        "total_seconds": 99.0,
    }
    lines = digits.table(scores).splitlines()
    assert lines[0].split() == ["test_mixed", "test_same"]
    assert lines[1].split() == ["ari_foreground", "0.5000", "0.2500"]
    assert len(lines) == 2 + len(digits._SHOWN)
    assert lines[-1] == "trained in 12 s, 99 s in all"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_draw_loss_writes_a_picture(tmp_path, suffix):
    rows = [{"step": 1, "loss_loop_0": 0.2}, {"step": 2, "loss_loop_0": 0.1, "loss_loop_1": 0.1}]
    path = tmp_path / f"loss.{suffix}"
    digits.draw_loss(rows, str(path))
    assert path.stat().st_size > 1000


def test_draw_spheres_has_a_panel_a_stage_with_the_colours_of_the_instances(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 8, 3))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    path = tmp_path / "sphere.png"
    instance = np.arange(64).reshape(8, 8) // 16
    sphere.draw_spheres({"before": x, "after": x}, instance, str(path))
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] > 1.8 * picture.shape[0]
    colourful = np.ptp(picture.astype(int), axis=-1) > 60
    assert (
        colourful[:, : picture.shape[1] // 2].any() and colourful[:, picture.shape[1] // 2 :].any()
    )
