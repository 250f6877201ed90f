"""The ablation's own measure and table."""

import json

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from tests.benchmarks import ablation
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


@pytest.fixture
def costs(tmp_path, monkeypatch):
    """Seconds a step in place of trainings; yields the rows they were asked for."""
    asked, seconds = [], {"2 loops": [0.5, 1.0], "5 loops": [2.0]}

    def probe(name):
        asked.append(name)
        return seconds[name].pop(0)

    monkeypatch.setattr(ablation, "_probe", probe)
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(output_dir=str(tmp_path), minutes=10.0):
        yield asked


def test_rows_are_planned_beside_the_first_and_once(costs, tmp_path):
    # Alone the first has 600 s at 0.5 s. Beside the row it takes 1 s, the row twice that.
    assert ablation.plan_row("5 loops") == {"num_steps": 600, "step_s": 1.0}
    assert sorted(costs) == ["2 loops", "2 loops", "5 loops"]
    assert ablation.plan_row("5 loops") == {"num_steps": 600, "step_s": 1.0}
    assert ablation.plan_row("2 loops") == {"num_steps": 1200, "step_s": 0.5}
    assert len(costs) == 3
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert list(plan) == ["2 loops", "5 loops"]
