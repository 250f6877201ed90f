"""Sizes told from heads, before anything is decoded."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.picture_limits import check_sizes, encoded_pictures, undecodable_picture
from rpe_tf.saved_model import decode_rgb


def _file(width, height, kind, **options):
    file = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 9)).save(file, kind, **options)
    return file.getvalue()


def _bytes(*pictures):
    values = np.empty(len(pictures), object)
    values[:] = pictures
    return {"image_bytes": values}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
def test_check_sizes_has_a_sharp_limit_in_every_format(kind):
    inputs = _bytes(_file(30, 20, kind))
    check_sizes(inputs, 600)
    with pytest.raises(
        ValueError,
        match=r"image_bytes\[0\] of 30 x 20 pixels has 600 pixels, more than the limit of 599",
    ):
        check_sizes(inputs, 599)


def test_check_sizes_counts_what_padding_takes():
    # 3 pictures, each padded to 10 × 20.
    inputs = _bytes(_file(10, 2, "PNG"), _file(1, 20, "PNG"), _file(1, 1, "PNG"))
    check_sizes(inputs, 600)
    with pytest.raises(ValueError, match="3 pictures, padded to 10 x 20 pixels each, has 600"):
        check_sizes(inputs, 599)
    image = {"image": np.zeros([3, 20, 10, 3], np.uint8)}
    check_sizes(image, 600)
    with pytest.raises(ValueError, match=r"image of \[3, 20, 10, 3\] has 600 pixels"):
        check_sizes(image, 599)


def test_check_sizes_counts_every_frame_of_a_gif():
    frames = [Image.new("L", (20, 10), grey) for grey in (0, 90, 200)]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    check_sizes(_bytes(gif.getvalue()), 600)
    with pytest.raises(ValueError, match="a GIF, in all frames has 600 pixels"):
        check_sizes(_bytes(gif.getvalue()), 599)
    # A second frame of 60000 × 60000 behind a small one, where no head tells of it.
    small = _file(2, 2, "GIF").removesuffix(b";")
    large = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x01\x00\x00;"
    for end in (b"", b"!\xf9\x04\x00\x00\x00\x00\x00"):
        with pytest.raises(ValueError, match="in all frames has 3,600,000,004 pixels"):
            check_sizes(_bytes(small + end + large), 10**9)


@pytest.mark.parametrize("num_bytes", range(6, 40, 3))
def test_check_sizes_of_a_gif_that_is_cut_off_leaves_it_to_the_decoder(num_bytes):
    cut = _file(2, 2, "GIF")[:num_bytes]
    try:
        check_sizes(_bytes(cut), 600)
    except ValueError as error:
        assert "damaged or cut off" in str(error)


def test_bad_pictures_are_named():
    good = _file(8, 8, "PNG")
    for bad, message in [
        (b"", r"image_bytes\[1\] must be a JPEG, PNG, BMP or GIF picture, but is empty"),
        (b"text", r"image_bytes\[1\] must be a JPEG, .* but begins with b'text'"),
        (good[:20], r"image_bytes\[1\] is damaged or cut off"),
        (b"\xff\xd8\xff", r"image_bytes\[1\] is damaged or cut off"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_sizes(_bytes(good, bad), 600)
    assert undecodable_picture(_bytes(good, good)) is None
    assert undecodable_picture(_bytes(good, good[:-30])) == "image_bytes[1]"
    # What is let in, TensorFlow reads.
    assert decode_rgb(tf.constant(good)).shape == (8, 8, 3)


def test_pictures_in_examples_are_looked_at():
    def example(*values):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        features = tf.train.Features(feature={"image/encoded": feature})
        return tf.train.Example(features=features).SerializeToString()

    png = _file(30, 20, "PNG")
    inputs = {"examples": np.array([example(png)], object)}
    assert encoded_pictures(inputs) == [("examples[0]", png)]
    with pytest.raises(ValueError, match=r"examples\[0\] of 30 x 20 pixels has 600"):
        check_sizes(inputs, 599)
    for bad, message in [
        (b"\xff", r"examples\[0\] is no tf.Example"),
        (example(), r"examples\[0\] must have one picture under image/encoded"),
        (example(png, png), r"examples\[0\] must have one picture"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_sizes({"examples": np.array([bad], object)}, 600)
