"""What a run found for its read-out goes along."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from export.trained_run import restore_export, restore_run
from export.version_folder import write_version
from rpe_tf.inference.instance_scoring import FEATURES
from rpe_tf.run_folder import write_read_out


def test_restore_run_takes_along_what_was_found_for_the_read_out(
    exported_instances, new_run, tmp_path
):
    settings = exported_instances.run.settings
    assert "scorer" not in settings["read_out"]
    run_dir = new_run(tmp_path / "run", seed=1, settings=settings)
    assert restore_run(run_dir).settings["read_out"] == settings["read_out"]
    scorer = {"features": list(FEATURES), "weights": [0.5] * len(FEATURES), "bias": 0.25}
    write_read_out(run_dir, {"scorer": scorer, "concentration": 21.5})
    read_out = restore_run(run_dir).settings["read_out"]
    assert read_out == {**settings["read_out"], "scorer": scorer, "concentration": 21.5}
    for text, message in (("{", "is no JSON "), ("null", "is no JSON object")):
        (tmp_path / "run" / "read_out.json").write_text(text)
        with pytest.raises(ValueError, match=rf"read_out\.json {message}"):
            restore_run(run_dir)


def test_restore_export_gives_the_run_that_was_exported(exported_boundary):
    run, metrics = restore_export(exported_boundary.export_dir)
    assert run.settings == exported_boundary.run.settings
    assert run.step == 7 and metrics == {"recall_50": 0.5}
    wanted = exported_boundary.run.model.get_weights()
    for found, weight in zip(run.model.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(found, weight)


def test_restore_export_keeps_the_names_of_the_classes(exported_instances, tmp_path):
    folder = shutil.copytree(f"{exported_instances.export_dir}/1", tmp_path / "1")
    names = (folder / "labels.txt").read_text().splitlines()
    names[-1] = "nucleus"
    (folder / "labels.txt").write_text("\n".join(names) + "\n")
    run, metrics = restore_export(tmp_path)
    assert run.class_names == names
    again = write_version(run, str(tmp_path), version=None, metrics=metrics)
    assert pathlib.Path(again, "labels.txt").read_text().splitlines() == names


def test_restore_export_names_what_does_not_fit(exported_boundary, tmp_path):
    folder = shutil.copytree(f"{exported_boundary.export_dir}/1", tmp_path / "1")
    info = json.loads((folder / "model_info.json").read_text())

    def restore(**settings):
        changed = {**info, "settings": {**info["settings"], **settings}}
        (folder / "model_info.json").write_text(json.dumps(changed))
        return restore_export(tmp_path)

    with pytest.raises(ValueError, match="task 'weather'; known here are"):
        restore(task="weather")
    with pytest.raises(ValueError, match=r"1 has no weights for .*; it is of another version"):
        restore(model={**info["settings"]["model"], "embedding_dim": 5})
    (folder / "model_info.json").unlink()
    with pytest.raises(ValueError, match=r"model_info\.json cannot be read"):
        restore_export(tmp_path)
