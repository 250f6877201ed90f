"""Verification: an export passes against its own checkpoint and fails against another."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export import isolated_model, parity
from export.parity import COMPARISONS, Measures, compare, export_answers, smooth_pictures
from export.trained_run import restore_run


def _verify(run_dir, export_dir, *more):
    command = [sys.executable, "-m", "export.verify_main"]
    command += [f"--run_dir={run_dir}", f"--export_dir={export_dir}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_verify_main_passes_its_own_export_and_fails_another(exported, new_run, pictures, tmp_path):
    other_run = new_run(tmp_path / "other", seed=6)
    (tmp_path / "picture.png").write_bytes(tf.io.encode_png(pictures[2]).numpy())
    processes = [
        _verify(exported.run_dir, exported.export_dir, f"--images={tmp_path}/*.png"),
        _verify(other_run, f"{exported.export_dir}/1"),
    ]
    (good, good_err), (bad, bad_err) = (process.communicate(timeout=300) for process in processes)
    assert processes[0].returncode == 0, good + good_err
    assert "2×61×83" in good and "1×128×96" in good and f"{tmp_path}/picture.png" in good
    assert processes[1].returncode == 1, bad
    assert "differs from the checkpoint" in bad_err and "2 of 2 batches" in bad_err
    assert "Traceback" not in bad_err


def test_verify_main_passes_boundaries(exported_boundary):
    process = _verify(exported_boundary.run_dir, exported_boundary.export_dir)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "2×61×83" in out and "boundary     bytes  pictures" in out


def test_compare_measures_differences_of_weights_and_of_read_out(
    exported, new_run, pictures, tmp_path, monkeypatch
):
    other_weights = restore_run(new_run(tmp_path / "other", seed=6))
    settings = exported.run.settings
    coarse = {**settings, "read_out": {**settings["read_out"], "min_area": 500}}
    runs = (exported.run, other_weights, exported.run._replace(settings=coarse))
    monkeypatch.setattr(parity, "export_answers", _answers_of_this_process)
    batches, version = {"a": np.stack(pictures[:2])}, f"{exported.export_dir}/1"
    limits = COMPARISONS["proposals"].limits
    differences = [compare(run, version, batches)[0] for run in runs]
    same, weights, read_out = (difference.measures for difference in differences)
    assert same.is_within(limits) and differences[0].shape == (2, 45, 70, 3)
    assert weights.embedding > 0.01 and not weights.is_within(limits)
    assert read_out.embedding < 1e-4 and read_out.read_out > 0.01 < read_out.of_bytes
    assert not read_out.is_within(limits)


def test_compare_of_boundaries_measures_weights_and_scales(
    exported_boundary, new_run, pictures, tmp_path, monkeypatch
):
    settings = exported_boundary.run.settings
    other_weights = restore_run(new_run(tmp_path / "other", seed=6, settings=settings))
    half = {**settings, "read_out": {"scales": [0.5]}}
    runs = (
        *(exported_boundary.run, other_weights),
        exported_boundary.run._replace(settings=half),
    )
    monkeypatch.setattr(parity, "export_answers", _answers_of_this_process)
    batches, version = {"a": np.stack(pictures[:2])}, f"{exported_boundary.export_dir}/1"
    limits = COMPARISONS["boundary"].limits
    same, weights, scales = (compare(run, version, batches)[0].measures for run in runs)
    assert same.is_within(limits)
    # Of 6300 pixels one is nearly half a step of the PNG away: the bytes are what was compared.
    assert 0.4 / 255 < same.of_bytes
    assert weights.embedding > 0.01 and not weights.is_within(limits)
    assert scales.embedding < 1e-4 and scales.read_out > 0.005 < scales.of_bytes
    assert not scales.is_within(limits)


def test_compare_refuses_an_export_of_another_task(
    exported, exported_boundary, pictures, monkeypatch
):
    monkeypatch.setattr(parity, "export_answers", _answers_of_this_process)
    with pytest.raises(ValueError, match="gives no boundary; it was not exported from such a run"):
        compare(exported_boundary.run, f"{exported.export_dir}/1", {"a": pictures[2][np.newaxis]})


def _answers_of_this_process(folder, batches):
    answers = isolated_model.answers_of(tf.saved_model.load(folder).signatures, batches[0])
    return {f"{key}/0": value for key, value in answers.items()}


def test_measures_is_within_looks_at_every_measure():
    limits = Measures(1e-4, 1e-3, 1e-2)
    assert limits.is_within(limits)
    assert not Measures(2e-4, 0.0, 0.0).is_within(limits)
    assert not Measures(0.0, 2e-3, 0.0).is_within(limits)
    assert not Measures(0.0, 0.0, 2e-2).is_within(limits)
    assert not Measures(float("nan"), 0.0, 0.0).is_within(limits)


def test_export_answers_raises_where_the_model_does_not_run(tmp_path):
    with pytest.raises(ChildProcessError, match="does not run in a process of its own"):
        export_answers(str(tmp_path), [np.zeros([1, 8, 8, 3], np.uint8)])


def test_export_answers_raises_where_our_packages_can_be_imported(monkeypatch):
    def run_and_refuse_one_less(command, **arguments):
        assert command[1] == "-I" and tuple(command[6:]) == parity.PACKAGES
        np.savez(command[5], refused=np.array(command[6:-1]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(parity.subprocess, "run", run_and_refuse_one_less)
    with pytest.raises(ChildProcessError, match="could import our packages"):
        export_answers("any", [np.zeros([1, 8, 8, 3], np.uint8)])


def test_refused_packages_are_refused_though_installed(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [isolated_model.Refusal(["wave"]), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    assert isolated_model.refused_packages(["wave", "json"]) == ["wave"]


def test_smooth_pictures_are_seeded_and_smooth():
    pictures = smooth_pictures(0, 2, 61, 83)
    assert pictures.shape == (2, 61, 83, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, smooth_pictures(0, 2, 61, 83))
    assert (pictures != smooth_pictures(1, 2, 61, 83)).any()
    steps = np.abs(np.diff(pictures.astype(int), axis=1))
    assert steps.mean() < 15 < pictures.std()
