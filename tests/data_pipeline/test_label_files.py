"""Label maps from files: every coding bit for bit, every doubt an error that names the file."""

import re
import zlib

import numpy as np
import pytest
from bit_flips import check_flips, small_png
from PIL import Image

from data_pipeline.label_files import read_label_map, read_mask

# Ids that fill a byte up to the void of 8 bits, and beyond.
SMALL = np.array([[0, 1, 2], [254, 7, 0]])
LARGE = np.array([[0, 255, 256], [65534, 7, 0]])


def _png(path, labels, dtype):
    Image.fromarray(labels.astype(dtype)).save(path)
    return str(path)


def _npy(path, labels):
    np.save(path, labels)
    return str(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.bmp"])
def test_read_label_map_of_8_bits_is_exact_and_255_void(tmp_path, name):
    found = read_label_map(_png(tmp_path / name, SMALL, np.uint8))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, SMALL)
    void = np.where(SMALL == 7, 255, SMALL)
    found = read_label_map(_png(tmp_path / name, void, np.uint8))
    np.testing.assert_array_equal(found, np.where(SMALL == 7, -1, SMALL))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_read_label_map_of_16_bits_is_exact_and_65535_void(tmp_path, name):
    void = np.where(LARGE == 7, 65535, LARGE)
    found = read_label_map(_png(tmp_path / name, void, np.uint16))
    np.testing.assert_array_equal(found, np.where(LARGE == 7, -1, LARGE))


def test_read_label_map_of_32_bits_takes_minus_1_as_void(tmp_path):
    labels = np.array([[0, 255, 65535], [-1, 2**31 - 1, 1]])
    for path in (
        _png(tmp_path / "a.tif", labels, np.int32),
        _npy(tmp_path / "a.npy", labels.astype(np.int32)),
        _npy(tmp_path / "b.npy", labels),
        _npy(tmp_path / "c.npy", labels.astype(np.float64)),
    ):
        np.testing.assert_array_equal(read_label_map(path), labels)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1"])
def test_read_label_map_of_npy_has_the_void_of_its_type_in_any_byte_order(tmp_path, dtype):
    labels = np.array([[0, 3, np.iinfo(dtype).max]], dtype)
    np.testing.assert_array_equal(read_label_map(_npy(tmp_path / "a.npy", labels)), [[0, 3, -1]])


def test_read_label_map_of_big_endian_tiff_has_void(tmp_path):
    # The least a TIFF needs: one strip of 1 x 2 grey samples of 16 bits, big-endian.
    tags = {256: 2, 257: 1, 258: 16, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: 4}
    entries = b"".join(
        key.to_bytes(2, "big") + b"\0\3\0\0\0\1" + value.to_bytes(2, "big") + b"\0\0"
        for key, value in tags.items()
    )
    content = b"MM\0*\0\0\0\x08" + len(tags).to_bytes(2, "big") + entries + bytes(4)
    assert len(content) == 122  # Where the strip starts.
    (tmp_path / "a.tif").write_bytes(content + b"\xff\xff\1\2")
    np.testing.assert_array_equal(read_label_map(str(tmp_path / "a.tif")), [[-1, 258]])


def test_read_label_map_of_a_palette_gives_indices_not_colours(tmp_path):
    picture = Image.fromarray(SMALL.astype(np.uint8), "L").convert("P")
    picture.putpalette([(3 * k) % 256 for k in range(768)])
    picture.putdata(SMALL.ravel().tolist())
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(str(tmp_path / "a.png")), SMALL)


def test_read_label_map_of_palettes_of_few_bits_is_exact(tmp_path):
    labels = np.array([[0, 1, 2, 3]], np.uint8)
    picture = Image.new("P", (4, 1))
    picture.putpalette([0, 0, 0, 9, 9, 9, 99, 9, 9, 255, 0, 0])
    picture.putdata(labels.ravel().tolist())
    picture.save(tmp_path / "a.png", bits=2)
    assert (tmp_path / "a.png").read_bytes()[24] == 2
    np.testing.assert_array_equal(read_label_map(str(tmp_path / "a.png")), labels)


def test_read_label_map_of_one_bit_is_0_and_1(tmp_path):
    path = _png(tmp_path / "a.png", np.array([[0, 1, 1]]), bool)
    np.testing.assert_array_equal(read_label_map(path), [[0, 1, 1]])
    path = _npy(tmp_path / "a.npy", np.array([[False, True]]))
    np.testing.assert_array_equal(read_label_map(path), [[0, 1]])


def test_read_label_map_takes_another_void(tmp_path):
    path = _png(tmp_path / "a.png", np.array([[0, 9, 255]]), np.uint8)
    np.testing.assert_array_equal(read_label_map(path, num_void=9), [[0, -1, 255]])


@pytest.mark.parametrize("channels", [3, 4])
def test_read_label_map_refuses_colours(tmp_path, channels):
    path = _png(tmp_path / "a.png", np.ones([2, 2, channels]), np.uint8)
    with pytest.raises(ValueError, match=r"a\.png is a picture of mode RGBA?; a label map has one"):
        read_label_map(path)


def test_read_label_map_refuses_fractions_from_a_picture(tmp_path):
    path = _png(tmp_path / "a.tif", np.ones([2, 2]), np.float32)
    with pytest.raises(ValueError, match=r"a\.tif is a picture of mode F; "):
        read_label_map(path)


def test_read_label_map_refuses_grey_of_few_bits(tmp_path):
    path = tmp_path / "a.png"
    _png(path, np.ones([1, 2]), np.uint8)
    # Pillow writes none; the depth is patched in, with the checksum of the head it changes.
    content = bytearray(path.read_bytes())
    content[24] = 4
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png .*grey of 4 bits, .* save it with 8 or 16"):
        read_label_map(str(path))


def test_read_label_map_refuses_several_pictures_in_one_file(tmp_path):
    pages = [Image.fromarray(SMALL.astype(np.uint8)) for _ in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"a\.tif .*it holds 2 pictures"):
        read_label_map(str(tmp_path / "a.tif"))


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.array([[0.0, np.nan]]), "holds NaN or infinity at 1 pixels"),
        (np.array([[np.inf, np.nan]]), "holds NaN or infinity at 2 pixels"),
        (np.array([[0.5, 1.0]]), "holds fractions"),
        (np.zeros([2, 2, 1], int), "holds an array of shape (2, 2, 1)"),
        (np.zeros([0, 2], int), "holds an array of shape (0, 2)"),
        (np.array([["a"]]), "holds <U1; a label map has one channel"),
        (np.array([[None]]), "cannot be read as an array"),
        (np.array([[-2, 0]]), "label ids must lie in [-1, 2147483647], got -2 to 0"),
        (np.array([[2**31]]), "label ids must lie in [-1, 2147483647], got 2147483648 to 2"),
        (np.array([[2**64 - 1]], np.uint64), "label ids must lie in"),
        (np.array([[1e30]]), "label ids must lie in"),
    ],
)
def test_read_label_map_names_what_is_wrong_with_an_array(tmp_path, labels, message):
    path = _npy(tmp_path / "a.npy", labels)
    with pytest.raises(ValueError, match=re.escape(path) + ".*" + re.escape(message)):
        read_label_map(path)


def test_read_label_map_names_spoilt_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 200, [40, 40])
    whole = (tmp_path / "a.png", tmp_path / "a.npy")
    _png(whole[0], noise, np.uint8), _npy(whole[1], noise)
    for path in whole:
        content = path.read_bytes()
        for part in (content[: len(content) // 2], content[:9], b"hello", b""):
            path.write_bytes(part)
            with pytest.raises(ValueError, match=re.escape(str(path)) + " cannot be read as a"):
                read_label_map(str(path))
    with pytest.raises(ValueError, match=r"none\.png cannot be read"):
        read_label_map(str(tmp_path / "none.png"))


@pytest.mark.parametrize("white", [1, 128, 255])
def test_read_mask_takes_any_number_for_the_instance(tmp_path, white):
    path = _png(tmp_path / "a.png", np.array([[0, white], [0, 0]]), np.uint8)
    found = read_mask(path)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, [[False, True], [False, False]])


def test_read_mask_of_one_value(tmp_path):
    for white in (0, 255):
        path = _png(tmp_path / "a.png", np.full([2, 2], white), np.uint8)
        assert (read_mask(path) == (white > 0)).all()


def test_read_mask_refuses_what_has_more_values_than_two(tmp_path):
    path = _png(tmp_path / "a.png", np.array([[0, 1, 2]]), np.uint8)
    with pytest.raises(ValueError, match=r"a\.png holds 3 different values, .*; a mask has two"):
        read_mask(path)
    for low, high in ((1, 2), (-1, 0)):
        path = _npy(tmp_path / "a.npy", np.array([[low, high]]))
        with pytest.raises(
            ValueError, match=rf"a\.npy holds 2 .* from {low} to {high}; a mask has"
        ):
            read_mask(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_read_label_map_of_a_png_finds_every_flipped_bit(tmp_path, dtype):
    check_flips(tmp_path / "a.png", small_png(dtype), read_label_map)


def test_read_label_map_refuses_an_array_that_is_not_all_of_its_file(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, SMALL.astype(np.int32))
    whole = path.read_bytes()
    for old, new in ((b"'<i4'", b"'<i2'"), (b"(2, 3)", b"(2, 2)")):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match=r"a\.npy holds more than its array"):
            read_label_map(str(path))


@pytest.mark.parametrize("head", [b"\x00", b"{'descr': '<i4'", b"{'shape': (2, 3"])
def test_read_label_map_names_an_array_with_a_spoilt_head(tmp_path, head):
    path = tmp_path / "a.npy"
    np.save(path, SMALL)
    path.write_bytes(path.read_bytes()[:10] + head.ljust(118) + b"\0" * 48)
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as an array"):
        read_label_map(str(path))


def test_read_label_map_runs_no_pickle(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([[1, None]], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as an array .*allow_pickle=False"):
        read_label_map(str(path))


def test_read_label_map_names_a_png_without_pixels(tmp_path):
    path = tmp_path / "a.png"
    content = small_png()
    start = content.index(b"IDAT") - 4
    path.write_bytes(content[:start] + content[-12:])
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a label map"):
        read_label_map(str(path))
