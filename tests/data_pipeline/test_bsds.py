"""BSDS500: every annotator in, every annotator out."""

import shutil

import numpy as np
import pytest
from mat_makers import write_bsds
from PIL import Image

from data_pipeline import conversion, schema
from data_pipeline.bsds import list_bsds, read_bsds


@pytest.fixture
def folder(tmp_path):
    """One picture a split, of 1, 2 and 3 annotators."""
    rng = np.random.default_rng(0)
    for num, split in enumerate(("train", "val", "test"), 1):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "groundTruth" / split).mkdir(parents=True)
        picture = rng.integers(0, 256, (5, 7, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "images" / split / f"{num}.jpg")
        write_bsds(
            tmp_path / "groundTruth" / split / f"{num}.mat",
            rng.integers(1, 400, (num, 5, 7)).astype(np.uint16),
            rng.integers(0, 2, (num, 5, 7)).astype(np.uint8),
        )
    return tmp_path


def test_bsds_comes_back_bit_for_bit(folder):
    rng = np.random.default_rng(0)
    splits = list_bsds(str(folder))
    assert list(splits) == ["train", "val", "test"]
    for num, sources in enumerate(splits.values(), 1):
        assert [source.name for source in sources] == [str(num)]
        rng.integers(0, 256, (5, 7, 3), np.uint8)
        segmentation = rng.integers(1, 400, (num, 5, 7))
        boundary = rng.integers(0, 2, (num, 5, 7))
        record = schema.encode_example(read_bsds(sources[0]), sources[0].name)
        found = schema.parse_annotators(record)
        np.testing.assert_array_equal(found["annotator_instance"], segmentation)
        np.testing.assert_array_equal(found["annotator_boundary"], boundary > 0)
        np.testing.assert_array_equal(schema.parse_example(record)["instance"], segmentation[0])


def test_list_bsds_takes_the_archive_as_it_unpacks(folder, tmp_path):
    whole = tmp_path / "archive" / "BSR" / "BSDS500"
    whole.mkdir(parents=True)
    for name in ("images", "groundTruth"):
        shutil.copytree(folder / name, whole / "data" / name)
    for start in (whole / "data", whole, whole.parent, whole.parent.parent):
        assert len(list_bsds(str(start))["test"]) == 1


def test_list_bsds_refuses_other_folders(folder, tmp_path):
    with pytest.raises(ValueError, match="must hold BSDS500's folders images and groundTruth"):
        list_bsds(str(tmp_path / "none"))
    (folder / "images" / "val" / "2.jpg").unlink()
    with pytest.raises(ValueError, match=r"images/val has no \.jpg pictures"):
        list_bsds(str(folder))


@pytest.mark.parametrize(
    "maps, message",
    [
        (None, r"1\.mat cannot be read"),
        (([np.ones((7, 5))], [np.ones((7, 5))]), r"1\.mat must have the size of its picture"),
        (([np.ones((5, 7))], [np.ones((5, 6))]), r"1\.mat must have the size of its picture"),
        (([np.full((5, 7), 0.5)], [np.ones((5, 7))]), r"1\.mat: .* whole numbers"),
        (([], []), r"1\.mat has no annotator"),
    ],
)
def test_read_bsds_names_a_bad_file(folder, maps, message):
    path = folder / "groundTruth" / "train" / "1.mat"
    path.unlink()
    if maps is not None:
        write_bsds(path, *maps)
    with pytest.raises(ValueError, match=message):
        read_bsds(list_bsds(str(folder))["train"][0])


def test_an_unreadable_mat_is_skipped_by_name(folder, tmp_path):
    (folder / "groundTruth" / "train" / "1.mat").write_bytes(b"spoilt")
    write_bsds(folder / "groundTruth" / "train" / "4.mat", [np.ones((5, 7))], [np.ones((5, 7))])
    shutil.copy(folder / "images/train/1.jpg", folder / "images/train/4.jpg")
    sources = list_bsds(str(folder))["train"]
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match=r"train/1\.mat cannot be read as a \.mat file"):
        conversion.write_split(read_bsds, sources, out, "train")
    manifest = conversion.write_split(read_bsds, sources, out, "train", on_error="skip")
    entry = manifest["splits"]["train"]
    assert entry["num_examples"] == 1
    assert [(x["name"], "1.mat cannot be read" in x["problem"]) for x in entry["skipped"]] == [
        ("1", True)
    ]
