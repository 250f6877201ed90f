"""Whether a .mat file of MATLAB 5 to 7 is laid out as its format says, before scipy reads it.

scipy's reader takes types and sizes as it finds them; on a spoilt file that ended the process with
a segmentation fault (scipy 1.15 and 1.18). The layout is that of MathWorks' "MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib

_HEADER_BYTES, _TAG_BYTES = 128, 8
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
# Bytes of a number by its type in the file, text included.
_NUMBER_BYTES = {
    **{1: 1, 2: 1, 3: 2, 4: 2, _INT32: 4, _UINT32: 4, 7: 4, 9: 8, 12: 8, 13: 8},
    **{16: 1, 17: 2, 18: 4},
}
# Classes of arrays; 6 to 15 are numbers.
_CELL, _STRUCT, _OBJECT, _TEXT, _SPARSE = 1, 2, 3, 4, 5
_NUMBERS = range(6, 16)
_IS_COMPLEX = 0x800
_MAX_DIMENSIONS, _MAX_DEPTH = 32, 16
_MAX_BYTES = 2**31


def require_sound(content: bytes) -> None:
    """Returns nothing; stops where a .mat file is spoilt.

    Args:
      content: of the file, of MATLAB 5 to 7.

    Raises:
      ValueError: it is of an older MATLAB, an element has an unknown type, or sizes do not fit each
        other.
      zlib.error: a compressed variable is spoilt or cut off.
    """
    if 0 in content[:4]:  # Where newer files have letters.
        raise ValueError("it is of MATLAB 4; save it with -v7")
    order = "<" if content[126:128] == b"IM" else ">"
    place = _HEADER_BYTES
    while place + _TAG_BYTES <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        data = content[place + _TAG_BYTES : place + _TAG_BYTES + size]
        if len(data) < size:
            raise ValueError("it is cut off")
        place += _TAG_BYTES + size
        if kind == _COMPRESSED:
            kind, data, _ = _element(_unpacked(data), 0, order)
        if kind != _MATRIX:
            raise ValueError(f"a variable of unknown type {kind}")
        _require_matrix(data, order, 0)


def _unpacked(data: bytes) -> bytes:
    """Returns what is compressed in data, its checksum found to be right."""
    stream = zlib.decompressobj()
    unpacked = stream.decompress(data, _MAX_BYTES)
    if len(unpacked) == _MAX_BYTES:
        raise ValueError(f"a variable of more than the format's limit of {_MAX_BYTES:,} bytes")
    if not stream.eof:
        raise ValueError("a variable is cut off")
    return unpacked


def _element(data: bytes, place: int, order: str) -> tuple[int, bytes, int]:
    """Returns type and content of the element at a place, and where the next one begins."""
    if place + _TAG_BYTES > len(data):
        raise ValueError("an element is cut off")
    kind, size = struct.unpack_from(f"{order}II", data, place)
    start = place + _TAG_BYTES
    if kind >> 16:  # Few bytes stand in the place of the size.
        kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if size > 4:
            raise ValueError(f"a small element of {size} bytes")
    end = start + size
    if end > len(data):
        raise ValueError("an element reaches beyond its variable")
    return kind, data[start:end], max(-(-end // 8) * 8, place + _TAG_BYTES)


def _require_matrix(data: bytes, order: str, depth: int) -> None:
    if not data:  # An array without elements may be left out altogether.
        return
    if depth > _MAX_DEPTH:
        raise ValueError(f"variables within variables, more than {_MAX_DEPTH} deep")
    place, flags, dims = _require_head(data, order)
    kind, num_elements = flags & 0xFF, math.prod(dims)
    # Of a sparse array few elements are in the file.
    if kind != _SPARSE and num_elements > len(data):
        raise ValueError(f"an array of {dims} in {len(data)} bytes")
    if kind in (_CELL, _STRUCT, _OBJECT):
        if kind == _CELL:
            num_fields = 1
        else:
            place, num_fields = _require_fields(data, place, order, kind == _OBJECT)
        for _ in range(num_elements * num_fields):
            found, inner, place = _element(data, place, order)
            if found != _MATRIX:
                raise ValueError(f"an element of type {found} in the place of an array")
            _require_matrix(inner, order, depth + 1)
    else:
        _require_values(data[place:], order, flags, dims)


def _require_values(data: bytes, order: str, flags: int, dims: tuple[int, ...]) -> None:
    kind, place = flags & 0xFF, 0
    if kind not in (_TEXT, _SPARSE, *_NUMBERS):
        raise ValueError(f"an array of unknown class {kind}")
    num_parts = (1 + bool(flags & _IS_COMPLEX)) + 2 * (kind == _SPARSE)
    for _ in range(num_parts):
        found, values, place = _element(data, place, order)
        if found not in _NUMBER_BYTES or len(values) % _NUMBER_BYTES[found]:
            raise ValueError(f"{len(values)} bytes of numbers of type {found}")
        if kind in _NUMBERS and len(values) != math.prod(dims) * _NUMBER_BYTES[found]:
            raise ValueError(f"{len(values)} bytes of type {found} for an array of {dims}")


def _require_head(data: bytes, order: str) -> tuple[int, int, tuple[int, ...]]:
    """Returns where the head of an array ends, its flags and its size."""
    kind, flags, place = _element(data, 0, order)
    if kind != _UINT32 or len(flags) != 8:
        raise ValueError("an array has no flags")
    kind, sides, place = _element(data, place, order)
    num = len(sides) // 4
    if kind != _INT32 or len(sides) % 4 or not 2 <= num <= _MAX_DIMENSIONS:
        raise ValueError("an array has no size")
    dims = struct.unpack(f"{order}{num}i", sides)
    if min(dims) < 0:
        raise ValueError(f"an array of {dims}")
    kind, _, place = _element(data, place, order)
    if kind != _INT8:
        raise ValueError("an array has no name")
    return place, struct.unpack_from(f"{order}I", flags)[0], dims


def _require_fields(data: bytes, place: int, order: str, is_object: bool) -> tuple[int, int]:
    """Returns where the names of a struct's fields end, and how many there are."""
    if is_object:
        _, _, place = _element(data, place, order)
    kind, length, place = _element(data, place, order)
    if kind != _INT32 or len(length) != 4:
        raise ValueError("a struct has no fields")
    (num_bytes,) = struct.unpack(f"{order}i", length)
    kind, names, place = _element(data, place, order)
    if kind != _INT8 or num_bytes < 1 or len(names) % num_bytes:
        raise ValueError("the names of a struct's fields are spoilt")
    return place, len(names) // num_bytes
