"""Maps and pictures larger than memory: raw files read and written by windows, and what is made
of them, PNG, TIFF and a reduced overlay, band by band."""

import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image

from export.prediction_files import write_whole
from export.tiling import Box
from rpe_tf.drawing import overlay

# Rows or, of a TIFF, sides of the pieces that are handled at a time.
_BAND_PX = 256
# Of the longer side of an overlay; a viewer opens no picture of 4e8 pixels.
OVERLAY_PX = 4096


class MapFile:
    """An array [H, W] or [H, W, C] in a file, of which only windows are in memory.

    Its bytes are the array's own, row by row. Not a memory map: the pages of one count as memory of
    the process for as long as the system likes.
    """

    def __init__(self, path: str, shape: tuple[int, ...], dtype: type) -> None:
        """Opens the file, made of zeros if absent.

        Raises:
          OSError: naming the bytes needed, if the disk has not enough; or if a file that is there
            holds another number of bytes.
        """
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self._pixel_bytes = self.dtype.itemsize * int(np.prod(shape[2:], dtype=np.int64))
        size = self.shape[0] * self.shape[1] * self._pixel_bytes
        there = os.path.getsize(path) if os.path.exists(path) else 0
        if not there:
            require_space(os.path.dirname(path), size)
        elif there != size:
            raise OSError(f"{path} has {there:,} bytes, not {size:,}; remove it and start again")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.truncate(self._file, size)

    def read(self, box: Box) -> np.ndarray:
        """Returns the values of a window, [h, w] or [h, w, C]."""
        num_bytes = (box.x_end - box.x) * self._pixel_bytes
        rows = [os.pread(self._file, num_bytes, self._offset(y, box.x)) for y in _rows(box)]
        values = np.frombuffer(bytearray().join(rows), self.dtype)
        return values.reshape(box.y_end - box.y, box.x_end - box.x, *self.shape[2:])

    def write(self, box: Box, values: np.ndarray) -> None:
        """Writes the values of a window, [h, w] or [h, w, C]."""
        values = np.ascontiguousarray(values, self.dtype)
        for y, row in zip(_rows(box), values, strict=True):
            os.pwrite(self._file, row, self._offset(y, box.x))

    def bands(self, num_rows: int = _BAND_PX) -> Iterator[tuple[Box, np.ndarray]]:
        """Yields all rows in order, num_rows at a time, each with where they are."""
        height, width = self.shape[:2]
        for y in range(0, height, num_rows):
            box = Box(y, 0, min(y + num_rows, height), width)
            yield box, self.read(box)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _offset(self, y: int, x: int) -> int:
        return (y * self.shape[1] + x) * self._pixel_bytes


def require_space(folder: str, num_bytes: int) -> None:
    """Returns nothing; raises OSError, naming them, if the disk of folder has not that many."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise OSError(
            f"{folder} needs {num_bytes / 1e9:.1f} GB of free disk, there are {free / 1e9:.1f}; "
            "free some, or choose another --output_dir"
        )


def write_png(path: str, values: MapFile, dtype: type) -> None:
    """Writes a map [H, W] as a grey PNG of 8 or 16 bits, band by band.

    Pillow would need the picture in memory, twice.

    Args:
      path: of the PNG.
      values: numbers that dtype holds.
      dtype: np.uint8 or np.uint16.
    """
    height, width = values.shape
    depth = 8 * np.dtype(dtype).itemsize

    def write(file: BinaryIO) -> None:
        file.write(b"\x89PNG\r\n\x1a\n")
        # Grey, the one compression and filter method there are, not interlaced.
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
        stream = zlib.compressobj(6)
        for _, band in values.bands():
            samples = band.astype(np.dtype(dtype).newbyteorder(">")).view(np.uint8)
            # Each row begins with its filter: 2, the difference to the row above, none to the first
            # of a band. Labels are long runs downwards too.
            rows = np.zeros([len(band), 1 + samples.shape[1]], np.uint8)
            rows[0, 1:] = samples[0]
            rows[1:, 0], rows[1:, 1:] = 2, samples[1:] - samples[:-1]
            _write_chunk(file, b"IDAT", stream.compress(rows.tobytes()))
        _write_chunk(file, b"IDAT", stream.flush())
        _write_chunk(file, b"IEND", b"")

    write_whole(path, write)


def write_tiff(path: str, values: MapFile) -> None:
    """Writes a map [H, W] as a compressed TIFF of 32-bit whole numbers, in tiles."""
    height, width = values.shape

    def tiles() -> Iterator[np.ndarray]:
        for _, band in values.bands():
            for x in range(0, width, _BAND_PX):
                tile = band[:, x : x + _BAND_PX]
                missing = [(0, _BAND_PX - side) for side in tile.shape]
                yield np.pad(tile, missing).astype(np.uint32)

    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        tifffile.imwrite(
            temporary,
            tiles(),
            shape=(height, width),
            dtype=np.uint32,
            tile=(_BAND_PX, _BAND_PX),
            compression="zlib",
            photometric="minisblack",
        )
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def write_reduced_overlay(path: str, image: MapFile, ids: MapFile) -> None:
    """Writes ids over the image as a PNG, reduced to OVERLAY_PX a side where it is larger.

    Pixels of the image are means of those they stand for, ids are picked from their middle.
    """
    factor = max(1, -(-max(image.shape[:2]) // OVERLAY_PX))
    picture = Image.new("RGB", [-(-side // factor) for side in image.shape[1::-1]])
    num_rows = factor * max(1, _BAND_PX // factor)
    for (box, band), (_, labels) in zip(image.bands(num_rows), ids.bands(num_rows), strict=True):
        # Outlines end at bands, which are further apart than pixels are seen.
        drawn = overlay(_reduce(band, factor), _pick(labels, factor))
        picture.paste(Image.fromarray(drawn), (0, box.y // factor))
    write_whole(path, lambda file: picture.save(file, "PNG"))


def _reduce(band: np.ndarray, factor: int) -> np.ndarray:
    """Returns means of factor × factor pixels, of fewer at the ends, [h, w, 3] uint8."""
    if factor == 1:
        return band
    height, width = (-(-side // factor) for side in band.shape[:2])
    missing = [(0, height * factor - band.shape[0]), (0, width * factor - band.shape[1]), (0, 0)]
    padded = np.pad(band, missing, mode="edge")
    sums = padded.reshape(height, factor, width, factor, 3).mean((1, 3))
    return np.rint(sums).astype(np.uint8)


def _pick(labels: np.ndarray, factor: int) -> np.ndarray:
    height, width = labels.shape
    rows = np.minimum(np.arange(0, height, factor) + factor // 2, height - 1)
    columns = np.minimum(np.arange(0, width, factor) + factor // 2, width - 1)
    return labels[rows][:, columns]


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content)
    file.write(struct.pack(">I", zlib.crc32(kind + content)))


def _rows(box: Box) -> range:
    return range(box.y, box.y_end)
