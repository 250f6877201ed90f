"""The program on real files: all damages named, good pictures exact, a killed run goes on.

It runs as a process of its own, because programs may share names of flags.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
from PIL import Image

from data_pipeline import schema
from data_pipeline.picture_files import read_picture

_ROOT = pathlib.Path(__file__).parents[2]
_SIZE = (30, 40)
_RNG = np.random.default_rng(5)
# What each damaged picture of `damaged_folder` must be told, file first.
_DAMAGES = {
    "cut": ("images/cut.jpg", "cannot be decoded"),
    "cut_label": ("labels/cut_label.png", "cannot be read as a label map"),
    "text": ("images/text.png", "cannot be read as a picture"),
    "size": ("labels/size.png", "must have the size of its picture"),
    "void": ("labels/void.png", "every pixel is void"),
    "colour": ("labels/colour.png", "is a picture of mode RGB"),
    "no_label": ("images/no_label.png", "missing mask"),
    "twice": ("images/twice.png", "duplicate id"),
    "nan": ("labels/nan.npy", "holds NaN"),
    "stored": ("labels/stored.png", "before its EXIF rotation"),
    "large": ("labels/large.npy", "renumber ids"),
}


def _start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "data_pipeline.convert_folders", *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # A group of its own.
    )


def _end(*processes):
    """Returns (exit code, stdout, stderr) of each."""
    outputs = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, *out) for process, out in zip(processes, outputs, strict=True)]


def _folders(root):
    return [f"--images={root}/images", f"--labels={root}/labels"]


def _records(folder, split="train"):
    """Returns what the records of a split hold, by name."""
    paths = sorted(str(path) for path in folder.glob(f"{split}-*"))
    dataset = tf.data.TFRecordDataset(paths).map(schema.parse_example)
    return {x["name"].decode(): x for x in dataset.as_numpy_iterator()}


def _manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _write_good(root):
    """Writes a good picture of every kind; returns its pixels and instance map by name."""
    rgb = _RNG.integers(0, 256, [*_SIZE, 3], dtype=np.uint8)
    grey = np.ascontiguousarray(rgb[:, :, 0])
    ids = _RNG.integers(0, 250, _SIZE)
    void = ids == 3
    as_rgb = np.repeat(grey[:, :, np.newaxis], 3, axis=-1)
    palette = Image.fromarray(grey).quantize(8)
    coloured_ids = Image.fromarray(ids.astype(np.uint8)).convert("P")
    coloured_ids.putpalette([(7 * k) % 256 for k in range(768)])
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: a quarter clockwise.
    images, labels = root / "images", root / "labels"
    for folder in (images / "sub", labels / "sub"):
        folder.mkdir(parents=True)
    smooth = Image.fromarray(np.linspace(0, 255, 1200, dtype=np.uint8).reshape(_SIZE))

    smooth.convert("RGB").save(images / "plain.jpg")
    Image.fromarray(np.where(void, 255, ids).astype(np.uint8)).save(labels / "plain.png")
    Image.fromarray(grey).save(images / "grey.png")
    Image.fromarray(np.where(void, 65535, ids * 263).astype(np.uint16)).save(labels / "grey.png")
    palette.save(images / "palette.png")
    np.save(labels / "palette.npy", np.where(void, -1, ids))
    Image.fromarray(np.dstack([rgb, grey])).save(images / "alpha.png")
    coloured_ids.save(labels / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 256 + 99).save(images / "deep.png")
    Image.fromarray(np.where(void, -1, ids * 200).astype(np.int32)).save(labels / "deep.tif")
    smooth.save(images / "turned.jpg", exif=exif)
    Image.fromarray(np.rot90(ids, -1).astype(np.uint8)).save(labels / "turned.png")
    Image.fromarray(rgb).save(images / "sub" / "deeper.bmp")
    Image.fromarray(ids.astype(np.uint8)).save(labels / "sub" / "deeper.png")
    return {
        # What JPEG decoders show is compared with TensorFlow's own.
        "plain": (None, np.where(void, -1, ids)),
        "grey": (as_rgb, np.where(void, -1, ids * 263)),
        "palette": (np.asarray(palette.convert("RGB")), np.where(void, -1, ids)),
        "alpha": (rgb, ids),
        "deep": (as_rgb, np.where(void, -1, ids * 200)),
        "turned": (read_picture(str(images / "turned.jpg")), np.rot90(ids, -1)),
        "deeper": (rgb, ids),
    }


def _write_damaged(root):
    """Writes a picture of every damage of `_DAMAGES` beside the good ones."""
    images, labels = root / "images", root / "labels"
    noise = Image.fromarray(_RNG.integers(0, 256, [*_SIZE, 3], dtype=np.uint8))
    ones = Image.fromarray(np.ones(_SIZE, np.uint8))
    for name in _DAMAGES:
        noise.save(images / f"{name}.png")
        ones.save(labels / f"{name}.png")
    for path, content in (("cut.jpg", "JPEG"), ("twice.jpg", "JPEG")):
        noise.save(images / path, content)
    (images / "cut.png").unlink()
    whole = (images / "cut.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    noise.convert("L").save(labels / "cut_label.png")
    whole = (labels / "cut_label.png").read_bytes()
    (labels / "cut_label.png").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("hello")
    ones.resize((20, 20)).save(labels / "size.png")
    Image.fromarray(np.full(_SIZE, 255, np.uint8)).save(labels / "void.png")
    noise.save(labels / "colour.png")
    (labels / "no_label.png").unlink()
    for name, number in (("nan", np.nan), ("large", 70000)):
        (labels / f"{name}.png").unlink()
        np.save(labels / f"{name}.npy", np.full(_SIZE, number))
    (images / "stored.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 8
    noise.save(images / "stored.jpg", exif=exif)


def test_convert_folders_names_every_damage_and_keeps_the_rest_exactly(tmp_path):
    good = _write_good(tmp_path)
    _write_damaged(tmp_path)
    (tmp_path / "labels" / "alone.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    skipping = _start(*_folders(tmp_path), f"--output_dir={tmp_path}/skip", "--on_error=skip")
    stopping = _start(*_folders(tmp_path), f"--output_dir={tmp_path}/stop", "--split=mine")
    empty = _start(
        *(f"--images={tmp_path}/empty", f"--labels={tmp_path}/labels"),
        f"--output_dir={tmp_path}/none",
    )
    (code, out, err), stopped, without = _end(skipping, stopping, empty)

    assert code == 0, err
    entry = _manifest(tmp_path / "skip")["splits"]["train"]
    assert entry["num_examples"] == len(good) and f"train: {len(good)} pictures" in out
    assert {problem["name"] for problem in entry["skipped"]} == set(_DAMAGES)
    for problem in entry["skipped"]:
        file, message = _DAMAGES[problem["name"]]
        assert f"{tmp_path}/{file}" in problem["files"] + problem["problem"].split(), problem
        assert message in problem["problem"]
        line = next(line for line in err.splitlines() if message in line)
        assert f"{tmp_path}/{file}" in line
    assert f"1 label maps without a picture: {tmp_path}/labels/alone.png" in err
    records = _records(tmp_path / "skip")
    assert set(records) == set(good)
    for name, (pixels, instance) in good.items():
        np.testing.assert_array_equal(records[name]["instance"], instance, err_msg=name)
        if pixels is not None:
            np.testing.assert_array_equal(records[name]["image"], pixels, err_msg=name)
    jpeg = tf.io.decode_jpeg((tmp_path / "images" / "plain.jpg").read_bytes(), channels=3)
    np.testing.assert_array_equal(records["plain"]["image"], jpeg)

    for (code, _, err), message in (
        (stopped, f"{tmp_path}/"),
        (without, f"error: {tmp_path}/empty has no picture"),
    ):
        assert code == 1 and "Traceback" not in err
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert message in line
    assert os.listdir(tmp_path / "stop") == [".mine.unfinished"]
    assert not (tmp_path / "none").exists()


def test_convert_folders_of_cityscapes_and_of_class_maps_with_a_list(tmp_path):
    labels = np.array([[26001, 26002, 7], [26, 0, 7]])
    for k in range(8):
        for kind, end in (("left", "_left.png"), ("fine", "_fine_instanceIds.png")):
            path = tmp_path / kind / f"town{k % 2}" / f"{k}{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = labels.astype(np.uint16) if kind == "fine" else np.zeros([2, 3, 3], np.uint8)
            Image.fromarray(pixels).save(path)
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in "abc":
        Image.new("RGB", (3, 2)).save(flat / f"{name}.jpg")
        Image.fromarray(np.array([[1, 2, 0], [1, 255, 0]], np.uint8)).save(flat / f"{name}_i.png")
        Image.fromarray(np.array([[2, 1, 0], [2, 255, 0]], np.uint8)).save(flat / f"{name}_c.png")
    (tmp_path / "list.csv").write_text("id,split\na,train\nb,test\nc,train\n")
    (tmp_path / "names.txt").write_text("background\ncat\ndog\n")
    results = _end(
        _start(
            *(f"--images={tmp_path}/left", f"--labels={tmp_path}/fine", "--image_suffix=_left"),
            *("--label_suffix=_fine_instanceIds", "--label_coding=class_and_id"),
            *("--val_fraction=0.4", "--renumber", f"--output_dir={tmp_path}/city"),
        ),
        _start(
            *(f"--images={flat}", f"--labels={flat}", f"--classes_dir={flat}"),
            *("--label_suffix=_i", "--class_suffix=_c", f"--class_names={tmp_path}/names.txt"),
            *(f"--split_file={tmp_path}/list.csv", f"--output_dir={tmp_path}/listed"),
        ),
    )
    for code, _, err in results:
        assert code == 0, err
    city = _manifest(tmp_path / "city")
    assert len(city["classes"]) == 20 and city["classes"][14] == "car"
    records = {s: _records(tmp_path / "city", s) for s in ("train", "val")}
    assert all(records.values())
    merged = records["train"] | records["val"]
    assert set(merged) == {f"{k}_left" for k in range(8)}
    for record in merged.values():
        assert record["instance"].tolist() == [[1, 2, 0], [-1, -1, 0]]
        assert record["semantic"].tolist() == [[14, 14, 1], [14, -1, 1]]
    listed = _manifest(tmp_path / "listed")
    assert listed["classes"] == ["background", "cat", "dog"]
    assert set(_records(tmp_path / "listed", "train")) == {"a", "c"}
    (record,) = _records(tmp_path / "listed", "test").values()
    assert record["name"] == b"b"
    assert record["instance"].tolist() == [[1, 2, 0], [1, -1, 0]]
    assert record["semantic"].tolist() == [[2, 1, 0], [2, -1, 0]]


def _write_many(root, count=112):
    """Writes pictures that take a process long enough to be killed meanwhile, about a second."""
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    noise = _RNG.integers(0, 256, [200, 200, 3], dtype=np.uint8)
    for k in range(count):
        Image.fromarray(np.roll(noise, k)).save(root / "images" / f"{k}.bmp")
        np.save(root / "labels" / f"{k}.npy", np.roll(noise[:, :, 0], k))


def _kill_at_the_first_shard(folder, process):
    """Kills a conversion half-way; returns when each finished shard was written."""
    end = time.monotonic() + 120
    while not any(folder.glob(".train.unfinished/train-*.tfrecord.json")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    # Workers hold the pipes too, so this ends when they are gone, and not by itself otherwise.
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    # No shard has its final name, and there is no manifest.
    assert [path.name for path in folder.iterdir()] == [".train.unfinished"]
    shards = [p.with_suffix("") for p in folder.glob(".train.unfinished/*.tfrecord.json")]
    assert 0 < len(shards) < 16
    return {path.name: path.stat().st_mtime_ns for path in shards}


def test_convert_folders_goes_on_after_a_kill_to_the_same_bytes(tmp_path):
    _write_many(tmp_path)

    def start(folder, num_processes):
        out = f"--output_dir={tmp_path}/{folder}"
        return _start(*_folders(tmp_path), out, f"--num_processes={num_processes}")

    whole, killed = start("whole", 1), {n: start(f"killed{n}", n) for n in (1, 2)}
    finished = {n: _kill_at_the_first_shard(tmp_path / f"killed{n}", killed[n]) for n in (1, 2)}
    # What one process began two go on with, and the other way round.
    for code, _, err in _end(whole, start("killed1", 2), start("killed2", 1)):
        assert code == 0, err
    expected = _bytes(tmp_path / "whole")
    assert len(expected) == 16 + 1
    for n, times in finished.items():
        found = _bytes(tmp_path / f"killed{n}")
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
        for name, when in times.items():  # What had been finished was not made again.
            assert (tmp_path / f"killed{n}" / name).stat().st_mtime_ns == when
