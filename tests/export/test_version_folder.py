"""Version folders: numbered, whole or absent."""

import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from export import version_folder
from export.parity import COMPARISONS
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


def test_every_task_is_served_and_compared():
    assert set(version_folder.ANSWERS) == set(COMPARISONS) == set(TASKS)


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

    def start(run_dir, export_dir):
        command = [sys.executable, "-m", "export.export_main"]
        command += [f"--run_dir={run_dir}", f"--export_dir={export_dir}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    processes = [
        start(exported.run_dir, tmp_path / "export"),
        start(empty_run, tmp_path / "none"),
    ]
    (out, good_err), (_, bad_err) = (process.communicate(timeout=300) for process in processes)
    assert [process.returncode for process in processes] == [0, 1], good_err + bad_err
    assert sorted(os.listdir(tmp_path / "export")) == ["1", "2"]
    assert "saved_model.pb" in os.listdir(tmp_path / "export" / "2")
    assert f"{tmp_path}/export/2" in out and "export.verify_main" in out and " MB" in out
    assert not (tmp_path / "none").exists()
    assert f"error: {empty_run} holds no checkpoint" in bad_err and "Traceback" not in bad_err
