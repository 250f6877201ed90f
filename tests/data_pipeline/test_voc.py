"""PASCAL VOC and SBD: the lists' algebra, palettes, MATLAB objects."""

import numpy as np
import pytest
from mat_makers import write_sbd
from PIL import Image

from data_pipeline import schema
from data_pipeline.voc import CLASS_NAMES, augmented_train, list_voc, read_voc

_OBJECTS = np.array([[0, 1, 1, 255], [2, 2, 0, 255]], np.uint8)
_CLASSES = np.array([[0, 15, 15, 255], [7, 7, 0, 255]], np.uint8)


def _save_palette(path, labels):
    picture = Image.fromarray(labels)
    picture.putpalette(np.random.default_rng(0).permutation(768).astype(np.uint8).tobytes())
    picture.save(path)


@pytest.fixture
def voc(tmp_path):
    """Pictures a, b in train and c in val."""
    folder = tmp_path / "VOC2012"
    for name in ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (4, 2)).save(folder / "JPEGImages" / f"{name}.jpg")
        _save_palette(folder / "SegmentationObject" / f"{name}.png", _OBJECTS)
        _save_palette(folder / "SegmentationClass" / f"{name}.png", _CLASSES)
    (folder / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("c\n")
    return folder


@pytest.fixture
def sbd(tmp_path):
    """Pictures b, c, d in train and e in val: b and c are VOC's too."""
    folder = tmp_path / "dataset"
    for name in ("img", "inst"):
        (folder / name).mkdir(parents=True)
    for name in "bcde":
        Image.new("RGB", (4, 2)).save(folder / "img" / f"{name}.jpg")
        write_sbd(folder / "inst" / f"{name}.mat", np.where(_OBJECTS == 255, 0, _OBJECTS), [15, 7])
    (folder / "train.txt").write_text("b\nc\nd\n")
    (folder / "val.txt").write_text("e\n")
    return folder


def _names(splits):
    return {split: [source.name for source in sources] for split, sources in splits.items()}


def test_list_voc_takes_the_lists_of_what_is_given(voc, sbd):
    assert _names(list_voc(str(voc), None)) == {"train": ["a", "b"], "val": ["c"]}
    assert _names(list_voc(None, str(sbd))) == {"train": ["b", "c", "d"], "val": ["e"]}
    both = list_voc(str(voc), str(sbd))
    assert _names(both) == {"train": ["a", "b", "d", "e"], "val": ["c"]}
    # VOC's own labels where it has some.
    assert [source.details for source in both["train"]] == ["voc", "voc", "sbd", "sbd"]
    for name in ("train", "val"):
        (sbd / f"{name}.txt").unlink()
    assert _names(list_voc(None, str(sbd))) == {"train": ["b", "c", "d", "e"]}


def test_augmented_train_of_the_real_numbers():
    # VOC 2012: 1,464 train, 1,449 val. SBD: 11,355 pictures, of which 9,118 are new, 1,134 are in
    # VOC's train and 1,103 in its val (counted in the published lists): 9,118 + 1,464 = 10,582.
    voc_train = [f"t{k}" for k in range(1464)]
    voc_val = [f"v{k}" for k in range(1449)]
    sbd = [f"s{k}" for k in range(9118)] + voc_train[:1134] + voc_val[:1103]
    assert len(sbd) == 11355
    train = augmented_train(voc_train, voc_val, sbd)
    assert len(train) == 10582 and train == sorted(set(train))
    assert not set(train) & set(voc_val) and set(voc_train) <= set(train)


def test_read_voc_reads_palettes_with_void(voc):
    source = list_voc(str(voc), None)["train"][0]
    found = schema.parse_example(schema.encode_example(read_voc(source), "a"))
    np.testing.assert_array_equal(found["instance"], [[0, 1, 1, -1], [2, 2, 0, -1]])
    np.testing.assert_array_equal(found["semantic"], [[0, 15, 15, -1], [7, 7, 0, -1]])


def test_read_voc_gives_sbd_s_objects_their_classes(sbd):
    source = list_voc(None, str(sbd))["val"][0]
    found = schema.parse_example(schema.encode_example(read_voc(source), "e"))
    np.testing.assert_array_equal(found["instance"], [[0, 1, 1, 0], [2, 2, 0, 0]])
    np.testing.assert_array_equal(found["semantic"], [[0, 15, 15, 0], [7, 7, 0, 0]])
    assert CLASS_NAMES[15] == "person" and CLASS_NAMES[7] == "car" and len(CLASS_NAMES) == 21


def test_list_voc_refuses(voc, sbd, tmp_path):
    with pytest.raises(ValueError, match="--input_dir, --sbd_dir or both"):
        list_voc(None, None)
    with pytest.raises(ValueError, match=r"Segmentation/train\.txt cannot be read"):
        list_voc(str(tmp_path), None)
    with pytest.raises(ValueError, match="must hold SBD's folders"):
        list_voc(None, str(tmp_path))
    for text in ("../a\n", "/etc/a\n", "..\n", " \n"):
        (voc / "ImageSets/Segmentation/val.txt").write_text(text)
        with pytest.raises(ValueError, match=r"val\.txt must have a picture's name a line"):
            list_voc(str(voc), None)


def test_read_voc_names_a_bad_file(voc, sbd):
    (voc / "SegmentationObject/a.png").unlink()
    _save_palette(voc / "SegmentationClass/b.png", _CLASSES.T)
    first, second = list_voc(str(voc), None)["train"]
    with pytest.raises(ValueError, match=r"SegmentationObject/a\.png cannot be read"):
        read_voc(first)
    with pytest.raises(ValueError, match=r"SegmentationClass/b\.png must have the size of its pic"):
        read_voc(second)
    write_sbd(sbd / "inst" / "e.mat", np.where(_OBJECTS == 255, 3, _OBJECTS), [15, 7])
    with pytest.raises(ValueError, match=r"e\.mat has objects 0 to 3, but classes of 2"):
        read_voc(list_voc(None, str(sbd))["val"][0])
