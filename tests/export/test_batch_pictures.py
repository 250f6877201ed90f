"""Pictures of a batch: listing, dealing out, and what is wrong with them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipeline import conversion, schema
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.picture_files import decode_picture
from export import batch_pictures
from export.batch_pictures import (
    Picture,
    deal_out,
    list_files,
    list_shards,
    read_files,
    read_records,
)


@pytest.fixture
def folder(tmp_path):
    """Three pictures, two of one stem, and a file that is none."""
    for k, name in enumerate(("b.png", "a.png", "sub/a.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full([4, 6, 3], k, np.uint8)).save(tmp_path / name)
    (tmp_path / "text.txt").write_text(f"{tmp_path}/b.png\n\n{tmp_path}/none.png\n")
    return tmp_path


def _record(name, value):
    image = np.full([4, 6, 3], value, np.uint8)
    return schema.encode_example(LabelledPicture(image, np.zeros([4, 6], np.int32)), name)


def _decode(picture, max_pixels):
    batch_pictures.picture_size(picture, max_pixels)
    return decode_picture(picture.name, picture.content)


def _shard(path, *records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def test_list_files_names_outputs_as_predict_main(folder):
    found = list_files(f"{folder}/**/*.png")
    assert [(x.name, x.files[0].removeprefix(f"{folder}/")) for x in found] == [
        *(("a", "a.png"), ("b", "b.png"), ("a-2", "sub/a.png")),
    ]
    assert [x.name for x in list_files(str(folder))] == ["a", "b"]


def test_list_files_reads_lists(folder):
    found = list_files(f"{folder}/text.txt")
    assert found == [Source(x, (f"{folder}/{x}.png",)) for x in ("b", "none")]
    failures = [{"path": "/x/c.png", "error": "é"}, {"path": "d.png", "error": ""}]
    (folder / "failed.jsonl").write_text("\n".join(json.dumps(x) for x in failures))
    assert [x.files for x in list_files(f"{folder}/failed.jsonl")] == [("/x/c.png",), ("d.png",)]


def test_list_files_reads_other_file_systems():
    for name in ("q.png", "p.png", "r.txt"):
        tf.io.gfile.GFile(f"ram://listed/{name}", "w").write("")
    found = list_files("ram://listed/*.png")
    assert [x.files[0] for x in found] == ["ram://listed/p.png", "ram://listed/q.png"]


@pytest.mark.parametrize(
    "images, content, message",
    [
        ("none*.png", None, "no picture found at"),
        ("ram://none/*.png", None, "no picture found at ram://none"),
        ("a.txt", "\n", "no picture found at .*a.txt"),
        ("a.jsonl", '{"error": "x"}', "a.jsonl must have a path in each line of json"),
        ("a.jsonl", "[", "a.jsonl must have a path in each line of json"),
        ("b.txt", None, "b.txt cannot be read"),
    ],
)
def test_list_files_refuses_what_lists_nothing(tmp_path, images, content, message):
    path = images if "://" in images else f"{tmp_path}/{images}"
    if content is not None:
        (tmp_path / images).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        list_files(path)


def test_list_shards_takes_one_split(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "val-00000-of-00001"):
        _shard(tmp_path / f"{name}.tfrecord", _record("a", 1))
    found = list_shards(f"{tmp_path}/train-*")
    assert [x.name for x in found] == [f"train-0000{k}-of-00002.tfrecord" for k in (0, 1)]
    with pytest.raises(ValueError, match=r"must be of one split, got .*/train, .*/val;"):
        list_shards(f"{tmp_path}/*")
    (tmp_path / "train-00001-of-00002.tfrecord").unlink()
    with pytest.raises(ValueError, match=r"train-00001-of-00002\.tfrecord is missing"):
        list_shards(f"{tmp_path}/train-*")


def test_deal_out_keeps_the_order_in_equal_runs():
    for total, num in ((7, 3), (3, 3), (10, 1), (1000, 16)):
        parts = deal_out(list(range(total)), num)
        assert [x for part in parts for x in part] == list(range(total)) and len(parts) == num
        assert {len(part) for part in parts} <= {total // num, -(-total // num)}


def test_read_files_keeps_order_and_tells_problems(folder):
    names = [*("a.png", "none.png"), *["b.png"] * 9]
    found = list(read_files([Source(x, (f"{folder}/{x}",)) for x in names]))
    assert [x.stem for x in found] == names
    assert found[0].content == (folder / "a.png").read_bytes() and not found[0].problem
    assert found[1].place == {"path": f"{folder}/none.png"} and not found[1].content
    with pytest.raises(ValueError, match=r"none\.png cannot be read"):
        _decode(found[1], 100)
    np.testing.assert_array_equal(_decode(found[0], 24), np.full([4, 6, 3], 1))


def test_read_records_gives_the_pictures_of_shards(tmp_path):
    shards = [_shard(tmp_path / f"{k}", _record(f"p/{k}", k), _record("q", 9)) for k in (3, 4)]
    found = list(read_records([Source("", (path,)) for path in shards]))
    assert [(x.name, x.stem) for x in found[:3]] == [("p/3", "p_3"), ("q", "q"), ("p/4", "p_4")]
    assert [x.place for x in found[2:]] == [{"path": shards[1], "record": k} for k in (0, 1)]
    np.testing.assert_array_equal(_decode(found[2], 24), np.full([4, 6, 3], 4))


def test_read_records_goes_on_after_a_bad_record_and_ends_at_damage(tmp_path):
    path = _shard(tmp_path / "a", b"no example", _record("b", 1), _record("c", 1))
    first, *others = read_records([Source("", (path,))])
    assert "Could not parse example" in first.problem and first.place["record"] == 0
    assert [x.name for x in others] == ["b", "c"]
    content = bytearray((tmp_path / "a").read_bytes())
    content[-20] ^= 1  # in the last record
    (tmp_path / "a").write_bytes(content)
    *_, good, bad = read_records([Source("", (path,)), Source("", (_shard(tmp_path / "b"),))])
    assert good.name == "b" and bad.place == {"path": path, "record": 2}
    assert "this record and those after it cannot be read" in bad.problem
    with pytest.raises(ValueError, match="this record and those after it"):
        _decode(bad, 100)


def test_read_records_refuses_another_schema_version(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 99)
    record = _record("a", 1)
    monkeypatch.undo()
    (found,) = read_records([Source("", (_shard(tmp_path / "a", record),))])
    assert "schema version" in found.problem and not found.content


def _picture(path):
    return Picture({"path": str(path)}, str(path), "x", path.read_bytes())


def test_picture_size_is_that_of_the_head(tmp_path):
    # 16,900 × 16,899 pixels are past Pillow's own limit of 1.8e8; as one bit each, quick to write.
    Image.new("1", (16_900, 16_899)).save(tmp_path / "large.png")
    limit = Image.MAX_IMAGE_PIXELS
    large = _picture(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"large.png has .* = 285,593,100 .*limit of 285,593,099"):
        batch_pictures.picture_size(large, 285_593_099)
    assert batch_pictures.picture_size(large, 285_593_100) == (16_900, 16_899)
    assert Image.MAX_IMAGE_PIXELS == limit


def test_decode_names_a_file_that_is_no_picture(folder):
    with pytest.raises(ValueError, match=r"text\.txt cannot be read as a picture"):
        _decode(_picture(folder / "text.txt"), 100)


def test_shards_of_a_conversion_are_read_in_order(tmp_path):
    def read(source):
        image = np.full([3, 4, 3], source.details, np.uint8)
        return LabelledPicture(image, np.zeros([3, 4], np.int32))

    sources = [Source(f"p_{k}", details=k) for k in range(5)]
    conversion.write_split(read, sources, str(tmp_path), "train", num_shards=2)
    found = list(read_records(list_shards(f"{tmp_path}/train-*")))
    assert [x.name for x in found] == ["p_0", "p_2", "p_4", "p_1", "p_3"]
    assert [_decode(x, 12)[0, 0, 0] for x in found] == [0, 2, 4, 1, 3]
