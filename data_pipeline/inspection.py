"""A set of shards checked from end to end: each shard, names, and what the manifest says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np

from data_pipeline import command_line, shards
from data_pipeline.label_statistics import merge_statistics
from data_pipeline.labelled_picture import LabelledPicture
from data_pipeline.shard_report import ShardReport, read_pictures, report_shard

_COUNTS = ("num_examples", "num_instances", "max_instances")


class Inspection(NamedTuple):
    """What was found in a set of shards.

    Attributes:
      shards: a report each, in the order of the paths.
      classes: class names, index = semantic id; () where they have none.
      statistics: of all records without fault, see `label_statistics.count_labels`; {} of none.
      notes: from what is odd to the names of the pictures.
      faults: one line each; empty if all is well.
    """

    shards: list[ShardReport]
    classes: tuple[str, ...]
    statistics: dict
    notes: dict[str, list[str]]
    faults: list[str]


def inspect_shards(paths: Sequence[str]) -> Inspection:
    """Returns what is in the shards and what is wrong with them; shows progress on stderr.

    Every byte is read, every record parsed and its labels checked again. A picture's name must
    occur once in its split. Counts, checksums and statistics must be those of the manifest, the
    statistics if all shards of a split are given and no other fault of theirs was found.

    Args:
      paths: of shards; of one or several splits and folders.

    Raises:
      ValueError: the manifests of the folders have different classes.
    """
    faults, manifests = _read_manifests(paths)
    classes = _common_classes(manifests)
    listed = {
        os.path.join(directory, shard["name"]): shard["num_examples"]
        for directory, manifest in manifests.items()
        for split in manifest["splits"].values()
        for shard in split["shards"]
    }
    total = sum(listed[path] for path in paths) if set(paths) <= set(listed) else None
    with (
        command_line.progress_bar(total, "inspect", "pictures") as progress,
        futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        reports = [report_shard(path, len(classes), pool, progress.update) for path in paths]
    faults += [fault for report in reports for fault in report.faults]
    faults += _repeated_names(reports)
    for directory, manifest in manifests.items():
        own = {r.path: r for r in reports if os.path.dirname(r.path) == directory}
        faults += _differences(directory, manifest, own)
    notes: dict[str, list[str]] = {}
    for report in reports:
        for note, names in report.notes.items():
            notes.setdefault(note, []).extend(names)
    statistics = merge_statistics(report.statistics for report in reports)
    return Inspection(reports, classes, statistics, notes, faults)


def summarize(inspection: Inspection) -> dict:
    """Returns an inspection as JSON values.

    Returns:
      Of the records without fault: `num_examples`, `num_instances`, `max_instances` (in one
      picture); `classes`, from name to `pixels` and `instances`; `void_share`, of all pixels, in
      [0, 1], None without any; `statistics`. Beside that `faults`, one line each, and `shards`, a
      list of `path`, `num_examples` and `sha256`.
    """
    statistics = inspection.statistics
    pixels = statistics.get("class_pixels", {})
    instances = statistics.get("class_instances", {})
    names = dict(enumerate(inspection.classes))
    return {
        **{key: statistics.get(key, 0) for key in _COUNTS},
        "classes": {
            names.get(index, f"class {index}"): {
                "pixels": pixels.get(str(index), 0),
                "instances": instances.get(str(index), 0),
            }
            for index in sorted(names.keys() | {int(index) for index in pixels})
        },
        "void_share": (
            statistics["num_void_pixels"] / statistics["num_pixels"] if statistics else None
        ),
        "statistics": statistics,
        "faults": inspection.faults,
        "shards": [
            {"path": report.path, "num_examples": len(report.sound), "sha256": report.sha256}
            for report in inspection.shards
        ],
    }


def spread_pictures(
    inspection: Inspection, num_pictures: int
) -> Iterator[tuple[str, LabelledPicture]]:
    """Yields name and content of pictures without fault, spread evenly over the shards.

    Args:
      inspection: of the shards.
      num_pictures: how many, if there are as many; at least 1.
    """
    sound = [(report.path, number) for report in inspection.shards for number, _ in report.sound]
    places = np.linspace(0, len(sound) - 1, min(num_pictures, len(sound))).round().astype(int)
    numbers_of: dict[str, list[int]] = {}
    for path, number in (sound[place] for place in places):
        numbers_of.setdefault(path, []).append(number)
    for path, numbers in numbers_of.items():
        yield from read_pictures(path, numbers)


def _read_manifests(paths: Sequence[str]) -> tuple[list[str], dict[str, dict]]:
    """Returns what is wrong with the manifests, and those that can be read, by folder."""
    faults, manifests = [], {}
    for directory in dict.fromkeys(os.path.dirname(path) for path in paths):
        try:
            manifests[directory] = shards.read_manifest(directory)
        except ValueError as error:
            faults.append(str(error))
    return faults, manifests


def _common_classes(manifests: Mapping[str, dict]) -> tuple[str, ...]:
    classes = {directory: tuple(manifest["classes"]) for directory, manifest in manifests.items()}
    if len(set(classes.values())) > 1:
        raise ValueError(f"folders of different classes must be inspected one by one: {classes}")
    return next(iter(classes.values()), ())


def _repeated_names(reports: Sequence[ShardReport]) -> list[str]:
    first: dict[tuple[str, str, str], str] = {}
    faults = []
    for report in reports:
        directory, split = os.path.dirname(report.path), shards.split_name(report.path)
        for number, name in report.sound:
            place = f"{report.path}: record {number}"
            earlier = first.setdefault((directory, split, name), place)
            if earlier != place:
                faults.append(f"{place} ({name}): it has the name of {earlier}")
    return faults


def _differences(
    directory: str, manifest: Mapping[str, dict], reports: Mapping[str, ShardReport]
) -> list[str]:
    """Returns what a folder's manifest and its shards, by path, do not agree on."""
    differences, unlisted = [], set(reports)
    for split, entry in manifest["splits"].items():
        paths = [os.path.join(directory, shard["name"]) for shard in entry["shards"]]
        given = set(paths) & set(reports)
        unlisted -= given
        found = [
            difference
            for path, shard in zip(paths, entry["shards"], strict=True)
            if path in given
            for difference in _different_shard(reports[path], shard)
        ]
        is_whole = len(given) == len(paths) and not any(reports[path].faults for path in paths)
        if is_whole and not found:  # Else the statistics differ for a reason already given.
            statistics = merge_statistics(reports[path].statistics for path in paths)
            found = [
                f"{os.path.join(directory, 'manifest.json')}: split {split}: {difference}"
                for difference in _different_statistics(entry, statistics)
            ]
        differences += found
    return differences + [
        f"{path}: the manifest does not list it; write the split again" for path in sorted(unlisted)
    ]


def _different_shard(report: ShardReport, listed: Mapping[str, object]) -> Iterator[str]:
    if report.num_records != listed["num_examples"]:
        yield (
            f"{report.path}: {report.num_records} records can be read, the manifest lists "
            f"{listed['num_examples']}"
        )
    if report.sha256 != listed["sha256"]:
        yield f"{report.path}: its SHA-256 is not the one in the manifest"


def _different_statistics(
    entry: Mapping[str, object], statistics: Mapping[str, object]
) -> Iterator[str]:
    listed = entry.get("statistics", {})
    pairs = {key: (entry.get(key), statistics.get(key, 0)) for key in _COUNTS}
    pairs |= {
        f"statistics: {key}": (listed.get(key), statistics.get(key))
        for key in sorted(listed.keys() | statistics.keys())
    }
    for key, (stated, found) in pairs.items():
        if stated != found:
            yield f"{key} is {stated} there, {found} in the shards"
