"""Picture files as a viewer shows them, and names for results."""

import numpy as np
import pytest
from PIL import Image

from export.pictures import list_pictures, output_stems, read_picture, require_other_folder

RGB = np.random.default_rng(1).integers(0, 256, [6, 9, 3], dtype=np.uint8)


def test_read_picture_applies_the_exif_rotation(tmp_path):
    path = str(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the viewer turns it clockwise by a quarter
    Image.fromarray(RGB).save(path, exif=exif)
    np.testing.assert_array_equal(read_picture(path), np.rot90(RGB, -1))


def test_read_picture_brings_every_mode_to_rgb(tmp_path):
    alpha = np.arange(54, dtype=np.uint8).reshape(6, 9, 1)
    grey = RGB[:, :, 0]
    as_rgb = np.repeat(grey[:, :, np.newaxis], 3, axis=-1)
    palette = Image.fromarray(grey % 4 * 80).convert("P")
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 99)
    bits = Image.fromarray(grey > 127)
    cases = {
        "alpha.png": (Image.fromarray(np.concatenate([RGB, alpha], -1)), RGB),
        "grey.png": (Image.fromarray(grey), as_rgb),
        "palette.png": (palette, np.asarray(palette.convert("RGB"))),
        "deep.png": (deep, as_rgb),
        "deep.tif": (deep, as_rgb),
        "bits.png": (bits, np.repeat((grey > 127)[:, :, np.newaxis] * np.uint8(255), 3, axis=-1)),
    }
    for name, (picture, expected) in cases.items():
        picture.save(tmp_path / name)
        found = read_picture(str(tmp_path / name))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_read_picture_refuses_spoilt_files_by_name(tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, [40, 40, 3], dtype=np.uint8)).save(
        good
    )
    whole = good.read_bytes()
    spoilt = bytearray(whole)
    spoilt[60:90] = bytes(30)
    contents = {
        "empty.png": b"",
        "text.jpg": b"hello",
        "cut.png": whole[:900],
        "bad.png": bytes(spoilt),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a picture"):
            read_picture(str(tmp_path / name))
    with pytest.raises(ValueError, match=r"none\.png cannot be read"):
        read_picture(str(tmp_path / "none.png"))


def test_read_picture_refuses_float_samples(tmp_path):
    Image.fromarray(np.full([2, 2], 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="float32 samples"):
        read_picture(str(tmp_path / "a.tif"))


def test_list_pictures_takes_file_folder_and_glob(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.PNG", "a.jpg", "notes.txt", "deep/c.png"):
        (tmp_path / name).write_bytes(b"")
    folder = str(tmp_path)
    assert list_pictures(f"{folder}/notes.txt") == [f"{folder}/notes.txt"]
    assert list_pictures(folder) == [f"{folder}/a.jpg", f"{folder}/b.PNG"]
    assert list_pictures(f"{folder}/**/*.png") == [f"{folder}/deep/c.png"]
    with pytest.raises(FileNotFoundError, match="no picture found at"):
        list_pictures(f"{folder}/*.gif")


def test_require_other_folder_refuses_the_pictures_own(tmp_path):
    require_other_folder([f"{tmp_path}/a.png"], f"{tmp_path}/out")
    with pytest.raises(ValueError, match="must not be a folder the pictures are read from"):
        require_other_folder([f"{tmp_path}/a.png"], f"{tmp_path}/out/..")


def test_output_stems_are_distinct_and_keep_single_stems():
    paths = ["x/a.png", "x/a.jpg", "y/a.png", "y/a-2.png", "B.png", "b.png", "c.v1.png"]
    assert output_stems(paths) == ["a", "a-3", "a-4", "a-2", "B", "b-2", "c.v1"]
