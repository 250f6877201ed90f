"""Figs. 9 and 10 on class maps made by hand."""

import numpy as np
import pytest

from rpe_tf.figures import semantic_borders as borders
from rpe_tf.figures.trained_run import Example, TrainedNet

_TRUTH = np.repeat([[0] * 8 + [1] * 8], 16, axis=0).astype(np.int32)
_SHIFTED = np.repeat([[0] * 9 + [1] * 7], 16, axis=0).astype(np.int32)


def _pair(with_loss, without_loss):
    return borders.Pair([_TRUTH], [with_loss], [without_loss], 2)


def test_trimap_curves_by_hand():
    curves = borders.trimap_curves(_pair(_TRUTH, _SHIFTED))
    # A quarter of 16 pixels: bands up to 3.
    assert curves["half_width_px"] == [1, 2, 3]
    assert curves["with_loss"] == [1.0, 1.0, 1.0]
    # Within w pixels w columns a side; one column of class 1 is taken for 0.
    expected = [(w / (w + 1) + (w - 1) / w) / 2 for w in (1, 2, 3)]
    np.testing.assert_allclose(curves["without_loss"], expected)


@pytest.mark.parametrize("is_better", [True, False])
def test_draw_curves_holds_where_every_band_is_better(tmp_path, is_better):
    maps = (_TRUTH, _SHIFTED) if is_better else (_SHIFTED, _TRUTH)
    paths, numbers = borders.draw_curves(str(tmp_path / "curve"), _pair(*maps))
    assert numbers["holds"] is is_better and len(paths) == 2
    assert (numbers["smallest_gain"] > 0) is is_better


def test_draw_maps_counts_what_one_net_alone_has_right(tmp_path):
    example = Example(np.zeros([16, 16, 3], np.uint8), _TRUTH, _TRUTH)
    _, numbers = borders.draw_maps(str(tmp_path / "maps"), _pair(_TRUTH, _SHIFTED), [example])
    assert numbers["pixels_right_with_loss_alone"] == 16
    assert numbers["pixels_right_without_loss_alone"] == 0 and numbers["holds"]


def test_paint_difference_has_a_colour_a_case():
    truth = np.array([[1, 1, 1, 1, -1]])
    picture = borders.paint_difference(
        truth, np.array([[1, 1, 0, 0, 1]]), np.array([[1, 0, 1, 0, 0]])
    )[0]
    assert [tuple(x) for x in picture] == [
        *((255, 255, 255), (0, 114, 178), (230, 159, 0)),
        *((190, 190, 190), (255, 255, 255)),
    ]


def _net(num_classes, weight):
    settings = {"model": {"num_classes": num_classes}, "loss": {"embedding_weight": weight}}
    return TrainedNet(lambda _: {"semantic": _SHIFTED}, settings, f"run_{num_classes}_{weight}")


def test_predict_pair_refuses_runs_that_are_no_pair():
    example = Example(np.zeros([16, 16, 3], np.uint8), _TRUTH, _TRUTH)
    pair = borders.predict_pair(_net(2, 1.0), _net(2, 0.0), [example])
    assert pair.num_classes == 2 and (pair.with_loss[0] == _SHIFTED).all()
    with pytest.raises(ValueError, match=r"run_3_1\.0 has 3 classes"):
        borders.predict_pair(_net(3, 1.0), _net(2, 0.0), [example])
    with pytest.raises(ValueError, match=r"run_2_0\.5 was trained with the embedding loss"):
        borders.predict_pair(_net(2, 1.0), _net(2, 0.5), [example])
