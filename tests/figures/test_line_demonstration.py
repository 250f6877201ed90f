"""Fig. 13: the gradient against differences, and the appendix's observations with few points."""

import numpy as np
import pytest

from rpe_tf.figures import line_demonstration as line


def _loss(points, label, bandwidth, num_loops, on_every_loop):
    stages = line.group_on_line(points, bandwidth, num_loops)
    return sum(((0.5 * x - 0.5 - label) ** 2).sum() for x in stages[0 if on_every_loop else -1 :])


@pytest.mark.parametrize(
    "num_loops, on_every_loop", [(0, False), (1, False), (3, False), (3, True)]
)
def test_loss_gradient_equals_differences_of_the_loss(num_loops, on_every_loop):
    points, label = line.draw_points(10, seed=1)
    arguments = (label, 0.3, num_loops, on_every_loop)
    found = line.loss_gradient(points, *arguments)
    step = 1e-6 * np.eye(len(points))
    expected = [
        (_loss(points + e, *arguments) - _loss(points - e, *arguments)) / 2e-6 for e in step
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_group_on_line_by_hand():
    # Two points a distance 1 apart, b = 1: K = exp(−½) between them, so the left one moves to
    # K / (1 + K) and the right one to 1 / (1 + K).
    kernel = np.exp(-0.5)
    before, after = line.group_on_line(np.array([0.0, 1.0]), 1.0, 1)
    np.testing.assert_array_equal(before, [0.0, 1.0])
    np.testing.assert_allclose(after, [kernel / (1 + kernel), 1 / (1 + kernel)])


def test_draw_points_are_the_piles_of_the_paper():
    points, label = line.draw_points(1000)
    piles = points.reshape(3, 1000)
    np.testing.assert_allclose(piles.mean(axis=1), [3, 4, 5], atol=0.03)
    np.testing.assert_allclose(piles.std(axis=1), [0.2, 0.3, 0.1], atol=0.02)
    np.testing.assert_array_equal(label, np.where(points < 3.5, 1, 2))


def test_ideal_points_have_no_gradient():
    points, label = np.array([3.0, 3.0, 5.0]), np.array([1, 1, 2])
    np.testing.assert_allclose(line.loss_gradient(points, label, 0.1, 5, True), 0.0, atol=1e-12)


def test_num_piles_counts_gaps():
    assert line.num_piles(np.array([5.0, 3.0, 3.05, 4.0, 5.05])) == 3
    assert line.num_piles(np.array([3.0, 3.09, 3.18])) == 1
    assert line.num_piles(np.array([3.0, 3.15])) == 2


def test_observations_of_the_appendix_are_seen_and_drawn(tmp_path):
    paths, numbers = line.draw(str(tmp_path / "deep" / "line"), num_points=150)
    assert all(numbers["claims"].values()) and numbers["holds"]
    assert numbers["num_piles_unsupervised"] == 3
    assert [path.rsplit(".", 1)[1] for path in paths] == ["png", "svg"]
    assert {x.name for x in (tmp_path / "deep").iterdir()} == {"line.png", "line.svg"}


def test_observe_sees_that_a_claim_fails():
    points, label = line.draw_points(30)
    still = line.Trace(points, points, np.ones(90), np.ones(30))
    numbers = line.observe(points, label, [still] * len(line.CASES))
    claims = numbers["claims"]
    assert not any(claims[name] for name in claims if "piles" not in name)
    assert not numbers["holds"]
