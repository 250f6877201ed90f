"""The look at the machine before a training."""

import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from rpe_tf import doctor_main

_ROOT = pathlib.Path(__file__).parents[1]


def test_doctor_finds_this_machine_well_and_leaves_nothing(tmp_path):
    run_dir = tmp_path / "runs" / "mine"
    done = subprocess.run(
        [sys.executable, "-m", "rpe_tf.doctor_main", f"--run_dir={run_dir}"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert f"tensorflow {tf.__version__}" in done.stdout and "All is well." in done.stdout
    assert os.listdir(tmp_path) == []


def test_problems_names_a_missing_gpu_only_where_it_is_required(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert doctor_main.problems(str(tmp_path), require_gpu=False) == []
    [problem] = doctor_main.problems(str(tmp_path), require_gpu=True)
    assert "no GPU" in problem


def test_problems_names_versions_memory_and_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tf, "__version__", "2.14.0")
    monkeypatch.setattr(doctor_main, "available_bytes", lambda: 2**20)
    (tmp_path / "file").write_text("no folder")
    found = doctor_main.problems(str(tmp_path / "file"), require_gpu=False)
    assert found[0] == "TensorFlow 2.14: install 2.15 to 2.21"
    assert found[1].startswith("1 MiB of memory are free")
    assert "cannot be written to" in found[2]


@pytest.mark.parametrize("name", ["", "absent", "absent/deeper"])
def test_unwritable_of_a_folder_that_can_be_written_to(tmp_path, name):
    assert doctor_main.unwritable(str(tmp_path / name)) is None
