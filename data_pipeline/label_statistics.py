"""Counts over labelled pictures, as flat JSON values that add up picture by picture."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np

# Beyond the ids a record can hold (65534) with room to spare; a table of more would be slow.
_MAX_COUNTED = 1 << 20


def count_labels(instance: np.ndarray, semantic: np.ndarray | None = None) -> dict:
    """Returns the statistics of one picture.

    Args:
      instance: [H, W] integers; ids > 0, 0 background, -1 void.
      semantic: [H, W] integers; class index, 0 background, -1 void; or None.

    Returns:
      `num_examples` (1); `num_instances` and `max_instances` (most in one picture); `min_height`,
      `max_height`, `min_width`, `max_width` in pixels; `num_pixels`, `num_void_pixels`,
      `num_background_pixels`; `num_empty_pictures` (no instance); of instances their areas in
      pixels, `min_instance_area`, `max_instance_area`, `instance_area_log2` (from floor(log2 area)
      to how many) and `num_one_pixel_instances`; `class_pixels` and, by the class most of its
      pixels have, `class_instances` (from class index to how many). Keys of dicts are strings. A
      minimum or maximum over nothing is absent.
    """
    height, width = instance.shape
    ids, position, areas = find_segments(instance)
    instance_areas = areas[ids > 0]
    statistics = {
        "num_examples": 1,
        "num_instances": len(instance_areas),
        "max_instances": len(instance_areas),
        "num_empty_pictures": int(len(instance_areas) == 0),
        "num_one_pixel_instances": int(np.sum(instance_areas == 1)),
        "min_height": height,
        "max_height": height,
        "min_width": width,
        "max_width": width,
        "num_pixels": instance.size,
        "num_void_pixels": int(areas[ids == -1].sum()),
        "num_background_pixels": int(areas[ids == 0].sum()),
        "instance_area_log2": _tally(np.floor(np.log2(instance_areas)).astype(int)),
    }
    if len(instance_areas):
        statistics["min_instance_area"] = int(instance_areas.min())
        statistics["max_instance_area"] = int(instance_areas.max())
    if semantic is not None:
        statistics["class_pixels"] = _tally(semantic[semantic >= 0])
        classes = class_counts(position, semantic.reshape(-1), len(ids))
        majority = classes.argmax(axis=1) if classes.shape[1] else np.zeros(len(ids), int)
        is_labelled = (ids > 0) & (classes.sum(axis=1) > 0)
        statistics["class_instances"] = _tally(majority[is_labelled])
    return statistics


def merge_statistics(many: Iterable[dict]) -> dict:
    """Returns the statistics of all pictures together; {} of none.

    min_ and max_ keep the smallest and the largest, everything else is added, dicts key by key.
    """
    return functools.reduce(_merge_two, many, {})


def describe_statistics(statistics: dict, classes: Sequence[str] = ()) -> str:
    """Returns the statistics as lines for people.

    Args:
      statistics: of `merge_statistics`, of at least one picture.
      classes: class names, index = semantic id.
    """
    pixels = statistics["num_pixels"]
    lines = [
        f"{statistics['num_examples']} pictures, {statistics['num_instances']} instances, at most "
        f"{statistics['max_instances']} a picture, {statistics['num_empty_pictures']} pictures "
        "without any",
        f"height {statistics['min_height']} to {statistics['max_height']} px, width "
        f"{statistics['min_width']} to {statistics['max_width']} px; background "
        f"{statistics['num_background_pixels'] / pixels:.1%}, void "
        f"{statistics['num_void_pixels'] / pixels:.1%} of the pixels",
    ]
    if statistics["num_instances"]:
        lines.append(
            f"instance area {statistics['min_instance_area']} to "
            f"{statistics['max_instance_area']} px; "
            f"{statistics['num_one_pixel_instances']} instances of one pixel"
        )
        in_order = sorted((int(k), n) for k, n in statistics["instance_area_log2"].items())
        lines += [f"  {2**k:>8} px and more: {n}" for k, n in in_order]
    for key, n in sorted(statistics.get("class_pixels", {}).items(), key=lambda x: int(x[0])):
        name = classes[int(key)] if int(key) < len(classes) else f"class {key}"
        instances = statistics["class_instances"].get(key, 0)
        lines.append(f"  {name}: {n / pixels:.2%} of the pixels, {instances} instances")
    return "\n".join(lines)


def find_segments(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers of a label map, the place of each pixel's among them, and their areas.

    The same as np.unique, but counted instead of sorted, where the numbers are not too large.

    Args:
      labels: [H, W] integers.

    Returns:
      Ascending numbers [K]; positions [H·W], int in [0, K); pixels of each number [K].
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if high - low > _MAX_COUNTED:
        ids, position, areas = np.unique(labels, return_inverse=True, return_counts=True)
        return ids, position.reshape(-1), areas
    shifted = labels.reshape(-1).astype(np.int64) - low
    areas = np.bincount(shifted, minlength=1)
    is_there = areas > 0
    return np.flatnonzero(is_there) + low, (np.cumsum(is_there) - 1)[shifted], areas[is_there]


def class_counts(position: np.ndarray, semantic: np.ndarray, num_ids: int) -> np.ndarray:
    """Returns how often each class occurs in each segment, [num_ids, classes].

    Args:
      position: [N] int in [0, num_ids), the segment of each pixel.
      semantic: [N] int, the class of each pixel; void (-1) does not count.
      num_ids: number of segments.
    """
    labelled = semantic >= 0
    num_classes = int(semantic.max(initial=-1)) + 1
    index = position[labelled] * num_classes + semantic[labelled]
    return np.bincount(index, minlength=num_ids * num_classes).reshape(num_ids, num_classes)


def _tally(values: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return {str(value): int(n) for value, n in zip(found, counts, strict=True)}


def _merge_two(first: dict, second: dict) -> dict:
    return first | {
        key: _merge_values(key, first[key], value) if key in first else value
        for key, value in second.items()
    }


def _merge_values(key: str, first: object, second: object) -> object:
    if isinstance(first, dict):
        return {k: first.get(k, 0) + second.get(k, 0) for k in {**first, **second}}
    if key.startswith("min_"):
        return min(first, second)
    return max(first, second) if key.startswith("max_") else first + second
