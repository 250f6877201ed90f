"""Shards: equal bytes, a manifest that is never ahead of the files, and damage found by name."""

import hashlib
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import schema, shards

_CLASSES = ("background", "thing")


def _examples(count):
    for index in range(count):
        instance = np.arange(6, dtype=np.int32).reshape(2, 3) % (index + 1)  # ids 0..min(index, 5)
        yield schema.encode_example(
            np.full((2, 3, 3), index, np.uint8), instance, name=f"picture_{index}"
        )


def _write(folder, count=7, split="train", num_shards=3, metadata=None, classes=_CLASSES):
    return shards.write_shards(
        _examples(count), str(folder), split, num_shards, metadata or {}, classes=classes
    )


def _record_offsets(path):
    """Start of each record: 8 bytes length, 4 bytes checksum, the data, 4 bytes checksum."""
    content, offsets, position = path.read_bytes(), [], 0
    while position < len(content):
        offsets.append(position)
        position += 8 + 4 + int.from_bytes(content[position : position + 8], "little") + 4
    return offsets


def test_write_shards_deals_examples_round_robin(tmp_path):
    _write(tmp_path)
    expected = {0: [0, 3, 6], 1: [1, 4], 2: [2, 5]}
    for index, numbers in expected.items():
        records = tf.data.TFRecordDataset(str(tmp_path / f"train-0000{index}-of-00003.tfrecord"))
        names = [schema.parse_example(record)["name"].numpy().decode() for record in records]
        assert names == [f"picture_{number}" for number in numbers]


def test_write_shards_enters_counts_and_checksums_into_the_manifest(tmp_path):
    written = _write(tmp_path, metadata={"source": "test"})
    manifest = shards.read_manifest(str(tmp_path))
    assert manifest == written
    assert manifest["schema_version"] == schema.SCHEMA_VERSION
    assert manifest["classes"] == list(_CLASSES)
    entry = manifest["splits"]["train"]
    # Example k holds ids 1..min(k, 5): 0 + 1 + 2 + 3 + 4 + 5 + 5.
    assert (entry["num_examples"], entry["num_instances"], entry["max_instances"]) == (7, 20, 5)
    assert entry["metadata"] == {"source": "test"}
    assert [shard["num_examples"] for shard in entry["shards"]] == [3, 2, 2]
    for shard in entry["shards"]:
        assert (
            shard["sha256"] == hashlib.sha256((tmp_path / shard["name"]).read_bytes()).hexdigest()
        )
    assert len(os.listdir(tmp_path)) == 4  # three shards, the manifest, nothing unfinished


def test_write_shards_gives_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        _write(tmp_path / folder)
    assert set(os.listdir(tmp_path / "a")) == set(os.listdir(tmp_path / "b"))
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_write_shards_keeps_other_splits_and_replaces_its_own(tmp_path):
    _write(tmp_path, 4, "test", 2)
    _write(tmp_path, 7, "train", 3)
    manifest = _write(tmp_path, 5, "train", 2)
    assert {name: entry["num_examples"] for name, entry in manifest["splits"].items()} == {
        "test": 4,
        "train": 5,
    }
    assert shards.count_examples(shards.list_shards(str(tmp_path / "train-*"))) == 5
    assert shards.count_examples(shards.list_shards(str(tmp_path / "test-*"))) == 4
    assert len(os.listdir(tmp_path)) == 2 + 2 + 1


def test_write_shards_leaves_the_old_split_if_the_examples_fail(tmp_path):
    _write(tmp_path, 7)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def failing():
        yield from _examples(5)
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        shards.write_shards(failing(), str(tmp_path), "train", 2, {}, classes=_CLASSES)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_write_shards_refuses_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="num_shards must lie in"):
        _write(tmp_path, num_shards=0)
    with pytest.raises(ValueError, match="split must consist of"):
        _write(tmp_path, split="a/b")
    with pytest.raises(ValueError, match="3 shards need as many examples, got 2"):
        _write(tmp_path, count=2)
    with pytest.raises(ValueError, match="schema version"):
        shards.write_shards([b""], str(tmp_path), "train", 1, {})
    with pytest.raises(TypeError):
        shards.write_shards(_examples(1), str(tmp_path), "train", 1, {"array": np.zeros(1)})
    assert not [name for name in os.listdir(tmp_path) if "train" in name]
    _write(tmp_path)
    with pytest.raises(ValueError, match="have the classes"):
        _write(tmp_path, split="test", classes=("background", "cat"))


def test_list_shards_takes_several_globs_and_sorts(tmp_path):
    _write(tmp_path, 4, "train", 2)
    _write(tmp_path, 4, "extra", 2)
    found = shards.list_shards(f"{tmp_path}/train-*, {tmp_path}/extra-*,{tmp_path}/train-00000*")
    assert [os.path.basename(path) for path in found] == [
        "extra-00000-of-00002.tfrecord",
        "extra-00001-of-00002.tfrecord",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]


def test_list_shards_takes_a_part_of_a_complete_set(tmp_path):
    _write(tmp_path)
    assert len(shards.list_shards(str(tmp_path / "train-00001-of-00003.tfrecord"))) == 1


def test_list_shards_names_a_pattern_without_files(tmp_path):
    _write(tmp_path)
    for pattern in (f"{tmp_path}/train-*,{tmp_path}/val-*", f"{tmp_path}/train-*,"):
        with pytest.raises(ValueError, match="no shard matches"):
            shards.list_shards(pattern)


def test_list_shards_names_a_missing_shard(tmp_path):
    _write(tmp_path)
    (tmp_path / "train-00001-of-00003.tfrecord").unlink()
    with pytest.raises(ValueError, match=r"train-00001-of-00003.tfrecord is missing \(1 of 3\)"):
        shards.list_shards(str(tmp_path / "train-*"))


def test_list_shards_refuses_two_sets_of_one_name(tmp_path):
    _write(tmp_path, num_shards=3)
    for index in range(2):
        (tmp_path / f"train-0000{index}-of-00002.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match=r"sets of \[2, 3\] files are mixed"):
        shards.list_shards(str(tmp_path / "train-*"))


def test_count_examples_reads_shards_without_a_manifest(tmp_path):
    _write(tmp_path)
    paths = shards.list_shards(str(tmp_path / "train-*"))
    assert shards.count_examples(paths) == 7
    (tmp_path / "manifest.json").unlink()
    assert shards.count_examples(paths) == 7
    assert shards.count_examples(paths[1:]) == 4


def test_count_examples_names_a_damaged_shard(tmp_path):
    _write(tmp_path)
    (tmp_path / "manifest.json").unlink()
    path = tmp_path / "train-00001-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train-00001-of-00003\.tfrecord: record 1: "):
        shards.count_examples([str(path)])


def test_read_manifest_refuses_what_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        shards.read_manifest(str(tmp_path))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        shards.read_manifest(str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(ValueError, match="schema_version must be 1, got 2"):
        shards.read_manifest(str(tmp_path))


@pytest.mark.parametrize(
    "offset_in_record", [3, 9, 40, -1]
)  # length, its checksum, data, its checksum
def test_find_damage_names_the_record_of_a_flipped_byte(tmp_path, offset_in_record):
    _write(tmp_path)
    paths = shards.list_shards(str(tmp_path / "train-*"))
    assert shards.find_damage(paths) is None
    path = tmp_path / "train-00000-of-00003.tfrecord"
    start = _record_offsets(path)[1 if offset_in_record >= 0 else 2]  # -1: the byte before record 2
    content = bytearray(path.read_bytes())
    content[start + offset_in_record] ^= 0x10
    path.write_bytes(content)
    assert shards.find_damage(paths[::-1]).startswith(f"{path}: record 1: ")


def test_find_damage_names_a_truncated_shard(tmp_path):
    _write(tmp_path)
    path = tmp_path / "train-00002-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-5])
    assert shards.find_damage([str(path)]).startswith(f"{path}: record 1: ")


@pytest.mark.parametrize("num_left", [0, 2])
def test_find_damage_names_a_shard_cut_between_records(tmp_path, num_left):
    _write(tmp_path)
    path = tmp_path / "train-00000-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[: _record_offsets(path)[num_left]])
    assert shards.find_damage([str(path)]) == (
        f"{path}: record {num_left}: the file ends here, the manifest lists 3 records"
    )


def test_find_damage_names_a_missing_shard(tmp_path):
    assert shards.find_damage([str(tmp_path / "gone.tfrecord")]).startswith(
        f"{tmp_path}/gone.tfrecord: record 0: "
    )
