"""Version folders as TensorFlow Serving polls them: numbered, and whole from their first moment."""

import json
import os
import shutil
import uuid

import tensorflow as tf

from export.answers import Answers
from export.boundary_answers import boundary_answers
from export.graph_ops import refuse_python_ops
from export.instance_answers import instances_answers, proposals_answers
from export.provenance import class_names, describe_origin, licence_text
from export.semantic_answers import semantic_answers
from export.served_module import ServedModule
from export.signatures import describe_signatures, format_signatures
from export.tiling import describe_sight
from export.trained_run import TrainedRun
from export.warm_up import example_values, write_warm_up
from rpe_tf.saved_model import list_versions

# How a task answers: model, read-out arguments → Answers.
ANSWERS = {
    "boundary": boundary_answers,
    "instances": instances_answers,
    "proposals": proposals_answers,
    "semantic": semantic_answers,
}


def write_version(run: TrainedRun, export_dir: str, *, version: int | None, metrics: dict) -> str:
    """Returns the version folder written: SavedModel, warm-up requests and what describes them.

    That is model_info.json, signatures.md, LICENSE and, where there are classes, labels.txt: a
    name a line, the background first.

    Written beside its final place under a name that is no number, then renamed: whoever polls
    export_dir sees all of it or nothing. On failure nothing is left.

    Args:
      run: the trained run.
      export_dir: holds the versions; made if absent.
      version: ≥ 1; None for one more than the largest there.
      metrics: of the run, copied into model_info.json.

    Raises:
      ValueError: if the version is there already.
    """
    version = max([0, *list_versions(export_dir)]) + 1 if version is None else version
    target = os.path.join(export_dir, str(version))
    if os.path.exists(target):
        raise ValueError(f"{target} exists; leave out --version for the next free number")
    os.makedirs(export_dir, exist_ok=True)
    temporary = os.path.join(export_dir, f".unfinished-{version}-{uuid.uuid4().hex[:8]}")
    try:
        _write_model(run, temporary, metrics)
        # Fails if another process has written this version meanwhile.
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def folder_size(folder: str) -> int:
    """Returns the bytes of all files under folder."""
    return sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(folder)
        for name in names
    )


def _write_model(run: TrainedRun, folder: str, metrics: dict) -> None:
    answers = ANSWERS[run.settings["task"]](run.model, run.settings["read_out"])
    module = ServedModule(run.model, answers)
    signatures = {
        name: getattr(module, name).get_concrete_function() for name in module.signature_names
    }
    tf.saved_model.save(module, folder, signatures=signatures)
    refuse_python_ops(folder)
    described = {}
    for name, function in signatures.items():
        described |= describe_signatures({name: function}, _meanings(answers, name))
    write_warm_up(folder, described, example_values(module, answers.parameters))
    sight = describe_sight(run.model, run.settings["read_out"])
    info = {
        **describe_origin(run, metrics),
        "receptive_field": sight,
        "signatures": described,
    }
    texts = {
        "model_info.json": json.dumps(info, indent=2, ensure_ascii=False) + "\n",
        "signatures.md": format_signatures(described),
        "LICENSE": licence_text(),
    }
    if names := run.class_names or class_names(run.settings):
        texts["labels.txt"] = "".join(f"{name}\n" for name in names)
    for name, text in texts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def _meanings(answers: Answers, name: str) -> dict[str, str]:
    """Returns the meanings of the inputs and outputs of a signature."""
    if name == "proposals":
        return answers.proposal_meanings
    return {**answers.meanings, **{k: x.meaning for k, x in answers.parameters.items()}}
