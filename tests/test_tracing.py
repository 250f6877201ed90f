"""The profiler's trace."""

import pytest
import tensorflow as tf

from rpe_tf.tracing import Tracer


def traced_steps(monkeypatch, steps, asked, start=1):
    """The steps that ran while the profiler did, of a training that asks before each."""
    state = {"on": False}
    monkeypatch.setattr(
        tf.profiler.experimental, "start", lambda folder: state.__setitem__("on", True)
    )
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: state.__setitem__("on", False))
    seen = []
    with Tracer(asked, "folder") as tracer:
        for step in range(start, steps + 1):
            tracer(step)
            seen += [step] * state["on"]
    assert not state["on"]
    return seen


@pytest.mark.parametrize(
    "asked, start, seen",
    [(["3", "5"], 1, [3, 4, 5]), (["3", "99"], 4, [4, 5, 6]), ([], 1, []), (["1", "2"], 3, [])],
)
def test_tracer_traces_the_steps_asked_and_always_ends(monkeypatch, asked, start, seen):
    assert traced_steps(monkeypatch, 6, asked, start) == seen


@pytest.mark.parametrize("asked", [["3"], ["a", "b"], ["0", "2"], ["5", "3"]])
def test_tracer_refuses_other_steps(asked):
    with pytest.raises(ValueError, match="--profile must be FIRST,LAST"):
        Tracer(asked, "folder")
