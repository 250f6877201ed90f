"""Every real data set here, by the command a user types: counts, and every mask bit for bit."""

import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
import tensorflow as tf
from PIL import Image

from data_pipeline import digits, schema, shards

_ROOT = pathlib.Path(__file__).parents[2]
_DATA = _ROOT.parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _DATA.exists(), reason="needs ../shared/data"),
]


def _run(module, *arguments):
    subprocess.run(
        [sys.executable, "-m", f"data_pipeline.{module}", *arguments], cwd=_ROOT, check=True
    )


def _convert(converter, folder, *arguments):
    """Converts, inspects every split from end to end, and returns the manifest's splits."""
    _run(f"convert_{converter}", f"--output_dir={folder}", *arguments)
    splits = shards.read_manifest(str(folder))["splits"]
    for split, entry in splits.items():
        _run("inspect_main", f"--shards={folder}/{split}-*", f"--json={folder}/{split}.json")
        found = json.loads((folder / f"{split}.json").read_text())
        assert found["faults"] == [] and entry["skipped"] == []
        assert found["num_examples"] == entry["num_examples"]
        assert found["num_instances"] == entry["num_instances"]
    return splits


def _records(folder, split):
    paths = shards.list_shards(f"{folder}/{split}-*")
    for record in tf.data.TFRecordDataset(paths):
        yield record, schema.parse_example(record)


def _name(example):
    return example["name"].numpy().decode()


def _counts(splits):
    return {name: (x["num_examples"], x["num_instances"]) for name, x in splits.items()}


def test_bsds500(tmp_path):
    splits = _convert("bsds", tmp_path, f"--input_dir={_DATA}/bsds500")
    assert {name: x["num_examples"] for name, x in splits.items()} == {
        **{"train": 200, "val": 100, "test": 200}
    }
    for split, num_annotations in (("train", 1087), ("val", 546), ("test", 1063)):
        total = 0
        for record, example in _records(tmp_path, split):
            found = schema.parse_annotators(record)
            path = _DATA / "bsds500" / "groundTruth" / split / f"{_name(example)}.mat"
            cell = scipy.io.loadmat(path)["groundTruth"]
            for k in range(cell.shape[1]):
                truth = cell[0, k][0, 0]
                np.testing.assert_array_equal(found["annotator_instance"][k], truth["Segmentation"])
                np.testing.assert_array_equal(found["annotator_boundary"][k], truth["Boundaries"])
            assert len(found["annotator_instance"]) == cell.shape[1]
            total += cell.shape[1]
        assert total == num_annotations


def test_nuclei(tmp_path):
    folder = _DATA / "nuclei"
    splits = _convert(
        *("folders", tmp_path, f"--images={folder}/images", f"--labels={folder}/labels"),
        f"--split_file={folder}/index.csv",
    )
    assert {name: x["num_examples"] for name, x in splits.items()} == {"train": 518, "val": 65}
    assert sum(x["num_instances"] for x in splits.values()) == 23809
    with open(folder / "index.csv") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    for split in splits:
        for _, example in _records(tmp_path, split):
            name = _name(example)
            truth = np.asarray(Image.open(folder / "labels" / f"{name}.png"))
            np.testing.assert_array_equal(example["instance"], truth)
            picture = Image.open(folder / "images" / f"{name}.png").convert("RGB")
            np.testing.assert_array_equal(example["image"], np.asarray(picture))
            assert rows[name]["split"] == split
            assert int(rows[name]["n_inst"]) == len(np.unique(truth[truth > 0]))


def test_coco128(tmp_path):
    folder = _DATA / "coco128seg"
    splits = _convert(
        *("folders", tmp_path, f"--images={folder}/images/train2017"),
        *(f"--labels={folder}/inst_png", f"--classes_dir={folder}/cls_png"),
    )
    assert _counts(splits) == {"train": (128, 929)}
    assert splits["train"]["notes"]["no instance"] == ["000000000250", "000000000508"]
    _compare_with_folders(tmp_path, folder / "inst_png", folder / "cls_png")


def test_voc2007(tmp_path):
    folder = _DATA / "voc" / "VOC2007_seg44"
    splits = _convert("voc", tmp_path, f"--input_dir={folder}")
    assert {name: x["num_examples"] for name, x in splits.items()} == {"train": 20, "val": 24}
    assert sum(x["num_instances"] for x in splits.values()) == 115
    classes = {k for x in splits.values() for k in x["statistics"]["class_instances"]}
    assert classes == {str(k) for k in range(1, 21)}
    for split in splits:
        _compare_with_folders(
            tmp_path, folder / "SegmentationObject", folder / "SegmentationClass", split, void=255
        )


def test_sbd(tmp_path):
    splits = _convert("voc", tmp_path, f"--sbd_dir={_DATA}/voc/sbd2")
    assert _counts(splits) == {"train": (2, 10)}
    for _, example in _records(tmp_path, "train"):
        for kind, variable, key in (("inst", "GTinst", "instance"), ("cls", "GTcls", "semantic")):
            path = _DATA / "voc" / "sbd2" / kind / f"{_name(example)}.mat"
            truth = scipy.io.loadmat(path)[variable][0, 0]["Segmentation"]
            np.testing.assert_array_equal(example[key], truth)


def test_authors_pictures_of_sbd(tmp_path):
    folder = _DATA / "voc" / "author7_sbd"
    splits = _convert(
        *("folders", tmp_path, f"--images={folder}", f"--labels={folder}"),
        *(f"--classes_dir={folder}", "--image_suffix=.jpg"),
        *("--label_suffix=_inst", "--class_suffix=_cls"),
    )
    assert splits["train"]["num_examples"] == 7
    for _, example in _records(tmp_path, "train"):
        truth = scipy.io.loadmat(folder / f"{_name(example)}.mat")["gtMat"][0, 0]
        np.testing.assert_array_equal(example["instance"], truth["instMap"])
        np.testing.assert_array_equal(example["semantic"], truth["segMap"])


def test_mnist(tmp_path):
    splits = _convert("mnist", tmp_path, f"--input_dir={_DATA}/mnist")
    assert _counts(splits) == {"train": (60000, 60000), "test": (10000, 10000)}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        scans, labels = digits.load_mnist_part(str(_DATA / "mnist"), prefix)
        paths = shards.list_shards(f"{tmp_path}/{split}-*")
        records = tf.data.TFRecordDataset(paths).map(schema.parse_example, tf.data.AUTOTUNE)
        seen = np.zeros(len(scans), int)
        for example in records.as_numpy_iterator():
            k = int(example["name"].decode().split("_")[1])
            seen[k] += 1
            np.testing.assert_array_equal(example["image"][..., 0], scans[k])
            np.testing.assert_array_equal(example["instance"], scans[k] > 0)
            assert example["semantic"].max() == labels[k] + 1
        assert (seen == 1).all()


def _compare_with_folders(shards_dir, instances, classes, split="train", void=None):
    for _, example in _records(shards_dir, split):
        for folder, key in ((instances, "instance"), (classes, "semantic")):
            truth = np.asarray(Image.open(folder / f"{_name(example)}.png")).astype(int)
            truth = np.where(truth == void, -1, truth)
            np.testing.assert_array_equal(example[key], truth)
