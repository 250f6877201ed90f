"""Pictures and label maps paired by name, and read bit for bit."""

import logging
import os
import re

import numpy as np
import pytest
from PIL import Image

from data_pipeline.folders import FileKind, list_pairs, read_class_names, read_pair
from data_pipeline.labelled_picture import Source

LABELS = np.array([[0, 1, 2], [5, 0, 5]], np.uint8)


@pytest.fixture
def write(tmp_path):
    """Writes files of these names below the folder; returns the folder."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".npy":
                np.save(path, LABELS)
            elif path.suffix == ".jpg":
                Image.new("RGB", (3, 2)).save(path)
            elif path.suffix in (".png", ".PNG", ".tif"):
                Image.fromarray(LABELS).save(path)
            else:
                path.write_text("")
        return tmp_path

    return write


def _kinds(root, *folders_and_suffixes):
    return [FileKind(f"{root}/{folder}", suffix) for folder, suffix in folders_and_suffixes]


def _files(root, sources):
    """Files of each source, from the folder on; a problem instead of them."""
    return {
        source.name: source.problem or [path.removeprefix(f"{root}/") for path in source.files]
        for source in sources
    }


def test_list_pairs_finds_labels_of_any_ending_in_the_same_sub_folder(write):
    root = write(
        *("images/b.jpg", "images/a.PNG", "images/x/c.d.jpg", "images/notes.txt"),
        *("labels/a.npy", "labels/b.png", "labels/x/c.d.tif", "labels/readme.md"),
    )
    sources = list_pairs(*_kinds(root, ("images", ""), ("labels", "")))
    assert list(_files(root, sources).items()) == [  # In the order of names.
        ("a", ["images/a.PNG", "labels/a.npy"]),
        ("b", ["images/b.jpg", "labels/b.png"]),
        ("c.d", ["images/x/c.d.jpg", "labels/x/c.d.tif"]),
    ]
    # Slashes at the end make no difference.
    assert sources == list_pairs(*_kinds(root, ("images/", ""), ("labels//", "")))


def test_list_pairs_of_cityscapes_names(write):
    stems = ["aachen/aachen_000001", "ulm/ulm_000002"]
    ends = ("instanceIds.png", "labelIds.png", "color.png", "polygons.json")
    root = write(
        *(f"leftImg8bit/train/{stem}_leftImg8bit.png" for stem in stems),
        *(f"gtFine/train/{stem}_gtFine_{end}" for stem in stems for end in ends),
    )
    kinds = _kinds(
        root, ("leftImg8bit/train", "_leftImg8bit"), ("gtFine/train", "_gtFine_instanceIds")
    )
    assert _files(root, list_pairs(*kinds)) == {
        f"{os.path.basename(stem)}_leftImg8bit": [
            f"leftImg8bit/train/{stem}_leftImg8bit.png",
            f"gtFine/train/{stem}_gtFine_instanceIds.png",
        ]
        for stem in stems
    }


def test_list_pairs_tells_kinds_of_one_folder_apart_by_suffix(write):
    root = write(*(f"all/{x}{end}" for x in "ab" for end in (".png", "_inst.png", "_cls.png")))
    expected = {x: [f"all/{x}.png", f"all/{x}_inst.png", f"all/{x}_cls.png"] for x in "ab"}
    for suffixes in (("", "_inst", "_cls"), (".png", "_inst.png", "_cls.png")):
        kinds = _kinds(root, *(("all", suffix) for suffix in suffixes))
        assert _files(root, list_pairs(*kinds)) == expected
    with pytest.raises(ValueError, match=r"a\.png may be of --images or --labels; tell files"):
        list_pairs(*_kinds(root, ("all", ""), ("all", "")))
    with pytest.raises(ValueError, match=r"a_inst\.png may be of --labels or --classes_dir"):
        list_pairs(*_kinds(root, ("all", ""), ("all", "_inst"), ("all", "_inst")))


def test_list_pairs_tells_kinds_of_one_folder_apart_by_ending(write):
    root = write("all/a.jpg", "all/a.png")
    assert _files(root, list_pairs(*_kinds(root, ("all", ""), ("all", ".png")))) == {
        "a": ["all/a.jpg", "all/a.png"]
    }
    assert _files(root, list_pairs(*_kinds(root, ("all", ".jpg"), ("all", "")))) == {
        "a": ["all/a.jpg", "all/a.png"]
    }


def test_list_pairs_takes_the_deeper_of_nested_folders(write):
    root = write("a.jpg", "masks/a.png")
    assert _files(root, list_pairs(FileKind(str(root)), FileKind(f"{root}/masks"))) == {
        "a": ["a.jpg", "masks/a.png"]
    }


def test_list_pairs_leaves_hidden_files_out(write):
    root = write("images/a.jpg", "images/._a.jpg", "images/.trash/b.jpg", "labels/a.png")
    assert list(_files(root, list_pairs(*_kinds(root, ("images", ""), ("labels", ""))))) == ["a"]


def test_list_pairs_names_the_mask_it_looked_for(write):
    root = write("i/x/a.jpg", "i/b.jpg", "l/b.png", "c/z.png")
    found = _files(root, list_pairs(*_kinds(root, ("i", ""), ("l", "_m"), ("c", ""))))
    assert found["a"].startswith(
        f"missing mask: {root}/i/x/a.jpg needs the label map {root}/l/x/a_m.* (.png .tif"
    )
    found = _files(root, list_pairs(*_kinds(root, ("i", ""), ("l", ""), ("c", ".png"))))
    assert found["b"] == (
        f"missing mask: {root}/i/b.jpg needs the class map {root}/c/b.png, and there is none"
    )


def test_list_pairs_names_duplicates_of_either_kind(write):
    root = write(
        *("i/a.jpg", "i/a.png", "i/x/b.jpg", "i/y/b.jpg", "i/c.jpg"),
        *("l/a.png", "l/x/b.png", "l/y/b.png", "l/c.png", "l/c.npy"),
    )
    found = _files(root, list_pairs(*_kinds(root, ("i", ""), ("l", ""))))
    rest = "have the same name; rename or remove one"
    assert found == {
        "a": f"duplicate id 'a': {root}/i/a.jpg, {root}/i/a.png {rest}",
        "b": f"duplicate id 'b': {root}/i/x/b.jpg, {root}/i/y/b.jpg {rest}",
        "c": f"{root}/l/c.npy, {root}/l/c.png are both a label map of {root}/i/c.jpg; keep one",
    }


def test_list_pairs_logs_labels_without_a_picture(write, caplog):
    root = write("i/a.jpg", "l/a.png", *(f"l/{k}.png" for k in range(5)), "c/a.png", "c/z.png")
    with caplog.at_level(logging.WARNING):
        list_pairs(*_kinds(root, ("i", ""), ("l", ""), ("c", "")))
    assert [record.getMessage() for record in caplog.records] == [
        f"5 label maps without a picture: {root}/l/0.png, {root}/l/1.png, {root}/l/2.png and 2 "
        "more",
        f"1 class maps without a picture: {root}/c/z.png",
    ]


def test_list_pairs_refuses_folders_without_pictures(write):
    root = write("i/a.jpg", "l/a.png", "empty/notes.txt")
    with pytest.raises(ValueError, match=r"empty has no picture called \* with an ending of \.png"):
        list_pairs(*_kinds(root, ("empty", ""), ("l", "")))
    with pytest.raises(ValueError, match=r"i has no picture called \*_x with an ending"):
        list_pairs(*_kinds(root, ("i", "_x"), ("l", "")))
    with pytest.raises(ValueError, match=r"--labels must be a folder, got .*/none"):
        list_pairs(*_kinds(root, ("i", ""), ("none", "")))


def test_read_pair_is_exact(write):
    root = write("a.jpg", "a.png", "a.npy")
    names = ("a.jpg", "a.png", "a.npy")
    picture = read_pair(Source("a", tuple(f"{root}/{name}" for name in names)))
    assert picture.image == (root / "a.jpg").read_bytes()
    np.testing.assert_array_equal(picture.instance, LABELS)
    np.testing.assert_array_equal(picture.semantic, LABELS)
    assert read_pair(Source("a", (f"{root}/a.jpg", f"{root}/a.png"))).semantic is None


def test_read_pair_names_a_label_map_of_another_size(write):
    root = write("a.jpg", "a.png")
    np.save(root / "b.npy", np.ones([3, 3], int))
    for names in (("a.jpg", "b.npy"), ("a.jpg", "a.png", "b.npy")):
        with pytest.raises(ValueError, match=r"b\.npy must have the size of its picture .*a\.jpg"):
            read_pair(Source("a", tuple(f"{root}/{name}" for name in names)))


def test_read_pair_renumbers_in_the_order_of_ids(write):
    root = write("a.jpg")
    np.save(root / "a.npy", [[70000, 0, -1], [3, 70000, 9]])
    source = Source("a", (f"{root}/a.jpg", f"{root}/a.npy"))
    assert read_pair(source).instance.tolist() == [[70000, 0, -1], [3, 70000, 9]]
    found = read_pair(source, is_renumbering=True).instance
    assert found.tolist() == [[3, 0, -1], [1, 3, 2]]
    np.save(root / "a.npy", np.zeros([2, 3], int))
    assert (read_pair(source, is_renumbering=True).instance == 0).all()


def test_read_pair_splits_class_and_id(write):
    root = write("a.jpg")
    np.save(root / "a.npy", [[26001, 7, 0], [26, -1, 7]])
    source = Source("a", (f"{root}/a.jpg", f"{root}/a.npy"))
    found = read_pair(source, class_index={7: 1, 26: 2}, things=(26,))
    assert found.instance.tolist() == [[26001, 0, -1], [-1, -1, 0]]
    assert found.semantic.tolist() == [[2, 1, -1], [2, -1, 1]]


def test_read_class_names_takes_a_name_a_line(tmp_path):
    path = tmp_path / "names.txt"
    for content in ("background\ncar\ntraffic light\n", "\ufeffbackground\r\ncar\r\ntraffic light"):
        path.write_bytes(content.encode())
        assert read_class_names(str(path)) == ["background", "car", "traffic light"]
    for content in ("", "a\n\nb\n", "a\nb\na\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match=re.escape(str(path)) + " must have a class name a"):
            read_class_names(str(path))
