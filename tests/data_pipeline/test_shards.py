"""Shards: listed whole or not at all, counted, and damage found by name."""

import hashlib
import json
import os

import numpy as np
import pytest

from data_pipeline import conversion, shards
from data_pipeline.labelled_picture import LabelledPicture, Source


def _picture(source):
    k = source.details
    instance = np.arange(6, dtype=np.int32).reshape(2, 3) % (k + 1)  # ids 0..min(k, 5)
    return LabelledPicture(np.full((2, 3, 3), k, np.uint8), instance)


def _write(folder, count=7, split="train", num_shards=3):
    sources = [Source(f"picture_{k}", details=k) for k in range(count)]
    return conversion.write_split(_picture, sources, str(folder), split, num_shards=num_shards)


def _record_offsets(path):
    """Start of each record: 8 bytes length, 4 bytes checksum, the data, 4 bytes checksum."""
    content, offsets, position = path.read_bytes(), [], 0
    while position < len(content):
        offsets.append(position)
        position += 8 + 4 + int.from_bytes(content[position : position + 8], "little") + 4
    return offsets


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
    assert shards.count_examples(paths) == [3, 2, 2]
    (tmp_path / "manifest.json").unlink()
    assert shards.count_examples(paths) == [3, 2, 2]
    assert shards.count_examples(paths[1:]) == [2, 2]


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


@pytest.mark.parametrize(
    "classes, expected", [((), 2), (("background", "cell"), 2), (("background", "a", "b"), 3)]
)
def test_num_classes_is_what_the_manifest_names_and_2_without_classes(tmp_path, classes, expected):
    sources = [Source("a", details=1)]
    conversion.write_split(_picture, sources, str(tmp_path), "train", classes=classes)
    assert shards.num_classes(shards.list_shards(f"{tmp_path}/train-*")) == expected


def test_num_classes_without_a_manifest_is_unknown(tmp_path):
    _write(tmp_path)
    os.remove(tmp_path / "manifest.json")
    assert shards.num_classes(shards.list_shards(f"{tmp_path}/train-*")) is None


def test_describe_sources_names_folders_checksums_and_classes(tmp_path):
    for name, classes in (("b", ["background", "cat"]), ("a", [])):
        sources = [Source("picture", details=1)]
        conversion.write_split(_picture, sources, str(tmp_path / name), "train", classes=classes)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "train.tfrecord").write_bytes(b"")
    found = shards.describe_sources(shards.list_shards(f"{tmp_path}/*/train*"))
    assert [(x["folder"], x["classes"]) for x in found] == [
        (str(tmp_path / "a"), []),
        (str(tmp_path / "b"), ["background", "cat"]),
    ]
    manifest = (tmp_path / "b" / "manifest.json").read_bytes()
    assert found[1]["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m.update(classes={}), "classes must be a list of names"),
        (lambda m: m.update(splits=[]), "splits must be an object"),
        (lambda m: m["splits"].update(train=5), "split 'train' must have"),
        (lambda m: m["splits"]["train"].update(shards=[5]), "split 'train' must have"),
        (lambda m: m["splits"]["train"].update(max_instances="3"), "split 'train' must have"),
        (lambda m: m["splits"]["train"].update(num_examples=-1), "split 'train' must have"),
        (lambda m: m["splits"]["train"].update(num_examples=2**63), "split 'train' must have"),
        (lambda m: m["splits"]["train"]["shards"][0].update(sha256=None), "split 'train' must"),
        (lambda m: m["splits"]["train"]["shards"][0].update(name="../a"), "must have no folder"),
        (lambda m: m["splits"]["train"]["shards"][0].update(name="/etc/a"), "must have no folder"),
        (lambda m: m["splits"]["train"]["statistics"].update(max_width=[]), "whole numbers"),
    ],
)
def test_read_manifest_refuses_another_layout(tmp_path, change, words):
    _write(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=rf"manifest\.json: .*{words}.*write the shards again"):
        shards.read_manifest(str(tmp_path))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000])
def test_read_manifest_names_one_that_is_no_json(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.json: no JSON"):
        shards.read_manifest(str(tmp_path))
