"""The splits of digit scenes: disjoint scans, the right mix, each scene made by its number."""

import os

import numpy as np
import pytest
from PIL import Image

from data_pipeline import digit_shards, input_pipeline, shards
from rpe_tf.metrics.label_png import read_label_png

_SCANS = np.ones((10, 28, 28), np.float32)
_CLASSES = np.arange(10)
_IS_TEST = np.arange(10) >= 6


def _write(folder, **changes):
    settings = {
        "num_train": 6,
        "num_test": 3,
        "num_shards": 1,
        "seed": 0,
        "same_class_fraction": 0.3,
        "scene_size": 64,
        "min_digits": 1,
        "source": "test",
    }
    return digit_shards.write_digit_shards(
        str(folder), _SCANS, _CLASSES, _IS_TEST, **settings | changes
    )


def _examples(folder, split):
    paths = shards.list_shards(f"{folder}/{split}-*")
    return list(input_pipeline.evaluation_dataset(paths).as_numpy_iterator())


def test_write_digit_shards_separates_training_and_test_scans(tmp_path):
    _write(tmp_path, min_digits=5)
    seen = {
        split: {
            int(c) for example in _examples(tmp_path, split) for c in np.unique(example["semantic"])
        }
        for split in digit_shards.SPLITS
    }
    # Training scans are the digits 0..5, test scans 6..9; class = digit + 1, background 0.
    assert seen["train"] <= {0, 1, 2, 3, 4, 5, 6} and len(seen["train"]) > 3
    assert seen["test_mixed"] <= {0, 7, 8, 9, 10} and len(seen["test_mixed"]) > 2
    assert seen["test_same"] <= {0, 7, 8, 9, 10}


@pytest.mark.parametrize(
    "fraction, same_in_train", [(0.0, {False}), (1.0, {True}), (0.5, {False, True})]
)
def test_write_digit_shards_mixes_scenes_of_one_class(tmp_path, fraction, same_in_train):
    _write(tmp_path, same_class_fraction=fraction, min_digits=6, num_train=12)
    for split, expected in (
        ("train", same_in_train),
        ("test_mixed", {False}),
        ("test_same", {True}),
    ):
        # Up to six full squares of four or more classes: a mixed scene of one class has chance 4 **
        # -5.
        found = {
            len(np.unique(example["semantic"][example["semantic"] > 0])) == 1
            for example in _examples(tmp_path, split)
        }
        assert found == expected, split


def test_scene_depends_on_seed_split_and_number_alone(tmp_path):
    _write(tmp_path / "few", num_train=3)
    _write(tmp_path / "many", num_train=6)
    _write(tmp_path / "other", num_train=3, seed=1)
    few, many, other = (_examples(tmp_path / name, "train") for name in ("few", "many", "other"))
    for first, second in zip(few, many, strict=False):
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
    assert all(
        (first["image"] != second["image"]).any() for first, second in zip(few, other, strict=True)
    )
    assert [example["name"].tolist() for example in few] == [
        [b"train_000000"],
        [b"train_000001"],
        [b"train_000002"],
    ]


def test_scenes_differ_between_splits(tmp_path):
    _write(tmp_path, same_class_fraction=0.0, min_digits=5)
    train, test = (_examples(tmp_path, split)[0] for split in ("train", "test_mixed"))
    assert (train["image"] != test["image"]).any()


def test_write_digit_shards_notices_other_scans(tmp_path):
    before = _write(tmp_path)
    digit_shards.write_digit_shards(
        *(str(tmp_path), _SCANS / 2, _CLASSES, _IS_TEST),
        **{"num_train": 6, "num_test": 3, "num_shards": 1, "seed": 0, "scene_size": 64},
        **{"same_class_fraction": 0.3, "min_digits": 1, "source": "test"},
    )
    assert shards.read_manifest(str(tmp_path)) != before


def test_write_digit_shards_lists_classes_and_settings(tmp_path):
    manifest = _write(tmp_path, scene_size=128, seed=5)
    assert manifest == shards.read_manifest(str(tmp_path))
    assert manifest["classes"] == ["background"] + [f"digit_{digit}" for digit in range(10)]
    assert {name: entry["num_examples"] for name, entry in manifest["splits"].items()} == {
        "train": 6,
        "test_mixed": 3,
        "test_same": 3,
    }
    metadata = manifest["splits"]["train"]["metadata"]
    assert len(metadata.pop("scans_sha256")) == 64
    assert metadata == {
        "scene_size": 128,
        "seed": 5,
        "source": "test",
        "min_digits": 1,
        "same_class_fraction": 0.3,
    }
    assert _examples(tmp_path, "train")[0]["image"].shape == (1, 128, 128, 3)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_shards": 4}, r"num_shards must lie in \[1, 3\]"),
        ({"same_class_fraction": 1.5}, "same_class_fraction must lie in"),
        ({"min_digits": 10}, r"min_digits must lie in \[1, 9\]"),
        ({"scene_size": 32}, "scene_size must be at least 64"),
    ],
)
def test_write_digit_shards_refuses_bad_numbers_before_writing(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        _write(tmp_path, **changes)
    assert not os.listdir(tmp_path)


def test_write_pictures_and_ids_of_the_first_scenes(tmp_path):
    _write(tmp_path)
    digit_shards.write_pictures(str(tmp_path), "test_mixed", 2)
    for example in _examples(tmp_path, "test_mixed")[:2]:
        name = f"{example['name'][0].decode()}.png"
        image = np.asarray(Image.open(tmp_path / "pictures" / name))
        np.testing.assert_array_equal(image, example["image"][0])
        ids = read_label_png(str(tmp_path / "labels" / name))
        np.testing.assert_array_equal(ids, example["instance"][0])
    assert len(os.listdir(tmp_path / "labels")) == 2
