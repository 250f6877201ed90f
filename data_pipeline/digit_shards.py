"""The three splits of digit scenes, train, test_mixed and test_same, written as shards."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from data_pipeline import digits, input_pipeline, schema, shards

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
    for split, fraction in zip(SPLITS, (same_class_fraction, 0.0, 1.0), strict=True):
        chosen = is_test == (split != "train")
        num_scenes = num_train if split == "train" else num_test
        settings = {"seed": seed, "same_class_fraction": fraction, "scene_size": scene_size}
        settings["min_digits"] = min_digits
        examples = scene_examples(scans[chosen], classes[chosen], split, num_scenes, **settings)
        manifest = shards.write_shards(
            _with_progress(examples, split, num_scenes),
            output_dir,
            split,
            num_shards,
            settings | {"source": source},
            classes=digits.CLASS_NAMES,
        )
    return manifest


def write_pictures(output_dir: str, split: str, num_pictures: int) -> None:
    """Writes the first scenes of a split, in the order of evaluation, as PNG files.

    Args:
      output_dir: folder of the shards; the files go to its folder `pictures`.
      split: name of the split.
      num_pictures: how many, at least 0.
    """
    if num_pictures == 0:
        return
    paths = shards.list_shards(os.path.join(output_dir, f"{split}-*"))
    folder = os.path.join(output_dir, "pictures")
    tf.io.gfile.makedirs(folder)
    for example in input_pipeline.evaluation_dataset(paths).take(num_pictures):
        path = os.path.join(folder, f"{example['name'][0].numpy().decode()}.png")
        tf.io.write_file(path, tf.io.encode_png(example["image"][0]))


def scene_examples(
    scans: np.ndarray,
    classes: np.ndarray,
    split: str,
    num_scenes: int,
    *,
    seed: int,
    same_class_fraction: float,
    scene_size: int,
    min_digits: int,
) -> Iterator[bytes]:
    """Yields the records of one split; scene k depends on (seed, split, k) and the scans alone.

    Args:
      scans: [N, 28, 28] float in [0, 1].
      classes: [N] int in 0..9, the digit of each scan.
      split: one of `SPLITS`.
      num_scenes: how many.
      seed: at least 0.
      same_class_fraction: chance, in [0, 1], that all digits of a scene are of one class.
      scene_size: side in pixels, at least 64.
      min_digits: fewest digits painted into a scene, at least 1.

    Yields:
      Serialized records, named by split and number.
    """
    for k in range(num_scenes):
        rng = np.random.default_rng([seed, SPLITS.index(split), k])
        same_class = bool(rng.random() < same_class_fraction)
        image, instance, semantic = digits.compose_scene(
            rng,
            scans,
            classes,
            scene_size=scene_size,
            same_class=same_class,
            min_digits=min_digits,
        )
        yield schema.encode_example(image, instance, semantic, name=f"{split}_{k:06d}")


def _with_progress(examples: Iterable[bytes], split: str, total: int) -> Iterator[bytes]:
    """Yields the examples, showing count, rate and time to go on stderr about once a second."""
    start = shown = time.monotonic()
    for done, example in enumerate(examples, start=1):
        yield example
        now = time.monotonic()
        if now - shown >= 1 or done == total:
            rate = done / max(now - start, 1e-9)
            seconds = (total - done) / rate
            line = f"\r{split}: {done}/{total} scenes, {rate:.0f}/s, {seconds:.0f} s to go "
            print(line, end="\n" if done == total else "", file=sys.stderr, flush=True)
            shown = now
