"""What must hold between labels, and what is merely odd."""

import numpy as np
import pytest

from data_pipeline.label_checks import check_labels
from data_pipeline.labelled_picture import LabelledPicture


def _check(instance, semantic=None, num_classes=0):
    semantic = None if semantic is None else np.array(semantic)
    return check_labels(LabelledPicture(b"", np.array(instance), semantic), num_classes)


def test_check_labels_passes_what_is_right():
    instance = [[1, 1, 0], [-1, 2, 2]]
    assert _check(instance) == []
    assert _check(instance, [[5, 5, 0], [-1, 4, 4]], num_classes=6) == []
    # Void says nothing, in either map; a class without instances is no fault.
    assert _check(instance, [[5, -1, 3], [2, -1, -1]]) == []


def test_check_labels_notes_what_is_odd():
    assert _check([[0, 0], [-1, 0]]) == ["no instance"]
    assert _check([[7, 0], [0, 0]]) == ["an instance of one pixel"]
    assert _check([[7, 7], [9, 3]]) == ["an instance of one pixel"]


@pytest.mark.parametrize(
    "instance, semantic, num_classes, message",
    [
        ([[-1, -1]], None, 0, "every pixel is void"),
        ([[0.0, 1.0]], None, 0, "instance map must hold integers, got float64"),
        ([0, 1], None, 0, r"instance map must be \[H, W\]"),
        (np.zeros((0, 4), int), None, 0, "not empty"),
        ([[0, 1]], [[0.0, 1.0]], 0, "semantic map must hold integers"),
        ([[0, 1]], [[0], [1]], 0, r"differ in size: \(1, 2\) and \(2, 1\)"),
        ([[0, 1]], [[0, 3]], 3, "class 3 has no name: there are 3 classes"),
        ([[4, 4, 9]], [[1, 2, 1]], 0, r"1 instances have .* several classes.*\[4\].*\[1, 2\]"),
        ([[4, 4, 9]], [[0, 2, 1]], 0, r"several classes.*\[4\].*\[0, 2\]"),
        ([[4, 4, 9]], [[1, 1, 0]], 0, r"1 instances have the background's class: ids \[9\]"),
    ],
)  # fmt: skip
def test_check_labels_refuses(instance, semantic, num_classes, message):
    with pytest.raises(ValueError, match=message):
        _check(instance, semantic, num_classes)


def test_check_labels_shows_a_few_of_many_ids():
    instance = np.repeat(np.arange(1, 301), 2)[np.newaxis]
    semantic = np.tile([1, 2], 300)[np.newaxis]
    with pytest.raises(ValueError, match=r"300 instances .*ids \[1, 2, 3, 4, 5\], the first"):
        _check(instance, semantic)
