"""Read-out with a semantic map: pictures drawn by hand, whose instances are known."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.inference import class_instances
from rpe_tf.inference.class_instances import ClassedInstances, read_out_classed
from rpe_tf.inference.instance_scoring import FEATURES

KAPPA = 36.0
_DIM = 8
_LOGIT = 4.0  # of the class that a pixel has; of the others 0


@functools.cache
def _traced(num_classes, **arguments):
    shape = [None, None]
    return tf.function(
        lambda x, y: read_out_classed(x, y, concentration=KAPPA, **arguments),
        input_signature=[
            tf.TensorSpec([*shape, _DIM]),
            tf.TensorSpec([*shape, num_classes]),
        ],
    )


def embed(mode):
    return np.eye(_DIM, dtype=np.float32)[mode]


def logits(semantic, num_classes=4):
    return _LOGIT * np.eye(num_classes, dtype=np.float32)[semantic]


def read(mode, semantic, **arguments) -> ClassedInstances:
    """What the graph gives for pixels on the axes `mode`, of the classes `semantic`, as NumPy."""
    logit = logits(semantic)
    found = _traced(logit.shape[-1], **arguments)(embed(mode), logit)
    return ClassedInstances(*(x.numpy() for x in found))


def scene():
    """12×20: two squares that look alike, A and B, C beside B, and D, of another class, below C.

    Background has the look of A and B: only the semantic map tells it from them.
    """
    mode, semantic = np.zeros([12, 20], int), np.zeros([12, 20], int)
    semantic[1:5, 1:5] = 1  # A, 16 pixels
    semantic[1:6, 8:12] = 1  # B, 20 pixels
    semantic[1:6, 12:18], mode[1:6, 12:18] = 1, 1  # C, 30 pixels, touches B
    semantic[6:8, 12:18], mode[6:8, 12:18] = 2, 2  # D, 12 pixels, touches C
    return mode, semantic


A, B, C, D = ([1, 1, 5, 5], [1, 8, 6, 12], [1, 12, 6, 18], [6, 12, 8, 18])


def test_read_out_classed_splits_what_looks_alike_but_lies_apart():
    mode, semantic = scene()
    found = read(mode, semantic)
    assert found.boxes.tolist() == [C, B, A, D]
    assert found.areas.tolist() == [30, 20, 16, 12]
    assert found.classes.tolist() == [1, 1, 1, 2]
    assert found.agreement.tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(found.semantic, semantic)
    expected = np.zeros_like(mode)
    for row, (y, x, y_end, x_end) in enumerate([C, B, A, D]):
        expected[y:y_end, x:x_end] = row + 1
    np.testing.assert_array_equal(found.instance, expected)
    dtypes = [x.dtype for x in found]
    assert dtypes == [np.int32] * 4 + [np.float32, np.int32] + [np.float32] * 2 + [np.int32, bool]
    assert found.converged and found.num_loops >= 0


def test_read_out_classed_without_splitting_keeps_the_group_whole():
    mode, semantic = scene()
    found = read(mode, semantic, split_components=False)
    assert found.areas.tolist() == [16 + 20, 30, 12]
    assert found.boxes.tolist() == [[1, 1, 6, 12], C, D]
    assert found.classes.tolist() == [1, 1, 2]


def test_read_out_classed_features_by_hand():
    mode, semantic = scene()
    # A softmax of 4 against three zeros.
    probability = np.exp(_LOGIT) / (np.exp(_LOGIT) + 3)
    by_name = dict(zip(FEATURES, read(mode, semantic).features.T, strict=True))
    np.testing.assert_allclose(by_name["log_size"], np.log(np.array([30, 20, 16, 12]) / 240))
    # B and A share a group of 36 pixels.
    np.testing.assert_allclose(by_name["connectedness"], [1, 20 / 36, 16 / 36, 1])
    np.testing.assert_allclose(by_name["log_aspect"], np.log([5 / 6, 5 / 4, 1, 2 / 6]), atol=1e-6)
    np.testing.assert_allclose(by_name["extent"], 1)
    np.testing.assert_allclose(by_name["height"], np.array([5, 5, 4, 2]) / 12)
    np.testing.assert_allclose(by_name["agreement"], 1)
    np.testing.assert_allclose(by_name["probability"], probability, rtol=1e-5)
    np.testing.assert_allclose(by_name["cosine"], 1, rtol=1e-5)
    whole = dict(
        zip(FEATURES, read(mode, semantic, split_components=False).features.T, strict=True)
    )
    np.testing.assert_allclose(whole["connectedness"], [20 / 36, 1, 1])


def test_read_out_classed_score_is_the_scorer_of_the_features():
    mode, semantic = scene()
    plain = read(mode, semantic)
    probability, cosine = (FEATURES.index(name) for name in ("probability", "cosine"))
    expected = plain.features[:, probability] * plain.features[:, cosine]
    np.testing.assert_allclose(plain.scores, expected)
    weights = np.linspace(-1, 1, len(FEATURES))
    scorer = {"features": list(FEATURES), "weights": weights.tolist(), "bias": 0.5}
    logit = logits(semantic)
    scored = read_out_classed(embed(mode), logit, concentration=KAPPA, scorer=scorer)
    np.testing.assert_allclose(scored.features, plain.features, atol=1e-6)
    np.testing.assert_allclose(scored.scores, plain.features @ weights + 0.5, rtol=1e-5)


def test_read_out_classed_votes_on_the_class():
    mode, semantic = np.zeros([6, 6], int), np.ones([6, 6], int)
    semantic[:2] = 3  # 12 of 36
    found = read(mode, semantic)
    assert found.classes.tolist() == [1] and found.areas.tolist() == [36]
    np.testing.assert_allclose(found.agreement, [24 / 36])
    high = np.exp(_LOGIT) / (np.exp(_LOGIT) + 3)
    low = 1 / (np.exp(_LOGIT) + 3)
    np.testing.assert_allclose(found.scores, [(24 * high + 12 * low) / 36], rtol=1e-5)


def test_read_out_classed_gives_small_parts_to_what_they_touch_or_drops_them():
    mode, semantic = np.zeros([9, 12], int), np.zeros([9, 12], int)
    semantic[1:7, 1:7] = 1  # 36 pixels
    mode[1:7, 7:9], semantic[1:7, 7:9] = 1, 1  # 12 pixels, another group, beside the first
    mode[3, 3:5] = 1  # within the first, of the second's group: 2 pixels in a part of their own
    semantic[8, 10:] = 1  # of the first group, alone in its corner: 2 pixels
    found = read(mode, semantic, min_area=3)
    assert found.areas.tolist() == [36, 12] and found.boxes.tolist() == [[1, 1, 7, 7], [1, 7, 7, 9]]
    assert found.instance[3, 3:5].tolist() == [1, 1]
    assert found.instance[8, 10:].tolist() == [0, 0] and found.semantic[8, 10:].tolist() == [1, 1]
    kept = read(mode, semantic, min_area=2)
    assert sorted(kept.areas.tolist()) == [2, 2, 12, 34]


def test_read_out_classed_grows_step_by_step_into_small_parts():
    mode, semantic = np.zeros([3, 20], int), np.zeros([3, 20], int)
    semantic[:, :10] = 1
    mode[1, 10:16], semantic[1, 10:16] = 1, 1  # a line of 6 that sticks out of 30 pixels
    mode[0, 1:5] = 1  # the group itself is large enough
    found = read(mode, semantic, min_area=7)
    assert found.areas.tolist() == [36]
    assert found.instance[1].tolist() == [1] * 16 + [0] * 4


def test_read_out_classed_min_area_above_all_leaves_none():
    mode, semantic = scene()
    for split_components in (True, False):
        found = read(mode, semantic, min_area=79, split_components=split_components)
        assert found.areas.shape == (0,) and not found.instance.any()


def test_read_out_classed_groups_without_the_background():
    # Two objects 50° apart, and 900 pixels of background half way: with it, all would be one.
    angle = np.radians(np.array([25.0, 0.0, 50.0]))
    axis = np.stack([np.cos(angle), np.sin(angle), *np.zeros([_DIM - 2, 3])], axis=-1)
    mode, semantic = np.zeros([30, 32], int), np.zeros([30, 32], int)
    mode[:, :1], semantic[:, :1] = 1, 1
    mode[:, 1:2], semantic[:, 1:2] = 2, 1
    embedding = axis[mode].astype(np.float32)
    assert (mode == 0).sum() == 900
    found = read_out_classed(embedding, logits(semantic), concentration=KAPPA)
    assert found.areas.numpy().tolist() == [30, 30]
    everything = read_out_classed(embedding, logits(semantic + 1), concentration=KAPPA)
    assert everything.areas.numpy().tolist() == [960]


@pytest.mark.parametrize("split_components", [True, False])
def test_read_out_classed_without_foreground_has_no_instances(split_components):
    mode = np.zeros([5, 7], int)
    found = read(mode, mode, split_components=split_components)
    assert not found.instance.any() and not found.semantic.any()
    shapes = [x.shape for x in found[2:8]]
    assert shapes == [(0, 4), (0,), (0,), (0,), (0,), (0, len(FEATURES))]


@pytest.mark.parametrize("split_components", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 4)])
def test_read_out_classed_of_one_instance_that_covers_all(shape, split_components):
    mode = np.zeros(shape, int)
    found = read(mode, mode + 2, split_components=split_components)
    assert (found.instance == 1).all() and found.areas.tolist() == [mode.size]
    assert found.boxes.tolist() == [[0, 0, *shape]] and found.classes.tolist() == [2]


def test_read_out_classed_of_300_instances():
    # 15×20 squares of 3×3, a pixel between them, in four looks and three classes.
    mode, semantic = np.zeros([60, 80], int), np.zeros([60, 80], int)
    y, x = np.mgrid[:60, :80]
    inside = (y % 4 < 3) & (x % 4 < 3)
    square = (y // 4) * 20 + x // 4
    mode[inside], semantic[inside] = square[inside] % 4, square[inside] % 3 + 1
    found = read(mode, semantic)
    assert found.areas.tolist() == [9] * 300
    # Of equal areas in the order of their first pixels.
    for row in (0, 1, 150, 299):
        assert (found.instance == row + 1)[square == row].sum() == 9
        assert found.boxes[row].tolist() == [
            *(row // 20 * 4, row % 20 * 4),
            *(row // 20 * 4 + 3, row % 20 * 4 + 3),
        ]
    assert found.classes.tolist() == [row % 3 + 1 for row in range(300)]
    whole = read(mode, semantic, split_components=False)
    assert whole.areas.tolist() == [300 * 9 // 4] * 4


def test_read_out_classed_keeps_the_largest_of_too_many(monkeypatch):
    monkeypatch.setattr(class_instances, "MAX_INSTANCES", 2)
    mode, semantic = scene()
    found = read_out_classed(embed(mode), logits(semantic), concentration=KAPPA)
    assert found.areas.numpy()[1] == 20 and found.areas.shape == (2,)


def test_read_out_classed_pixels_without_a_direction_are_background():
    mode, semantic = scene()
    embedding = embed(mode)
    embedding[2, 2], embedding[3, 14] = np.nan, 0
    found = read_out_classed(embedding, logits(semantic), concentration=KAPPA)
    assert found.areas.numpy().tolist() == [29, 20, 15, 12]
    assert found.instance.numpy()[[2, 3], [2, 14]].tolist() == [0, 0]
    assert all(np.isfinite(x).all() for x in (found.scores.numpy(), found.features.numpy()))


def test_read_out_classed_of_a_transposed_picture_is_transposed():
    mode, semantic = scene()
    plain, turned = read(mode, semantic), read(mode.T, semantic.T)
    np.testing.assert_array_equal(turned.instance, plain.instance.T)
    assert turned.boxes[:, [1, 0, 3, 2]].tolist() == plain.boxes.tolist()
    np.testing.assert_allclose(turned.scores, plain.scores, rtol=1e-6)


def test_read_out_classed_eager_equals_the_graph():
    mode, semantic = scene()
    eager = read_out_classed(embed(mode), logits(semantic), concentration=KAPPA)
    for one, other in zip(eager, read(mode, semantic), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_read_out_classed_refuses_what_it_cannot_read():
    mode, semantic = scene()
    with pytest.raises(ValueError, match="2 classes or more, background first, got 1"):
        read_out_classed(embed(mode), logits(semantic)[..., :1], concentration=KAPPA)
    with pytest.raises(ValueError, match="concentration must be above 0"):
        read_out_classed(embed(mode), logits(semantic), concentration=0.0)
    with pytest.raises(ValueError, match="bias"):
        read_out_classed(embed(mode), logits(semantic), concentration=KAPPA, scorer={})
