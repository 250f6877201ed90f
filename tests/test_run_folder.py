import json
import os

import pytest
import tensorflow as tf

from rpe_tf import run_folder

SETTINGS = {
    "task": "proposals",
    "model": {"embedding_dim": 4, "width": 8},
    "loss": {"margin": 0.5},
    "read_out": {"concentration": 36.0},
    "training": {"num_steps": 6},
    "data": {"train_shards": "/data/Größe-*", "eval_shards": []},
}


def test_write_settings_can_be_read_back_with_format_and_versions(tmp_path):
    run_dir = str(tmp_path / "deep" / "run")
    run_folder.write_settings(run_dir, SETTINGS)
    settings = run_folder.read_settings(run_dir)
    assert {name: settings[name] for name in SETTINGS} == SETTINGS
    assert settings["format"] == run_folder.SETTINGS_FORMAT
    assert settings["versions"]["tensorflow"] == tf.__version__
    assert set(settings["versions"]) == {"python", "tensorflow", "keras"}
    assert os.listdir(run_dir) == ["settings.json"]


def test_write_settings_of_a_run_going_on_may_change_all_but_task_and_model(tmp_path):
    run_folder.write_settings(str(tmp_path), SETTINGS)
    longer = {**SETTINGS, "training": {"num_steps": 12}, "loss": {"margin": 0.4}}
    run_folder.write_settings(str(tmp_path), longer)
    assert run_folder.read_settings(str(tmp_path))["training"] == {"num_steps": 12}


@pytest.mark.parametrize("part, value", [("task", "semantic"), ("model", {"width": 16})])
def test_write_settings_refuses_another_task_or_model_and_keeps_the_old(tmp_path, part, value):
    run_folder.write_settings(str(tmp_path), SETTINGS)
    with pytest.raises(ValueError, match=f"holds a run with {part} .* another --run_dir"):
        run_folder.write_settings(str(tmp_path), {**SETTINGS, part: value})
    assert run_folder.read_settings(str(tmp_path))[part] == SETTINGS[part]


def test_read_settings_names_the_folder_that_holds_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no run"):
        run_folder.read_settings(str(tmp_path))


@pytest.mark.parametrize("content", [{"format": 99}, {}])
def test_read_settings_refuses_another_format(tmp_path, content):
    (tmp_path / "settings.json").write_text(json.dumps(content))
    message = f"has format {content.get('format')}, this version reads 1"
    with pytest.raises(ValueError, match=message):
        run_folder.read_settings(str(tmp_path))


def test_write_json_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = str(tmp_path / "metrics.json")
    run_folder.write_json(path, {"recall": 0.5})
    run_folder.write_json(path, {"name": "α ≥ 0"})
    with open(path, encoding="utf-8") as file:
        assert file.read() == '{\n  "name": "α ≥ 0"\n}\n'
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_write_json_cut_off_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = str(tmp_path / "metrics.json")
    run_folder.write_json(path, {"recall": 0.5})
    with pytest.raises(TypeError):
        run_folder.write_json(path, {"recall": object()})

    def cut_off(*_, **__):
        raise OSError("disk gone")

    monkeypatch.setattr(tf.io.gfile, "rename", cut_off)
    with pytest.raises(OSError, match="disk gone"):
        run_folder.write_json(path, {"recall": 0.6})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"recall": 0.5}


def rows(*steps):
    return [{"step": step, "loss": 1.0 / step} for step in steps]


def write_rows(run_dir, *steps):
    for row in rows(*steps):
        run_folder.append_metrics(str(run_dir), row)


def test_append_metrics_adds_lines_in_order(tmp_path):
    write_rows(tmp_path, 1, 2, 3)
    assert run_folder.read_metrics(str(tmp_path)) == rows(1, 2, 3)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_read_metrics_of_a_run_without_any_is_empty(tmp_path):
    assert run_folder.read_metrics(str(tmp_path)) == []


def cut_last_line(run_dir):
    path = run_dir / "metrics.jsonl"
    path.write_text(path.read_text()[:-5])


def test_read_metrics_leaves_out_a_last_line_cut_short(tmp_path):
    write_rows(tmp_path, 1, 2, 3)
    cut_last_line(tmp_path)
    assert run_folder.read_metrics(str(tmp_path)) == rows(1, 2)


@pytest.mark.parametrize("step, kept", [(0, []), (2, [1, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_forget_metrics_after_drops_later_rows_from_the_file(tmp_path, step, kept):
    write_rows(tmp_path, 1, 2, 3)
    assert run_folder.forget_metrics_after(str(tmp_path), step) == rows(*kept)
    assert run_folder.read_metrics(str(tmp_path)) == rows(*kept)
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("num_rows", [1, 3])
def test_forget_metrics_after_a_cut_line_lets_new_rows_follow(tmp_path, num_rows):
    steps = range(1, num_rows + 1)
    write_rows(tmp_path, *steps)
    cut_last_line(tmp_path)
    run_folder.forget_metrics_after(str(tmp_path), 9)
    write_rows(tmp_path, num_rows)
    assert run_folder.read_metrics(str(tmp_path)) == rows(*steps)


def test_forget_metrics_after_makes_no_file_where_there_was_none(tmp_path):
    assert run_folder.forget_metrics_after(str(tmp_path), 0) == []
    assert os.listdir(tmp_path) == []
