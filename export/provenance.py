"""What goes with an exported model: where it comes from, its classes by name, its licence."""

import datetime
import importlib.metadata
import os
import platform

import keras
import numpy as np
import tensorflow as tf

import rpe_tf
from export.trained_run import TrainedRun

LICENCE = "Apache-2.0"


def describe_origin(run: TrainedRun, metrics: dict) -> dict:
    """Returns where a model comes from, ready for JSON.

    Args:
      run: the trained run. Its settings say the data, with the checksums of their manifests.
      metrics: of the run.
    """
    return {
        "task": run.settings["task"],
        "step": run.step,
        "exported": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "licence": LICENCE,
        "settings": run.settings,
        "metrics": metrics,
        "versions": {
            "rpe_tf": rpe_tf.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }


def class_names(settings: dict) -> list[str] | None:
    """Returns the names of a run's classes, the background first; None for a task without classes.

    Those of the shards where they have names, all the same ones; else `background`, `class 1`, ….
    """
    num_classes = settings["model"].get("num_classes")
    if num_classes is None:
        return None
    sources = settings.get("data", {}).get("sources", [])
    named = {tuple(source["classes"]) for source in sources if source["classes"]}
    if len(named) == 1 and len(names := named.pop()) == num_classes:
        return list(names)
    return ["background", *(f"class {k}" for k in range(1, num_classes))]


def licence_text() -> str:
    """Returns the text of LICENCE, as this package carries it.

    Raises:
      FileNotFoundError: if neither the installed package nor a clone has it.
    """
    try:
        package = importlib.metadata.distribution("rpe-tf")
        texts = [package.read_text(name) for name in ("licenses/LICENSE", "LICENSE")]
    except importlib.metadata.PackageNotFoundError:
        texts = []
    for text in texts:
        if text:
            return text
    root = os.path.dirname(os.path.dirname(os.path.abspath(rpe_tf.__file__)))
    with open(os.path.join(root, "LICENSE"), encoding="utf-8") as file:
        return file.read()
