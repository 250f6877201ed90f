"""TFRecord shards and the manifest beside them: writing, listing, counting, and finding damage.

A split is `{split}-00000-of-00004.tfrecord` and so on; example k lies in shard k modulo the number
of shards. `manifest.json` is written last, so what it lists was complete at that time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from data_pipeline import schema

_MANIFEST = "manifest.json"
_SHARD_NAME = re.compile(r"(?P<set>.*)-(?P<index>\d{5})-of-(?P<num>\d{5})\.tfrecord")


def write_shards(
    examples: Iterable[bytes],
    output_dir: str,
    split: str,
    num_shards: int,
    metadata: Mapping[str, object],
    *,
    classes: Sequence[str] = (),
) -> dict:
    """Writes one split and enters it into the manifest; equal input gives equal bytes.

    Other splits of the folder stay; a split of the same name is replaced. Until the new shards are
    complete the old ones stay as they are.

    Args:
      examples: records of `schema.encode_example`, at least `num_shards` of them; read once.
      output_dir: folder, made if absent.
      split: name of the split: letters, digits and underscores.
      num_shards: number of files, in [1, 99999].
      metadata: what else is worth knowing about the split, as JSON values.
      classes: class names, index = semantic id; the same for all splits of a folder.

    Returns:
      The manifest as written.

    Raises:
      ValueError: an argument is out of its range, there are fewer examples than shards, an example
        is no record of this schema, or the folder has an unreadable manifest or splits with other
        classes.
      TypeError: `metadata` cannot be written as JSON.
    """
    if not re.fullmatch(r"\w+", split):
        raise ValueError(f"split must consist of letters, digits and underscores, got {split!r}.")
    if not 1 <= num_shards <= 99999:
        raise ValueError(f"num_shards must lie in [1, 99999], got {num_shards}.")
    json.dumps(metadata)  # Fails now rather than after the last example.
    tf.io.gfile.makedirs(output_dir)
    manifest = _manifest_without(output_dir, split, list(classes))
    names = [f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord" for index in range(num_shards)]
    # A leading dot and another ending, so that no pattern for shards finds unfinished ones.
    unfinished = [os.path.join(output_dir, f".{name}.unfinished") for name in names]
    try:
        entry = _write_records(examples, unfinished)
        for shard, name, path in zip(entry["shards"], names, unfinished, strict=True):
            shard.update(name=name, sha256=_sha256(path))
        # From here on old shards disappear, so the manifest must not list them any more.
        _write_manifest(output_dir, manifest)
        for path in tf.io.gfile.glob(os.path.join(output_dir, f"{split}-?????-of-?????.tfrecord")):
            tf.io.gfile.remove(path)
        for name, path in zip(names, unfinished, strict=True):
            tf.io.gfile.rename(path, os.path.join(output_dir, name))
    finally:
        for path in filter(tf.io.gfile.exists, unfinished):
            tf.io.gfile.remove(path)
    manifest["splits"][split] = entry | {"metadata": dict(metadata)}
    _write_manifest(output_dir, manifest)
    return manifest


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
      `name`, `num_examples`, `sha256`) and `metadata`.

    Raises:
      ValueError: there is none, it is no manifest, or it is of another schema version.
    """
    path = os.path.join(directory, _MANIFEST)
    if not tf.io.gfile.exists(path):
        raise ValueError(
            f"{path} is missing: the shards are incomplete or of another program; write them again."
        )
    with tf.io.gfile.GFile(path) as file:
        try:
            manifest = json.loads(file.read())
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}: no JSON ({error}); remove it and write the shards again."
            ) from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != schema.SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version must be {schema.SCHEMA_VERSION}, got {version}; "
            "remove it and write the shards again."
        )
    return manifest


def count_examples(shards: Sequence[str]) -> int:
    """Returns the number of examples, from the manifest beside a shard or else by reading it.

    Args:
      shards: paths.

    Returns:
      The total over all shards.

    Raises:
      ValueError: a shard that no manifest lists is damaged (named), or a manifest is of another
        version.
    """
    total = 0
    for path in shards:
        listed = _listed_examples(path)
        if listed is None:
            listed, why = _scan(path)
            if why:
                raise ValueError(f"{path}: record {listed}: {why}")
        total += listed
    return total


def split_name(pattern: str) -> str:
    """Returns the name of the split that a glob of shards is about; "eval" where it names none."""
    return re.sub(r"\W", "", os.path.basename(pattern).split("-")[0]) or "eval"


def most_instances(shards: Sequence[str]) -> int | None:
    """Returns the most instances a picture of the shards' splits has, None if no manifest says."""
    most = None
    for directory in sorted({os.path.dirname(path) for path in shards}):
        if not tf.io.gfile.exists(os.path.join(directory, _MANIFEST)):
            continue
        names = {os.path.basename(path) for path in shards}
        for split in read_manifest(directory)["splits"].values():
            if names & {shard["name"] for shard in split["shards"]}:
                most = max(most or 0, split["max_instances"])
    return most


def find_damage(shards: Sequence[str]) -> str | None:
    """Returns "path: record 17: why" for the first damaged shard, None if all are whole.

    Reads every byte. A shard cut off between two records looks whole; it is found where a manifest
    beside it lists its number of examples.

    Args:
      shards: paths.

    Returns:
      One line, records counted from 0; or None.
    """
    for path in shards:
        num_read, why = _scan(path)
        listed = _listed_examples(path)
        if why is None and listed is not None and listed != num_read:
            why = f"the file ends here, the manifest lists {listed} records"
        if why:
            return f"{path}: record {num_read}: {why}"
    return None


def _write_records(examples: Iterable[bytes], paths: Sequence[str]) -> dict:
    """Returns the manifest entry of the files just written round-robin."""
    counts = []
    writers = [tf.io.TFRecordWriter(path) for path in paths]
    try:
        for index, example in enumerate(examples):
            counts.append(schema.num_instances(example))
            writers[index % len(paths)].write(example)
    finally:
        for writer in writers:
            writer.close()
    if len(counts) < len(paths):
        raise ValueError(
            f"{len(paths)} shards need as many examples, got {len(counts)}; ask for fewer shards."
        )
    return {
        "num_examples": len(counts),
        "num_instances": sum(counts),
        "max_instances": max(counts),
        "shards": [
            {"num_examples": len(counts[index :: len(paths)])} for index in range(len(paths))
        ],
    }


def _manifest_without(directory: str, split: str, classes: list[str]) -> dict:
    """Returns the folder's manifest (a new one if it has none) without an entry for `split`."""
    splits = {}
    if tf.io.gfile.exists(os.path.join(directory, _MANIFEST)):
        manifest = read_manifest(directory)
        splits = {name: entry for name, entry in manifest["splits"].items() if name != split}
        if splits and manifest["classes"] != classes:
            raise ValueError(
                f"{directory}: its splits {sorted(splits)} have the classes {manifest['classes']}, "
                f"not {classes}; choose another folder."
            )
    return {"schema_version": schema.SCHEMA_VERSION, "classes": classes, "splits": splits}


def _write_manifest(directory: str, manifest: dict) -> None:
    path = os.path.join(directory, _MANIFEST)
    with tf.io.gfile.GFile(path + ".unfinished", "w") as file:
        file.write(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    tf.io.gfile.rename(path + ".unfinished", path, overwrite=True)


def _listed_examples(path: str) -> int | None:
    """Returns how many examples the manifest lists for a shard, None if it lists it not."""
    directory, name = os.path.split(path)
    if not tf.io.gfile.exists(os.path.join(directory, _MANIFEST)):
        return None
    splits = read_manifest(directory)["splits"].values()
    return next(
        (s["num_examples"] for split in splits for s in split["shards"] if s["name"] == name), None
    )


def _scan(path: str) -> tuple[int, str | None]:
    """Returns the number of whole records before the end or the first damage, and that damage."""
    num_read = 0
    try:
        for _ in tf.data.TFRecordDataset(path):
            num_read += 1
    except tf.errors.OpError as error:
        return num_read, error.message
    return num_read, None


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
