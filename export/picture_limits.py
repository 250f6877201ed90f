"""What a server lets in: sizes are read from the heads of pictures, before any is decoded."""

import io
import math
import struct
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from data_pipeline.picture_files import DECODER_ERRORS
from export.served_module import EXAMPLE_KEY
from rpe_tf.saved_model import decode_rgb

# By their first bytes, as TensorFlow tells them apart. Not by `Image.open`, whose own limit would
# come first.
_GIF = b"GIF8"
_FORMATS = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    _GIF: GifImageFile,
    b"BM": BmpImageFile,
}


def check_sizes(inputs: Mapping[str, np.ndarray], max_pixels: int) -> None:
    """Returns nothing; stops where the pictures of a request are too large, or are none.

    Args:
      inputs: of a signature of `served_module`, by name.
      max_pixels: of all pictures of the request, each padded to the largest sides among them, and
        of all frames of a GIF.

    Raises:
      ValueError: naming the picture.
    """
    for name, values in inputs.items():
        if values.ndim == 4:
            _require_few(f"{name} of {list(values.shape)}", math.prod(values.shape[:3]), max_pixels)
    sizes = []
    for where, picture in encoded_pictures(inputs):
        height, width = _size(where, picture)
        _require_few(f"{where} of {width:,} x {height:,} pixels", height * width, max_pixels)
        if picture.startswith(_GIF):
            _require_few(f"{where}, a GIF, in all frames", _frame_pixels(picture), max_pixels)
        sizes.append((height, width))
    if len(sizes) > 1:
        height, width = np.max(sizes, axis=0).tolist()
        told = f"a request of {len(sizes)} pictures, padded to {width:,} x {height:,} pixels each,"
        _require_few(told, len(sizes) * height * width, max_pixels)


def undecodable_picture(inputs: Mapping[str, np.ndarray]) -> str | None:
    """Returns where the first picture stands that TensorFlow does not decode; None without one."""
    for where, picture in encoded_pictures(inputs):
        try:
            decode_rgb(tf.constant(picture))
        except tf.errors.InvalidArgumentError:
            return where
    return None


def encoded_pictures(inputs: Mapping[str, np.ndarray]) -> list[tuple[str, bytes]]:
    """Returns the encoded pictures among the inputs, each with where it stands.

    Raises:
      ValueError: if a tf.Example is none, or holds no picture.
    """
    pictures, records = (np.ravel(inputs.get(name, ())) for name in ("image_bytes", "examples"))
    found = [(f"image_bytes[{number}]", picture) for number, picture in enumerate(pictures)]
    for number, record in enumerate(records):
        where = f"examples[{number}]"
        try:
            feature = tf.train.Example.FromString(record).features.feature[EXAMPLE_KEY]
        except DecodeError as error:
            raise ValueError(f"{where} is no tf.Example ({error})") from error
        if len(feature.bytes_list.value) != 1:
            raise ValueError(f"{where} must have one picture under {EXAMPLE_KEY}")
        found.append((where, feature.bytes_list.value[0]))
    return found


def _size(where: str, picture: bytes) -> tuple[int, int]:
    """Returns height and width, as the head of a picture says."""
    readers = [reader for start, reader in _FORMATS.items() if picture.startswith(start)]
    if not readers:
        got = "is empty" if not picture else f"begins with {picture[:8]!r}"
        raise ValueError(f"{where} must be a JPEG, PNG, BMP or GIF picture, but {got}")
    try:
        with readers[0](io.BytesIO(picture)) as opened:
            return opened.height, opened.width
    except DECODER_ERRORS as error:
        raise ValueError(f"{where} is damaged or cut off ({error})") from error


def _frame_pixels(gif: bytes) -> int:
    """Returns the pixels of all frames: TensorFlow unpacks them all, though it gives the first.

    Of a GIF that is cut off or damaged, those of the frames that can be found.
    """
    num_pixels, position = 0, 13 + _color_table_bytes(gif[10])
    # A frame, or an extension; anything else ends the file.
    while gif[position : position + 1] in (b",", b"!"):
        if gif[position] == ord("!"):
            position += 2
        elif len(gif) < position + 10:
            break
        else:
            width, height, flags = struct.unpack_from("<HHB", gif, position + 5)
            num_pixels += width * height
            position += 11 + _color_table_bytes(flags)
        # Blocks of data, each after its length, until one of length 0.
        while position < len(gif) and gif[position]:
            position += 1 + gif[position]
        position += 1
    return num_pixels


def _color_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _require_few(told: str, num_pixels: int, max_pixels: int) -> None:
    if num_pixels > max_pixels:
        raise ValueError(
            f"{told} has {num_pixels:,} pixels, more than the limit of {max_pixels:,} "
            "(--max_pixels)"
        )
