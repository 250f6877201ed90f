"""Whether two processes, languages or versions of TensorFlow gave the same answers."""

import numpy as np


def check_equal(found, expected):
    """Both arrays by name, PNG decoded: whole numbers equal, others within 1e-4.

    A boundary's PNG may be one step of 255 away, where rounding decides.
    """
    assert set(found) == set(expected)
    for name, value in expected.items():
        value = np.asarray(value)
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4, err_msg=name)
        else:
            step = 1 if "boundary_bytes" in name else 0
            difference = np.abs(np.subtract(found[name], value, dtype=np.int64))
            assert np.shape(found[name]) == value.shape and difference.max(initial=0) <= step, name
