"""Shards by Apache Beam: the same bytes as without it, and the same words about bad pictures."""

import functools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data_pipeline import beam_runner, conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.local_runner import run_locally

_ROOT = pathlib.Path(__file__).parents[2]
_read_names = []  # By `_read`, in order: DirectRunner runs in this process.


def _read(source):
    _read_names.append(source.name)
    if source.name.startswith("bad"):
        raise ValueError(f"/data/{source.name}.png is spoilt")
    k = source.details
    instance = np.arange(12, dtype=np.int32).reshape(3, 4) // 5
    return LabelledPicture(np.full((3, 4, 3), k, np.uint8), instance)


def _write(folder, bad=(), run=None, **changes):
    sources = [Source(f"bad_{k}" if k in bad else f"p_{k}", details=k) for k in range(10)]
    run = run or functools.partial(beam_runner.run_on_beam, runner="DirectRunner", options=[])
    arguments = (_read, sources, str(folder), "train")
    return conversion.write_split(*arguments, num_shards=4, run=run, **changes)


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


@pytest.fixture
def _beam():
    pytest.importorskip("apache_beam", reason="needs the extra [beam]")


def test_run_on_beam_says_how_to_install_beam(monkeypatch):
    monkeypatch.setattr(beam_runner, "beam", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[beam\]'"):
        beam_runner.run_on_beam([], runner="DirectRunner", options=[])


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_gives_the_bytes_of_run_locally(tmp_path, monkeypatch):
    # What a process was called with is not for Beam.
    monkeypatch.setattr(sys, "argv", ["program", "--direct_num_workers=x"])
    _write(tmp_path / "beam")
    _write(tmp_path / "local", run=run_locally)
    assert len(_bytes(tmp_path / "beam")) == 4 + 1
    assert _bytes(tmp_path / "beam") == _bytes(tmp_path / "local")


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_lists_the_same_skipped_pictures(tmp_path):
    _write(tmp_path / "beam", bad=(2, 7), on_error="skip")
    manifest = _write(tmp_path / "local", bad=(2, 7), on_error="skip", run=run_locally)
    skipped = manifest["splits"]["train"]["skipped"]
    assert [problem["name"] for problem in skipped] == ["bad_2", "bad_7"]
    assert _bytes(tmp_path / "beam") == _bytes(tmp_path / "local")


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_stops_after_all_shards_were_tried(tmp_path):
    with pytest.raises(ValueError, match=r"/data/bad_2\.png is spoilt"):
        _write(tmp_path, bad=(2,))
    assert not (tmp_path / "manifest.json").exists()
    # Bad picture 2 is in shard 2 of 4; the others were written and need not be written again.
    _read_names.clear()
    _write(tmp_path, bad=(2,), on_error="skip")
    assert _read_names == []


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_writes_only_what_is_missing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path, run=_interrupted)
    _read_names.clear()
    _write(tmp_path)
    assert sorted(_read_names) == ["p_2", "p_3", "p_6", "p_7"]  # shards 2 and 3
    _write(tmp_path / "whole", run=run_locally)
    assert _bytes(tmp_path / "whole").items() <= _bytes_of_files(tmp_path).items()


def _interrupted(jobs):
    run_locally(jobs[:2])
    raise KeyboardInterrupt


def _bytes_of_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_logs_how_many_pictures_were_counted(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(beam_runner.logging, "info", lambda line, *args: lines.append(line % args))
    _write(tmp_path, bad=(2,), on_error="skip")
    assert lines[0] == "DirectRunner: 4 shards of 10 pictures"
    assert lines[1].startswith("DirectRunner: 10 pictures in ")


@pytest.mark.usefixtures("_beam")
@pytest.mark.parametrize(
    "runner, options, message",
    [
        ("NoSuchRunner", [], "NoSuchRunner.* Valid values are .*FlinkRunner"),
        ("no.such.Runner", [], "there is no runner 'no.such.Runner': No module named 'no'"),
        ("DirectRunner", ["project=x"], "must look like --beam_option=--NAME=x, got 'project=x'"),
        ("DirectRunner", ["--direct_num_workers=x"], "--beam_option: .*invalid int value: 'x'"),
        ("DataflowRunner", [], "Missing required option: project"),
    ],
)
def test_run_on_beam_refuses_what_beam_does_not_know(tmp_path, capfd, runner, options, message):
    run = functools.partial(beam_runner.run_on_beam, runner=runner, options=options)
    with pytest.raises(ValueError, match=message):
        _write(tmp_path, run=run)
    assert "usage:" not in capfd.readouterr().err


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_says_that_shards_lie_on_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_runner, "write_shard", lambda job, count: None)
    with pytest.raises(ValueError, match="is not here; choose an --output_dir on storage that"):
        _write(tmp_path)


@pytest.mark.usefixtures("_beam")
def test_run_on_beam_reports_a_failed_pipeline_in_its_words(tmp_path, monkeypatch):
    def fail(job, count):
        raise RuntimeError("no worker left")

    monkeypatch.setattr(beam_runner, "write_shard", fail)
    with pytest.raises(OSError, match="DirectRunner failed: no worker left"):
        _write(tmp_path)


@pytest.mark.usefixtures("_beam")
def test_converter_runs_on_processes_of_beam(tmp_path):
    for folder, size in (("images", (5, 6, 3)), ("labels", (5, 6))):
        (tmp_path / folder).mkdir()
        for k in range(6):
            pixels = np.full(size, k + 1, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"p_{k}.png")
    beam_options = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    variants = {
        "beam": ["--runner=DirectRunner", *(f"--beam_option={x}" for x in beam_options)],
        "local": ["--num_processes=1"],
    }
    folders = [f"--images={tmp_path}/images", f"--labels={tmp_path}/labels", "--num_shards=3"]
    command = [sys.executable, "-m", "data_pipeline.convert_folders", *folders]
    processes = {
        name: subprocess.Popen(
            [*command, f"--output_dir={tmp_path / name}", *extra],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, extra in variants.items()
    }
    for name, process in processes.items():
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, (name, out, err)
    assert len(_bytes(tmp_path / "beam")) == 3 + 1
    assert _bytes(tmp_path / "beam") == _bytes(tmp_path / "local")
