import numpy as np
import oracles
import pytest
import tensorflow as tf

from rpe_tf.core.tiled_mean_shift import tiled_mean_shift
from rpe_tf.inference import grouping
from rpe_tf.inference.grouping import group
from rpe_tf.metrics.clustering import adjusted_rand_index

KAPPA = 36.0


def clusters(num_clusters, per_cluster=6, dim=5, spread=0.05, seed=0):
    """Points around the first axes, in random order, and the axis of each."""
    rng = np.random.default_rng(seed)
    axis = rng.permutation(np.repeat(np.arange(num_clusters), per_cluster))
    points = np.eye(dim)[axis] + rng.normal(0, spread, [len(axis), dim])
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), axis


def canonical(ids):
    """The same partition with ids by first appearance, so that partitions can be compared."""
    seen = {}
    return [seen.setdefault(int(i), len(seen)) for i in ids]


def greedy_modes(points, mode_cosine):
    """The documented read-out, point by point."""
    modes, is_free = [], [True] * len(points)
    for i, point in enumerate(points):
        if is_free[i]:
            modes.append(point)
            is_free = [f and p @ point < mode_cosine for f, p in zip(is_free, points, strict=True)]
    instance = [int(np.argmax([p @ m for m in modes])) for p in points]
    return np.array(modes), instance


@pytest.mark.parametrize("num_clusters", [1, 2, 5])
def test_group_finds_separated_clusters(num_clusters):
    points, axis = clusters(num_clusters)
    groups = group(points, KAPPA)
    assert groups.instance.dtype == tf.int32
    assert groups.modes.shape == (num_clusters, 5)
    # Modes come in the order of their first points, so ids already count by first appearance.
    assert groups.instance.numpy().tolist() == canonical(axis)
    np.testing.assert_allclose(np.linalg.norm(groups.modes, axis=1), 1, atol=1e-6)
    first_axis = list(dict.fromkeys(axis.tolist()))
    assert np.argmax(groups.modes, axis=1).tolist() == first_axis


def test_group_splits_antipodal_points():
    points = np.float32([[1, 0], [-1, 0], [1, 0], [-1, 0]])
    assert group(points, KAPPA).instance.numpy().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("spread, max_loops", [(0.05, 50), (0.3, 50), (0.3, 2), (0.3, 0)])
def test_group_equals_oracle_loops_and_greedy_read_out(spread, max_loops, monkeypatch):
    # Points within 0.0014 merge all the same, beyond which rounding decides.
    monkeypatch.setattr(grouping, "_MERGE_RADIUS", 1e-6)
    points, _ = clusters(3, spread=spread, seed=4)
    groups = group(points, KAPPA, max_loops=max_loops)
    num_loops = int(groups.num_loops)
    before, after = (
        oracles.mean_shift(points, KAPPA, max(loops, 0)) for loops in (num_loops - 1, num_loops)
    )
    modes, instance = greedy_modes(after, 0.95)
    np.testing.assert_allclose(groups.modes, modes, atol=1e-3)
    assert groups.instance.numpy().tolist() == instance
    movement = np.linalg.norm(after - before, axis=1).max()
    assert bool(groups.converged) == (num_loops > 0 and movement <= 1e-3)
    if num_loops > 1:  # It did not go on for longer than needed.
        earlier = oracles.mean_shift(points, KAPPA, num_loops - 2)
        assert np.linalg.norm(before - earlier, axis=1).max() > 1e-3


def test_group_permuted_points_give_permuted_groups():
    points, _ = clusters(4, seed=1)
    order = np.random.default_rng(2).permutation(len(points))
    instance = group(points, KAPPA).instance.numpy()
    permuted = group(points[order], KAPPA).instance.numpy()
    assert permuted.tolist() == canonical(instance[order])


def test_group_rotation_leaves_the_partition_and_turns_the_modes():
    points, _ = clusters(4, seed=3)
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=[5, 5]))
    rotation = rotation.astype(np.float32)
    groups, rotated = group(points, KAPPA), group(points @ rotation, KAPPA)
    assert rotated.instance.numpy().tolist() == groups.instance.numpy().tolist()
    np.testing.assert_allclose(rotated.modes, groups.modes.numpy() @ rotation, atol=1e-5)


def test_group_tight_clusters_converge_in_few_loops():
    points, _ = clusters(3, spread=0.01)
    groups = group(points, KAPPA)
    # The first loop moves each point to its mean, the second finds nothing left to move.
    assert int(groups.num_loops) <= 3
    assert bool(groups.converged)


def test_group_says_when_loops_ran_out():
    points, _ = clusters(3, spread=0.3)
    groups = group(points, KAPPA, max_loops=1)
    assert int(groups.num_loops) == 1
    assert not bool(groups.converged)


def test_group_tolerance_is_a_distance():
    # No point of the sphere is further than 2 from another: one loop always does.
    points, _ = clusters(3, spread=0.3)
    groups = group(points, KAPPA, tolerance=2.0)
    assert int(groups.num_loops) == 1
    assert bool(groups.converged)


def test_group_max_loops_0_moves_nothing():
    points = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
    groups = group(points, KAPPA, max_loops=0)
    assert int(groups.num_loops) == 0
    assert not bool(groups.converged)
    np.testing.assert_array_equal(groups.modes, points)
    assert groups.instance.numpy().tolist() == [0, 1, 2]


def test_group_mode_cosine_decides_who_joins():
    # The cosines to the first point are 0 and 0.6, the one between the others 0.8.
    points = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
    apart = {
        cosine: group(points, KAPPA, max_loops=0, mode_cosine=cosine).modes.shape[0]
        for cosine in (0.9, 0.7, 0.5, -1.0)
    }
    # 0.5: the third joins the first mode, the second is left over.
    assert apart == {0.9: 3, 0.7: 2, 0.5: 2, -1.0: 1}


def test_group_points_end_at_their_nearest_mode_not_the_first_within_reach():
    # The third is taken by the first mode at cosine 0.6, yet the second mode is nearer, 0.8.
    points = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
    groups = group(points, KAPPA, max_loops=0, mode_cosine=0.5)
    assert groups.instance.numpy().tolist() == [0, 1, 1]


def test_group_one_point_is_its_own_mode():
    groups = group(np.float32([[0.6, 0.8]]), KAPPA)
    np.testing.assert_allclose(groups.modes, [[0.6, 0.8]], atol=1e-6)
    assert groups.instance.numpy().tolist() == [0]
    assert bool(groups.converged)


def test_group_identical_points_are_one_group():
    groups = group(np.float32([[0.6, 0.8]] * 7), KAPPA)
    np.testing.assert_allclose(groups.modes, [[0.6, 0.8]], atol=1e-6)
    assert groups.instance.numpy().tolist() == [0] * 7


def test_group_max_modes_sends_the_rest_to_the_nearest():
    points = np.float32([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0], [0.8, 0.6, 0]])
    groups = group(points, KAPPA, max_loops=0, mode_cosine=0.99, max_modes=2)
    np.testing.assert_array_equal(groups.modes, points[:2])
    assert groups.instance.numpy().tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("max_loops", [0, 50])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_group_points_without_a_direction_belong_to_no_group(max_loops, value):
    groups = group(np.full([3, 2], value, np.float32), KAPPA, max_loops=max_loops)
    np.testing.assert_array_equal(groups.modes, np.zeros([1, 2]))
    assert groups.instance.numpy().tolist() == [-1, -1, -1]
    mixed = np.float32([[value, 0], [1, 0], [1, 0], [0, value], [0, 1]])
    groups = group(mixed, KAPPA, max_loops=max_loops)
    np.testing.assert_allclose(groups.modes, [[1, 0], [0, 1]], atol=1e-6)
    assert groups.instance.numpy().tolist() == [-1, 0, 0, -1, 1]


def test_group_many_points_equal_the_plain_loops():
    # Six thousand points of nine overlapping clusters: they merge to a few hundred.
    points, _ = clusters(9, per_cluster=700, dim=9, spread=0.09, seed=2)
    groups = group(points, KAPPA)
    moved = tiled_mean_shift(points, KAPPA, 25).numpy()
    modes, _ = greedy_modes(moved[:: len(moved) // 200], 0.95)
    plain = np.argmax(moved @ modes.T, axis=1)
    assert len(groups.modes) == len(modes) == 9
    assert adjusted_rand_index(plain, groups.instance.numpy()) > 0.999


def test_group_counts_points_that_have_merged():
    # Two piles within the kernel's width of each other: the mode is that of all points, by the
    # larger pile.
    angles = np.repeat([0.0, 0.15], [90, 10])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    [mode] = group(points, KAPPA).modes.numpy()
    moved = tiled_mean_shift(points, KAPPA, 25).numpy()
    np.testing.assert_allclose(mode, moved[0], atol=1e-4)
    assert 0.01 < np.arctan2(mode[1], mode[0]) < 0.03  # about a tenth of 0.15


def test_group_more_places_than_representatives_still_ends(monkeypatch):
    monkeypatch.setattr(grouping, "MAX_REPRESENTATIVES", 20)
    points, axis = clusters(4, per_cluster=50, spread=0.15, seed=3)
    groups = group(points, KAPPA)
    assert canonical(groups.instance.numpy()) == canonical(axis)


def test_group_in_a_graph_of_unknown_size_equals_eager():
    points, _ = clusters(3, seed=8)
    graph = tf.function(
        lambda x, kappa: group(x, kappa),
        input_signature=[tf.TensorSpec([None, 5]), tf.TensorSpec([])],
    )
    for part in (points, points[:7]):
        eager, traced = group(part, KAPPA), graph(part, tf.constant(KAPPA))
        np.testing.assert_allclose(traced.modes, eager.modes, atol=1e-6)
        np.testing.assert_array_equal(traced.instance, eager.instance)
        assert int(traced.num_loops) == int(eager.num_loops)


def test_group_refuses_arguments_outside_their_range():
    points, _ = clusters(2)
    with pytest.raises(ValueError, match="max_loops must be 0 or more, got -1"):
        group(points, KAPPA, max_loops=-1)
    for concentration in (0, -1.0):
        with pytest.raises(ValueError, match="concentration must be above 0"):
            group(points, concentration)
