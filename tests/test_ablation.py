"""The ablation's own measure and table."""

import numpy as np
import pytest

from tests.benchmarks.ablation import FIGURES, hole_share, table


def test_hole_share_counts_what_is_enclosed_and_not_what_is_open():
    ring = np.zeros([6, 6], bool)
    ring[1:5, 1:5] = True
    assert hole_share(ring) == 0
    ring[2:4, 2:4] = False
    assert hole_share(ring) == pytest.approx(4 / 16)
    ring[1, 2] = False  # open to the outside
    assert hole_share(ring) == 0
    assert hole_share(np.zeros([4, 4], bool)) == 0


def test_table_gives_mean_and_half_the_range_over_seeds():
    seed = dict.fromkeys(FIGURES, 0.5) | {"num_steps": 100, "step_s": 0.25, "peak_mib": 900}
    text = table({"a": [seed, seed | {"pq": 0.7}], "b": [seed]})
    first, second = text.splitlines()[2:]
    assert first.startswith("| a | 2 | 0.500 ± 0.000 |") and "| 0.600 ± 0.100 |" in first
    assert second.startswith("| b | 1 | 0.500 |") and "±" not in second
