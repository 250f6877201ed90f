"""Requests of the load test: encoded pictures of many sizes, and six kinds of bad ones."""

import io
import os
import struct
import zlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipeline.picture_files import read_picture
from export import rest_client
from export.pictures import list_pictures


class Case(NamedTuple):
    """A picture and its answer."""

    image: np.ndarray  # [H, W, 3] uint8
    png: bytes
    instance: np.ndarray  # [H, W] int32, as the model finds it in this process


def mixed_pictures(folder: str, count: int) -> list[np.ndarray]:
    """Returns pictures [H, W, 3] uint8 of a folder: count of them, sizes in turn.

    Raises:
      FileNotFoundError: if there are none.
    """
    by_size = defaultdict(list)
    for path in list_pictures(folder):
        with Image.open(path) as picture:
            by_size[picture.size].append(path)
    chosen = []
    while len(chosen) < count and any(by_size.values()):
        chosen += [paths.pop(0) for _, paths in sorted(by_size.items()) if paths]
    return [read_picture(path) for path in chosen[:count]]


def as_png(image: np.ndarray) -> bytes:
    """Returns a picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def bad_requests(image: np.ndarray) -> dict[str, dict]:
    """Returns JSON objects that must be refused, by what is wrong with them."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    jpeg = file.getvalue()
    pictures = {
        "JPEG cut off": jpeg[: len(jpeg) * 2 // 3],
        "text": b"no picture at all",
        "nothing": b"",
        "60,000 x 60,000 pixels": _png_head(60_000, 60_000),
    }
    row = {"image_bytes": rest_client.encode(as_png(image))}
    return {
        **{
            name: _request(rest_client.SIGNATURE, {"image_bytes": rest_client.encode(content)})
            for name, content in pictures.items()
        },
        "fractions as pixels": _request("serving_default", {"image": [[[0.5, 0.5, 0.5]]]}),
        "unknown signature": _request("serving_text", row),
    }


def resident_bytes(process_id: int) -> int:
    """Returns the memory that a process has resident."""
    with open(f"/proc/{process_id}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _request(signature: str, row: dict) -> dict:
    return {"signature_name": signature, "instances": [row]}


def _png_head(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b""))
