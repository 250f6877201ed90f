"""The files of a run: settings.json, metrics.jsonl, metrics.json, TensorBoard events."""

import json
import os
import platform

import keras
import tensorflow as tf

SETTINGS_FORMAT = 1


def write_settings(run_dir: str, settings: dict) -> None:
    """Writes settings.json, or checks that a run going on was started with the same model.

    Args:
      run_dir: created where missing.
      settings: JSON-like, keys `task`, `model`, `loss`, `read_out`, `training`, `data`.

    Raises:
      ValueError: if the folder holds a run of another task or model; names what differs.
    """
    tf.io.gfile.makedirs(run_dir)
    if tf.io.gfile.exists(os.path.join(run_dir, "settings.json")):
        _refuse_another_model(run_dir, read_settings(run_dir), settings)
    versions = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    stamped = {"format": SETTINGS_FORMAT, **settings, "versions": versions}
    write_json(os.path.join(run_dir, "settings.json"), stamped)


def read_settings(run_dir: str) -> dict:
    """Returns the settings a run was started with.

    Raises:
      FileNotFoundError: if run_dir holds no run.
      ValueError: if its settings are no JSON object, or were written in a format this version does
        not know.
    """
    path = os.path.join(run_dir, "settings.json")
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(
            f"{run_dir} holds no run ({path} is missing); train one with "
            f"`python train_main.py --run_dir={run_dir} …`"
        )
    settings = _read_object(run_dir, "settings.json")
    if settings.get("format") != SETTINGS_FORMAT:
        raise ValueError(
            f"{path} has format {settings.get('format')}, this version reads {SETTINGS_FORMAT}; "
            "use the version of rpe_tf that wrote it (see its `versions`)"
        )
    return settings


def write_read_out(run_dir: str, found: dict) -> None:
    """Writes read_out.json: read-out arguments that were found after or while training."""
    write_json(os.path.join(run_dir, "read_out.json"), found)


def read_found(run_dir: str) -> dict:
    """Returns what read_out.json holds; empty where nothing was found.

    Raises:
      ValueError: if the file is no JSON object.
    """
    return _read_object(run_dir, "read_out.json")


def read_out_arguments(run_dir: str) -> dict:
    """Returns the read-out arguments of a run: those of its settings, and over them those found.

    Raises:
      FileNotFoundError: if run_dir holds no run.
      ValueError: as `read_settings`, if settings.json has no read-out, or read_out.json is no JSON
        object.
    """
    given = read_settings(run_dir).get("read_out")
    if not isinstance(given, dict):
        raise ValueError(f"{run_dir}/settings.json must have an object read_out, got {given!r:.80}")
    return given | read_found(run_dir)


def write_best(run_dir: str, figure: str, value: float, step: int) -> None:
    """Writes best.json: which weights are kept as the best, and by what."""
    write_json(os.path.join(run_dir, "best.json"), {"figure": figure, "value": value, "step": step})


def read_best(run_dir: str) -> dict:
    """Returns best.json; empty where no best weights are kept.

    Raises:
      ValueError: if the file is no JSON object.
    """
    return _read_object(run_dir, "best.json")


def write_json(path: str, content: dict) -> None:
    """Writes content as JSON under a temporary name, then renames it."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes text under a temporary name, then renames it."""
    temporary = f"{path}.part"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(text)
    tf.io.gfile.rename(temporary, path, overwrite=True)


def read_scores(run_dir: str) -> dict:
    """Returns metrics.json, the scores of the trained model; empty where there are none yet.

    Raises:
      ValueError: if the file is no JSON object.
    """
    return _read_object(run_dir, "metrics.json")


def append_metrics(run_dir: str, row: dict) -> None:
    """Appends one line to metrics.jsonl, a JSON object with `step` among its keys."""
    with tf.io.gfile.GFile(os.path.join(run_dir, "metrics.jsonl"), "a") as file:
        file.write(json.dumps(row) + "\n")


def read_metrics(run_dir: str) -> list[dict]:
    """Returns the rows of metrics.jsonl, in order; none where the file is missing.

    A last line cut short by a killed process is left out.
    """
    path = os.path.join(run_dir, "metrics.jsonl")
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        lines = file.read().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def forget_metrics_after(run_dir: str, step: int) -> list[dict]:
    """Returns the rows up to a step, having dropped later ones: they will be written again."""
    path = os.path.join(run_dir, "metrics.jsonl")
    kept = [row for row in read_metrics(run_dir) if row["step"] <= step]
    # Also where no row is dropped: a last line cut short must not swallow the next one.
    if tf.io.gfile.exists(path):
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept


def _read_object(run_dir: str, name: str) -> dict:
    """Returns the JSON object of a file of the run; empty where the file is missing."""
    path = os.path.join(run_dir, name)
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            content = json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON ({error}); train the run to its end") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no JSON object; train the run to its end")
    return content


def _refuse_another_model(run_dir: str, old: dict, new: dict) -> None:
    for part in ("task", "model"):
        if old[part] != new[part]:
            raise ValueError(
                f"{run_dir} holds a run with {part} {old[part]}, asked for {new[part]}; "
                "give the same flags to go on, or another --run_dir to start afresh"
            )
