"""Label maps from files: PNG, TIFF or BMP of any integer depth, and NPY."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from data_pipeline.picture_files import DECODER_ERRORS, PNG_DEPTH_BYTE, open_sound, read_file

# No GIF: programs that write one renumber its palette, so ids, classes and void may be lost.
SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".bmp")

# What a file codes as void, by its dtype.
_VOID = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_WRONG_MODES = "a label map has one channel of integers: 8, 16 or 32 bits, or a palette"


def read_label_map(path: str, num_void: int | None = None) -> np.ndarray:
    """Returns the numbers of a label file; of a palette picture the indices, not the colours.

    Args:
      path: the file, ending in one of SUFFIXES.
      num_void: the number that codes void; by default 255 in an 8-bit file, 65535 in a 16-bit one.
        In files of more bits, and of signed numbers, -1 is void.

    Returns:
      [H, W] int32, void -1.

    Raises:
      ValueError: naming the file, if it cannot be read, has colours or fractions, NaN, numbers
        below -1 or above int32, or is not [H, W].
    """
    content = read_file(path)
    labels = _read_npy(path, content) if path.lower().endswith(".npy") else _read_map(path, content)
    labels = labels.astype(labels.dtype.newbyteorder("="))  # A type of another order is not equal.
    void = _VOID.get(labels.dtype, -1) if num_void is None else num_void
    if labels.min() < -1 or labels.max() > np.iinfo(np.int32).max:
        raise ValueError(
            f"{path}: label ids must lie in [-1, 2147483647], got {labels.min()} to {labels.max()}"
        )
    labels = labels.astype(np.int32)
    return np.where(labels == void, np.int32(-1), labels)


def read_mask(path: str) -> np.ndarray:
    """Returns the mask [H, W] bool of a file that holds one instance: what is not 0.

    Raises:
      ValueError: as `read_label_map`.
    """
    labels = read_label_map(path, num_void=-1)
    mask = labels > 0
    if labels.min() < 0 or (labels[mask] != labels.max()).any():
        values = np.unique(labels)
        raise ValueError(
            f"{path} holds {len(values)} different values, from {values[0]} to {values[-1]}; a "
            "mask has two, 0 and another"
        )
    return mask


def _read_map(path: str, content: bytes) -> np.ndarray:
    try:
        with open_sound(content) as picture:
            picture.load()
            _require_plain_numbers(path, content, picture)
            mode, labels = picture.mode, np.asarray(picture)
            if picture.format == "PNG" and mode == "I":  # As older Pillows read 16 bits.
                labels = labels.astype(np.uint16)
    except DECODER_ERRORS as error:
        raise ValueError(f"{path} cannot be read as a label map ({error})") from error
    if mode == "1":
        return labels.astype(np.uint8)
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or 0 in labels.shape:
        raise ValueError(f"{path} is a picture of mode {mode}; {_WRONG_MODES}")
    return labels


def _require_plain_numbers(path: str, content: bytes, picture: Image.Image) -> None:
    """Raises ValueError where a file holds more than one map, or its numbers are in doubt."""
    if getattr(picture, "n_frames", 1) > 1:
        raise ValueError(f"it holds {picture.n_frames} pictures; a label map is one")
    # Grey of few bits means a share of white: Pillow reads 1 of 15 as 17 of 255.
    if picture.format == "PNG" and content[PNG_DEPTH_BYTE] in (2, 4) and picture.mode != "P":
        raise ValueError(
            f"it is grey of {content[PNG_DEPTH_BYTE]} bits, whose numbers programs read "
            "differently; save it with 8 or 16"
        )


def _read_npy(path: str, content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    try:
        labels = np.load(file, allow_pickle=False)
    except Exception as error:  # NumPy parses the head as Python, which raises many kinds.
        raise ValueError(f"{path} cannot be read as an array ({error})") from error
    if file.read(1):
        raise ValueError(f"{path} holds more than its array {labels.shape} of {labels.dtype}")
    if labels.ndim != 2 or 0 in labels.shape:
        raise ValueError(f"{path} holds an array of shape {labels.shape}; a label map is [H, W]")
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype.kind == "f":
        return _whole_numbers(path, labels)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{path} holds {labels.dtype}; {_WRONG_MODES}")
    return labels


def _whole_numbers(path: str, labels: np.ndarray) -> np.ndarray:
    if not np.isfinite(labels).all():
        raise ValueError(
            f"{path} holds NaN or infinity at {int(np.sum(~np.isfinite(labels)))} pixels; a label "
            "map has whole numbers, void -1"
        )
    if (np.floor(labels) != labels).any():
        raise ValueError(f"{path} holds fractions; a label map has whole numbers")
    return labels
