"""Hostile inputs: every reader gives the right answer or an error that names the file.

Many more by hand: `python -m tests.benchmarks.fuzz`.
"""

import numpy as np
import pytest

from tests.fuzzing import cases
from tests.fuzzing.cases import Kind, is_same, run_case
from tests.fuzzing.kinds import KINDS

hypothesis = pytest.importorskip("hypothesis")
_NUM_EXAMPLES = 6  # A kind; there are about fifty.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", KINDS)
@hypothesis.settings(max_examples=_NUM_EXAMPLES, deadline=None, derandomize=True, database=None)
@hypothesis.given(number=hypothesis.strategies.integers(0, 2**31))
def test_reader_answers_right_or_names_the_file(folder, name, number):
    outcome = run_case(KINDS[name], (0, number), folder)
    assert outcome.verdict != "fault", f"{name}, {number}: {outcome.detail}"


def _copy(path):
    with open(path, "rb") as file:
        return (file.read(),)


def _refuse(error):
    def read(path):
        content = _copy(path)
        if content != (b"whole",):
            raise error(path) if isinstance(error, type) else error
        return content

    return read


@pytest.mark.parametrize(
    "read, is_checked, verdict, words",
    [
        (lambda path: (1,), True, "right", ""),
        (_copy, False, "other", ""),
        (_copy, True, "fault", "another answer, and no error"),
        (_refuse(ValueError), True, "refused", "hostile.txt"),
        (_refuse(ValueError("spoilt")), True, "fault", "names no file: ValueError: spoilt"),
        (_refuse(KeyError), True, "fault", "KeyError"),
        (lambda path: np.ones(2**26, np.uint8)[:0].tolist(), True, "fault", "took 6"),
    ],
)
def test_run_case_tells_faults(tmp_path, monkeypatch, read, is_checked, verdict, words):
    monkeypatch.setattr(cases, "MAX_BYTES", 2**25)

    def spoil(content, rng):
        return content[:-1]

    kind = Kind("kind", ".txt", lambda rng: b"whole", spoil, read, is_checked)
    outcome = run_case(kind, (0, 0), str(tmp_path))
    assert outcome.verdict == verdict and words in outcome.detail


def test_is_same_compares_type_shape_and_value():
    value = (np.int32([[1]]), ["a", None])
    assert is_same(value, (np.int32([[1]]), ["a", None]))
    assert not is_same((None,), (np.int32([[1]]),))
    for other in (
        *((np.int64([[1]]), ["a", None]), (np.int32([1]), ["a", None])),
        *((np.int32([[2]]), ["a", None]), (np.int32([[1]]), ["a", 0]), (np.int32([[1]]),)),
    ):
        assert not is_same(value, other)
