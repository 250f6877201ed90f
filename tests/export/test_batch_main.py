"""A batch gives what predict_main gives, whoever works at it and whatever interrupts it."""

import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import rpe_tf
from data_pipeline import inspection, schema
from data_pipeline.labelled_picture import LabelledPicture
from export import batch_pictures, batch_results, batch_run, batch_tiles
from export.large_pictures import Tiling, predict_large
from export.prediction_files import coco_results
from rpe_tf.metrics import object_files
from rpe_tf.metrics.label_png import read_label_png
from rpe_tf.metrics.rle import rle_decode
from rpe_tf.saved_model import find_version

pytest.importorskip("apache_beam", reason="needs the extra [beam]")

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, pictures):
    """A folder of three pictures and a file that is none."""
    folder = tmp_path_factory.mktemp("scenes")
    for name, picture in zip("abc", pictures, strict=True):
        Image.fromarray(picture).save(folder / f"{name}.png")
    (folder / "bad.png").write_text("hello, no picture")
    return folder


@pytest.fixture(scope="module")
def shard(tmp_path_factory, pictures):
    """The pictures as a shard, with a record between them that is none."""
    path = tmp_path_factory.mktemp("in") / "train-00000-of-00001.tfrecord"
    records = [
        schema.encode_example(LabelledPicture(x, np.zeros(x.shape[:2], np.int32)), name)
        for name, x in zip("abc", pictures, strict=True)
    ]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in (records[0], b"no example", *records[1:]):
            writer.write(record)
    return str(path)


def _plan(
    exported, output_dir, sources, *, write=(), num_parts=None, tile_px=1024, max_pixels=500_000_000
):
    model = find_version(exported.export_dir)
    settings = {
        "input": "shards" if sources[0].name.endswith(".tfrecord") else "files",
        "write": batch_results.choose_kinds(batch_results.load_once(model), list(write)),
        "tiling": [tile_px, None, max_pixels],
    }
    return batch_run.plan_batch(str(output_dir), model, settings, sources, num_parts)


def _run(exported, output_dir, sources, **choices):
    return batch_run.predict_batch(
        _plan(exported, output_dir, sources, **choices), "DirectRunner", []
    )


def _start(module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _files(folder):
    """Content of all files by path within the folder, but for the record of what was planned."""
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _results(folder):
    """The results of all parts, in order of the parts."""
    paths = sorted(pathlib.Path(folder).glob("predictions-*.json"))
    return [record for path in paths for record in json.loads(path.read_text())]


def _failed(folder):
    return [json.loads(x) for x in pathlib.Path(folder, "failed.jsonl").read_text().splitlines()]


def test_batch_main_gives_the_files_of_predict_main(exported_instances, scenes, tmp_path):
    model, images = f"--model={exported_instances.export_dir}", f"--images={scenes}/*.png"
    batch = [model, images, f"--output_dir={tmp_path}/batch", "--write=json,png,shards"]
    batch += ["--num_shards=3", "--beam_option=--direct_num_workers=2"]
    batch += ["--beam_option=--direct_running_mode=multi_processing"]
    processes = {
        "predict": _start("export.predict_main", model, images, f"--output_dir={tmp_path}/one"),
        "batch": _start("export.batch_main", *batch),
    }
    sources = batch_pictures.list_files(f"{scenes}/*.png")
    kinds = ("json", "png", "shards")
    manifest = _run(exported_instances, tmp_path / "here", sources, write=kinds, num_parts=3)
    for name, process in processes.items():
        out, err = process.communicate(timeout=300)
        assert process.returncode == 1 and "Traceback" not in err, (name, out, err)
    assert f"Predicted 3 of 4 pictures into {tmp_path}/batch, " in out
    assert f"1 of 4 pictures failed, see {tmp_path}/batch/failed.jsonl" in err
    assert "error: more pictures failed than --max_failed_fraction=0 of all" in err
    # Two processes or one: the same bytes.
    assert _files(tmp_path / "batch") == _files(tmp_path / "here")
    assert (manifest["num_pictures"], manifest["num_failed"]) == (4, 1)
    expected = json.loads((tmp_path / "one" / "predictions.json").read_text())
    assert _results(tmp_path / "batch") == expected
    assert manifest["num_instances"] == len(expected) >= 9
    maps = {k: v for k, v in _files(tmp_path / "one").items() if k.endswith(("s.png", "c.png"))}
    assert len(maps) == 6 and maps.items() <= _files(tmp_path / "batch").items()
    (failure,) = _failed(tmp_path / "batch")
    assert failure["path"] == f"{scenes}/bad.png"
    assert "bad.png cannot be read as a picture" in failure["error"]


@pytest.mark.parametrize("fraction, code", [(0.0, 1), (0.24, 1), (0.25, None), (1.0, None)])
def test_report_ends_with_1_past_the_share_of_failures(capsys, fraction, code):
    manifest = {"num_pictures": 8, "num_failed": 2, "num_instances": 5}
    assert batch_run.report(manifest, "out", fraction) == code
    out, err = capsys.readouterr()
    assert out == "Predicted 6 of 8 pictures into out, 5 instances\n"
    assert err.startswith("2 of 8 pictures failed, see out/failed.jsonl\n")
    assert (f"error: more pictures failed than --max_failed_fraction={fraction:g}" in err) == (
        code == 1
    )
    assert batch_run.report({**manifest, "num_failed": 0}, "out", 0.0) is None


@pytest.mark.parametrize("task", ["proposals", "instances", "semantic", "boundary"])
def test_batch_answers_as_the_model(task, request, tmp_path, scenes, shard, pictures):
    name = "exported" if task == "proposals" else f"exported_{task}"
    exported = request.getfixturevalue(name)
    model = batch_results.load_once(find_version(exported.export_dir))
    files = batch_pictures.list_files(f"{scenes}/*.png")
    shards = batch_pictures.list_shards(shard)
    kinds = {"semantic": ["png", "shards"], "boundary": ["png"]}.get(
        task, ["json", "png", "shards"]
    )
    for place, sources in (("files", files), ("shards", shards)):
        folder = tmp_path / place
        _run(exported, folder, sources, write=kinds, num_parts=1)
        for k, (stem, picture) in enumerate(zip("abc", pictures, strict=True)):
            path = f"{scenes}/{stem}.png" if place == "files" else stem
            _require_answers(task, model, folder, (path, stem, picture), k)
        (failure,) = _failed(folder)
        assert "record" in failure if place == "shards" else failure["path"].endswith("bad.png")
    if "shards" in kinds:  # As those of a conversion.
        labels = batch_run.shards.list_shards(f"{tmp_path}/files/shards/labels-*")
        report = inspection.inspect_shards(labels)
        assert report.faults == [] and report.statistics["num_examples"] == 3
    has_instances = task in ("proposals", "instances")
    assert len(_results(tmp_path / "shards")) >= (9 if has_instances else 0)


def _require_answers(task, model, folder, picture, number):
    """Compares what was written about one picture (path, stem, pixels) with what the model says."""
    path, stem, pixels = picture
    if task == "boundary":
        expected = np.rint(255.0 * model.predict(pixels))
        np.testing.assert_array_equal(np.asarray(Image.open(folder / f"{stem}.png")), expected)
        return
    example = _example(folder / "shards" / "labels-00000-of-00001.tfrecord", number)
    np.testing.assert_array_equal(example["image"], pixels)
    assert example["name"].numpy().decode() == stem
    if task == "semantic":
        semantic, instance = model.predict(pixels), np.zeros(pixels.shape[:2])
    else:
        found = (model.predict_classed if task == "instances" else model.predict)(pixels)
        instance = found.instance
        semantic = found.semantic if task == "instances" else (instance > 0)
        expected = coco_results(path, f"{stem}_instances.png", found)
        assert [x for x in _results(folder) if x["file_name"] == path] == expected
        written = np.asarray(Image.open(folder / f"{stem}_instances.png"))
        np.testing.assert_array_equal(written, instance)
    np.testing.assert_array_equal(example["instance"], instance)
    labelled = semantic
    if task == "instances":  # An instance of a record has one class.
        pairs = zip(found.table["id"], found.table["class"], strict=True)
        labelled = sum((instance == number) * found_class for number, found_class in pairs)
    np.testing.assert_array_equal(example["semantic"], labelled)
    if task != "proposals":
        written = np.asarray(Image.open(folder / f"{stem}_semantic.png"))
        np.testing.assert_array_equal(written, semantic)


def _example(path, number):
    records = list(tf.data.TFRecordDataset(str(path)))
    assert len(records) == 3
    return schema.parse_example(records[number])


def test_a_killed_batch_goes_on(exported, scenes, tmp_path):
    # A pipe that nobody writes to: a worker that reads it waits.
    os.mkfifo(tmp_path / "pipe.png")
    paths = [scenes / "a.png", scenes / "b.png", tmp_path / "pipe.png", scenes / "c.png"]
    (tmp_path / "list.txt").write_text("\n".join(map(str, paths)))
    process = _start(
        "export.batch_main",
        f"--model={exported.export_dir}",
        f"--images={tmp_path}/list.txt",
        f"--output_dir={tmp_path}/out",
        "--num_shards=2",
    )
    record = tmp_path / "out" / ".batch" / "00000-of-00002.json"
    until = time.monotonic() + 200
    while not record.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.communicate()
    names = set(_files(tmp_path / "out"))
    assert "predictions-00000-of-00002.json" in names and len(_results(tmp_path / "out")) >= 3
    assert not {"predictions-00001-of-00002.json", "manifest.json", "failed.jsonl"} & names
    with pytest.raises(ValueError, match=r"lacks predictions-00001-of-00002\.json"):
        object_files.list_items(str(tmp_path / "out"), str(scenes), "proposals")
    (tmp_path / "pipe.png").unlink()
    Image.open(paths[0]).save(tmp_path / "pipe.png")
    first = record.stat().st_ino
    sources = batch_pictures.list_files(f"{tmp_path}/list.txt")
    choices = {"write": ("json",), "num_parts": 2}
    manifest = _run(exported, tmp_path / "out", sources, **choices)
    assert record.stat().st_ino == first  # not written again
    assert (manifest["num_pictures"], manifest["num_failed"]) == (4, 0)
    _run(exported, tmp_path / "whole", sources, **choices)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_only_what_changed_is_predicted_again(exported, tmp_path, pictures):
    for name in "abcd":
        Image.fromarray(pictures[0]).save(tmp_path / f"{name}.png")
    sources = batch_pictures.list_files(str(tmp_path))
    out = tmp_path / "out"

    def run():
        """Runs the batch; returns which parts were written."""
        before = {path.name: path.stat().st_ino for path in out.glob(".batch/0*.json")}
        _run(exported, out, sources, write=("json", "shards"), num_parts=4)
        after = {path.name: path.stat().st_ino for path in out.glob(".batch/0*.json")}
        return [int(name[:5]) for name in sorted(after) if after[name] != before.get(name)]

    assert run() == [0, 1, 2, 3]
    assert run() == []
    Image.fromarray(pictures[2]).save(tmp_path / "b.png")
    assert run() == [1]
    assert {x["file_name"][-5]: x["segmentation"]["size"] for x in _results(out)} == {
        **{name: [45, 70] for name in "acd"},
        "b": [64, 40],
    }
    (out / "shards" / "labels-00002-of-00004.tfrecord").unlink()
    (out / ".batch" / "00003-of-00004.json").write_text('{"finger')  # cut off
    (out / ".batch" / "x-00003-of-00004.partial").write_text("left by a crash")
    assert run() == [2, 3]
    assert not list(out.glob("**/*.partial")) and not list(out.glob("**/*.tmp"))


def test_another_batch_is_refused(exported, scenes, tmp_path):
    sources = batch_pictures.list_files(f"{scenes}/*.png")
    _plan(exported, tmp_path / "out", sources)
    _plan(exported, tmp_path / "out", sources)
    for changes, what in (
        ({"max_pixels": 7}, "tiling"),
        ({"write": ("png",), "num_parts": 2}, "write, parts"),
    ):
        with pytest.raises(ValueError, match=f"holds another batch, which differs in {what};"):
            _plan(exported, tmp_path / "out", sources, **changes)
    with pytest.raises(ValueError, match="differs in parts, sources_sha256;"):
        _plan(exported, tmp_path / "out", sources[:2])
    with pytest.raises(ValueError, match=r"num_shards must lie in \[1, 4\]"):
        _plan(exported, tmp_path / "new", sources, num_parts=5)
    (tmp_path / "predictions.json").write_text("[]")
    with pytest.raises(ValueError, match=r"predictions\.json is of predict_main"):
        _plan(exported, tmp_path, sources)


def test_large_pictures_and_too_many_instances_fail_alone(exported, scenes, tmp_path, monkeypatch):
    sources = batch_pictures.list_files(f"{scenes}/[abc].png")
    lines = []
    monkeypatch.setattr(batch_run.logging, "info", lambda line, *args: lines.append(line % args))
    manifest = _run(exported, tmp_path / "a", sources, max_pixels=64 * 40)
    # What Beam has counted, and what the manifest says.
    told = f"now predicted 1 pictures with {manifest['num_instances']} instances, 2 failed"
    assert lines == [f"DirectRunner: {told}"] and manifest["num_instances"] >= 3
    assert [x["path"][-5] for x in _failed(tmp_path / "a")] == ["a", "b"]
    assert "3,150 pixels, more than the limit of 2,560" in _failed(tmp_path / "a")[0]["error"]
    assert {x["file_name"][-5] for x in _results(tmp_path / "a")} == {"c"}

    def encode(picture, name):
        raise ValueError(f"{name}: too many")

    monkeypatch.setattr(schema, "encode_example", encode)
    _run(exported, tmp_path / "c", sources, write=("json", "png", "shards"))
    assert [x["error"] for x in _failed(tmp_path / "c")] == [f"{x}: too many" for x in "abc"]
    assert _results(tmp_path / "c") == [] and not list((tmp_path / "c").glob("*.png"))


def test_large_pictures_are_cut_as_those_of_predict_main(exported_instances, tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, [17, 26, 3], np.uint8)
    (tmp_path / "in").mkdir()
    path = str(tmp_path / "in" / "large.png")
    Image.fromarray(image).resize((260, 170)).save(path)
    tiling = Tiling(tile_px=192)
    model_dir = find_version(exported_instances.export_dir)
    model, expected = rpe_tf.load(model_dir), []
    predict_large(
        *(model, model_dir, path, str(tmp_path / "large")),
        tiling=tiling,
        add_records=expected.extend,
    )
    sources, kinds = batch_pictures.list_files(path), ("json", "png", "shards")
    manifest = _run(exported_instances, tmp_path / "out", sources, write=kinds, tile_px=192)
    assert _results(tmp_path / "out") == expected
    assert manifest["num_instances"] == len(expected) >= 1
    for name in ("large_instances.png", "large_semantic.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / name).read_bytes()
    (shard,) = (tmp_path / "out" / "shards").glob("*.tfrecord")
    (example,) = (schema.parse_example(x) for x in tf.data.TFRecordDataset(str(shard)))
    np.testing.assert_array_equal(
        example["instance"], read_label_png(str(tmp_path / "large_instances.png"))
    )
    monkeypatch.setattr(batch_tiles, "RECORD_PIXELS", 260 * 170 - 1)
    _run(exported_instances, tmp_path / "b", sources, write=kinds, tile_px=192)
    (failed,) = _failed(tmp_path / "b")
    assert f"{path} has 44,200 pixels, more than the 44,199 whose labels fit" in failed["error"]
    monkeypatch.undo()
    damaged = pathlib.Path(path).read_bytes()[:2000]
    pathlib.Path(path).write_bytes(damaged)
    _run(exported_instances, tmp_path / "c", sources, tile_px=192)
    (failed,) = _failed(tmp_path / "c")
    assert failed["error"].startswith(path) and not list(tmp_path.glob("**/*.tiles"))


def test_batch_works_on_other_file_systems(exported, scenes):
    for name in "ab":
        tf.io.gfile.copy(f"{scenes}/{name}.png", f"ram://in/{name}.png", overwrite=True)
    sources = batch_pictures.list_files("ram://in/*.png")
    manifest = _run(exported, "ram://out", sources, write=("json", "png", "shards"), num_parts=1)
    assert sorted(x for x in tf.io.gfile.listdir("ram://out") if not x.startswith(".")) == [
        *("a_instances.png", "b_instances.png", "failed.jsonl", "manifest.json"),
        *("predictions-00000-of-00001.json", "shards"),
    ]
    with tf.io.gfile.GFile("ram://out/predictions-00000-of-00001.json") as file:
        results = json.loads(file.read())
    assert len(results) == manifest["num_instances"] >= 6
    model = batch_results.load_once(find_version(exported.export_dir))
    with tf.io.gfile.GFile("ram://in/a.png", "rb") as file:
        instance = model.predict(tf.io.decode_png(file.read()).numpy()).instance
    np.testing.assert_array_equal(rle_decode(results[0]["segmentation"]), instance == 1)


def test_parts_stay_small(exported, tmp_path):
    sources = [batch_pictures.Source(f"{k:064}", (f"/data/{k:064}.png",)) for k in range(2000)]
    parts = _plan(exported, tmp_path, sources, num_parts=2)
    assert max(len(pickle.dumps(part)) for part in parts) < 2000
