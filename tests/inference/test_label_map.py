import functools

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference.label_map import Instances, read_out

KAPPA = 36.0

# An 8×10 picture of three groups: 0 the ring of the border, 1 the middle, 2 a patch within it.
# Pixels: ring 2·10 + 2·6 = 32, patch 2·3 = 6, middle 6·8 − 6 = 42.
MIDDLE, RING, PATCH = 42, 32, 6
GROUP = np.zeros([8, 10], np.int32)
GROUP[1:7, 1:9] = 1
GROUP[2:4, 3:6] = 2
MIDDLE_BOX, RING_BOX, PATCH_BOX = [1, 1, 7, 9], [0, 0, 8, 10], [2, 3, 4, 6]

# Each group on an axis of its own; the second row of the patch leans towards the middle.
EMBEDDING = np.eye(3, dtype=np.float32)[GROUP]
LEANING = EMBEDDING.copy()
LEANING[3, 3:6] = [0, 0.28, 0.96]

eager = read_out


@functools.cache
def _traced(dim, **arguments):
    return tf.function(
        lambda x: read_out(x, **arguments), input_signature=[tf.TensorSpec([None, None, dim])]
    )


def graph(embedding, **arguments):
    return _traced(embedding.shape[-1], **arguments)(embedding)


@pytest.fixture(params=[eager, graph], ids=["eager", "graph"])
def read(request):
    return request.param


def check(instances: Instances, group_of_id: list, areas: list, boxes: list, scores: list):
    """group_of_id: the group of GROUP that each id stands for, background first (or None)."""
    dtypes = (tf.int32, tf.int32, tf.int32, tf.float32)
    for value, dtype in zip(instances[:4], dtypes, strict=True):
        assert value.dtype == dtype
    expected = np.full_like(GROUP, -1)
    for new_id, old in enumerate(group_of_id):
        if old is not None:
            expected[GROUP == old] = new_id
    np.testing.assert_array_equal(instances.instance, expected)
    assert instances.areas.numpy().tolist() == areas
    assert instances.boxes.numpy().tolist() == boxes
    np.testing.assert_allclose(instances.scores, scores, atol=1e-5)


def test_read_out_background_border_is_the_largest_that_touches_the_border(read):
    instances = read(EMBEDDING, concentration=KAPPA, background="border")
    check(instances, [0, 1, 2], [MIDDLE, PATCH], [MIDDLE_BOX, PATCH_BOX], [1, 1])
    assert bool(instances.converged)


def test_read_out_background_largest_may_lie_inside(read):
    instances = read(EMBEDDING, concentration=KAPPA, background="largest")
    check(instances, [1, 0, 2], [RING, PATCH], [RING_BOX, PATCH_BOX], [1, 1])


def test_read_out_background_none_gives_every_group_an_id(read):
    instances = read(EMBEDDING, concentration=KAPPA, background="none")
    boxes = [MIDDLE_BOX, RING_BOX, PATCH_BOX]
    check(instances, [None, 1, 0, 2], [MIDDLE, RING, PATCH], boxes, [1, 1, 1])


def test_read_out_border_prefers_the_larger_of_two_at_the_border(read):
    # Left columns 0-2: 24 pixels; right columns 3-9: 56 less the 42 of the middle of it.
    group = np.zeros([8, 10], np.int32)
    group[:, 3:] = 1
    group[1:7, 3:10] = 2
    instances = read(np.eye(3, dtype=np.float32)[group], concentration=KAPPA)
    # All three touch the border; group 2 has 6·7 = 42 pixels, group 0 24, group 1 14.
    assert instances.areas.numpy().tolist() == [24, 14]
    assert instances.instance.numpy()[[0, 0, 4], [0, 9, 9]].tolist() == [1, 2, 0]


def test_read_out_scores_are_mean_cosines_to_the_mode(read):
    # Without loops the mode of the patch is its first pixel: three pixels at cosine 1, three at
    # 0.96, which is within the mode's 0.95.
    instances = read(LEANING, concentration=KAPPA, max_loops=0)
    score = (3 * 1.0 + 3 * 0.96) / 6
    check(instances, [0, 1, 2], [MIDDLE, PATCH], [MIDDLE_BOX, PATCH_BOX], [1, score])
    assert int(instances.num_loops) == 0
    assert not bool(instances.converged)


def test_read_out_mode_cosine_splits_what_is_further_apart(read):
    instances = read(LEANING, concentration=KAPPA, max_loops=0, mode_cosine=0.97)
    assert instances.areas.numpy().tolist() == [MIDDLE, 3, 3]
    assert instances.boxes.numpy().tolist() == [MIDDLE_BOX, [2, 3, 3, 6], [3, 3, 4, 6]]


def test_read_out_min_area_moves_pixels_to_the_next_mode(read):
    embedding = LEANING.copy()
    embedding[2, 3:6] = [0.28, 0, 0.96]
    # mode_cosine 0.9: the two rows of the patch (cosine 0.96² = 0.92) are one mode. Without it
    # the upper row is nearest to the ring, the lower row to the middle, each at cosine 0.28.
    arguments = {"concentration": KAPPA, "max_loops": 0, "mode_cosine": 0.9}
    kept = read(embedding, min_area=PATCH, **arguments)
    assert kept.areas.numpy().tolist() == [MIDDLE, PATCH]
    moved = read(embedding, min_area=PATCH + 1, **arguments)
    assert moved.areas.numpy().tolist() == [MIDDLE + 3]
    assert moved.instance.numpy()[2, 3:6].tolist() == [0, 0, 0]
    assert moved.instance.numpy()[3, 3:6].tolist() == [1, 1, 1]
    np.testing.assert_allclose(moved.scores, [(MIDDLE + 3 * 0.28) / (MIDDLE + 3)], atol=1e-5)


def test_read_out_min_area_above_all_keeps_the_largest(read):
    instances = read(EMBEDDING, concentration=KAPPA, min_area=1000, background="none")
    assert instances.areas.numpy().tolist() == [80]
    np.testing.assert_array_equal(instances.instance, np.ones([8, 10]))


def test_read_out_finds_an_object_of_one_pixel_in_a_large_picture(read):
    embedding = np.zeros([130, 140, 3], np.float32) + np.float32([1, 0, 0])
    embedding[57, 31] = [0, 1, 0]
    instances = read(embedding, concentration=KAPPA)
    assert instances.areas.numpy().tolist() == [1]
    assert instances.boxes.numpy().tolist() == [[57, 31, 58, 32]]


@pytest.mark.parametrize("background", ["border", "largest", "none"])
def test_read_out_pixels_without_a_direction_are_background(read, background):
    embedding = LEANING.copy()
    embedding[0, 0], embedding[4, 4] = 0, np.nan
    instances = read(embedding, concentration=KAPPA, background=background)
    assert instances.instance.numpy()[[0, 4], [0, 4]].tolist() == [0, 0]
    expected = [MIDDLE - 1, PATCH] if background != "none" else [MIDDLE - 1, RING - 1, PATCH]
    if background == "largest":
        expected = [RING - 1, PATCH]
    assert instances.areas.numpy().tolist() == expected
    assert np.isfinite(instances.scores).all()


@pytest.mark.parametrize("background", ["border", "largest", "none"])
def test_read_out_without_any_direction_has_no_instances(read, background):
    instances = read(np.zeros([3, 4, 2], np.float32), concentration=KAPPA, background=background)
    np.testing.assert_array_equal(instances.instance, np.zeros([3, 4]))
    assert instances.areas.shape == (0,) and instances.boxes.shape == (0, 4)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (2, 60)])
def test_read_out_thin_pictures(read, shape):
    embedding = np.zeros([*shape, 2], np.float32)
    pixels = embedding.reshape(-1, 2)
    quarter = len(pixels) // 4
    pixels[:quarter, 0], pixels[quarter:, 1] = 1, 1
    instances = read(embedding, concentration=KAPPA, background="largest")
    assert instances.areas.numpy().tolist() == [quarter]
    assert instances.instance.numpy().ravel().tolist() == [1] * quarter + [0] * 3 * quarter


def test_read_out_one_pixel(read):
    pixel = np.float32([[[0.6, 0.8]]])
    background = read(pixel, concentration=KAPPA)
    assert background.instance.numpy().tolist() == [[0]]
    assert background.boxes.shape == (0, 4)
    assert background.areas.shape == background.scores.shape == (0,)
    kept = read(pixel, concentration=KAPPA, background="none")
    assert kept.instance.numpy().tolist() == [[1]]
    assert kept.boxes.numpy().tolist() == [[0, 0, 1, 1]]
    assert kept.areas.numpy().tolist() == [1]
    np.testing.assert_allclose(kept.scores, [1], atol=1e-6)


@pytest.mark.parametrize("background, num_instances", [("border", 0), ("largest", 0), ("none", 1)])
def test_read_out_one_group(read, background, num_instances):
    embedding = np.zeros([5, 4, 3], np.float32) + np.float32([0, 0, 1])
    instances = read(embedding, concentration=KAPPA, background=background)
    assert instances.areas.numpy().tolist() == [20] * num_instances
    assert instances.boxes.numpy().tolist() == [[0, 0, 5, 4]] * num_instances
    np.testing.assert_array_equal(instances.instance, np.full([5, 4], num_instances))


def test_read_out_ids_cover_the_picture_and_agree_with_areas_and_boxes():
    embedding = np.random.default_rng(0).normal(size=[9, 11, 3]).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    instances = read_out(embedding, concentration=20.0, min_area=3)
    ids, areas = instances.instance.numpy(), instances.areas.numpy()
    assert len(areas) > 1
    assert areas.tolist() == sorted(areas, reverse=True)
    for row, (area, box) in enumerate(zip(areas, instances.boxes.numpy(), strict=True)):
        ys, xs = np.nonzero(ids == row + 1)
        assert len(ys) == area >= 3
        assert box.tolist() == [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]
    assert ids.max() == len(areas) == len(instances.scores)


def test_read_out_one_graph_serves_all_sizes():
    for embedding in (EMBEDDING, EMBEDDING[:, :7], EMBEDDING[:1, :1]):
        answers = [f(embedding, concentration=KAPPA) for f in (graph, eager)]
        for one, other in zip(*answers, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_read_out_refuses_unknown_background():
    with pytest.raises(ValueError, match=r"background must be one of .* got 'sky'"):
        read_out(EMBEDDING, concentration=KAPPA, background="sky")


def test_read_out_refuses_what_group_refuses():
    with pytest.raises(ValueError, match="concentration must be above 0"):
        read_out(EMBEDDING, concentration=0.0)
    with pytest.raises(ValueError, match="max_loops must be 0 or more"):
        read_out(EMBEDDING, concentration=KAPPA, max_loops=-1)
