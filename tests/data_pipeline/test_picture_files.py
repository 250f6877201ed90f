"""Picture files as a viewer shows them, whatever their mode, and as records hold them."""

import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from bit_flips import check_flips, small_png
from PIL import Image

from data_pipeline.picture_files import (
    read_file,
    read_for_record,
    read_picture,
    require_size_of_picture,
    size_of,
)

RGB = np.random.default_rng(1).integers(0, 256, [6, 9, 3], dtype=np.uint8)
GREY = RGB[:, :, 0]
ORIENTATION = 0x0112


def _save(path, picture, orientation=None, **options):
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
    picture.save(path, **options)
    return str(path)


def test_read_picture_applies_the_exif_rotation(tmp_path):
    path = _save(tmp_path / "a.png", Image.fromarray(RGB), 6)  # 6: a quarter clockwise.
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


def test_read_picture_says_the_same_each_time(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    told = set()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"\(of no known format\)") as caught:
            read_picture(str(tmp_path / "a.png"))
        told.add(str(caught.value))
    assert len(told) == 1


def test_read_picture_refuses_float_samples(tmp_path):
    Image.fromarray(np.full([2, 2], 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="float32 samples"):
        read_picture(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("pixels", [RGB, GREY])
@pytest.mark.parametrize("orientation", [None, 1])
def test_read_for_record_keeps_the_bytes_of_plain_files(tmp_path, name, pixels, orientation):
    path = _save(tmp_path / name, Image.fromarray(pixels), orientation)
    kept = read_for_record(path)
    assert kept == (tmp_path / name).read_bytes()
    assert size_of(kept) == (6, 9)
    # What a record's reader decodes is what a viewer shows, but for the rounding of JPEG decoders.
    decoded = tf.io.decode_png(kept, channels=3).numpy().astype(int)
    assert np.abs(decoded - read_picture(path)).mean() <= (2 if name == "a.jpg" else 0)


def test_read_for_record_gives_the_pixels_of_all_others(tmp_path):
    grey = Image.fromarray(GREY)
    cases = {
        "palette.png": grey.quantize(4),
        "alpha.png": Image.fromarray(np.dstack([RGB, GREY])),
        "grey_alpha.png": grey.convert("LA"),
        "bits.png": Image.fromarray(GREY > 127),
        "deep.png": Image.fromarray(GREY.astype(np.uint16) * 256 + 99),
        "cmyk.jpg": Image.fromarray(RGB).convert("CMYK"),
        "plain.bmp": Image.fromarray(RGB),
        "plain.tif": Image.fromarray(RGB),
    }
    paths = [_save(tmp_path / name, picture) for name, picture in cases.items()]
    paths.append(_save(tmp_path / "turned.jpg", Image.fromarray(RGB), 6))
    paths.append(_save(tmp_path / "mirrored.png", Image.fromarray(RGB), 2))
    for path in paths:
        found = read_for_record(path)
        assert isinstance(found, np.ndarray), path
        assert found.shape == ((9, 6, 3) if "turned" in path else (6, 9, 3))
        assert size_of(found) == found.shape[:2]
        np.testing.assert_array_equal(found, read_picture(path), err_msg=path)
    np.testing.assert_array_equal(read_for_record(paths[-1]), RGB[:, ::-1])


def test_read_for_record_gives_the_high_bytes_of_deep_colours(tmp_path):
    deep = tf.io.encode_png(RGB.astype(np.uint16) * 256 + 99).numpy()
    (tmp_path / "a.png").write_bytes(deep)
    np.testing.assert_array_equal(read_for_record(str(tmp_path / "a.png")), RGB)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_read_for_record_refuses_what_is_no_picture(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        read_for_record(str(tmp_path / "a.png"))


def test_read_for_record_refuses_a_cut_file_whose_pixels_it_needs(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, [40, 40, 3], dtype=np.uint8)
    path = _save(tmp_path / "turned.jpg", Image.fromarray(noise), 6)
    content = (tmp_path / "turned.jpg").read_bytes()
    (tmp_path / "turned.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"turned\.jpg cannot be read as a picture"):
        read_for_record(path)


def test_require_size_of_picture_names_both_files_and_both_sizes(tmp_path):
    path = _save(tmp_path / "a.png", Image.fromarray(RGB))
    require_size_of_picture(path, read_for_record(path), "b.png", (6, 9))
    with pytest.raises(
        ValueError, match=r"b\.png .* a\.png, 9 x 6 pixels, got 6 x 9 pix.*els$"
    ) as e:
        require_size_of_picture("a.png", read_for_record(path), "b.png", (9, 6))
    assert "EXIF" not in str(e.value)


def test_require_size_of_picture_says_if_only_the_rotation_differs(tmp_path):
    path = _save(tmp_path / "a.jpg", Image.fromarray(RGB), 6)
    picture = read_for_record(path)
    require_size_of_picture(path, picture, "b.png", (9, 6))
    with pytest.raises(ValueError, match="fits the picture as stored, before its EXIF rotation"):
        require_size_of_picture(path, picture, "b.png", (6, 9))
    with pytest.raises(ValueError, match=r"got 6 x 6 pixels$"):
        require_size_of_picture(path, picture, "b.png", (6, 6))


def test_read_file_names_what_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.bin cannot be read .*; check path and rights"):
        read_file(str(tmp_path / "none.bin"))


def test_read_picture_of_a_png_finds_every_flipped_bit(tmp_path):
    check_flips(tmp_path / "a.png", small_png(), read_picture)


def test_read_picture_warns_of_16_bits_that_become_nearly_black(tmp_path, caplog, monkeypatch):
    # Not only the first few of all that this process reads.
    monkeypatch.setattr(
        logging, "log_first_n", lambda level, text, _, *values: logging.log(level, text, *values)
    )
    full = np.linspace(0, 65535, 54).astype(np.uint16).reshape(6, 9)
    Image.fromarray(full).save(tmp_path / "full.png")
    Image.fromarray(full >> 4).save(tmp_path / "camera.png")
    assert read_picture(str(tmp_path / "full.png")).max() == 255 and not caplog.messages
    assert read_picture(str(tmp_path / "camera.png")).max() == 15
    (message,) = caplog.messages
    assert "camera.png has 16-bit samples up to 4095 only, of which 16 levels remain" in message
