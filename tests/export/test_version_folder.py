"""Version folders: numbered, whole or absent."""

import datetime
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import rpe_tf
from export import version_folder
from export.provenance import class_names
from export.trained_run import restore_run
from export.version_folder import folder_size, write_version
from rpe_tf.tasks import TASKS


def test_write_version_describes_the_model_beside_it(exported):
    folder = os.path.join(exported.export_dir, "1")
    assert "saved_model.pb" in os.listdir(folder)
    with open(os.path.join(folder, "model_info.json")) as file:
        info = json.load(file)
    assert (info["task"], info["step"], info["licence"]) == ("proposals", 7, "Apache-2.0")
    assert info["metrics"] == {"recall_50": 0.5} and info["settings"] == exported.run.settings
    assert info["versions"]["tensorflow"] == tf.__version__
    assert info["versions"]["numpy"] == np.__version__
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(
        info["exported"]
    )
    assert 0 <= age.total_seconds() < 3600
    default = info["signatures"]["serving_default"]
    image = default["inputs"]["image"]
    assert (image["dtype"], image["shape"]) == ("uint8", [None, None, None, 3])
    assert set(info["signatures"]["serving_bytes"]["inputs"]) == {"image_bytes"}
    assert default["outputs"]["boxes"]["shape"] == [None, None, 4]
    with open(os.path.join(folder, "signatures.md")) as file:
        text = file.read()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(
        info["signatures"]
    )
    assert "| input | `image` | uint8 | [N, ?, ?, 3] | pictures, red, green, blue" in text
    for name, signature in info["signatures"].items():
        for key in (*signature["inputs"], *signature["outputs"]):
            assert f"`{key}`" in text.split(f"## {name}\n")[1].split("## ")[0]


def test_write_version_describes_boundaries(exported_boundary):
    with open(os.path.join(exported_boundary.export_dir, "1", "model_info.json")) as file:
        info = json.load(file)
    assert info["task"] == "boundary" and info["settings"]["read_out"] == {"scales": [1.0]}
    outputs = {name: signature["outputs"] for name, signature in info["signatures"].items()}
    shapes = {
        name: {key: (x["dtype"], x["shape"]) for key, x in output.items()}
        for name, output in outputs.items()
    }
    assert shapes == {
        "embedding": {"embedding": ("float32", [None, None, None, 12])},
        "serving_default": {"boundary": ("float32", [None, None, None])},
        "serving_bytes": {
            "boundary_bytes": ("string", [None]),
            "height": ("int32", [None]),
            "width": ("int32", [None]),
        },
        "tf_example": shapes["serving_bytes"],
    }
    assert "8-bit grey PNG" in outputs["serving_bytes"]["boundary_bytes"]["meaning"]


def test_every_task_is_served():
    assert set(version_folder.ANSWERS) == set(TASKS)


def test_write_version_carries_the_licence_and_names_of_classes(exported, exported_semantic):
    licence = (pathlib.Path(rpe_tf.__file__).parents[1] / "LICENSE").read_text()
    for export in (exported, exported_semantic):
        assert (pathlib.Path(export.export_dir) / "1" / "LICENSE").read_text() == licence
    # The run does not know the classes of its shards.
    labels = (pathlib.Path(exported_semantic.export_dir) / "1" / "labels.txt").read_text()
    assert labels == "background\nclass 1\nclass 2\nclass 3\nclass 4\n"
    assert "labels.txt" not in os.listdir(f"{exported.export_dir}/1")


def sources(*names):
    return {"sources": [{"folder": str(k), "classes": x} for k, x in enumerate(names)]}


@pytest.mark.parametrize(
    "num_classes, data, expected",
    [
        (None, sources(["background", "cat"]), None),
        (2, sources(["background", "cat"]), ["background", "cat"]),
        (2, sources(["background", "cat"], []), ["background", "cat"]),
        (2, sources(["background", "cat"], ["background", "dog"]), ["background", "class 1"]),
        (3, sources(["background", "cat"]), ["background", "class 1", "class 2"]),
        (2, sources([]), ["background", "class 1"]),
        (2, {}, ["background", "class 1"]),
    ],
)
def test_class_names_are_those_all_shards_agree_on(num_classes, data, expected):
    model = {} if num_classes is None else {"num_classes": num_classes}
    assert class_names({"model": model, "data": data}) == expected


def test_write_version_leaves_nothing_when_it_fails(exported, tmp_path, monkeypatch):
    def fail(module, folder, signatures):
        os.makedirs(folder)
        # What a server would see in this moment.
        assert [name for name in os.listdir(tmp_path) if name.isdigit()] == []
        raise OSError("no space left")

    monkeypatch.setattr(version_folder.tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        write_version(exported.run, str(tmp_path), version=None, metrics={})
    assert os.listdir(tmp_path) == []


def test_write_version_refuses_a_number_that_is_taken(exported):
    with pytest.raises(ValueError, match=r"1 exists; leave out --version"):
        write_version(exported.run, exported.export_dir, version=1, metrics={})


def test_write_version_counts_on_from_the_largest_number(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(
        version_folder.tf.saved_model,
        "save",
        lambda module, folder, signatures: os.makedirs(folder),
    )
    monkeypatch.setattr(version_folder, "refuse_python_ops", lambda folder: None)
    for name in ("2", "9", "10", "007", "notes"):
        (tmp_path / name).mkdir()
    folder = write_version(exported.run, str(tmp_path), version=None, metrics={})
    assert os.path.basename(folder) == "11" and os.path.isdir(folder)


def test_folder_size_adds_files_of_all_depths(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"123")
    assert folder_size(str(tmp_path)) == 8


def test_restore_run_refuses_an_unknown_task(new_run, tmp_path):
    run_dir = new_run(tmp_path / "run", seed=0, has_checkpoint=False)
    path = os.path.join(run_dir, "settings.json")
    with open(path) as file:
        settings = json.load(file)
    with open(path, "w") as file:
        json.dump({**settings, "task": "weather"}, file)
    with pytest.raises(ValueError, match="task 'weather'; known here are"):
        restore_run(run_dir)


def test_export_main_writes_version_2_and_nothing_without_checkpoint(exported, new_run, tmp_path):
    empty_run = new_run(tmp_path / "empty", seed=0, has_checkpoint=False)
    (tmp_path / "export" / "1").mkdir(parents=True)

    def start(*flags):
        command = [sys.executable, "-m", "export.export_main", *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    run = f"--run_dir={exported.run_dir}"
    processes = [
        start(run, f"--export_dir={tmp_path}/export"),
        start(f"--run_dir={empty_run}", f"--export_dir={tmp_path}/none"),
        start(run, f"--from_export={exported.export_dir}", f"--export_dir={tmp_path}/none"),
    ]
    (out, good_err), (_, bad_err), (_, both_err) = (
        process.communicate(timeout=300) for process in processes
    )
    assert [process.returncode for process in processes] == [0, 1, 1], good_err + bad_err
    assert "error: give either --run_dir or --from_export" in both_err
    configs = ["batching.config", "model.config", "monitoring.config"]
    assert sorted(os.listdir(tmp_path / "export")) == ["1", "2", *configs]
    assert "saved_model.pb" in os.listdir(tmp_path / "export" / "2")
    assert f"{tmp_path}/export/2" in out and "export.verify_main" in out and " MB" in out
    assert not (tmp_path / "none").exists()
    assert f"error: {empty_run} holds no checkpoint" in bad_err and "Traceback" not in bad_err
