"""Every kind of damage is found and named, and what is sound is counted as by hand."""

import functools
import json
import os
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion, inspection, schema, shards
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.shard_report import report_shard

_CLASSES = ("background", "cat", "dog")


def _picture(k, has_classes=True, num_annotators=0):
    """2×3 pixels: void, background, instance 1 (a cat, 2 px) and 2 (a dog, k px), background."""
    instance = np.array([[-1, 0, 1], [1, 2 if k > 0 else 0, 2 if k > 1 else 0]], np.int32)
    image = np.full((2, 3, 3), k, np.uint8)
    annotators = {}
    if num_annotators:
        annotators["annotator_instance"] = np.stack([np.maximum(instance, 0)] * num_annotators)
        annotators["annotator_boundary"] = np.stack([instance == 1] * num_annotators)
    return LabelledPicture(image, instance, instance if has_classes else None, **annotators)


def _read(source, **options):
    return _picture(source.details, **options)


def _write(folder, count=7, split="train", num_shards=3, classes=_CLASSES, **options):
    sources = [Source(f"p_{k}", details=k % 3) for k in range(count)]
    conversion.write_split(
        functools.partial(_read, **options),
        *(sources, str(folder), split),
        num_shards=num_shards,
        classes=classes,
    )


def _inspect(folder, pattern="*.tfrecord"):
    return inspection.inspect_shards(shards.list_shards(f"{folder}/{pattern}"))


def _shard(folder, index=0):
    return folder / f"train-0000{index}-of-00003.tfrecord"


def _records(path):
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path))]


def _rewrite(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def _changed(record, change):
    example = tf.train.Example.FromString(record)
    change(example.features.feature)
    return example.SerializeToString()


def test_inspect_shards_counts_a_set_made_by_hand(tmp_path, capfd):
    _write(tmp_path, count=3)  # Pictures 0, 1, 2.
    found = _inspect(tmp_path)
    assert found.faults == []
    assert "inspect: 100%" in capfd.readouterr().err
    summary = inspection.summarize(found)
    assert set(summary) == {
        *("num_examples", "num_instances", "max_instances", "classes", "void_share"),
        *("statistics", "faults", "shards"),
    }
    assert summary == json.loads(json.dumps(summary))
    # Instance 1 in all three, instance 2 in pictures 1 and 2.
    assert [summary[key] for key in ("num_examples", "num_instances", "max_instances")] == [3, 5, 2]
    # Background: 1 + 2 pixels in picture 0, 1 + 1 in picture 1, 1 in picture 2.
    assert summary["classes"] == {
        "background": {"pixels": 3 + 2 + 1, "instances": 0},
        "cat": {"pixels": 3 * 2, "instances": 3},
        "dog": {"pixels": 0 + 1 + 2, "instances": 2},
    }
    assert summary["void_share"] == 3 / 18
    assert found.notes == {"an instance of one pixel": ["p_1"]}
    manifest = shards.read_manifest(str(tmp_path))["splits"]["train"]
    assert summary["statistics"] == manifest["statistics"]
    assert summary["shards"] == [
        {
            "path": str(tmp_path / shard["name"]),
            "num_examples": shard["num_examples"],
            "sha256": shard["sha256"],
        }
        for shard in manifest["shards"]
    ]


@pytest.mark.parametrize("options", [{"has_classes": False}, {"num_annotators": 2}])
def test_inspect_shards_finds_no_fault_in_other_kinds_of_records(tmp_path, options):
    _write(tmp_path, classes=() if "has_classes" in options else _CLASSES, **options)
    _write(tmp_path, 4, "val", 1, classes=() if "has_classes" in options else _CLASSES, **options)
    found = _inspect(tmp_path)
    assert found.faults == []
    summary = inspection.summarize(found)
    assert summary["num_examples"] == 7 + 4
    assert len(summary["classes"]) == (0 if "has_classes" in options else 3)


def test_inspect_shards_keeps_the_order_of_many_records(tmp_path):
    _write(tmp_path, count=50, num_shards=1)
    found = _inspect(tmp_path)
    assert found.faults == []
    assert found.shards[0].sound == [(k, f"p_{k}") for k in range(50)]


def test_summarize_names_classes_without_a_name_by_their_index(tmp_path):
    _write(tmp_path, count=3, classes=())
    assert list(inspection.summarize(_inspect(tmp_path))["classes"]) == [
        *("class 0", "class 1", "class 2")
    ]


@pytest.mark.parametrize("offset", [3, 9, 40, -1])  # Length, its checksum, data, its checksum.
def test_inspect_shards_names_a_flipped_byte_and_goes_on_with_the_next_shard(tmp_path, offset):
    _write(tmp_path)
    lengths = [8 + 4 + len(record) + 4 for record in _records(_shard(tmp_path))]
    content = bytearray(_shard(tmp_path).read_bytes())
    content[lengths[0] + (offset if offset >= 0 else lengths[1] - 1)] ^= 0x10
    _shard(tmp_path).write_bytes(content)
    found = _inspect(tmp_path)
    path = str(_shard(tmp_path))
    assert found.faults[0].startswith(f"{path}: record 1: ")
    assert found.faults[0].endswith("; what follows in this file cannot be read")
    assert found.faults[1:] == [
        f"{path}: 1 records can be read, the manifest lists 3",
        f"{path}: its SHA-256 is not the one in the manifest",
    ]
    assert inspection.summarize(found)["num_examples"] == 1 + 2 + 2


def test_inspect_shards_names_a_truncated_file(tmp_path):
    _write(tmp_path)
    _shard(tmp_path, 2).write_bytes(_shard(tmp_path, 2).read_bytes()[:-5])
    faults = _inspect(tmp_path).faults
    assert faults[0].startswith(f"{_shard(tmp_path, 2)}: record 1: ")
    assert "1 records can be read, the manifest lists 2" in faults[1]


@pytest.mark.parametrize("num_left", [0, 2])
def test_inspect_shards_names_a_file_cut_between_records(tmp_path, num_left):
    _write(tmp_path)
    _rewrite(_shard(tmp_path), _records(_shard(tmp_path))[:num_left])
    assert _inspect(tmp_path).faults == [
        f"{_shard(tmp_path)}: {num_left} records can be read, the manifest lists 3",
        f"{_shard(tmp_path)}: its SHA-256 is not the one in the manifest",
    ]


def test_inspect_shards_is_not_asked_about_a_set_without_a_shard(tmp_path):
    _write(tmp_path)
    _shard(tmp_path, 1).unlink()
    with pytest.raises(ValueError, match=r"train-00001-of-00003\.tfrecord is missing \(1 of 3\)"):
        _inspect(tmp_path)


def _set_version(fields):
    fields["schema/version"].int64_list.value[0] = 2


def _drop_instances(fields):
    del fields["instance/encoded"]


def _spoil_instances(fields):
    fields["instance/encoded"].bytes_list.value[0] = b"\x89PNG"


def _relabel(fields):
    semantic = np.array([[255, 0, 1], [2, 2, 2]], np.uint8)[..., np.newaxis]
    fields["semantic/encoded"].bytes_list.value[0] = tf.io.encode_png(semantic).numpy()


def _claim_annotators(fields):
    fields["annotator/count"].int64_list.value[0] = 4


@pytest.mark.parametrize(
    "change, reason",
    [
        (_set_version, "record p_3 has schema version 2 .* reads version 1: write the shards anew"),
        (_drop_instances, r".*instance/encoded .* is required but could not be found"),
        (_spoil_instances, ".*PNG"),
        (_relabel, "1 instances have pixels of several classes .* first has the classes"),
        (_claim_annotators, r"the annotators' maps have the size \(1, 3\), not \(2, 3\)"),
    ],
)
def test_inspect_shards_names_a_bad_record_and_reads_on(tmp_path, change, reason):
    _write(tmp_path, num_annotators=2)
    records = _records(_shard(tmp_path))
    _rewrite(_shard(tmp_path), [records[0], _changed(records[1], change), records[2]])
    found = _inspect(tmp_path)
    fault, checksum = found.faults
    head = f"{_shard(tmp_path)}: record 1 (p_3): "
    assert fault.startswith(head)
    with pytest.raises(ValueError, match=f"^{reason}"):
        raise ValueError(fault.removeprefix(head))
    for word in ("{{", "node", "Iterator", "Op:"):
        assert word not in fault
    assert checksum == f"{_shard(tmp_path)}: its SHA-256 is not the one in the manifest"
    assert [number for number, _ in found.shards[0].sound] == [0, 2]


def test_inspect_shards_shortens_the_words_about_what_is_no_record(tmp_path):
    _write(tmp_path)
    _rewrite(_shard(tmp_path), [b"garbage " * 600, *_records(_shard(tmp_path))[1:]])
    fault = _inspect(tmp_path).faults[0]
    assert fault.startswith(f"{_shard(tmp_path)}: record 0 (no name): ")
    assert 300 < len(fault) < 300 + len(str(_shard(tmp_path))) + 50


def test_inspect_shards_names_a_class_without_a_name(tmp_path):
    _write(tmp_path)
    manifest = shards.read_manifest(str(tmp_path))
    manifest["classes"] = ["background", "cat"]
    shards.write_manifest(str(tmp_path), manifest)
    faults = _inspect(tmp_path).faults
    assert len(faults) == 4  # p_1 and p_4 of shard 1, p_2 and p_5 of shard 2
    assert "record 1 (p_4): class 2 has no name" in faults[1]


def test_inspect_shards_names_pictures_of_one_name(tmp_path):
    _write(tmp_path)
    _write(tmp_path, 2, "val", 1)  # In another split a name may occur again.
    assert _inspect(tmp_path).faults == []
    first, second = _shard(tmp_path, 0), _shard(tmp_path, 1)
    _rewrite(second, [_records(first)[2], *_records(second)[1:]])
    assert _inspect(tmp_path).faults[0] == (
        f"{second}: record 0 (p_6): it has the name of {first}: record 2"
    )


def test_inspect_shards_compares_the_statistics_with_the_manifest(tmp_path):
    _write(tmp_path)
    manifest = shards.read_manifest(str(tmp_path))
    entry = manifest["splits"]["train"]
    entry["max_instances"] += 1
    entry["statistics"]["class_pixels"]["2"] += 5
    del entry["statistics"]["min_height"]
    shards.write_manifest(str(tmp_path), manifest)
    # Pictures 0, 1, 2, 0, 1, 2, 0 have 0 + 1 + 2 + 0 + 1 + 2 + 0 = 6 pixels of class 2.
    where = f"{tmp_path}/manifest.json: split train: "
    faults = _inspect(tmp_path).faults
    assert faults[0] == f"{where}max_instances is 3 there, 2 in the shards"
    assert faults[1].startswith(f"{where}statistics: class_pixels is ")
    assert "'2': 11} there" in faults[1] and "'2': 6} in the shards" in faults[1]
    assert faults[2] == f"{where}statistics: min_height is None there, 2 in the shards"
    assert len(faults) == 3
    # Of a part of the split nothing can be said.
    assert _inspect(tmp_path, "train-00001-*").faults == []


def test_inspect_shards_names_what_is_not_in_the_manifest(tmp_path):
    _write(tmp_path)
    _write(tmp_path, 2, "val", 1)
    manifest = shards.read_manifest(str(tmp_path))
    del manifest["splits"]["val"]
    shards.write_manifest(str(tmp_path), manifest)
    assert _inspect(tmp_path).faults == [
        f"{tmp_path}/val-00000-of-00001.tfrecord: the manifest does not list it; "
        "write the split again"
    ]
    os.remove(tmp_path / "manifest.json")
    found = _inspect(tmp_path)
    assert len(found.faults) == 1 and "manifest.json is missing" in found.faults[0]
    assert found.statistics["num_examples"] == 9


def test_inspect_shards_refuses_folders_of_different_classes(tmp_path):
    _write(tmp_path / "a")
    _write(tmp_path / "b", classes=("background", "cat", "cow"))
    with pytest.raises(ValueError, match=r"must be inspected one by one: .*cow"):
        _inspect(tmp_path, "*/train-*")


def test_report_shard_names_a_file_that_is_none(tmp_path):
    with futures.ThreadPoolExecutor(1) as pool:
        report = report_shard(str(tmp_path / "gone.tfrecord"), 0, pool)
    assert report.faults[0].startswith(f"{tmp_path}/gone.tfrecord: record 0: ")
    assert (report.sha256, report.num_records, report.statistics) == (None, 0, {})
    summary = inspection.summarize(inspection.Inspection([report], (), {}, {}, report.faults))
    assert (summary["num_examples"], summary["void_share"]) == (0, None)


def test_spread_pictures_takes_sound_ones_evenly(tmp_path):
    _write(tmp_path, num_annotators=2)
    records = _records(_shard(tmp_path, 1))
    _rewrite(_shard(tmp_path, 1), [_changed(records[0], _set_version), *records[1:]])
    found = _inspect(tmp_path)
    # Sound, in the order of the files: p_0 p_3 p_6, p_4, p_2 p_5. Of 0..5 the places 0, 2.5, 5.
    names = [name for name, _ in inspection.spread_pictures(found, 3)]
    assert names == ["p_0", "p_6", "p_5"]
    assert [name for name, _ in inspection.spread_pictures(found, 3)] == names
    pictures = dict(inspection.spread_pictures(found, 100))
    assert list(pictures) == ["p_0", "p_3", "p_6", "p_4", "p_2", "p_5"]
    for got, expected in zip(pictures["p_5"], _picture(2, num_annotators=2), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert pictures["p_5"].annotator_boundary.dtype == bool


def test_record_contents_says_what_a_record_holds():
    both = {"has_semantic": True, "has_annotators": True}
    for picture, expected in (
        (_picture(1, num_annotators=2), both),
        (_picture(1, has_classes=False), {"has_semantic": False, "has_annotators": False}),
        (
            _picture(1)._replace(annotator_boundary=np.zeros((1, 2, 3), bool)),
            {**both, "has_annotators": False},
        ),
    ):
        contents = schema.record_contents(schema.encode_example(picture, "name"))
        assert {key: value.numpy() for key, value in contents.items()} == {
            "name": b"name",
            **expected,
        }
    with pytest.raises(tf.errors.InvalidArgumentError):
        schema.record_contents(b"garbage")
