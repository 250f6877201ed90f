"""Layouts on spheres against known optima, and the guide's table."""

import numpy as np
import pytest

from rpe_tf.core.sphere import smallest_margin
from rpe_tf.figures import margin_guide, sphere_layouts


@pytest.mark.parametrize("num_points", range(2, 11))
def test_spread_points_reach_tammes_values(num_points):
    points = sphere_layouts.spread_points(num_points, 3, num_starts=12)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0)
    found = sphere_layouts.largest_similarity(points)
    assert found == pytest.approx(smallest_margin(num_points, 3), abs=1e-3)


@pytest.mark.parametrize("num_points, dim", [(5, 8), (9, 8), (10, 8), (16, 8), (5, 2)])
def test_spread_points_reach_simplex_antipodes_and_circle(num_points, dim):
    # 5 and 9 in 8 dimensions are simplices, 10 and 16 antipodes, 5 on a circle a pentagon.
    found = sphere_layouts.largest_similarity(sphere_layouts.spread_points(num_points, dim))
    assert found == pytest.approx(smallest_margin(num_points, dim), abs=1e-3)


def test_repulsion_has_the_gradient_of_its_value():
    x = np.random.default_rng(0).normal(size=[5, 3])
    _, gradient = sphere_layouts._repulsion(x.ravel(), x.shape, 7.0)
    values = [
        [sphere_layouts._repulsion(x.ravel() + s * e, x.shape, 7.0)[0] for s in (1e-6, -1e-6)]
        for e in np.eye(15)
    ]
    np.testing.assert_allclose(gradient, np.diff(values)[:, 0] / -2e-6, atol=1e-8)


def test_spread_points_repeat_and_refuse():
    first, again = (sphere_layouts.spread_points(7, 4, seed=3, num_starts=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="num_points and dim >= 2"):
        sphere_layouts.spread_points(1, 3)


@pytest.mark.parametrize(
    "num_groups, dim, exact",
    [(12, 3, True), (13, 3, False), (16, 8, True), (17, 8, False), (128, 64, True), (50, 2, True)],
)
def test_is_exact_up_to_twice_the_dimensions(num_groups, dim, exact):
    assert margin_guide.is_exact(num_groups, dim) is exact


def test_asymptotic_bound_is_the_papers():
    found = [margin_guide.asymptotic_bound(n) for n in (4, 5, 6, 7)]
    np.testing.assert_allclose(found, [0.0931, 0.2745, 0.3954, 0.4818], atol=1e-4)


def test_feasible_margin_lies_between_bound_and_one():
    known, found = (margin_guide.feasible_margin(n, 3) for n in (10, 14))
    assert known == (pytest.approx(0.7022), pytest.approx(0.7022), True)
    assert not found.is_exact and found.bound <= found.value < 0.8


def test_draw_writes_picture_and_table(tmp_path):
    paths, numbers = margin_guide.draw(str(tmp_path / "margin"), (2, 10, 14), (3, 16))
    assert [path.rsplit(".", 1)[1] for path in paths] == ["png", "svg", "md"] and numbers["holds"]
    rows = (tmp_path / "margin.md").read_text().splitlines()
    assert rows[0] == "| groups | D = 3 | D = 16 | Prop. 2, D = 3 |"
    assert rows[3] == "| 10 | 0.702 | 0.444 | 0.637 |"
    assert rows[4].startswith("| 14 | ~0.7") and "(≥ 0." in rows[4]
    assert "| 0.5 | 36 | 9.5 |" in rows
    assert numbers["margins"]["16"]["14"] == {"value": 6 / 13, "bound": 6 / 13, "is_exact": True}
