"""One mask file an instance: both layouts found, every odd folder named."""

import logging
import re

import numpy as np
import pytest
from PIL import Image

from data_pipeline.mask_files import list_mask_files, read_mask_files

LEFT = np.array([[255, 255, 0, 0], [255, 255, 0, 0]])
INNER = np.array([[0, 0, 0, 0], [0, 255, 255, 0]])


@pytest.fixture
def write(tmp_path):
    """Writes files below the folder, masks of arrays, pictures of None; returns the folder."""

    def write(**files):
        for name, mask in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if mask is None:
                Image.new("RGB", (4, 2)).save(path)
            else:
                Image.fromarray(mask.astype(np.uint8)).save(path)
        return tmp_path

    return write


def _names(root, sources):
    return {
        source.name: source.problem or [path.removeprefix(f"{root}/") for path in source.files]
        for source in sources
    }


def test_list_mask_files_finds_a_folder_a_picture(write, caplog):
    root = write(
        **{"b/images/b.png": None, "b/masks/2.png": LEFT, "b/masks/1.png": INNER},
        **{"a/images/a.png": None, "a/masks/x.png": LEFT, "a/masks/._x.png": LEFT},
    )
    (root / "notes.txt").write_text("")
    with caplog.at_level(logging.WARNING):
        sources = list_mask_files(f"{root}/")
    assert list(_names(root, sources).items()) == [
        ("a", ["a/images/a.png", "a/masks/x.png"]),
        ("b", ["b/images/b.png", "b/masks/1.png", "b/masks/2.png"]),
    ]
    assert caplog.messages == ["1 entries without images: notes.txt"]


def test_list_mask_files_finds_masks_beside_the_pictures(write, caplog):
    root = write(
        **{"images/b.jpg": None, "images/a.png": None, "masks/a/1.png": LEFT},
        **{"masks/b/1.png": INNER, "masks/b/0.png": LEFT, "masks/z/0.png": LEFT},
    )
    with caplog.at_level(logging.WARNING):
        found = _names(root, list_mask_files(str(root)))
    assert found == {
        "a": ["images/a.png", "masks/a/1.png"],
        "b": ["images/b.jpg", "masks/b/0.png", "masks/b/1.png"],
    }
    assert caplog.messages == ["1 folders of masks without a picture: z"]


def test_list_mask_files_of_an_empty_folder_of_masks_is_no_instance(write):
    root = write(**{"a/images/a.png": None})
    (root / "a/masks").mkdir()
    (source,) = list_mask_files(str(root))
    assert not source.problem
    assert (read_mask_files(source).instance == 0).all()


def test_list_mask_files_names_what_is_missing_or_twice(write):
    root = write(
        **{"none/images/none.png": None, "two/images/1.png": None, "two/images/2.png": None},
        **{"text/images/text.png": None, "empty/masks/1.png": LEFT, "good/images/good.png": None},
        **{"good/masks/1.png": LEFT, "jpeg/images/jpeg.png": None, "jpeg/masks/1.jpg": LEFT},
    )
    (root / "empty/images").mkdir()
    found = _names(root, list_mask_files(str(root)))
    for name in ("none", "text", "jpeg"):
        assert found[name].startswith(
            f"missing mask: {root}/{name}/images/{name}.png needs the folder {root}/{name}/masks"
        )
    assert found["two"].startswith(f"duplicate id 'two': {root}/two/images/1.png and {root}/two/")
    assert found["empty"].startswith(f"{root}/empty/images has no picture")
    assert found["good"] == ["good/images/good.png", "good/masks/1.png"]
    root = write(**{"set/images/a.png": None, "set/images/a.jpg": None})
    assert list_mask_files(f"{root}/set")[0].problem.startswith("duplicate id 'a': ")


@pytest.mark.parametrize("name", ["", "images", "none"])
def test_list_mask_files_refuses_a_folder_of_another_layout(tmp_path, name):
    if name == "images":
        (tmp_path / "images").mkdir()
    folder = str(tmp_path / "none") if name == "none" else str(tmp_path)
    with pytest.raises(ValueError, match=re.escape(folder) + r" must have pictures as <id>/images"):
        list_mask_files(folder)


def test_read_mask_files_paints_the_smaller_in_front(write):
    root = write(
        **{"a/images/a.png": None, "a/masks/1.png": LEFT, "a/masks/2.png": INNER > 0},
    )
    found = read_mask_files(list_mask_files(str(root))[0])
    assert found.image == (root / "a/images/a.png").read_bytes()
    np.testing.assert_array_equal(found.instance, [[1, 1, 0, 0], [1, 2, 2, 0]])


def test_read_mask_files_names_a_last_mask_that_others_cover_together(write):
    top, bottom = (LEFT * np.array([[k], [1 - k]]) for k in (1, 0))
    root = write(
        **{"a/images/a.png": None, "a/masks/1.png": top, "a/masks/2.png": bottom},
        **{"a/masks/3.png": LEFT},
    )
    (source,) = list_mask_files(str(root))
    with pytest.raises(ValueError, match=r"3\.png is covered by smaller masks of .*a\.png"):
        read_mask_files(source)


@pytest.mark.parametrize(
    "mask, message",
    [
        (np.zeros([2, 4]), "is an empty mask: every pixel is 0"),
        (LEFT, "is covered by smaller masks of"),
        (np.ones([4, 2]), "must have the size of its picture"),
        (np.arange(8).reshape(2, 4), "holds 8 different values"),
        (np.ones([2, 4, 3]), "is a picture of mode RGB"),
    ],
)
def test_read_mask_files_names_the_mask_at_fault(write, mask, message):
    root = write(
        **{"a/images/a.png": None, "a/masks/1.png": mask, "a/masks/2.png": LEFT},
    )
    (source,) = list_mask_files(str(root))
    with pytest.raises(ValueError, match=re.escape(f"{root}/a/masks/1.png {message}")):
        read_mask_files(source)
