"""The three splits of digit scenes, train, test_mixed and test_same, written as shards."""

from __future__ import annotations

import functools
import os

import numpy as np
import tensorflow as tf

from data_pipeline import conversion, digits, input_pipeline, shards
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.local_runner import run_locally

SPLITS = ("train", "test_mixed", "test_same")


def write_digit_shards(
    output_dir: str,
    scans: np.ndarray,
    classes: np.ndarray,
    is_test: np.ndarray,
    *,
    num_train: int,
    num_test: int,
    num_shards: int,
    seed: int,
    same_class_fraction: float,
    scene_size: int,
    min_digits: int,
    source: str,
) -> dict:
    """Writes the splits `SPLITS` and returns the manifest; progress goes to stderr.

    train mixes scenes of one class with others, test_mixed has others only, test_same has scenes of
    one class only. Training and test scenes are made of disjoint scans.

    Args:
      output_dir: folder, made if absent.
      scans: [N, 28, 28] float in [0, 1].
      classes: [N] int in 0..9, the digit of each scan.
      is_test: [N] bool, the scans that only the test splits use.
      num_train: scenes in train.
      num_test: scenes in each test split.
      num_shards: files a split, at most the scenes of any split.
      seed: at least 0; scene k of a split depends on (seed, split, k) and the scans alone.
      same_class_fraction: chance, in [0, 1], that a training scene is of one class.
      scene_size: side of a scene in pixels, at least 64.
      min_digits: fewest digits painted into a scene, at least 1.
      source: where the scans are from; noted in the manifest.

    Returns:
      The manifest, see `shards.read_manifest`.

    Raises:
      ValueError: a number is out of its range.
    """
    if not 1 <= num_shards <= min(num_train, num_test):
        raise ValueError(
            f"num_shards must lie in [1, {min(num_train, num_test)}], the scenes of the smallest "
            f"split, got {num_shards}."
        )
    if not 0 <= same_class_fraction <= 1:
        raise ValueError(f"same_class_fraction must lie in [0, 1], got {same_class_fraction}.")
    digits.digit_range(scene_size, min_digits, 9)  # Fails before anything is written.
    scans_sha256 = digits.scans_digest(scans, classes)
    for split, fraction in zip(SPLITS, (same_class_fraction, 0.0, 1.0), strict=True):
        chosen = is_test == (split != "train")
        num_scenes = num_train if split == "train" else num_test
        settings = {"seed": seed, "same_class_fraction": fraction, "scene_size": scene_size}
        settings["min_digits"] = min_digits
        manifest = conversion.write_split(
            functools.partial(_compose, scans=scans[chosen], classes=classes[chosen], **settings),
            [Source(f"{split}_{k:06d}", details=[split, k]) for k in range(num_scenes)],
            *(output_dir, split),
            num_shards=num_shards,
            classes=digits.CLASS_NAMES,
            settings=settings | {"source": source, "scans_sha256": scans_sha256},
            run=functools.partial(run_locally, unit="scenes"),
        )
    return manifest


def write_pictures(output_dir: str, split: str, num_pictures: int) -> None:
    """Writes the first scenes of a split, in the order of evaluation, and their ids as PNG files.

    Args:
      output_dir: folder of the shards; the files go to its folders `pictures` and `labels`.
      split: name of the split.
      num_pictures: how many, at least 0.
    """
    if num_pictures == 0:
        return
    paths = shards.list_shards(os.path.join(output_dir, f"{split}-*"))
    folders = {name: os.path.join(output_dir, name) for name in ("pictures", "labels")}
    for folder in folders.values():
        tf.io.gfile.makedirs(folder)
    for example in input_pipeline.evaluation_dataset(paths).take(num_pictures):
        ids = tf.cast(example["instance"][0][..., tf.newaxis], tf.uint8)  # −1, void, is 255
        maps = {"pictures": example["image"][0], "labels": ids}
        name = f"{example['name'][0].numpy().decode()}.png"
        for kind, folder in folders.items():
            tf.io.write_file(os.path.join(folder, name), tf.io.encode_png(maps[kind]))


def _compose(
    source: Source,
    *,
    scans: np.ndarray,
    classes: np.ndarray,
    seed: int,
    same_class_fraction: float,
    scene_size: int,
    min_digits: int,
) -> LabelledPicture:
    """Returns scene k of a split, made of (seed, split, k) and the scans alone."""
    split, k = source.details
    rng = np.random.default_rng([seed, SPLITS.index(split), k])
    same_class = bool(rng.random() < same_class_fraction)
    return LabelledPicture(
        *digits.compose_scene(
            *(rng, scans, classes),
            scene_size=scene_size,
            same_class=same_class,
            min_digits=min_digits,
        )
    )
