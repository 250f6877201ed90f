"""Files larger than memory: windows of them, and what Pillow reads of what was written."""

import itertools
import json

import numpy as np
import pytest
from bit_flips import small_png
from PIL import Image

from data_pipeline.picture_files import read_picture
from export import map_files
from export.map_files import MapFile, write_png, write_reduced_overlay, write_tiff
from export.prediction_files import json_list
from export.raw_picture import decode_to_file, picture_size
from export.tiling import Box
from rpe_tf.drawing import overlay

_NOISE = np.random.default_rng(0)


def _map(path, values):
    file = MapFile(str(path), values.shape, values.dtype)
    file.write(Box(0, 0, *values.shape[:2]), values)
    return file


def test_map_file_holds_what_is_written_to_windows(tmp_path):
    file = MapFile(str(tmp_path / "a.raw"), (6, 5, 3), np.uint8)
    expected = np.zeros([6, 5, 3], np.uint8)
    for box in (Box(0, 0, 2, 5), Box(1, 3, 6, 5), Box(4, 0, 5, 1)):
        values = _NOISE.integers(1, 256, [box.y_end - box.y, box.x_end - box.x, 3])
        file.write(box, values)
        expected[box.y : box.y_end, box.x : box.x_end] = values
    np.testing.assert_array_equal(file.read(Box(0, 0, 6, 5)), expected)
    np.testing.assert_array_equal(file.read(Box(1, 2, 5, 4)), expected[1:5, 2:4])
    bands = list(file.bands(4))
    assert [box for box, _ in bands] == [(0, 0, 4, 5), (4, 0, 6, 5)]
    np.testing.assert_array_equal(np.concatenate([band for _, band in bands]), expected)
    file.close()
    # Row by row, the bytes of the array.
    assert (tmp_path / "a.raw").read_bytes() == expected.tobytes()
    again = MapFile(str(tmp_path / "a.raw"), (6, 5, 3), np.uint8)
    np.testing.assert_array_equal(again.read(Box(0, 0, 6, 5)), expected)


def test_map_file_names_the_space_it_needs(tmp_path):
    with pytest.raises(OSError, match=r"needs 4000000000\.0 GB of free disk.*--output_dir"):
        MapFile(str(tmp_path / "a.raw"), (10**9, 10**9), np.int32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (600, 1), (513, 300)])
def test_written_maps_are_read_back(tmp_path, size):
    for name, dtype, write, most in (
        ("8.png", np.uint8, lambda path, ids: write_png(path, ids, np.uint8), 255),
        ("16.png", np.uint16, lambda path, ids: write_png(path, ids, np.uint16), 65534),
        ("32.tif", np.uint32, write_tiff, 2**31 - 1),
    ):
        # Runs, as labels have them, and every value once in a while.
        values = _NOISE.integers(0, most + 1, [-(-side // 7) for side in size])
        values = values.repeat(7, axis=0).repeat(7, axis=1)[: size[0], : size[1]].astype(np.int32)
        write(str(tmp_path / name), _map(tmp_path / f"{name}.raw", values))
        with Image.open(tmp_path / name) as picture:
            read = np.asarray(picture)
            assert picture.size == size[::-1]
        np.testing.assert_array_equal(read.astype(np.int64), values)
        if dtype != np.uint32:
            assert read.dtype == dtype
    assert not list(tmp_path.glob("*.tmp"))


def test_reduced_overlay_draws_means_and_middles(tmp_path, monkeypatch):
    image = _NOISE.integers(0, 256, [7, 5, 3]).astype(np.uint8)
    ids = np.zeros([7, 5], np.int32)
    ids[3, 3] = 3
    files = _map(tmp_path / "image.raw", image), _map(tmp_path / "ids.raw", ids)
    write_reduced_overlay(str(tmp_path / "a.png"), *files)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), overlay(image, ids))
    monkeypatch.setattr(map_files, "OVERLAY_PX", 4)
    write_reduced_overlay(str(tmp_path / "a.png"), *files)
    reduced = np.asarray(Image.open(tmp_path / "a.png"))
    # By 2: rows 0-1, 2-3, 4-5, 6 and columns 0-1, 2-3, 4.
    assert reduced.shape == (4, 3, 3)
    np.testing.assert_array_equal(reduced[0, 0], np.rint(image[:2, :2].mean((0, 1))))
    np.testing.assert_array_equal(reduced[3, 2], image[6, 4])
    assert (reduced[1, 1] != np.rint(image[2:4, 2:4].mean((0, 1)))).any()


def _save_all(folder):
    rgb = _NOISE.integers(0, 256, [300, 40, 3]).astype(np.uint8)
    picture = Image.fromarray(rgb)
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "plain.png")
    picture.save(folder / "strips.tif", compression="tiff_lzw")
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("P").save(folder / "palette.png")
    picture.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(_NOISE.integers(0, 65536, [300, 40]).astype(np.uint16)).save(folder / "16.png")
    Image.fromarray(_NOISE.integers(0, 65536, [300, 40]).astype(np.uint16)).save(folder / "16.tif")
    picture.convert("1").save(folder / "bits.png")


def test_decoded_files_hold_what_read_picture_returns(tmp_path):
    _save_all(tmp_path)
    for path in sorted(map(str, tmp_path.glob("*.*"))):
        expected = read_picture(path)
        assert picture_size(path, 12_000) == expected.shape[:2], path
        decode_to_file(path, f"{path}.raw")
        found = MapFile(f"{path}.raw", expected.shape, np.uint8)
        assert np.array_equal(found.read(Box(0, 0, *expected.shape[:2])), expected), path


def test_what_is_too_large_or_no_picture_is_told(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"a\.png has 30 x 20 = 600 pixels, more than the limit of"
    ):
        picture_size(str(tmp_path / "a.png"), 599)
    (tmp_path / "b.png").write_text("no picture")
    for call, argument in ((picture_size, 1000), (decode_to_file, str(tmp_path / "b.raw"))):
        with pytest.raises(ValueError, match=r"b\.png cannot be read as a picture"):
            call(str(tmp_path / "b.png"), argument)
    Image.fromarray(np.ones([4, 4], np.float32)).save(tmp_path / "c.tif")
    with pytest.raises(ValueError, match=r"c\.tif .*float32 samples, not of 8 or 16 bits"):
        decode_to_file(str(tmp_path / "c.tif"), str(tmp_path / "c.raw"))


def test_a_bomb_of_pillow_is_a_picture_here(tmp_path, monkeypatch):
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")
    assert picture_size(str(tmp_path / "a.png"), 60_000) == (200, 300)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_json_list_is_that_of_json_dumps_or_none(tmp_path):
    path = tmp_path / "a.json"
    for parts in ([], [[]], [[{"a": 1}]], [[1, "ü"], [], [{"b": [2]}, None]]):
        with json_list(str(path)) as add:
            for part in parts:
                add(iter(part))
        assert path.read_text() == json.dumps([*itertools.chain(*parts)], ensure_ascii=False) + "\n"
    with pytest.raises(OSError, match="broken"), json_list(str(path)) as add:
        add([1])
        raise OSError("broken")
    assert json.loads(path.read_text())[0] == 1 and [x.name for x in tmp_path.iterdir()] == [
        "a.json"
    ]


def test_map_file_refuses_a_file_of_another_size(tmp_path):
    path = tmp_path / "a.raw"
    path.touch()  # As left by a process that was killed before its first byte.
    MapFile(str(path), (2, 3), np.int32).close()
    assert path.stat().st_size == 24
    path.write_bytes(b"0" * 23)
    with pytest.raises(OSError, match=r"a\.raw has 23 bytes, not 24; remove it"):
        MapFile(str(path), (2, 3), np.int32)


def test_decode_to_file_names_a_png_with_a_flipped_bit_in_its_pixels(tmp_path):
    path = tmp_path / "a.png"
    content = bytearray(small_png())
    content[content.index(b"IDAT") + 12] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        decode_to_file(str(path), str(tmp_path / "a.raw"))
