"""COCO run lengths: by hand, round trip, and against the two common implementations."""

import importlib

import numpy as np
import pytest

from rpe_tf.metrics.rle import rle_decode, rle_encode, rle_encode_box


def _masks():
    rng = np.random.default_rng(0)
    yield np.zeros((4, 5), bool)
    yield np.ones((4, 5), bool)
    yield np.ones((1, 1), bool)
    for height, width in ((1, 40), (40, 1), (7, 5), (64, 48), (300, 400)):
        for density in (0.02, 0.5, 0.98):
            yield rng.random((height, width)) < density
    blocks = np.zeros((512, 512), bool)
    blocks[3:500, 20:21] = blocks[100:103, 200:400] = blocks[:, 511] = True
    yield blocks


def test_rle_encode_by_hand():
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)
    # By columns: 0 0 1 1 1 0, runs 2, 3, 1: single groups, characters 48 + run.
    assert rle_encode(mask) == {"size": [2, 3], "counts": "231"}


def test_rle_encode_first_run_is_of_zeros():
    assert rle_encode(np.ones((2, 3), bool))["counts"] == "06"
    assert rle_encode(np.zeros((2, 3), bool))["counts"] == "6"


def test_rle_encode_large_and_negative_numbers_by_hand():
    pixels = np.repeat([0, 1, 0, 1, 0], [16, 20, 2, 1, 1])
    # 16: bit 16 is the sign, so two groups: 16 + 32 and 0      -> chr(48 + 48), chr(48) = `0
    # 20: groups 20 + 32 and 0                                   -> chr(48 + 52), chr(48) = d0
    # 2: third run, stored as it is                              -> 2
    # 1 - 20 = -19: -19 mod 32 = 13, + 32; then -19 >> 5 = -1: 31 -> chr(48 + 45), chr(48 + 31) = ]O
    # 1 - 2 = -1: one group, 31                                  -> chr(48 + 31) = O
    rle = rle_encode(pixels.astype(bool)[:, None])
    assert rle == {"size": [40, 1], "counts": "`0d02]OO"}
    np.testing.assert_array_equal(rle_decode(rle)[:, 0], pixels)


def test_rle_decode_inverts_rle_encode():
    for mask in _masks():
        np.testing.assert_array_equal(rle_decode(rle_encode(mask)), mask)


def test_rle_encode_of_noncontiguous_mask():
    mask = np.random.default_rng(1).random((20, 30)) < 0.5
    assert rle_encode(mask[::2, ::3]) == rle_encode(mask[::2, ::3].copy())
    assert rle_encode(mask.T) == rle_encode(np.ascontiguousarray(mask.T))


@pytest.mark.parametrize("module", ["pycocotools.mask", "faster_coco_eval.core.mask"])
def test_rle_agrees_with_coco(module):
    pytest.importorskip(module.split(".")[0])
    coco = importlib.import_module(module)
    for mask in _masks():
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = rle_encode(mask)
        assert ours["counts"] == bytes(theirs["counts"]).decode() and ours["size"] == theirs["size"]
        np.testing.assert_array_equal(rle_decode(theirs), mask)


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros(4, bool), np.zeros((2, 2, 1), bool)])
def test_rle_encode_rejects(mask):
    with pytest.raises(ValueError, match="mask must be bool"):
        rle_encode(mask)


@pytest.mark.parametrize(
    "rle, message",
    [
        ({"counts": "6"}, "keys size and counts"),
        ({"size": [2, 3], "counts": [6]}, "compressed string"),
        ({"size": [2, 3], "counts": "6!"}, "characters"),
        ({"size": [2, 3], "counts": "6p"}, "characters"),
        ({"size": [2, 3], "counts": ""}, "complete number"),
        ({"size": [2, 3], "counts": "6P"}, "complete number"),
        ({"size": [2, 3], "counts": "P" * 20 + "0"}, "at most 12 groups"),
        ({"size": [2, 2], "counts": "6"}, "fill size 2 x 2"),
        ({"size": [2, 3], "counts": "7O"}, "runs >= 0"),
    ],
)
def test_rle_decode_rejects(rle, message):
    with pytest.raises(ValueError, match=message):
        rle_decode(rle)


@pytest.mark.parametrize("box", [(0, 0, 7, 5), (0, 2, 7, 4), (3, 1, 6, 2), (6, 4, 7, 5)])
def test_rle_encode_box_is_that_of_the_whole_mask(box):
    y, x, y_end, x_end = box
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 0.7, 1.0):
        mask = np.zeros([7, 5], bool)
        mask[y:y_end, x:x_end] = rng.random([y_end - y, x_end - x]) < share
        rle = rle_encode_box(mask[y:y_end, x:x_end], y, x, (7, 5))
        assert rle == rle_encode(mask)
        np.testing.assert_array_equal(rle_decode(rle), mask)


def test_rle_encode_box_by_hand_in_a_picture_beyond_int32():
    # Column by column: 3 · 10^5 + 7 zeros, 2 ones, and the rest of 10^10.
    rle = rle_encode_box(np.ones([2, 1], bool), 7, 3, (10**5, 10**5))
    assert rle["size"] == [10**5, 10**5]
    lead = rle_encode(np.zeros([1, 300_007], bool))["counts"]
    rest = 10**10 - 300_007 - 2
    groups = [(rest >> 5 * k) & 31 for k in range(7)]
    tail = "".join(chr(48 + group + (32 if k < 6 else 0)) for k, group in enumerate(groups))
    assert rle["counts"] == lead + "2" + tail
