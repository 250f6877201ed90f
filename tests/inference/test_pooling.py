"""Pooled proposals: scores by hand, a walk over all masks as oracle, relations, edges."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference import pooling
from rpe_tf.inference.label_map import read_out
from rpe_tf.inference.pooling import pool_proposals, pooling_arguments, single_arguments

# Two halves 20° apart, a dot at a right angle to both, on a background at a right angle to all.
# A kernel of width 1/√16 = 0.25 rad cannot tell 0.35 rad apart; one of 1/√400 = 0.05 rad can.
COARSE, FINE = 16.0, 400.0
GROUP = np.zeros([8, 10], np.int32)
GROUP[2:6, 1:4] = 1
GROUP[2:6, 4:7] = 2
GROUP[1:3, 8:10] = 3
_HALF = np.deg2rad(10)
DIRECTIONS = np.float32(
    [
        [0, 0, 0, 1],
        [np.cos(_HALF), np.sin(_HALF), 0, 0],
        [np.cos(_HALF), -np.sin(_HALF), 0, 0],
        [0, 0, 1, 0],
    ]
)
EMBEDDING = DIRECTIONS[GROUP]


@functools.cache
def _traced(dim, **arguments):
    return tf.function(
        lambda x: pool_proposals(x, **arguments),
        input_signature=[tf.TensorSpec([None, None, dim], tf.float32)],
        autograph=False,  # nothing to convert, and twice as fast to trace
    )


def graph(embedding, **arguments):
    """As pool_proposals, in one graph for all sizes."""
    return _traced(embedding.shape[-1], **arguments)(embedding)


@pytest.fixture(params=[pool_proposals, graph], ids=["eager", "graph"])
def pool(request):
    return request.param


def masks_of(proposals):
    maps, source = proposals.maps.numpy(), proposals.source.numpy()
    return maps[source[:, 0]] == source[:, 1, np.newaxis, np.newaxis]


def check_tables(proposals):
    """Boxes, areas and order of the scores are those of the masks."""
    num = len(proposals.source)
    assert proposals.boxes.shape == (num, 4)
    assert proposals.areas.shape == proposals.scores.shape == (num,)
    dtypes = [x.dtype for x in proposals]
    assert dtypes == [tf.int32, tf.int32, tf.int32, tf.int32, tf.float32]
    for mask, box, area in zip(masks_of(proposals), proposals.boxes, proposals.areas, strict=True):
        ys, xs = np.nonzero(mask)
        assert len(ys) == area
        assert box.numpy().tolist() == [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]
    assert (np.diff(proposals.scores) <= 0).all()
    assert np.all((proposals.scores >= 0) & (proposals.scores <= 1 + 1e-5))


def check_equal(one, other):
    np.testing.assert_array_equal(masks_of(one), masks_of(other))
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def noisy_picture(seed, num_groups=9, spread=0.25):
    """Squares of random directions in 6 dimensions, every pixel with noise of its own."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=[num_groups, 6])
    cells = directions[rng.integers(0, num_groups, [5, 6])]
    x = cells.repeat(6, 0).repeat(6, 1) + rng.normal(0, spread, [30, 36, 6])
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def walk(embedding, concentrations, overlap, **arguments):
    """(masks, scores) that a walk over all instances of all maps keeps, best first."""
    read = tf.function(lambda k: read_out(embedding, concentration=k, **arguments), autograph=False)
    found = [read(tf.constant(k, tf.float32)) for k in concentrations]
    groups = [[x.instance.numpy() == k + 1 for k in range(len(x.areas))] for x in found]

    def iou(a, b):
        return (a & b).sum() / (a | b).sum()

    candidates = []
    for masks, instances in zip(groups, found, strict=True):
        for mask, cosine in zip(masks, instances.scores.numpy().astype(np.float64), strict=True):
            holds = [any(iou(mask, other) >= overlap for other in others) for others in groups]
            score = np.mean(holds) * max(cosine, 0) ** 8 * (mask.sum() / mask.size) ** 0.25
            candidates.append((score, mask))
    kept = []
    for score, mask in sorted(candidates, key=lambda x: -x[0]):
        if all(iou(mask, other) < overlap for _, other in kept):
            kept.append((score, mask))
    return np.array([mask for _, mask in kept]), np.array([score for score, _ in kept])


def test_pool_proposals_holds_the_whole_and_its_halves(pool):
    found = pool(EMBEDDING, concentrations=(FINE, COARSE))
    check_tables(found)
    assert found.maps.shape == (2, 8, 10)
    # 80 pixels. The dot, 2·2 pixels, is in both maps at cosine 1; each half, 4·3 pixels, in one of
    # two; the whole, 24 pixels, in one, each pixel 10° from the mode between the halves.
    dot = 2 / 2 * 1**8 * (4 / 80) ** 0.25
    half = 1 / 2 * 1**8 * (12 / 80) ** 0.25
    whole = 1 / 2 * np.cos(_HALF) ** 8 * (24 / 80) ** 0.25
    assert dot > whole > half
    np.testing.assert_allclose(found.scores, [dot, whole, half, half], atol=1e-4)
    expected = [GROUP == 3, (GROUP == 1) | (GROUP == 2), GROUP == 1, GROUP == 2]
    np.testing.assert_array_equal(masks_of(found), expected)
    # Concentrations rise: the whole is of the first map, the halves of the second.
    assert found.source.numpy()[1:, 0].tolist() == [0, 1, 1]


def test_pool_proposals_leaves_out_what_overlaps_a_better_one():
    # The whole has IoU 12/24 with each half.
    apart = pool_proposals(EMBEDDING, concentrations=(FINE, COARSE), overlap=0.51)
    assert apart.areas.numpy().tolist() == [4, 24, 12, 12]
    # Now the other map holds the whole as well, in its halves, and it is the best of all.
    at_half = pool_proposals(EMBEDDING, concentrations=(FINE, COARSE), overlap=0.5)
    whole = 2 / 2 * np.cos(_HALF) ** 8 * (24 / 80) ** 0.25
    np.testing.assert_allclose(at_half.scores[0], whole, atol=1e-4)
    assert at_half.areas.numpy().tolist() == [24, 4]


def test_choose_keeps_what_only_a_gone_one_nearly_equals():
    # Best to worst 2, 0, 3, 1. 0 goes for 2; 3 nearly equals 0 alone, so it stays; 1 goes for 3.
    iou = np.eye(4, dtype=np.float32)
    for one, other in ((0, 2), (0, 3), (1, 3)):
        iou[one, other] = iou[other, one] = 0.9
    table, scores = tf.reshape(tf.constant(iou), [2, 2, 2, 2]), [[0.8, 0.1], [0.9, 0.5]]
    chosen = pooling._choose(table, tf.constant(scores), tf.constant([[5, 5], [5, 5]]), 0.9)
    assert chosen.numpy().tolist() == [2, 3]


def test_pool_proposals_max_proposals_keeps_the_best():
    found = pool_proposals(EMBEDDING, concentrations=(FINE, COARSE), max_proposals=3)
    assert found.areas.numpy().tolist() == [4, 24, 12]
    # Of each map the largest is a candidate: the whole of two instances, a half of three.
    found = pool_proposals(EMBEDDING, concentrations=(FINE, COARSE), max_proposals=1)
    assert found.areas.numpy().tolist() == [24]
    assert found.scores[0] < 0.5  # The dot, nobody's candidate, would be the best.


@pytest.mark.parametrize("seed, overlap", [(0, 0.9), (2, 0.6), (4, 1.0)])
def test_pool_proposals_equals_a_walk_over_all_masks(seed, overlap):
    embedding, arguments = noisy_picture(seed), {"min_area": 3, "max_loops": 10}
    concentrations = (15.0, 30.0, 60.0, 90.0)
    found = graph(embedding, concentrations=concentrations, overlap=overlap, **arguments)
    check_tables(found)
    masks, scores = walk(embedding, concentrations, overlap, **arguments)
    assert len(masks) > 5
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)
    np.testing.assert_array_equal(masks_of(found), masks)


@pytest.mark.parametrize("background", ["border", "none"])
def test_pool_proposals_of_one_concentration_are_those_of_the_read_out(background):
    embedding = noisy_picture(5)
    arguments = {"background": background, "max_loops": 10}
    found = pool_proposals(embedding, concentrations=(60.0,), **arguments)
    alone = read_out(embedding, concentration=60.0, **arguments)
    check_tables(found)
    np.testing.assert_array_equal(found.maps[0], alone.instance)
    assert sorted(found.source.numpy()[:, 1]) == list(range(1, len(alone.areas) + 1))
    num_pixels = embedding.shape[0] * embedding.shape[1]
    ids = found.source.numpy()[:, 1] - 1
    area = alone.areas.numpy()[ids] / num_pixels
    cosine = alone.scores.numpy()[ids]
    np.testing.assert_allclose(found.scores, np.maximum(cosine, 0) ** 8 * area**0.25, atol=1e-5)


def test_pool_proposals_order_and_repetition_of_concentrations_do_not_matter():
    embedding = noisy_picture(6)
    once = pool_proposals(embedding, concentrations=(20.0, 60.0, 120.0), max_loops=10)
    for same in ((120.0, 20.0, 60.0), (60.0, 20.0, 60, 120.0, 120.0)):
        found = pool_proposals(embedding, concentrations=same, max_loops=10)
        check_equal(found, once)
        np.testing.assert_array_equal(found.source, once.source)


def test_pool_proposals_moves_with_a_mirrored_picture():
    embedding = noisy_picture(7)
    found = graph(embedding, concentrations=(20.0, 60.0))
    mirrored = graph(embedding[:, ::-1], concentrations=(20.0, 60.0))
    # Greedy modes depend a little on the order of pixels, areas and scores hardly.
    assert abs(len(found.areas) - len(mirrored.areas)) <= 2
    np.testing.assert_array_equal(masks_of(mirrored)[0], masks_of(found)[0][:, ::-1])


@pytest.mark.parametrize("background, num", [("border", 0), ("largest", 0), ("none", 1)])
@pytest.mark.parametrize("shape", [(5, 4), (1, 1), (1, 9)])
def test_pool_proposals_of_one_group(pool, background, num, shape):
    embedding = np.zeros([*shape, 4], np.float32) + DIRECTIONS[1]
    found = pool(embedding, concentrations=(10.0, 40.0), background=background)
    check_tables(found)
    np.testing.assert_array_equal(found.maps, np.full([2, *shape], num))
    assert found.areas.numpy().tolist() == [shape[0] * shape[1]] * num
    np.testing.assert_allclose(found.scores, np.ones(num), atol=1e-4)


def test_pool_proposals_without_any_direction_are_none(pool):
    embedding = np.zeros([3, 4, 4], np.float32)
    for background in ("border", "none"):
        found = pool(embedding, concentrations=(10.0, 40.0), background=background)
        check_tables(found)
        assert len(found.areas) == 0


def test_pool_proposals_of_300_instances_in_each_map():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=[300, 24])
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    instance = np.arange(300).reshape(15, 20).repeat(3, 0).repeat(4, 1)
    found = graph(
        directions[instance].astype(np.float32),
        concentrations=(200.0, 300.0, 500.0),
        background="none",
    )
    check_tables(found)
    assert found.areas.numpy().tolist() == [12] * 300
    masks = masks_of(found)
    np.testing.assert_array_equal(masks.sum(axis=0), np.ones(instance.shape))
    # All are equal and in all three maps; the cosine is 1 but for rounding.
    np.testing.assert_allclose(found.scores, (12 / 3600) ** 0.25, rtol=1e-3)


def test_arguments_of_a_run_with_and_without_concentrations():
    older = {"concentration": 36.0, "min_area": 10}
    assert pooling_arguments(older) == {"concentrations": [36.0], "min_area": 10}
    assert single_arguments(older) == older
    newer = {**older, "concentrations": [36.0, 144.0]}
    assert pooling_arguments(newer) == {"concentrations": [36.0, 144.0], "min_area": 10}
    assert single_arguments(newer) == older


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"concentrations": []}, "at least one number, all above 0, got "),
        ({"concentrations": [36.0, 0.0]}, "at least one number, all above 0, got "),
        ({"concentrations": [float("nan")]}, "at least one number, all above 0, got "),
        ({"concentrations": [36.0], "overlap": 0.0}, r"overlap must be an IoU in \(0, 1\], got 0"),
        (
            {"concentrations": [36.0], "overlap": 1.1},
            r"overlap must be an IoU in \(0, 1\], got 1.1",
        ),
        ({"concentrations": [36.0], "max_proposals": 0}, "max_proposals must be 1 or more, got 0"),
        ({"concentrations": [36.0], "background": "sky"}, "background must be one of"),
        ({"concentrations": [36.0], "max_loops": -1}, "max_loops must be 0 or more"),
    ],
)
def test_pool_proposals_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        pool_proposals(EMBEDDING, **arguments)
