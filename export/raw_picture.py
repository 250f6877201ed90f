"""A picture file to raw pixels in a file, in a process of its own that gives its memory back.

Pillow decodes whole pictures, 4 bytes a pixel. It needs neither TensorFlow nor this project:
  python export/raw_picture.py PICTURE RAW_FILE
writes the pixels [H, W, 3] uint8 the way `data_pipeline.picture_files.read_picture` returns them.
"""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
from PIL import ExifTags, Image, ImageOps

_BAND_ROWS = 256
_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(OverflowError, struct.error, zlib.error),
)
_ORIENTATION = ExifTags.Base.Orientation
_QUARTER_TURNS = (5, 6, 7, 8)  # of the EXIF orientations, those that swap the sides


def picture_size(path: str, max_pixels: int) -> tuple[int, int]:
    """Returns (H, W) in pixels of a picture as a viewer shows it; refuses by its head alone.

    Raises:
      ValueError: naming the file, if it is no picture, or has more than max_pixels pixels.
    """
    try:
        with _open(path) as picture:
            width, height = picture.size
            # First of all: of a PNG, Pillow decodes the pixels to find an orientation behind them.
            if width * height <= max_pixels:
                is_turned = picture.getexif().get(_ORIENTATION, 1) in _QUARTER_TURNS
    except _ERRORS as error:
        raise ValueError(_unreadable(path, error)) from error
    if width * height > max_pixels:
        raise ValueError(
            f"{path} has {width} x {height} = {width * height:,} pixels, more than the limit of "
            f"{max_pixels:,}; raise --max_pixels, or cut the picture"
        )
    return (width, height) if is_turned else (height, width)


def decode_to_file(path: str, raw_path: str) -> None:
    """Writes the pixels of a picture, row by row, by a process of its own.

    Raises:
      ValueError: naming the file, if it cannot be read or holds neither 8- nor 16-bit samples.
    """
    command = [sys.executable, os.path.abspath(__file__), path, raw_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"killed by signal {-done.returncode}"]
        raise ValueError(
            lines[-1] if done.returncode == 1 else f"{path} cannot be decoded ({lines[-1]})"
        )


def _decode(path: str, raw_path: str) -> None:
    # Of this process: Pillow looks at its limit again while it decodes.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(path) as picture:
            picture.verify()  # Pillow does not look at a PNG's checksums while it decodes.
        with Image.open(path) as picture, open(raw_path, "wb") as file:
            picture.load()
            if picture.getexif().get(_ORIENTATION, 1) != 1:
                picture = ImageOps.exif_transpose(picture)
            width, height = picture.size
            for y in range(0, height, _BAND_ROWS):
                band = picture.crop((0, y, width, min(y + _BAND_ROWS, height)))
                file.write(_pixels(path, band).tobytes())
    except _ERRORS as error:
        raise ValueError(_unreadable(path, error)) from error


def _open(path: str) -> Image.Image:
    # Pillow's own limit would come before --max_pixels, and not name it.
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    try:
        return Image.open(path)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _pixels(path: str, band: Image.Image) -> np.ndarray:
    """Returns the pixels [h, w, 3] uint8 of a band of rows: 16-bit samples keep their high byte."""
    if band.mode != "F" and not band.mode.startswith("I"):
        return np.asarray(band.convert("RGB"))
    grey = np.asarray(band)
    if grey.dtype.kind == "f" or grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{grey.dtype} samples, not of 8 or 16 bits")
    return np.repeat((grey >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def _unreadable(path: str, error: Exception) -> str:
    return f"{path} cannot be read as a picture ({error}); check the file or save it again as PNG"


if __name__ == "__main__":
    try:
        _decode(*sys.argv[1:])
    except ValueError as problem:
        sys.exit(str(problem))
