"""What a run found for its read-out goes along; exports of others are told apart."""

import numpy as np
import pytest

from export import isolated_model, parity
from export.parity import COMPARISONS, compare, share_apart
from export.trained_run import restore_run
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


def maps(instance, semantic, classes):
    return np.stack([instance, semantic, classes], axis=-1)[np.newaxis]


def test_share_apart_counts_pixels_and_forgives_exchanged_ids():
    instance = np.repeat([[0, 1, 1, 2, 2]], 4, axis=0)  # 20 pixels
    plain = maps(instance, instance, instance)
    assert share_apart(plain, plain) == 0
    exchanged = maps(np.array([0, 2, 1])[instance], instance, instance)
    assert share_apart(plain, exchanged) == share_apart(exchanged, plain) == 0
    moved = instance.copy()
    moved[0, 1] = 2
    assert share_apart(plain, maps(moved, instance, instance)) == pytest.approx(1 / 20)
    # Two of four by four made one: half of the larger part is not in the instance it should be.
    merged = maps(np.minimum(instance, 1), instance, instance)
    assert share_apart(plain, merged) == share_apart(merged, plain) == pytest.approx(8 / 20)
    assert share_apart(plain, maps(instance, moved, instance)) == pytest.approx(1 / 20)
    assert share_apart(plain, maps(instance, instance, moved)) == pytest.approx(1 / 20)
    assert COMPARISONS["instances"].measure is share_apart


def test_compare_finds_other_read_outs_and_other_weights(
    exported_instances, exported_semantic, new_run, pictures, tmp_path, monkeypatch
):
    loaded = {f"{x.export_dir}/1": x.loaded for x in (exported_instances, exported_semantic)}

    def answers(folder, batches):
        found = isolated_model.answers_of(loaded[folder].signatures, batches[0])
        return {f"{key}/0": x for key, x in found.items()}

    monkeypatch.setattr(parity, "export_answers", answers)
    batches = {"a": np.stack(pictures[:2])}
    run = exported_instances.run
    coarse = {**run.settings, "read_out": {**run.settings["read_out"], "min_area": 300}}
    measures = [
        compare(one, f"{exported_instances.export_dir}/1", batches)[0].measures
        for one in (run, run._replace(settings=coarse))
    ]
    limits = COMPARISONS["instances"].limits
    assert measures[0].is_within(limits)
    assert measures[1].embedding < 1e-4 and measures[1].read_out > 0.01 < measures[1].of_bytes
    other = new_run(tmp_path / "other", seed=4, settings=exported_semantic.run.settings)
    measures = [
        compare(one, f"{exported_semantic.export_dir}/1", batches)[0].measures
        for one in (exported_semantic.run, restore_run(other))
    ]
    limits = COMPARISONS["semantic"].limits
    assert measures[0].is_within(limits)
    assert min(measures[1]) > 0.01 and not measures[1].is_within(limits)
