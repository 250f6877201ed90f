"""TFRecord shards and the manifest beside them: listing, counting, and finding damage.

A split is `{split}-00000-of-00004.tfrecord` and so on; source k lies in shard k modulo the number
of shards. `manifest.json` is written last, so what it lists was complete at that time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence

import tensorflow as tf

from data_pipeline import schema

_MANIFEST = "manifest.json"
# What is read of a split in the manifest and of each of its shards, and its type.
_SPLIT = {"num_examples": int, "max_instances": int, "shards": list, "statistics": dict}
_SHARD = {"name": str, "num_examples": int, "sha256": str}
_MOST = 2**63
_SHARD_NAME = re.compile(r"(?P<set>.*)-(?P<index>\d{5})-of-(?P<num>\d{5})\.tfrecord")


def list_shards(pattern: str) -> list[str]:
    """Returns the sorted paths of all shards that match.

    A part of a set may be chosen; that its other files exist is still required, because a missing
    one means a copy that was cut off.

    Args:
      pattern: a glob, or several separated by commas, such as "/data/train-*".

    Returns:
      Paths, each once.

    Raises:
      ValueError: a glob matches nothing, a shard of an "-of-N" set is missing, or one name stands
        for two sets of different N.
    """
    paths: set[str] = set()
    for glob in pattern.split(","):
        found = tf.io.gfile.glob(glob.strip()) if glob.strip() else []
        if not found:
            raise ValueError(
                f"no shard matches {glob.strip()!r}; check the folder and the split's name "
                "(a pattern looks like /data/train-*), or write the shards first."
            )
        paths.update(found)
    sets: dict[str, set[str]] = {}
    for path in paths:
        match = _SHARD_NAME.fullmatch(path)
        if match:
            sets.setdefault(match["set"], set()).add(match["num"])
    for prefix, nums in sorted(sets.items()):
        if len(nums) > 1:
            raise ValueError(
                f"{prefix}-*: shards of sets of {sorted(map(int, nums))} files are mixed; "
                "remove the stale set."
            )
        num = nums.pop()
        expected = {f"{prefix}-{index:05d}-of-{num}.tfrecord" for index in range(int(num))}
        missing = sorted(path for path in expected - paths if not tf.io.gfile.exists(path))
        if missing:
            raise ValueError(
                f"{missing[0]} is missing ({len(missing)} of {int(num)}); "
                "copy or write the split again."
            )
    return sorted(paths)


def read_manifest(directory: str) -> dict:
    """Returns the manifest of a folder of shards.

    Args:
      directory: the folder.

    Returns:
      `schema_version`; `classes`, a list of names; `splits`, a dict from split name to
      `num_examples`, `num_instances` (total), `max_instances` (in one picture), `shards` (a list of
      `name`, `num_examples`, `sha256`), `statistics` (`label_statistics.count_labels`), `skipped`
      (a list of `name`, `files`, `problem`), `notes` (from what is odd to the names of the
      pictures), `metadata` and `fingerprint` (of the sources; the same again, the same shards).

    Raises:
      ValueError: there is none, it is no manifest, or it is of another schema version.
    """
    path = os.path.join(directory, _MANIFEST)
    if not tf.io.gfile.exists(path):
        raise ValueError(
            f"{path} is missing: the shards are incomplete or of another program; write them again."
        )
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            manifest = json.loads(file.read())
        except (ValueError, RecursionError) as error:  # Of letters and of depth, too.
            raise ValueError(
                f"{path}: no JSON ({error}); remove it and write the shards again."
            ) from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != schema.SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version must be {schema.SCHEMA_VERSION}, got {version}; "
            "remove it and write the shards again."
        )
    if fault := _fault_of(manifest):
        raise ValueError(f"{path}: {fault}; remove it and write the shards again.")
    return manifest


def _fault_of(manifest: dict) -> str:
    """Returns what is wrong with the layout of a manifest, "" if nothing."""
    classes, splits = manifest.get("classes"), manifest.get("splits")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return "classes must be a list of names"
    if not isinstance(splits, dict):
        return "splits must be an object"
    for name, split in splits.items():
        if not _has(split, _SPLIT) or not all(_has(shard, _SHARD) for shard in split["shards"]):
            return f"split {name!r} must have {list(_SPLIT)}, each of its shards {list(_SHARD)}"
        if any(os.path.basename(shard["name"]) != shard["name"] for shard in split["shards"]):
            return f"the names of shards of split {name!r} must have no folder"
        sizes = [split["statistics"].get(key, 0) for key in ("max_height", "max_width")]
        if not all(isinstance(size, int) for size in sizes):
            return f"the sizes of split {name!r} must be whole numbers"
    return ""


def _has(entry: object, keys: dict[str, type]) -> bool:
    """Returns whether an entry is an object with values of these types, numbers not below 0."""
    if not isinstance(entry, dict) or not all(isinstance(entry.get(k), keys[k]) for k in keys):
        return False
    return all(0 <= entry[k] < _MOST for k, kind in keys.items() if kind is int)


def write_manifest(directory: str, manifest: dict) -> None:
    """Writes the manifest of a folder of shards, whole or not at all.

    Args:
      directory: an existing folder.
      manifest: as `read_manifest` returns it.
    """
    path = os.path.join(directory, _MANIFEST)
    with tf.io.gfile.GFile(path + ".unfinished", "w") as file:
        file.write(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    tf.io.gfile.rename(path + ".unfinished", path, overwrite=True)


def has_manifest(directory: str) -> bool:
    """Returns whether the folder has a manifest, readable or not."""
    return tf.io.gfile.exists(os.path.join(directory, _MANIFEST))


def count_examples(shards: Sequence[str]) -> list[int]:
    """Returns the number of examples in each shard, from a manifest or else by reading.

    Args:
      shards: paths.

    Returns:
      A number a shard.

    Raises:
      ValueError: a shard that no manifest lists is damaged (named), or a manifest is of another
        version.
    """
    counts = []
    listed = listed_examples(shards)
    for path in shards:
        count, why = (listed[path], None) if path in listed else _scan(path)
        if why:
            raise ValueError(f"{path}: record {count}: {why}")
        counts.append(count)
    return counts


def split_name(pattern: str) -> str:
    """Returns the name of the split that a glob of shards is about; "eval" where it names none."""
    return re.sub(r"\W", "", os.path.basename(pattern).split("-")[0]) or "eval"


def most_instances(shards: Sequence[str]) -> int | None:
    """Returns the most instances a picture of the shards' splits has, None if no manifest says."""
    return max((split["max_instances"] for split in _listed_splits(shards)), default=None)


def largest_size(shards: Sequence[str]) -> tuple[int, int] | None:
    """Returns the largest height and width of the shards' splits in pixels, None if none says."""
    sizes = [split["statistics"] for split in _listed_splits(shards)]
    sizes = [(size["max_height"], size["max_width"]) for size in sizes]
    return tuple(max(sides) for sides in zip(*sizes, strict=True)) if sizes else None


def _listed_splits(shards: Sequence[str]) -> list[dict]:
    """Returns what manifests beside the shards say of the splits these are of."""
    names = {os.path.basename(path) for path in shards}
    return [
        split
        for directory in sorted({os.path.dirname(path) for path in shards})
        if has_manifest(directory)
        for split in read_manifest(directory)["splits"].values()
        if names & {shard["name"] for shard in split["shards"]}
    ]


def num_classes(shards: Sequence[str]) -> int | None:
    """Returns how many classes the shards have, background included, None if no manifest says.

    2 where instances have no classes: such a record's semantic map is 1 on every instance.
    """
    counts = [
        len(read_manifest(directory)["classes"])
        for directory in sorted({os.path.dirname(path) for path in shards})
        if has_manifest(directory)
    ]
    return max(2, *counts) if counts else None


def describe_sources(shards: Sequence[str]) -> list[dict]:
    """Returns what the manifests say of where shards come from, a dict a folder, ready for JSON.

    Args:
      shards: paths. Folders without a manifest are left out.

    Returns:
      Dicts of `folder`, `manifest_sha256` (of the file, which lists that of every shard) and
      `classes`, a list of names, empty where there are none.
    """
    sources = []
    for directory in sorted({os.path.dirname(path) for path in shards}):
        if has_manifest(directory):
            with tf.io.gfile.GFile(os.path.join(directory, _MANIFEST), "rb") as file:
                checksum = hashlib.sha256(file.read()).hexdigest()
            classes = read_manifest(directory)["classes"]
            source = {"folder": directory, "manifest_sha256": checksum, "classes": classes}
            sources.append(source)
    return sources


def find_damage(shards: Sequence[str]) -> str | None:
    """Returns "path: record 17: why" for the first damaged shard, None if all are whole.

    Reads every byte. A shard cut off between two records looks whole; it is found where a manifest
    beside it lists its number of examples.

    Args:
      shards: paths.

    Returns:
      One line, records counted from 0; or None.
    """
    listed = listed_examples(shards)
    for path in shards:
        num_read, why = _scan(path)
        if why is None and listed.get(path, num_read) != num_read:
            why = f"the file ends here, the manifest lists {listed[path]} records"
        if why:
            return f"{path}: record {num_read}: {why}"
    return None


def listed_examples(shards: Sequence[str]) -> dict[str, int]:
    """Returns how many examples the manifests beside the shards list for them, by path."""
    listed = {}
    for directory in {os.path.dirname(path) for path in shards}:
        if has_manifest(directory):
            for split in read_manifest(directory)["splits"].values():
                for shard in split["shards"]:
                    listed[os.path.join(directory, shard["name"])] = shard["num_examples"]
    return listed


def _scan(path: str) -> tuple[int, str | None]:
    """Returns the number of whole records before the end or the first damage, and that damage."""
    num_read = 0
    try:
        for _ in tf.data.TFRecordDataset(path):
            num_read += 1
    except tf.errors.OpError as error:
        return num_read, error.message
    return num_read, None
