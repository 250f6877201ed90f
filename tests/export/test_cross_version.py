"""Exports written by other versions of TensorFlow answer here as they did there."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.archives import read_archive
from tests.export.equal_answers import check_equal
from tests.export.make_version_data import ARCHIVE, answers_of

_SIGNATURES = {
    "boundary": {"embedding", "serving_bytes", "serving_default", "tf_example"},
    "semantic": {"embedding", "serving_bytes", "serving_default", "tf_example"},
}
_SIGNATURES["instances"] = _SIGNATURES["boundary"] | {
    *("group:other", "serving_default_tuned:other", "serving_bytes_tuned:other"),
}
_SIGNATURES["proposals"] = _SIGNATURES["instances"] | {"proposals"}


def _minor(version):
    return tuple(int(x) for x in version.split(".")[:2])


@pytest.fixture(scope="module")
def files():
    return read_archive(ARCHIVE)


def load(content):
    with np.load(io.BytesIO(content)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def versions(files):
    return {name.split("/")[0] for name in files if "/" in name}


@pytest.mark.parametrize("task", sorted(_SIGNATURES))
def test_exports_of_other_versions_answer_here_as_there(task, files, tmp_path):
    others = [x for x in versions(files) if _minor(x) != _minor(tf.__version__)]
    assert others
    for version in others:
        place = f"{version}/{task}/"
        folder = tmp_path / version
        (folder / "variables").mkdir(parents=True)
        for name in files:
            if name.startswith((f"{place}saved_model.pb", f"{place}variables/")):
                (folder / name.removeprefix(place)).write_bytes(files[name])
        expected = load(files[f"{place}answers.npz"])
        cases = {name.split("/")[1] for name in expected}
        assert cases == _SIGNATURES[task]
        chosen = json.loads(files[f"{place}chosen.json"])
        check_equal(answers_of(folder, chosen, load(files["pictures.npz"])), expected)


def test_the_archive_holds_both_stacks_and_answers_that_prove_something(files):
    assert {_minor(x) for x in versions(files)} >= {(2, 15), (2, 21)}
    for version in versions(files):
        found = {task: load(files[f"{version}/{task}/answers.npz"]) for task in _SIGNATURES}
        for task in ("proposals", "instances"):
            assert found[task]["batch/serving_default/num_instances"].min() >= 2
            tuned = found[task]["batch/serving_default_tuned:other/instance"]
            assert (tuned != found[task]["batch/serving_default/instance"]).any()
        for task in ("semantic", "instances"):
            assert len(np.unique(found[task]["batch/serving_default/semantic"])) >= 3
        assert found["boundary"]["batch/serving_default/boundary"].std() > 0.01
        assert found["proposals"]["batch/proposals/num_proposals"].min() >= 2


@pytest.mark.parametrize(
    "name, value, is_equal",
    [
        ("scores", np.float32([0.5, 0.25 + 5e-5]), True),
        ("scores", np.float32([0.5, 0.2502]), False),
        ("scores", np.float32([0.5, np.nan]), False),
        ("areas", np.array([3, 5]), False),
        ("areas", np.array([[3], [4]]), False),
        ("boundary_bytes", np.uint8([0, 254]), True),
        ("boundary_bytes", np.uint8([2, 255]), False),
        ("other", np.array([1]), False),
    ],
)
def test_check_equal_finds_what_differs(name, value, is_equal):
    expected = {
        "scores": np.float32([0.5, 0.25]),
        "areas": np.array([3, 4]),
        "boundary_bytes": np.uint8([0, 255]),
    }
    if is_equal:
        check_equal({**expected, name: value}, expected)
        return
    with pytest.raises(AssertionError):
        check_equal({**expected, name: value}, expected)
