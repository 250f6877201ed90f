"""What may befall a file: its bytes spoilt, or its structure with all checksums right."""

import io
import json
import struct
import zlib

import numpy as np
import tensorflow as tf

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NUMBERS = (0, 1, 2, 7, 16, 127, 128, 255, 256, 2**15, 2**16 - 1, 60_000, 2**31 - 1, 2**32 - 1)
_MAX_BLOCK = 64
_MAT_HEADER = 128
_COMPRESSED = 15
# In place of a value of a JSON file.
_JSON_VALUES = (
    *(None, True, -1, 0, 1, 3, 0.5, -0.5, 1e9, 1e308, float("nan"), float("inf"), 2**31, 2**63),
    *(10**30, "", "0", "../../etc/passwd", "/etc/passwd", "x" * 500, "\ud800", "a/b.png"),
    *([], {}, [[]], [0, 1], [-1, -1, -1], {"size": [2, 2], "counts": [4]}, {"b64": "!"}),
    *({"size": [10**6, 10**6], "counts": [10**12]}, [[0, 0, 1e9, 0, 1e9, 1e9]], [10**6, 10**6]),
)


def spoil_bytes(content, rng):
    """Bits flipped, bytes overwritten, cut, inserted, doubled or moved; one to three times."""
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(7)
        content = _BYTE_CHANGES[kind](bytearray(content), rng) if content else rng.bytes(9)
    return bytes(content)


def _flip(content, rng):
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << rng.integers(8)
    return content


def _overwrite(content, rng):
    start, end = _block(content, rng)
    fill = (b"\x00", b"\xff", rng.bytes(1))[rng.integers(3)]
    content[start:end] = fill * (end - start)
    return content


def _write_number(content, rng):
    form = ("<B", "<H", ">H", "<I", ">I")[rng.integers(5)]
    value = _NUMBERS[rng.integers(len(_NUMBERS))]
    number = struct.pack(form, value % 256 ** struct.calcsize(form))
    # Heads are where numbers mean sizes; half of the time they are met.
    most = len(content) if rng.integers(2) else min(len(content), 200)
    place = rng.integers(most)
    content[place : place + len(number)] = number
    return content


def _cut_end(content, rng):
    return content[: rng.integers(len(content))]


def _cut_out(content, rng):
    start, end = _block(content, rng)
    del content[start:end]
    return content


def _insert(content, rng):
    place = rng.integers(len(content) + 1)
    content[place:place] = rng.bytes(rng.integers(1, _MAX_BLOCK))
    return content


def _double(content, rng):
    start, end = _block(content, rng)
    place = rng.integers(len(content) + 1)
    content[place:place] = content[start:end]
    return content


_BYTE_CHANGES = (_flip, _overwrite, _write_number, _cut_end, _cut_out, _insert, _double)


def _block(content, rng):
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(rng.integers(1, _MAX_BLOCK)))


def spoil_png(content, rng):
    """Chunks changed, dropped, doubled or moved; every checksum is right."""
    chunks = png_chunks(content)
    kind, place = rng.integers(5), int(rng.integers(len(chunks)))
    if kind == 0:
        chunks[0] = (b"IHDR", _spoilt_head(chunks[0][1], rng))
    elif kind == 1:
        name, data = chunks[place]
        chunks[place] = (name, spoil_bytes(data, rng))
    elif kind == 2:
        del chunks[place]
    elif kind == 3:
        chunks.insert(int(rng.integers(len(chunks) + 1)), chunks[place])
    else:
        data = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
        packed = zlib.compress(spoil_bytes(data, rng))
        rest = [chunk for chunk in chunks[1:] if chunk[0] != b"IDAT"]
        chunks = [chunks[0], (b"IDAT", packed), *rest]
    return _PNG_SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _spoilt_head(head, rng):
    fields = list(struct.unpack(">IIBBBBB", head))
    place = rng.integers(7)
    values = _NUMBERS if place < 2 else (0, 1, 2, 3, 4, 6, 8, 16, 255)
    fields[place] = values[rng.integers(len(values))]
    return struct.pack(">IIBBBBB", *fields)


def png_chunks(content):
    """Kind and data of each chunk of a PNG file."""
    chunks, place = [], len(_PNG_SIGNATURE)
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def spoil_json(content, rng):
    """Values of a JSON file replaced, removed, doubled or nested; now and then its bytes spoilt."""
    value = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        value = _spoil_value(value, rng)
    text = json.dumps(value).encode()
    if rng.integers(50) == 0:
        text = b"[" * 100_000 + text
    return spoil_bytes(text, rng) if rng.integers(4) == 0 else text


def _spoil_value(value, rng):
    """Goes down the tree at random and changes what it comes to."""
    if isinstance(value, list | dict) and value and rng.integers(5):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        copy = value.copy()
        kind = rng.integers(12)
        if kind == 0:
            del copy[key]
        elif kind == 1 and isinstance(copy, list):
            copy.append(copy[key])
        elif kind == 2:
            other = keys[rng.integers(len(keys))]
            copy[key], copy[other] = copy[other], copy[key]
        else:
            copy[key] = _spoil_value(copy[key], rng)
        return copy
    return _JSON_VALUES[rng.integers(len(_JSON_VALUES))]


def spoil_npy(content, rng):
    """The array of another type, order or shape in the head, or fewer or more values."""
    array = np.load(io.BytesIO(content))
    if rng.integers(2):
        return spoil_bytes(content[:128], rng) + content[128:]
    changes = (
        lambda: array.astype(">i4"),
        lambda: np.asfortranarray(array),
        lambda: array.astype(np.float32) + (0.5 if rng.integers(2) else 0),
        lambda: array[np.newaxis],
        lambda: array.astype(np.int64) * 2**32,
        lambda: np.array([[None, 1]], object),
        lambda: np.where(array == 1, np.nan, array),
        lambda: array.astype(complex),
        lambda: array[:0],
    )
    file = io.BytesIO()
    np.save(file, changes[rng.integers(len(changes))](), allow_pickle=True)
    return file.getvalue()


def spoil_mat(content, rng):
    """The variable inside a compressed .mat file changed and compressed again."""
    kind, size = struct.unpack_from("<II", content, _MAT_HEADER)
    if kind != _COMPRESSED:
        return content[:_MAT_HEADER] + spoil_bytes(content[_MAT_HEADER:], rng)
    data = zlib.decompress(content[_MAT_HEADER + 8 : _MAT_HEADER + 8 + size])
    packed = zlib.compress(spoil_bytes(data, rng))
    return content[:_MAT_HEADER] + struct.pack("<II", _COMPRESSED, len(packed)) + packed


def spoil_example(record, rng):
    """A field of a tf.train.Example removed, of another type or number, or its PNG spoilt."""
    example = tf.train.Example.FromString(record)
    fields = example.features.feature
    name = sorted(fields)[rng.integers(len(fields))]
    kind = rng.integers(6)
    if kind == 0:
        del fields[name]
    elif kind == 1:
        others = (
            tf.train.Feature(int64_list=tf.train.Int64List(value=[2, 3])),
            tf.train.Feature(float_list=tf.train.FloatList(value=[1.5])),
            tf.train.Feature(bytes_list=tf.train.BytesList(value=[])),
            tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\xff\xfe", b"b"])),
        )
        fields[name].CopyFrom(others[rng.integers(4)])
    elif fields[name].int64_list.value:
        value = (0, -1, 2, 3, 5, 2**31, -(2**63))[rng.integers(7)]
        fields[name].int64_list.value[0] = value
    else:
        value = fields[name].bytes_list.value[0]
        is_png = value.startswith(_PNG_SIGNATURE) and rng.integers(2)
        fields[name].bytes_list.value[0] = (spoil_png if is_png else spoil_bytes)(value, rng)
    return example.SerializeToString(deterministic=True)
