"""Which picture files are meant, and names for results."""

import pytest

from export.pictures import list_pictures, output_stems, require_other_folder


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
