"""Picture files: their pixels, the way a viewer shows them, whatever their mode and format."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")

# What Pillow's decoders raise on files that are cut off, spoilt, or far too large.
DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(OverflowError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
# Where a PNG file says how many bits its samples have.
PNG_DEPTH_BYTE = 24
# Cameras of 12 bits and less store as little in files of 16: a person sees black.
_FEW_LEVELS = 32
# By format, the modes in which the bytes of a file and the pixels a viewer shows are the same.
_PLAIN_MODES = {"JPEG": ("RGB", "L"), "PNG": ("RGB", "L")}


def read_picture(path: str) -> np.ndarray:
    """Returns the pixels [H, W, 3] uint8 of a picture file, the way a viewer shows them.

    The EXIF rotation is applied, alpha is dropped, grey and palettes become RGB, 16-bit samples
    keep their high byte (the log warns of the first few that so become nearly black); of an
    animation the first frame.

    Raises:
      ValueError: naming the file, if it cannot be read as a picture or holds neither 8- nor
        16-bit samples.
    """
    return decode_picture(path, read_file(path))


def decode_picture(path: str, content: bytes) -> np.ndarray:
    """Returns the pixels [H, W, 3] uint8 of the content of a picture file, as `read_picture`.

    Raises:
      ValueError: as `read_picture`, naming the path.
    """
    return _upright_pixels(path, content)


def read_for_record(path: str) -> bytes | np.ndarray:
    """Returns a picture as a record holds it: the file's own bytes where these show the same.

    That is a JPEG or PNG of 8-bit grey or RGB without rotation; of anything else the pixels of
    `read_picture`. Whether the bytes can be decoded is left to who encodes the record.

    Raises:
      ValueError: as `read_picture`.
    """
    return content_for_record(path, read_file(path))


def content_for_record(path: str, content: bytes) -> bytes | np.ndarray:
    """Returns what a record holds of the content of a picture file, as `read_for_record`.

    Raises:
      ValueError: as `read_picture`, naming the path.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            is_upright = picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
            is_plain = is_upright and picture.mode in _PLAIN_MODES.get(picture.format, ())
            # A grey PNG of 1, 2 or 4 bits has mode L too: only 8 bits are sure to decode alike.
            is_plain = is_plain and (picture.format == "JPEG" or content[PNG_DEPTH_BYTE] == 8)
    except DECODER_ERRORS as error:
        raise ValueError(_unreadable(path, error)) from error
    return content if is_plain else _upright_pixels(path, content)


def size_of(picture: bytes | np.ndarray) -> tuple[int, int]:
    """Returns (H, W) in pixels of what `read_for_record` returned; of a file reads the head."""
    return _stored_size(picture) if isinstance(picture, bytes) else picture.shape[:2]


def require_size_of_picture(
    picture_path: str, picture: bytes | np.ndarray, label_path: str, size: tuple[int, int]
) -> None:
    """Returns nothing; stops where a label map has not the size of its picture.

    Args:
      picture_path: the picture's file.
      picture: what `read_for_record` returned for it.
      label_path: the label map's file.
      size: of the label map, (H, W) in pixels.

    Raises:
      ValueError: the sizes differ; the message names both files, and says if the label map has the
        size the picture had before its EXIF rotation.
    """
    expected = size_of(picture)
    if tuple(size) == expected:
        return
    message = (
        f"{label_path} must have the size of its picture {picture_path}, {_described(expected)}, "
        f"got {_described(size)}"
    )
    if isinstance(picture, np.ndarray) and tuple(size) == _stored_size(read_file(picture_path)):
        message += (
            "; it fits the picture as stored, before its EXIF rotation: rotate the label map like "
            "the picture, or remove the EXIF orientation of the picture"
        )
    raise ValueError(message)


def read_file(path: str) -> bytes:
    """Returns the content of a file, from any file system TensorFlow knows.

    Raises:
      ValueError: naming the file, if there is none or it cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise ValueError(
            f"{path} cannot be read ({error.message}); check path and rights"
        ) from error


def open_sound(content: bytes) -> Image.Image:
    """Returns the picture in the content of a file, opened, checksums of PNG found to be right.

    Pillow does not look at those of pixels while it decodes them.

    Raises:
      DECODER_ERRORS: if it is spoilt.
    """
    with Image.open(io.BytesIO(content)) as picture:
        picture.verify()
    return Image.open(io.BytesIO(content))


def _upright_pixels(path: str, content: bytes) -> np.ndarray:
    try:
        with open_sound(content) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
    except DECODER_ERRORS as error:
        raise ValueError(_unreadable(path, error)) from error
    if upright.mode == "F" or upright.mode.startswith("I"):
        return _grey_16_bit(path, np.asarray(upright))
    return np.asarray(upright.convert("RGB"))


def _stored_size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as picture:
        return picture.height, picture.width


def _described(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"


def _grey_16_bit(path: str, grey: np.ndarray) -> np.ndarray:
    if grey.dtype.kind == "f" or grey.min() < 0 or grey.max() > 65535:
        raise ValueError(
            f"{path} holds {grey.dtype} samples from {grey.min()} to {grey.max()}; save it with 8 "
            "or 16 bits a sample"
        )
    if 0 < grey.max() < _FEW_LEVELS * 256:
        logging.log_first_n(
            logging.WARNING,
            "%s has 16-bit samples up to %d only, of which %d levels remain in 8 bits; bring such "
            "pictures to the range 0 to 65535 first",
            *(3, path, grey.max(), (int(grey.max()) >> 8) + 1),
        )
    return np.repeat((grey >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def _unreadable(path: str, error: Exception) -> str:
    # Pillow names an object in memory, so that no two runs would say the same.
    reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
    return f"{path} cannot be read as a picture ({reason}); check the file or save it again as PNG"
