"""MATLAB's .mat files, as BSDS and SBD have them; reading one runs no code."""

from __future__ import annotations

import io

import numpy as np
import scipy.io

from data_pipeline.mat_structure import require_sound
from data_pipeline.picture_files import read_file

# MATLAB's 7.3 is HDF5 behind a header of its own; Octave writes HDF5 alone.
_HDF5_STARTS = (b"MATLAB 7.3", b"\x89HDF")


def read_mat(path: str, variable: str) -> np.ndarray:
    """Returns one variable of a .mat file of MATLAB 5 to 7, as `scipy.io.loadmat` gives it.

    Raises:
      ValueError: naming the file, if it is no such file, is cut off or spoilt, lacks the variable,
        or that is no array. Variables stored uncompressed, as `scipy.io.savemat` does by default,
        have no checksum: a number that is spoilt there cannot be told.
    """
    content = read_file(path)
    if content.startswith(_HDF5_STARTS):
        raise ValueError(f"{path} is a .mat file of version 7.3 (HDF5); save it in MATLAB with -v7")
    try:
        require_sound(content)
        variables = scipy.io.loadmat(io.BytesIO(content), variable_names=[variable])
    except Exception as error:  # scipy's reader raises many kinds on spoilt files.
        raise ValueError(f"{path} cannot be read as a .mat file ({error})") from error
    if variable not in variables:
        raise ValueError(f"{path} has no variable {variable!r}; is it of another data set?")
    if not isinstance(variables[variable], np.ndarray):  # Sparse matrices are none.
        raise ValueError(f"{path}: variable {variable!r} must be an array or struct")
    return variables[variable]


def mat_field(path: str, struct: np.ndarray, name: str) -> np.ndarray:
    """Returns a field of a 1×1 struct that `read_mat` gave.

    Args:
      path: of the file, for the message.
      struct: the variable.
      name: of the field.

    Raises:
      ValueError: it is no 1×1 struct, or lacks the field.
    """
    if struct.dtype.names is None or struct.size != 1 or name not in struct.dtype.names:
        raise ValueError(f"{path} must hold a struct with a field {name!r}, got {struct.dtype}")
    return struct.flat[0][name]


def label_map(path: str, labels: np.ndarray) -> np.ndarray:
    """Returns a label map found in a .mat file as int32 [H, W].

    Raises:
      ValueError: naming the file, if it is not [H, W] or holds something else than whole numbers.
    """
    is_array = isinstance(labels, np.ndarray)  # A sparse matrix is none.
    if not is_array or labels.ndim != 2 or 0 in labels.shape or labels.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: a label map must be a full array [H, W] of numbers, got "
            f"{type(labels).__name__} {labels.dtype} {labels.shape}"
        )
    # NaN equals nothing, itself neither.
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int32)
    if (whole != labels).any():
        raise ValueError(f"{path}: a label map must hold whole numbers, got fractions or NaN")
    return whole
