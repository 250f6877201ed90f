"""Versions that come, are broken, and go: without a server."""

import shutil
import weakref

import numpy as np
import pytest
import tensorflow as tf
from small_model import save_small_model

from export import warm_up
from export.model_versions import ModelVersions, VersionState, find_models


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of the versions 1, 2 and 3 of the small model, of offsets 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("saved")
    for version in (1, 2, 3):
        save_small_model(folder / str(version), float(version))
    return folder


def _add(saved, folder, version):
    folder.mkdir(exist_ok=True)
    shutil.copytree(saved / str(version), folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


def _offset(models, name, version=None):
    with models.use(name, version) as servable:
        output = servable.loaded.signatures["serving_default"](x=tf.zeros([1]))["y"]
        assert output.numpy()[0] == servable.version
        return servable.version


def _states(models, name):
    return {version: state.state for version, state in models.states(name, None).items()}


def test_the_newest_serves_and_the_old_one_ends_after_its_last_request(saved, tmp_path):
    folder = tmp_path / "m"
    _add(saved, folder, 1)
    models = ModelVersions(str(folder))
    models.refresh()
    assert models.names() == ["m"] and _offset(models, "m") == _offset(models, "m", 1) == 1
    _add(saved, folder, 3)
    with models.use("m", None) as servable:
        loaded = weakref.ref(servable.loaded)
        models.refresh()
        assert _states(models, "m") == {3: "AVAILABLE", 1: "UNLOADING"}
        assert servable.version == 1 and _offset(models, "m") == 3
        # Still whole.
        assert servable.loaded.signatures["serving_default"](x=tf.zeros([1]))["y"].numpy() == 1
        del servable
    assert _states(models, "m") == {3: "AVAILABLE", 1: "END"}
    with pytest.raises(
        FileNotFoundError, match="no model m version 1 is served; there is m version 3"
    ):
        _offset(models, "m", 1)
    models.refresh()
    assert loaded() is None, "version 1 is still in memory"
    # Smaller ones that come later are not looked at; if the newest goes, the largest left serves.
    _add(saved, folder, 2)
    models.refresh()
    assert _states(models, "m") == {3: "AVAILABLE", 1: "END"}
    shutil.rmtree(folder / "3")
    models.refresh()
    assert _offset(models, "m") == 2
    shutil.rmtree(folder)
    models.refresh()
    assert models.names() == []
    with pytest.raises(FileNotFoundError, match="no model m is served; there is none"):
        _offset(models, "m")


def test_a_broken_version_is_told_and_tried_again_when_it_has_grown(saved, tmp_path):
    folder = tmp_path / "m"
    _add(saved, folder, 1)
    models = ModelVersions(str(folder), "other")
    models.refresh()
    (folder / "2").mkdir()
    models.refresh()
    assert _states(models, "other") == {1: "AVAILABLE"}, "a folder without a graph is no version"
    # Copied in place, the variables not there yet.
    shutil.copy(saved / "2" / "saved_model.pb", folder / "2")
    models.refresh()
    state = models.states("other", 2)[2]
    assert state.state == "END" and "variables" in state.error
    assert _offset(models, "other") == 1
    models.refresh()
    assert models.states("other", 2)[2] is state, "it was loaded again"
    shutil.copytree(saved / "2" / "variables", folder / "2" / "variables")
    models.refresh()
    assert models.states("other", None) == {2: VersionState("AVAILABLE"), 1: VersionState("END")}
    assert _offset(models, "other") == 2


def test_a_warm_up_request_runs_before_a_version_serves(saved, tmp_path):
    folder = tmp_path / "m"
    _add(saved, folder, 1)
    described = {"serving_default": {"inputs": {"x": {}}}}
    warm_up.write_warm_up(str(folder / "1"), described, {"x": tf.constant([2.0])})
    models = ModelVersions(str(folder))
    models.refresh()
    assert _offset(models, "m") == 1
    # One that the model cannot answer: of a signature it does not have.
    _add(saved, folder, 2)
    described = {"nothing": {"inputs": {"x": {}}}}
    warm_up.write_warm_up(str(folder / "2"), described, {"x": tf.constant([2.0])})
    models.refresh()
    assert "nothing" in models.states("m", 2)[2].error
    assert _offset(models, "m") == 1


def test_find_models_takes_one_folder_or_many(tmp_path):
    for path in ("a/1", "b/7", ".hidden/1", "empty", "c/notes"):
        (tmp_path / path).mkdir(parents=True)
    base = str(tmp_path)
    assert find_models(base, None) == {"a": f"{base}/a", "b": f"{base}/b"}
    assert find_models(base, "b") == {"b": f"{base}/b"}
    assert find_models(f"{base}/a", None) == {"a": f"{base}/a"}
    assert find_models(f"{base}/a", "digits") == {"digits": f"{base}/a"}
    assert find_models(base, "empty") == find_models(f"{base}/nowhere", None) == {}


def test_signature_defs_are_those_of_the_file(saved, tmp_path):
    _add(saved, tmp_path / "m", 1)
    models = ModelVersions(str(tmp_path))
    models.refresh()
    with models.use("m", None) as servable:
        definition = servable.signature_defs["two"]
    assert sorted(definition.inputs) == ["pair", "text"]
    assert [side.size for side in definition.inputs["pair"].tensor_shape.dim] == [-1, 2]
    np.testing.assert_array_equal(sorted(definition.outputs), ["same_bytes", "sum", "text"])
