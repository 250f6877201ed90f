"""A trained net for figures, from a run's checkpoint or an export, and labelled pictures for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_pipeline import input_pipeline, shards
from rpe_tf import run_folder
from rpe_tf.checkpoints import restore_weights
from rpe_tf.saved_model import find_version
from rpe_tf.tasks import TASKS, instances, proposals, semantic

# Pixels a side that are grouped with their gradient: loops cost the fourth power of it.
MAX_SIDE = 96
_PREDICTORS = {
    "proposals": proposals.make_predictor,
    "instances": instances.make_predictor,
    "semantic": lambda model, _: semantic.make_predictor(model),
}


class TrainedNet(NamedTuple):
    """What figures ask of a net.

    Attributes:
      predict: from a picture [H, W, 3] uint8 to a dict of arrays: `embedding` [H, W, D] float32,
        and what its task finds of `instance` and `semantic`, [H, W] int32, 0 background.
      settings: of the run.
      path: where it comes from, for messages.
    """

    predict: Callable[[np.ndarray], dict[str, np.ndarray]]
    settings: dict
    path: str

    @property
    def concentration(self) -> float:
        """κ of the loops: of the read-out where there is one, else of the loss."""
        return self.settings["read_out"].get(
            "concentration", self.settings["loss"]["concentration"]
        )

    @property
    def margin(self) -> float:
        """α of the loss."""
        return self.settings["loss"]["margin"]

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.settings["model"]["embedding_dim"]

    def labels(self, instance: np.ndarray) -> np.ndarray:
        """Returns the instance map as the loss saw it: background void where it took no part."""
        is_void = self.settings["loss"].get("foreground_only", False)
        return np.where(instance == 0, -1, instance) if is_void else instance


class Example(NamedTuple):
    """A labelled picture."""

    image: np.ndarray  # [H, W, 3] uint8
    instance: np.ndarray  # [H, W] int32, 0 background, −1 void
    semantic: np.ndarray  # [H, W] int32, 0 background, −1 void


def load_net(path: str, tasks: Sequence[str] = ("proposals", "instances")) -> TrainedNet:
    """Returns the net of a run folder or of an export.

    Args:
      path: of the folder.
      tasks: that will do.

    Raises:
      FileNotFoundError: if the folder holds neither, or the run has no checkpoint.
      ValueError: if it is of another task, or the checkpoint does not fit.
    """
    is_run = os.path.exists(os.path.join(path, "settings.json"))
    settings = run_folder.read_settings(path) if is_run else _export_settings(path)
    if settings["task"] not in tasks:
        raise ValueError(
            f"{path} has task {settings['task']}, this figure is of task {' or '.join(tasks)}"
        )
    if not is_run:
        return TrainedNet(_export_predictor(path), settings, path)
    settings["read_out"] = run_folder.read_out_arguments(path)
    model = TASKS[settings["task"]].build_model(**settings["model"])
    restore_weights(path, model)
    predictor = _PREDICTORS[settings["task"]](model, settings["read_out"])
    return TrainedNet(lambda image: _named(predictor(tf.constant(image))), settings, path)


def read_examples(net: TrainedNet, pattern: str | None, most: int) -> list[Example]:
    """Returns the first labelled pictures of shards, at most `most`.

    Args:
      net: whose first eval_shards are taken where there is no pattern.
      pattern: a glob of shards, see `list_shards`.
      most: ≥ 1.

    Raises:
      ValueError: if there is no such shard, or neither pattern nor net names any.
    """
    if pattern is None and not net.settings["data"]["eval_shards"]:
        raise ValueError(f"{net.path} names no eval_shards; give --shards, a glob of shards")
    paths = shards.list_shards(pattern or net.settings["data"]["eval_shards"][0])
    return list(_examples(paths, most))


def fullest(examples: Sequence[Example], most: int) -> list[Example]:
    """Returns the pictures with most instances, at most `most`; of equals the first."""
    return sorted(examples, key=lambda x: -num_instances(x.instance))[:most]


def num_instances(instance: np.ndarray) -> int:
    """Returns how many instances a map has, background and void left out."""
    return int((np.unique(instance) > 0).sum())


def crop(example: Example, *maps: np.ndarray, side: int = MAX_SIDE) -> tuple:
    """Returns the middle of a picture and of maps [H, W, …] of it, at most side × side pixels."""
    height, width = example.instance.shape
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    window = slice(top, top + side), slice(left, left + side)
    return Example(*(x[window] for x in example)), *(x[window] for x in maps)


def _examples(paths: Sequence[str], most: int) -> Iterator[Example]:
    for example in input_pipeline.evaluation_dataset(paths).take(most):
        yield Example(*(example[name][0].numpy() for name in Example._fields))


def _named(found: tuple) -> dict[str, np.ndarray]:
    """Returns the outputs of a predictor of `tasks` by name."""
    embedding, rest = found
    outputs = {"embedding": embedding}
    if isinstance(rest, tf.Tensor):
        outputs["semantic"] = rest
    else:
        fields = rest._asdict()
        outputs |= {name: fields[name] for name in ("instance", "semantic") if name in fields}
    return {name: x.numpy() for name, x in outputs.items()}


def _export_predictor(path: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    loaded = tf.saved_model.load(find_version(path))

    def predict(image: np.ndarray) -> dict[str, np.ndarray]:
        batch = tf.constant(image[np.newaxis])
        outputs = loaded.signatures["serving_default"](image=batch)
        outputs |= loaded.signatures["embedding"](image=batch)
        names = ("embedding", "instance", "semantic")
        return {name: outputs[name][0].numpy() for name in names if name in outputs}

    return predict


def _export_settings(path: str) -> dict:
    info = os.path.join(find_version(path), "model_info.json")
    if not os.path.exists(info):
        raise FileNotFoundError(f"{info} is missing; export the run again with export.export_main")
    with open(info, encoding="utf-8") as file:
        return json.load(file)["settings"]
