"""Files with one bit flipped."""

import io

import numpy as np
from PIL import Image


def flips(content):
    """Yields the content once for each of its bits, that one flipped."""
    for place in range(8 * len(content)):
        spoilt = bytearray(content)
        spoilt[place // 8] ^= 1 << place % 8
        yield bytes(spoilt)


def check_flips(path, content, read):
    """Every flip gives what the whole file does, or a ValueError that names the path."""
    path.write_bytes(content)
    whole = read(str(path))
    num_refused = 0
    for spoilt in flips(content):
        path.write_bytes(spoilt)
        try:
            found = read(str(path))
        except ValueError as error:
            assert path.name in str(error)
            num_refused += 1
        else:
            np.testing.assert_array_equal(found, whole)
    assert num_refused > 100


def small_png(dtype=np.uint8):
    """A PNG of a few ids."""
    file = io.BytesIO()
    labels = np.random.default_rng(0).integers(0, 5, [5, 9]).astype(dtype)
    Image.fromarray(labels).save(file, "PNG")
    return file.getvalue()
