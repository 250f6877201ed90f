"""Contact sheets of the best and the worst boundary maps."""

import numpy as np
import pytest
from PIL import Image

from rpe_tf.metrics.boundary_evaluation import Protocol, evaluate_folder
from rpe_tf.metrics.boundary_files import list_items
from rpe_tf.metrics.boundary_pictures import best_and_worst

_GREY, _WHITE, _RED = (90, 90, 90), (255, 255, 255), (220, 40, 40)


def _line(column, shape=(40, 60)):
    drawn = np.zeros(shape, np.uint8)
    drawn[:, column] = 255
    return drawn


@pytest.fixture
def folder(tmp_path):
    """Three pictures: right, far off, a false line beside the right one."""
    predicted = {"a": _line(10), "b": _line(50), "c": _line(10) + _line(40)}
    for name, boundary_map in predicted.items():
        for kind, drawn in (("truth", _line(10)), ("maps", boundary_map)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(drawn).save(tmp_path / f"{kind}/{name}.png")
    return tmp_path


def _sheets(folder, **choices):
    arguments = str(folder / "maps"), str(folder / "truth")
    result = evaluate_folder(*arguments, Protocol(**choices))
    return best_and_worst(list_items(*arguments), result, 1)


def _last_cell(sheet):
    """The difference of the only row: 40 pixels high, below the titles."""
    return np.asarray(sheet)[20:60, -60:]


def _count(cell, color):
    return int((cell == color).all(axis=-1).sum())


def test_best_has_all_found_and_worst_none(folder):
    sheets = _sheets(folder, num_thresholds=3)
    best, worst = (_last_cell(sheets[name]) for name in ("best", "worst"))
    assert [_count(best, color) for color in (_GREY, _RED)] == [40, 0]
    assert [_count(worst, color) for color in (_GREY, _RED)] == [0, 40]
    assert _count(worst[:, :20], _WHITE) == 40


def test_a_line_within_the_tolerance_is_found(folder):
    Image.fromarray(_line(12)).save(folder / "maps/b.png")
    sheets = _sheets(folder, num_thresholds=3, max_dist=2.5 / np.hypot(40, 60))
    # Picture c is the worst now, by its false line.
    worst = _last_cell(sheets["worst"])
    assert [_count(worst, color) for color in (_GREY, _RED)] == [40, 40]


def test_thick_lines_are_thinned_before_they_are_drawn(folder):
    thick = sum(_line(10 + k) // 255 for k in (-1, 0, 1)) * 255
    for name in ("a", "b", "c"):
        Image.fromarray(thick.astype(np.uint8)).save(folder / f"maps/{name}.png")
    thinned = _last_cell(_sheets(folder, num_thresholds=3)["best"])
    plain = _last_cell(_sheets(folder, num_thresholds=3, is_thinned=False)["best"])
    assert _count(thinned, _RED) < 10 and _count(plain, _RED) == 80
