"""A split is whole or not there: equal bytes, bad pictures named, work that survives an end."""

import hashlib
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion, schema, shards
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.local_runner import run_locally
from data_pipeline.shard_writing import write_shard

_CLASSES = ("background", "thing")


def _read(source):
    """Picture k has ids 1..min(k, 5); a picture named bad cannot be read."""
    if source.name.startswith("bad"):
        raise ValueError(f"{source.name}.png is spoilt")
    k = source.details
    instance = np.arange(6, dtype=np.int32).reshape(2, 3) % (k + 1)
    return LabelledPicture(np.full((2, 3, 3), k, np.uint8), instance)


def _sources(count, bad=()):
    return [Source(f"bad_{k}" if k in bad else f"picture_{k}", details=k) for k in range(count)]


def _write(folder, count=7, split="train", num_shards=3, bad=(), **changes):
    settings = {"classes": _CLASSES} | changes
    return conversion.write_split(
        _read, _sources(count, bad), str(folder), split, num_shards=num_shards, **settings
    )


def _bytes(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def _names(path):
    records = tf.data.TFRecordDataset(str(path))
    return [schema.parse_example(record)["name"].numpy().decode() for record in records]


def test_write_split_deals_pictures_round_robin(tmp_path):
    _write(tmp_path)
    expected = {0: [0, 3, 6], 1: [1, 4], 2: [2, 5]}
    for index, numbers in expected.items():
        names = _names(tmp_path / f"train-0000{index}-of-00003.tfrecord")
        assert names == [f"picture_{number}" for number in numbers]


def test_write_split_enters_counts_and_checksums_into_the_manifest(tmp_path):
    written = _write(tmp_path, settings={"source": "test"})
    manifest = shards.read_manifest(str(tmp_path))
    assert manifest == written
    assert manifest["schema_version"] == schema.SCHEMA_VERSION
    assert manifest["classes"] == list(_CLASSES)
    entry = manifest["splits"]["train"]
    # Picture k holds ids 1..min(k, 5): 0 + 1 + 2 + 3 + 4 + 5 + 5.
    assert (entry["num_examples"], entry["num_instances"], entry["max_instances"]) == (7, 20, 5)
    assert entry["metadata"] == {"source": "test"}
    assert entry["skipped"] == []
    assert entry["notes"]["no instance"] == ["picture_0"]
    assert entry["statistics"]["num_pixels"] == 7 * 6
    assert [shard["num_examples"] for shard in entry["shards"]] == [3, 2, 2]
    for shard in entry["shards"]:
        content = (tmp_path / shard["name"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
    assert len(os.listdir(tmp_path)) == 4  # three shards, the manifest, nothing unfinished


def test_write_split_gives_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        _write(tmp_path / folder)
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


def test_write_split_keeps_other_splits_and_replaces_its_own(tmp_path):
    _write(tmp_path, 4, "test", 2)
    _write(tmp_path, 7, "train", 3)
    manifest = _write(tmp_path, 5, "train", 2)
    assert {name: entry["num_examples"] for name, entry in manifest["splits"].items()} == {
        "test": 4,
        "train": 5,
    }
    assert shards.count_examples(shards.list_shards(str(tmp_path / "train-*"))) == [3, 2]
    assert shards.count_examples(shards.list_shards(str(tmp_path / "test-*"))) == [2, 2]
    assert len(os.listdir(tmp_path)) == 2 + 2 + 1


def test_write_split_stops_at_a_bad_picture_and_leaves_the_old_split(tmp_path):
    _write(tmp_path)
    before = {name: content for name, content in _bytes(tmp_path).items()}
    with pytest.raises(ValueError, match=r"bad_4\.png is spoilt"):
        _write(tmp_path, 9, bad=(4,))
    kept = {name: (tmp_path / name).read_bytes() for name in before}
    assert kept == before


def test_write_split_skips_bad_pictures_and_lists_them(tmp_path):
    manifest = _write(tmp_path, 9, bad=(0, 4), on_error="skip")
    entry = manifest["splits"]["train"]
    assert entry["num_examples"] == 7
    assert [shard["num_examples"] for shard in entry["shards"]] == [2, 2, 3]
    assert entry["skipped"] == [
        {"name": "bad_0", "files": [], "problem": "bad_0.png is spoilt"},
        {"name": "bad_4", "files": [], "problem": "bad_4.png is spoilt"},
    ]
    # A shard all of whose pictures are bad is empty, and may be read.
    entry = _write(tmp_path / "b", 3, bad=(1,), on_error="skip")["splits"]["train"]
    assert [shard["num_examples"] for shard in entry["shards"]] == [1, 0, 1]
    assert _names(tmp_path / "b" / "train-00001-of-00003.tfrecord") == []


def test_write_split_refuses_a_split_of_bad_pictures_alone(tmp_path):
    with pytest.raises(ValueError, match=r"none of 2 pictures could be converted.*bad_0\.png"):
        _write(tmp_path, 2, num_shards=1, bad=(0, 1), on_error="skip")
    assert not (tmp_path / "manifest.json").exists()


def test_write_split_reports_what_listing_found(tmp_path):
    sources = [*_sources(2), Source("c", ("/in/c.png",), problem="two pictures have this stem")]
    with pytest.raises(ValueError, match=r"^/in/c\.png: two pictures have this stem"):
        conversion.write_split(_read, sources, str(tmp_path), "train", num_shards=1)


def test_write_split_names_the_files_of_bad_labels(tmp_path):
    def read(source):
        return LabelledPicture(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.int32))

    source = Source("a", ("/in/a.jpg", "/in/a.png"))
    with pytest.raises(ValueError, match=r"/in/a\.jpg, /in/a\.png: .*the picture's size \(2, 3\)"):
        conversion.write_split(read, [source], str(tmp_path), "train")


class _Killed(BaseException):
    pass


def _write_until(num_shards):
    """A runner that is killed in the middle of the shard after num_shards whole ones."""

    def run(jobs):
        for job in jobs[:num_shards]:
            write_shard(job)

        def die():
            raise _Killed

        write_shard(jobs[num_shards], die)

    return run


def test_write_split_goes_on_where_it_was_killed(tmp_path):
    _write(tmp_path / "undisturbed")
    with pytest.raises(_Killed):
        _write(tmp_path / "killed", run=_write_until(2))
    visible = [name for name in os.listdir(tmp_path / "killed") if not name.startswith(".")]
    assert visible == []
    written = []

    def run(jobs):
        written.extend(os.path.basename(job.path) for job in jobs)
        run_locally(jobs)

    _write(tmp_path / "killed", run=run)
    assert written == ["train-00002-of-00003.tfrecord"]
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "undisturbed")


def test_write_split_goes_on_when_killed_between_the_renames(tmp_path, monkeypatch):
    _write(tmp_path / "undisturbed")
    _write(tmp_path / "killed", 5)
    rename, renamed = tf.io.gfile.rename, []

    def rename_two(source, target, overwrite=False):
        if ".train.unfinished" in source and ".train.unfinished" not in target:
            if len(renamed) == 2:
                raise _Killed
            renamed.append(target)
        rename(source, target, overwrite)

    monkeypatch.setattr(tf.io.gfile, "rename", rename_two)
    with pytest.raises(_Killed):
        _write(tmp_path / "killed")
    # Some shards stand there, but no manifest says that the split is whole.
    assert shards.read_manifest(str(tmp_path / "killed"))["splits"] == {}
    monkeypatch.setattr(tf.io.gfile, "rename", rename)
    _write(tmp_path / "killed")
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "undisturbed")


def test_write_split_makes_a_shard_anew_when_a_file_of_it_changed(tmp_path):
    files = [tmp_path / f"{k}.txt" for k in range(4)]
    for file in files:
        file.write_text("3")

    def read(source):
        number = int(tf.io.gfile.GFile(source.files[0]).read())
        return LabelledPicture(np.full((1, 1, 3), number, np.uint8), np.zeros((1, 1), np.int32))

    sources = [Source(file.stem, (str(file),)) for file in files]
    out, written = tmp_path / "out", []

    def run(jobs):
        written.extend(os.path.basename(job.path)[6:11] for job in jobs)
        run_locally(jobs)

    def write():
        conversion.write_split(read, sources, str(out), "train", num_shards=2, run=run)

    write()
    assert written == ["00000", "00001"]
    write()  # Nothing changed.
    assert written == ["00000", "00001"]
    files[1].write_text("44")
    write()
    records = tf.data.TFRecordDataset(str(out / "train-00001-of-00002.tfrecord"))
    seen = [int(schema.parse_example(record)["image"][0, 0, 0]) for record in records]
    assert seen == [44, 3]


def test_write_split_makes_a_damaged_shard_anew(tmp_path):
    _write(tmp_path / "a")
    before = _bytes(tmp_path / "a")
    path = tmp_path / "a" / "train-00001-of-00003.tfrecord"
    path.write_bytes(before[path.name][:-1])
    _write(tmp_path / "a")
    assert _bytes(tmp_path / "a") == before


@pytest.mark.parametrize("ending", ["tfrecord.json", "tfrecord"])
def test_write_split_does_not_trust_a_file_cut_off(tmp_path, ending):
    with pytest.raises(_Killed):
        _write(tmp_path, run=_write_until(2))
    file = tmp_path / ".train.unfinished" / f"train-00000-of-00003.{ending}"
    file.write_bytes(file.read_bytes()[:20])
    written = []

    def run(jobs):
        written.extend(os.path.basename(job.path)[6:11] for job in jobs)
        run_locally(jobs)

    _write(tmp_path, run=run)
    assert written == ["00000", "00002"]


def test_write_split_tries_again_what_it_skipped_before_it_was_killed(tmp_path):
    """A file may have been out of reach for a while, and be as it was before."""
    is_reachable = False

    def read(source):
        if source.details == 1 and not is_reachable:
            raise OSError("no connection")
        return _read(source)

    def write(**changes):
        conversion.write_split(read, _sources(6), str(tmp_path), "train", num_shards=3, **changes)

    with pytest.raises(_Killed):
        write(on_error="skip", run=_write_until(2))
    is_reachable = True
    write(on_error="stop")
    assert _names(tmp_path / "train-00001-of-00003.tfrecord") == ["picture_1", "picture_4"]


def test_write_split_refuses_shards_that_a_runner_left_out(tmp_path):
    with pytest.raises(ValueError, match=r"train-00000-of-00003\.tfrecord was not written \(3 of"):
        _write(tmp_path, run=lambda jobs: None)
    assert not (tmp_path / "manifest.json").exists()


def test_write_split_refuses_bad_arguments(tmp_path):
    cases = [
        ({"num_shards": 8}, r"num_shards must lie in \[1, 7\]"),
        ({"split": "a/b"}, "split must consist of"),
        ({"count": 0}, "has no pictures"),
        ({"on_error": "ignore"}, "on_error must be one of"),
    ]
    for changes, message in cases:
        with pytest.raises(ValueError, match=message):
            _write(tmp_path, **changes)
    with pytest.raises(TypeError):
        _write(tmp_path, settings={"array": np.zeros(1)})
    sources = _sources(2) + _sources(1)
    with pytest.raises(ValueError, match="two pictures of split train have the name 'picture_0'"):
        conversion.write_split(_read, sources, str(tmp_path), "train")
    assert os.listdir(tmp_path) == []
    _write(tmp_path)
    with pytest.raises(ValueError, match="have the classes"):
        _write(tmp_path, split="test", classes=("background", "cat"))


@pytest.mark.parametrize(
    "num_sources, expected", [(1, 1), (15, 15), (16, 16), (8000, 16), (8001, 17), (118287, 237)]
)
def test_default_num_shards(num_sources, expected):
    assert conversion.default_num_shards(num_sources) == expected


def test_manifest_is_json_for_people(tmp_path):
    _write(tmp_path)
    text = (tmp_path / "manifest.json").read_text()
    assert json.loads(text) and text.count("\n") > 20
