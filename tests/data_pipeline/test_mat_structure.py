"""What scipy writes is sound; what it would stumble over is found before it reads."""

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from data_pipeline.mat_structure import require_sound

_VARIABLES = {
    "numbers": np.arange(6, dtype=np.uint16).reshape(2, 3),
    "complex": np.array([[1 + 2j]]),
    "truth": np.array([[True, False]]),
    "words": np.array(["a", "longer"]),
    "sparse": scipy.sparse.csc_matrix(np.eye(40)),
    "struct": {"a": np.zeros([0, 0]), "b": {"c": np.float32([[1]])}},
    "cell": np.array([[np.int8([[1]]), "text"]], object),
    "many": np.arange(1000.0).reshape(10, 10, 10),
}
_HEAD = 128
_START = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def _saved(variables, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, **options)
    return file.getvalue()


@pytest.mark.parametrize("is_compressed", [False, True])
def test_require_sound_lets_all_kinds_of_variables_pass(is_compressed):
    require_sound(_saved(_VARIABLES, do_compression=is_compressed))


def _element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _matrix(flags=9, dims=(1, 2), name=b"x", rest=b"", kind=14, flags_kind=6, name_kind=1):
    """A file of one variable; by default of class 9, uint8."""
    head = _element(flags_kind, struct.pack("<II", flags, 0))
    head += _element(5, struct.pack(f"<{len(dims)}i", *dims)) + _element(name_kind, name)
    return _START + _element(kind, head + rest)


_TWO = _element(2, b"\1\2")


def test_require_sound_lets_a_variable_made_by_hand_pass():
    content = _matrix(rest=_TWO)
    require_sound(content)
    np.testing.assert_array_equal(scipy.io.loadmat(io.BytesIO(content))["x"], [[1, 2]])


@pytest.mark.parametrize(
    "content, words",
    [
        (bytes(4) + _matrix(rest=_TWO)[4:], "of MATLAB 4"),
        (_matrix(rest=_TWO)[:-9], "cut off"),
        (_matrix(rest=_TWO, kind=15)[:-8], "cut off"),
        (_matrix(rest=_TWO, kind=3), "variable of unknown type 3"),
        (_matrix(rest=_element(77, b"\1\2")), "2 bytes of numbers of type 77"),
        (_matrix(rest=_element(2, b"\1")), "1 bytes of type 2 for an array of"),
        (_matrix(rest=_element(4, b"\1\2\3")), "3 bytes of numbers of type 4"),
        (_matrix(rest=_TWO[:4]), "an element is cut off"),
        (_matrix(rest=struct.pack("<II", 2, 99)), "reaches beyond its variable"),
        (_matrix(rest=struct.pack("<HHI", 2, 5, 0)), "a small element of 5 bytes"),
        (_matrix(flags=16, rest=_TWO), "unknown class 16"),
        (_matrix(flags=9 | 0x800, rest=_TWO), "an element is cut off"),
        (_matrix(dims=(-1, 2), rest=_TWO), "an array of"),
        (_matrix(dims=(10**6, 10**3), rest=_TWO), "an array of"),
        (_matrix(dims=(1,) * 33, rest=_TWO), "an array has no size"),
        (_matrix(flags_kind=5, rest=_TWO), "an array has no flags"),
        (_matrix(name_kind=2, rest=_TWO), "an array has no name"),
        (_matrix(flags=1, rest=_TWO), "in the place of an array"),
        (_matrix(flags=2, rest=_TWO), "a struct has no fields"),
        (_matrix(flags=2, rest=_element(5, bytes(4)) + _TWO), "names of a struct's fields"),
    ],
)
def test_require_sound_refuses(content, words):
    with pytest.raises(ValueError, match=words):
        require_sound(content)


def test_require_sound_refuses_variables_nested_without_end():
    inner = b""
    for _ in range(20):
        inner = _matrix(flags=1, dims=(1, 1), rest=inner)[_HEAD:]
    with pytest.raises(ValueError, match="more than 16 deep"):
        require_sound(_START + inner)


def test_require_sound_looks_at_checksums():
    content = bytearray(_saved(_VARIABLES, do_compression=True))
    content[-1] ^= 1
    with pytest.raises(zlib.error):
        require_sound(bytes(content))
