"""Fig. 2: the loss of a pair, its slopes and its kink."""

import numpy as np
import pytest

from rpe_tf.figures import loss_curve


def test_loss_of_pair_is_that_of_eq_2():
    similarity = np.array([0.0, 0.4, 0.5, 0.8, 1.0])
    np.testing.assert_allclose(
        loss_curve.loss_of_pair(similarity, True, 0.5), [1.0, 0.6, 0.5, 0.2, 0.0], atol=1e-9
    )
    np.testing.assert_allclose(
        loss_curve.loss_of_pair(similarity, False, 0.5), [0.0, 0.0, 0.0, 0.3, 0.5], atol=1e-9
    )


def test_measure_kink_by_hand():
    s = np.linspace(0, 1, 101)
    found = loss_curve.measure_kink(s, np.maximum(0.1, 0.1 + 2 * (s - 0.4)))
    assert found == pytest.approx({"slope_below": 0.0, "slope_above": 2.0, "kink": 0.4}, abs=1e-9)


def test_draw_writes_both_files_and_holds(tmp_path):
    paths, numbers = loss_curve.draw(str(tmp_path / "loss"))
    assert numbers["holds"] and set(numbers["negative"]) == {"0.3", "0.5", "0.7"}
    assert [x.name for x in sorted(tmp_path.iterdir())] == ["loss.png", "loss.svg"]
    assert "pair" in (tmp_path / "loss.svg").read_text()  # Text stays text.
    first = (tmp_path / "loss.svg").read_bytes()
    loss_curve.draw(str(tmp_path / "loss"))
    assert (tmp_path / "loss.svg").read_bytes() == first and len(paths) == 2
