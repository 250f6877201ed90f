"""Label maps of every kind, written by Pillow and tifffile and read back."""

import numpy as np
import pytest
import tifffile
from bit_flips import check_flips, small_png
from PIL import Image

from rpe_tf.metrics.label_png import read_label_map, read_label_png


def _save(path, values, mode=None):
    picture = Image.fromarray(values) if mode is None else Image.fromarray(values, mode)
    picture.save(path)
    return str(path)


def test_8_bits_void_255(tmp_path):
    labels = read_label_png(_save(tmp_path / "a.png", np.array([[0, 7], [254, 255]], np.uint8)))
    assert labels.dtype == np.int64
    assert labels.tolist() == [[0, 7], [254, -1]]


def test_16_bits_void_65535(tmp_path):
    values = np.array([[0, 255], [65534, 65535]], np.uint16)
    assert read_label_png(_save(tmp_path / "a.png", values)).tolist() == [[0, 255], [65534, -1]]


def test_palette_gives_indices(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [20, 255]], np.uint8))
    picture.putpalette(np.random.RandomState(0).randint(0, 256, 768).tolist())
    assert picture.mode == "P"
    picture.save(tmp_path / "a.png")
    assert read_label_png(str(tmp_path / "a.png")).tolist() == [[0, 1], [20, -1]]


def test_palette_of_few_bits(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
    picture.putpalette([9, 9, 9] * 4)
    picture.save(tmp_path / "a.png", bits=2)
    assert read_label_png(str(tmp_path / "a.png")).tolist() == [[0, 1], [2, 3]]


def test_1_bit(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_label_png(str(tmp_path / "a.png")).tolist() == [[1, 0]]


def _fraction(path):
    Image.fromarray(np.zeros((2, 2), np.float32)).save(path, format="TIFF")


def _colour(path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)


def _jpeg(path):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path, format="JPEG")


def _spoilt(path):
    Image.fromarray(np.arange(10000, dtype=np.uint16).reshape(100, 100)).save(path)
    path.write_bytes(path.read_bytes()[:150])


def _text(path):
    path.write_text("no picture")


@pytest.mark.parametrize(
    "write, words",
    [
        (_fraction, "got TIFF of mode F"),
        (_colour, "got PNG of mode RGB"),
        (_jpeg, "got JPEG"),
        (_spoilt, "cannot be read as a label map"),
        (_text, "cannot be read as a label map"),
    ],
)
def test_refuses_and_names_the_file(tmp_path, write, words):
    write(tmp_path / "odd.png")
    with pytest.raises(ValueError, match=rf"odd\.png.*{words}"):
        read_label_png(str(tmp_path / "odd.png"))


def test_refuses_grey_of_few_bits(tmp_path):
    import struct
    import zlib

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 2, 1, 4, 0, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\x1f")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(ValueError, match="grey of 4 bits"):
        read_label_png(str(tmp_path / "a.png"))


def test_every_flipped_bit_is_found(tmp_path):
    check_flips(tmp_path / "a.png", small_png(), read_label_png)


@pytest.mark.parametrize("dtype, void", [(np.uint8, 255), (np.uint16, 65535), (np.uint32, None)])
def test_read_label_map_of_tiff(tmp_path, dtype, void):
    values = np.array([[0, 7], [254, np.iinfo(dtype).max]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    last = -1 if void else 2**32 - 1
    assert read_label_map(str(tmp_path / "a.tif")).tolist() == [[0, 7], [254, last]]


@pytest.mark.parametrize(
    "values, message",
    [
        (np.zeros([2, 2], np.float32), "must have one channel .* got float32"),
        (np.zeros([2, 2, 3], np.uint8), r"of shape \[2, 2, 3\]"),
        (np.array([[0, -1]], np.int32), "has numbers below 0"),
    ],
)
def test_read_label_map_refuses_other_tiff(tmp_path, values, message):
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(ValueError, match=rf"a\.tif .*{message}|a\.tif {message}"):
        read_label_map(str(tmp_path / "a.tif"))


def test_read_label_map_names_what_is_no_tiff_and_reads_png(tmp_path):
    (tmp_path / "a.tif").write_text("no picture")
    with pytest.raises(ValueError, match=r"a\.tif cannot be read as a label map"):
        read_label_map(str(tmp_path / "a.tif"))
    path = _save(tmp_path / "a.png", np.array([[3, 255]], np.uint8))
    assert read_label_map(path).tolist() == [[3, -1]]
