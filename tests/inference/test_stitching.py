"""Stitching on label maps drawn by hand: what is one, what is cut off, what is a fragment."""

import numpy as np
import pytest

from rpe_tf.inference import stitching
from rpe_tf.inference.stitching import View
from rpe_tf.models.position import RotateByPosition, wave_vectors


def _view(rows, embedding=None, is_cut=None, is_seen=None):
    """A View of a strip given as lists of ids; embeddings all alike unless given."""
    instance = np.array(rows, np.int32)
    num = int(instance.max())
    embedding = np.ones([num, 1], np.float32) if embedding is None else embedding
    is_cut = np.zeros(num, bool) if is_cut is None else np.array(is_cut)
    is_seen = np.ones(num, bool) if is_seen is None else np.array(is_seen)
    return View(instance, np.asarray(embedding, np.float32), is_cut, is_seen)


def test_match_needs_half_of_the_union():
    # 2 of 4 pixels are common: IoU 1/2. Then 2 of 5.
    assert stitching.match(_view([[1, 1, 1, 0]]), _view([[0, 1, 1, 1]])).tolist() == [[1, 1]]
    assert stitching.match(_view([[1, 1, 1, 1, 0]]), _view([[0, 0, 1, 1, 1]])).tolist() == []
    assert stitching.match(_view([[0, 0]]), _view([[0, 1]])).tolist() == []


def test_match_pairs_each_of_several():
    first = _view([[1, 1, 0, 2, 2, 3]])
    second = _view([[2, 2, 2, 1, 1, 0]])
    # IoU 2/3 and 1; 3 has no pixel in common.
    assert stitching.match(first, second).tolist() == [[1, 2], [2, 1]]


def test_match_tells_apart_by_embedding_what_overlaps():
    first, second = [[1, 1, 1, 0]], [[0, 1, 1, 1]]
    for cosine, found in ((0.49, []), (0.51, [[1, 1]])):
        other = [[cosine, np.sqrt(1 - cosine**2)]]
        pairs = stitching.match(_view(first, [[1, 0]]), _view(second, other))
        assert pairs.tolist() == found
    # Of an unknown embedding the overlap alone counts; 3 of 4 pixels are the same object anyway.
    unknown = np.zeros([1, 0])
    assert len(stitching.match(_view(first, unknown), _view(second, unknown))) == 1
    opposite = stitching.match(_view([[1, 1, 1, 1]], [[1, 0]]), _view([[0, 1, 1, 1]], [[-1, 0]]))
    assert opposite.tolist() == [[1, 1]]


def test_match_joins_the_pieces_of_what_is_cut_off():
    """A U whose bend only the second tile sees is two pieces in the first."""
    first, second = [[1, 1, 0, 2, 2, 2]], [[1, 1, 0, 1, 1, 1]]
    # Piece 2 has 3 of 5 pixels; piece 1 has 2 of 5, all of which are the other's.
    assert stitching.match(_view(first), _view(second)).tolist() == [[2, 1]]
    is_cut = [True, True]
    pairs = stitching.match(_view(first, is_cut=is_cut), _view(second)).tolist()
    assert pairs == [[1, 1], [2, 1]]
    assert stitching.match(_view(second), _view(first, is_cut=is_cut)).tolist() == [[1, 1], [1, 2]]


def test_match_leaves_out_what_lies_in_no_core():
    first, second = _view([[1, 1]]), _view([[1, 1]], is_seen=[False])
    assert len(stitching.match(first, second)) == len(stitching.match(second, first)) == 0


def test_touches_counts_the_sides_asked_for():
    instance = np.array([[0, 1, 0], [2, 0, 3], [0, 4, 5]])
    answers = [[True, False, False, False], [False, True, False, False]]
    # Top: 1. Left: 2. Bottom: 4 and 5. Right: 3 and 5.
    assert stitching.touches(instance, 5, answers[0]).tolist() == [True] + [False] * 4
    assert stitching.touches(instance, 5, answers[1]).tolist() == [False, True] + [False] * 3
    found = stitching.touches(instance, 5, [False, False, True, True])
    assert found.tolist() == [False, False, True, True, True]
    assert not stitching.touches(np.zeros([2, 2], int), 0, [True] * 4).any()


def test_roots_joins_chains():
    pairs = np.array([[0, 3], [3, 5], [1, 2]])
    root = stitching.roots(pairs, 6)
    assert root[0] == root[3] == root[5] and root[1] == root[2]
    assert len(np.unique(root)) == 3
    assert stitching.roots(np.zeros([0, 2], int), 2).tolist() == [0, 1]


def test_paint_puts_the_tile_of_the_core_first():
    ids = np.array([[7, 7, 7, 0]])
    is_core = np.array([[True, True, False, False]])
    whole, fragment = np.ones([1, 4], bool), np.zeros([1, 4], bool)
    for is_whole, canvas, expected in (
        # What an earlier tile left in the core is painted over; beyond it comes first.
        (fragment, [[5, 0, 0, 0]], [[7, 7, 0, 0]]),
        (whole, [[5, 0, 0, 0]], [[7, 7, 7, 0]]),
        (whole, [[0, 0, 5, 5]], [[7, 7, 5, 5]]),
        # Background of the tile leaves others whole.
        (fragment, [[0, 5, 5, 5]], [[7, 7, 5, 5]]),
    ):
        canvas = np.array(canvas)
        before = canvas.copy()
        takes = stitching.paint(canvas, ids, is_core, is_whole)
        assert canvas.tolist() == expected
        assert (takes == (canvas != before)).all()


def test_mean_directions_are_unit_means():
    instance = np.array([[1, 1, 2, 0]])
    embedding = np.array([[[1, 0], [0, 1], [0, -1], [1, 0]]], np.float32)
    found = stitching.mean_directions(instance, embedding, 3)
    # (1, 1) / √2; (0, −1); of an id without pixels nothing.
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, -1], [0, 0]], atol=1e-7)
    assert found.dtype == np.float32


@pytest.mark.parametrize("place", [(0, 0), (128, 64), (19_968, 704)])
def test_turn_brings_a_window_to_where_the_picture_is(place):
    """Rotated at its place in the picture, or in a window and then turned by where that begins."""
    rng = np.random.default_rng(0)
    wavelengths = (10.0, 160.0)
    features = rng.normal(size=[1, 3, 4, 6]).astype(np.float32)
    in_window = RotateByPosition(wavelengths)(features).numpy()
    vectors = wave_vectors(3, wavelengths).astype(np.float64)
    y, x = np.mgrid[:3, :4]
    phases = np.stack([y + place[0], x + place[1]], axis=-1) @ vectors.T
    first, second = features[..., :3], features[..., 3:]
    expected = np.concatenate(
        [
            first * np.cos(phases) - second * np.sin(phases),
            first * np.sin(phases) + second * np.cos(phases),
        ],
        axis=-1,
    )
    turned = stitching.turn(in_window.reshape(-1, 6), vectors @ place)
    np.testing.assert_allclose(turned, expected.reshape(-1, 6), atol=1e-4)
