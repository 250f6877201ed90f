"""Verification: an export passes against its own checkpoint and fails against another."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export import isolated_model, parity
from export.expected_answers import (
    Expected,
    expected_answers,
    expected_instances,
    mode_gap,
    parameter_cases,
)
from export.parity import (
    LIMITS,
    Measures,
    compare,
    export_answers,
    measure,
    pixels_apart,
    smooth_pictures,
)
from rpe_tf.inference.label_map import read_out

FIXTURES = ("exported", "exported_boundary", "exported_instances", "exported_semantic")


def _verify(run_dir, export_dir, *more):
    command = [sys.executable, "-m", "export.verify_main"]
    command += [f"--run_dir={run_dir}", f"--export_dir={export_dir}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_verify_main_passes_its_own_export_and_fails_another(
    exported_boundary, exported_semantic, new_run, pictures, tmp_path
):
    settings = exported_semantic.run.settings
    other_run = new_run(tmp_path / "other", seed=6, settings=settings)
    (tmp_path / "picture.png").write_bytes(tf.io.encode_png(pictures[2]).numpy())
    processes = [
        _verify(
            exported_boundary.run_dir,
            exported_boundary.export_dir,
            f"--images={tmp_path}/*.png",
        ),
        _verify(other_run, f"{exported_semantic.export_dir}/1"),
    ]
    (good, good_err), (bad, bad_err) = (process.communicate(timeout=300) for process in processes)
    assert processes[0].returncode == 0, good + good_err
    assert "2×61×83  random" in good and "1×128×96" in good and f"{tmp_path}/picture.png" in good
    assert "ops, all of TensorFlow itself, none calls Python" in good
    rows = [line.split()[0] for line in good.split("most on\n")[1].splitlines()[:-1]]
    assert rows == sorted([*exported_boundary.loaded.signatures, "embedding,"])
    assert processes[1].returncode == 1, bad
    assert "differs from the checkpoint" in bad_err and "2 of 2 batches" in bad_err
    assert "embedding, embedding:alone, serving_bytes, serving_default, tf_example" in bad_err
    assert "Traceback" not in bad_err


def without_ties(expected):
    """The same outputs, none of whose pixels is near another choice: saves the search for these."""
    shapes = {name: expected.outputs[name].shape for name in expected.gaps}
    return Expected(expected.outputs, {k: lambda k=k: np.ones(shapes[k]) for k in shapes})


@pytest.mark.parametrize("fixture", FIXTURES)
def test_compare_passes_an_export_and_finds_any_output_that_differs(
    request, fixture, pictures, monkeypatch
):
    exported = request.getfixturevalue(fixture)
    signatures, run = exported.loaded.signatures, exported.run
    batches = {"a": np.stack(pictures[:2]), "b": pictures[2][np.newaxis]}
    # In this process, to save the start of another.
    chosen, found = parameter_cases(run), []
    for images in batches.values():
        found.append({})
        answers = isolated_model.answers_of(signatures, images, chosen)
        answers |= isolated_model.answers_alone(signatures, images)
        for key, value in answers.items():
            case, output = key.split("/")
            found[-1].setdefault(case, {})[output] = value
    monkeypatch.setattr(parity, "export_answers", lambda *arguments: found)
    rows = compare(run, "folder", batches)
    assert all(row.measures.is_within(LIMITS) for row in rows), rows
    tuned = {x for x in signatures if x.endswith("_tuned") or x == "group"}
    assert bool(tuned) == (fixture in ("exported", "exported_instances"))
    cases = {f"{name}:{label}" for name in tuned for label in ("own", "other")}
    cases |= set(signatures) - tuned | {"embedding:alone"}
    assert {(row.case, row.batch) for row in rows} == {(x, y) for x in cases for y in batches}
    given = {x: found[0][x] for x in ("embedding", "embedding:alone")}
    together, alone = (expected_answers(run, batches["a"], x, chosen) for x in given.values())
    for case in cases:
        expected = alone if parity._is_alone(case) else together
        wanted = without_ties(expected[parity._key(case)])
        assert set(found[0][case]) == set(signatures[case.split(":")[0]].structured_outputs)
        for name, value in found[0][case].items():
            changed = ~value if value.dtype == bool else value + 1
            measures = measure({**found[0][case], name: changed}, wanted, batches["a"].shape)
            assert not measures.is_within(LIMITS), (case, name)
        if case.endswith(":other"):
            # Else the parameters would prove nothing.
            own = without_ties(expected["own"])
            assert not measure(found[0][case], own, batches["a"].shape).is_within(LIMITS)


def test_compare_refuses_an_export_of_another_task(exported_boundary, pictures, monkeypatch):
    batches = {"a": pictures[2][np.newaxis]}
    for served, message in (({"areas": 0, "boxes": 0}, "areas, boxes"), ({}, "nothing")):
        answers = [{"serving_default": served}]
        monkeypatch.setattr(parity, "export_answers", lambda *arguments, found=answers: found)
        message = f"^folder serves {message}; a run of task boundary serves boundary: it was not"
        with pytest.raises(ValueError, match=message):
            compare(exported_boundary.run, "folder", batches)


def test_expected_instances_take_parameters_in_turns(exported, pictures):
    embedding = exported.run.model(tf.constant(np.stack(pictures[:2])), training=False).numpy()
    cases = parameter_cases(exported.run)
    own = expected_instances(exported.run, {"embedding": embedding}, cases["own"]).outputs
    other = expected_instances(exported.run, {"embedding": embedding}, cases["other"]).outputs
    settings = exported.run.settings["read_out"]
    for n in range(2):
        for outputs, arguments in (
            (own, settings),
            (other, {**settings, **{name: x[n] for name, x in cases["other"].items()}}),
        ):
            found = read_out(tf.constant(embedding[n]), **arguments)
            num = len(found.areas)
            assert outputs["num_instances"][n] == num
            np.testing.assert_array_equal(outputs["instance"][n], found.instance)
            np.testing.assert_array_equal(outputs["boxes"][n, :num], found.boxes)
            np.testing.assert_allclose(outputs["scores"][n, :num], found.scores, atol=1e-6)
            assert not outputs["scores"][n, num:].any()
            assert outputs["num_loops"][n] == found.num_loops
            share = np.mean(found.instance == 0)
            np.testing.assert_allclose(outputs["background_share"][n], share)
        # Else the other parameters would prove nothing.
        assert (own["instance"][n] != other["instance"][n]).any()


def test_mode_gap_is_small_where_two_modes_are_as_near():
    def at(degrees):
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=-1)

    degrees = np.zeros([3, 20])
    degrees[:, 10:] = 90
    degrees[1, 4], degrees[2, 4] = 45, 40
    gap = mode_gap({"embedding": at(degrees).astype(np.float32)}, concentration=12.0, min_area=5)
    assert gap.shape == (3, 20) and gap.dtype == np.float32
    # At least cos 0° − cos 45° = 0.29, were the two pixels a mode of their own.
    assert np.delete(gap.ravel(), [24, 44]).min() > 0.25
    # cos 45° − cos 45° and cos 40° − cos 50° = 0.766 − 0.643
    assert gap[1, 4] < 0.02 and abs(gap[2, 4] - 0.123) < 0.02
    one = mode_gap({"embedding": at(np.zeros([2, 3])).astype(np.float32)}, concentration=60.0)
    assert np.isinf(one).all()


def test_pixels_apart_forgives_exchanged_ids_of_objects_alone():
    plain = np.repeat([[0, 1, 1, 2, 2]], 4, axis=0)  # 20 pixels
    assert not pixels_apart(plain, plain).any()
    exchanged = np.array([0, 2, 1])[plain]
    assert not pixels_apart(plain, exchanged).any()
    moved = plain.copy()
    moved[0, 1] = 2
    for one, other in ((plain, moved), (moved, plain)):
        assert np.argwhere(pixels_apart(one, other)).tolist() == [[0, 1]]
    # Two of four by two made one: one of them is not in the instance it should be.
    merged = np.minimum(plain, 1)
    assert pixels_apart(plain, merged).sum() == pixels_apart(merged, plain).sum() == 8
    # The background is not an object.
    assert pixels_apart(plain, np.array([1, 0, 2])[plain]).sum() == 12


def expect(gap=1.0):
    instance = np.zeros([2, 40, 50], np.int32)
    instance[:, 10:20, 10:20], instance[1, 30:32, 30:32] = 1, 2
    outputs = {
        "instance": instance,
        "areas": np.array([[100, 0], [100, 4]]),
        "scores": np.array([[0.5, 0.0], [0.25, 0.75]]),
        "num_instances": np.array([1, 2]),
    }
    return Expected(outputs, {"instance": lambda: np.full(instance.shape, gap)})


def test_measure_of_maps_and_what_follows_from_them():
    expected = expect()
    assert measure(expected.outputs, expected) == Measures(0.0, 0.0, 0.0)
    scores = np.array([[0.5, 0.0], [0.25, 0.5]])
    assert measure({**expected.outputs, "scores": scores}, expected) == Measures(0.25, 0.0, 0.0)
    instance = expected.outputs["instance"].copy()
    instance[1, 10, 10] = 0
    found = {**expected.outputs, "instance": instance, "scores": scores}
    # One of 4000 pixels; the table of this picture no longer has to be equal.
    assert measure(found, expected) == Measures(0.0, 1 / 4000, 1 / 4000)
    assert measure(found, expect(gap=5e-5)) == Measures(0.0, 1 / 4000, 0.0)
    assert measure(found, expect(gap=5e-5)).is_within(LIMITS)
    assert not measure(found, expected).is_within(LIMITS)
    # That of the other picture has, and so has the number of instances.
    scores = np.array([[0.75, 0.0], [0.25, 0.5]])
    assert measure({**found, "scores": scores}, expected).numbers == 0.25
    assert measure({**found, "num_instances": np.array([1, 3])}, expected).numbers == 1
    assert measure({"areas": np.array([[100], [100]])}, expected).numbers == np.inf
    assert measure({"instance": instance[:, :9]}, expected) == Measures(0.0, 1.0, 1.0)


def test_measure_of_encoded_maps_and_their_sides():
    outputs = {"boundary": np.array([[[0.5, 0.25]]], np.float32)}
    codes = np.array([[[128, 64]]], np.uint8)  # of 127.5 and 63.75
    sides = {"height": np.array([1]), "width": np.array([2])}
    found = {"boundary_bytes": codes, **sides}
    assert measure(found, Expected(outputs), (1, 1, 2, 3)).numbers < 1e-7
    codes = codes + np.array([0, 1], np.uint8)
    # 65 − 63.75 − 0.5 steps of the PNG
    wrong = measure({"boundary_bytes": codes}, Expected(outputs)).numbers
    np.testing.assert_allclose(wrong, 0.75 / 255, rtol=1e-5)
    assert measure(found, Expected(outputs), (1, 1, 3, 3)).numbers == 1
    large = Expected({"logit": np.array([[20.0, -40.0]])})
    np.testing.assert_allclose(measure({"logit": np.array([[20.0, -39.0]])}, large).numbers, 1 / 40)
    assert np.isnan(measure({"logit": np.array([[np.nan, -39.0]])}, large).numbers)


def test_measures_is_within_looks_at_every_measure():
    limits = Measures(1e-4, 1e-3, 0.0)
    assert limits.is_within(limits)
    assert not Measures(2e-4, 0.0, 0.0).is_within(limits)
    assert not Measures(0.0, 2e-3, 0.0).is_within(limits)
    assert not Measures(0.0, 0.0, 1e-6).is_within(limits)
    assert not Measures(float("nan"), 0.0, 0.0).is_within(limits)


def test_export_answers_raises_where_the_model_does_not_run(tmp_path):
    with pytest.raises(ChildProcessError, match="does not run in a process of its own"):
        export_answers(str(tmp_path), [np.zeros([1, 8, 8, 3], np.uint8)], {})


def test_export_answers_raises_where_our_packages_can_be_imported(monkeypatch):
    def run_and_refuse_one_less(command, **arguments):
        assert command[1] == "-I" and tuple(command[6:]) == parity.PACKAGES
        np.savez(command[5], refused=np.array(command[6:-1]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(parity.subprocess, "run", run_and_refuse_one_less)
    with pytest.raises(ChildProcessError, match="could import our packages"):
        export_answers("any", [np.zeros([1, 8, 8, 3], np.uint8)], {})


def test_refused_packages_are_refused_though_installed(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [isolated_model.Refusal(["wave"]), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    assert isolated_model.refused_packages(["wave", "json"]) == ["wave"]


def test_decoded_keeps_16_and_8_bits():
    deep = np.array([[[0], [300]], [[65535], [7]]], np.uint16)
    shallow = np.array([[[0], [255]]], np.uint8)
    for label in (deep, shallow):
        found = isolated_model.decoded(tf.constant([tf.io.encode_png(label).numpy()] * 2))
        assert found.dtype == label.dtype
        np.testing.assert_array_equal(found, [label[..., 0]] * 2)


def test_smooth_pictures_are_seeded_and_smooth():
    pictures = smooth_pictures(0, 2, 61, 83)
    assert pictures.shape == (2, 61, 83, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, smooth_pictures(0, 2, 61, 83))
    assert (pictures != smooth_pictures(1, 2, 61, 83)).any()
    steps = np.abs(np.diff(pictures.astype(int), axis=1))
    assert steps.mean() < 15 < pictures.std()
