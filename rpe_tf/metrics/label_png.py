"""Label maps as files: instance ids or classes, void 255 in files of 8 bits, 65535 of 16."""

import numpy as np
import tifffile
from PIL import Image

_VOID_8_BIT, _VOID_16_BIT = 255, 65535
# Where a PNG file says how many bits its samples have.
_DEPTH_BYTE = 24
_SIXTEEN_BITS = ("I", "I;16", "I;16B")
TIFF_ENDS = (".tif", ".tiff")


def open_sound(path: str) -> Image.Image:
    """Returns a picture, opened; checksums of PNG, which Pillow passes over, are found to be right.

    Raises:
      OSError, SyntaxError and others of Pillow's decoders: if it is spoilt.
    """
    with Image.open(path) as picture:
        picture.verify()
    return Image.open(path)


def read_label_png(path: str) -> np.ndarray:
    """Returns the numbers of a label map, [H, W] int64, void as −1.

    Palette files give their indices, as PASCAL VOC means them. A file of 1 bit has no void.

    Raises:
      ValueError: naming the file, if it cannot be read, or is no map of whole numbers of 1, 8 or 16
        bits (of a palette: any number of bits).
    """
    try:
        with open_sound(path) as picture:
            picture.load()
            mode, kind = picture.mode, picture.format
            labels = np.asarray(picture)
        with open(path, "rb") as file:
            depth = file.read(_DEPTH_BYTE + 1)[-1]
    except Exception as error:  # Pillow's decoders raise many kinds on spoilt files.
        raise ValueError(f"{path} cannot be read as a label map ({error})") from error
    if kind != "PNG" or mode not in ("1", "L", "P", *_SIXTEEN_BITS):
        raise ValueError(
            f"{path} must be a PNG of one channel of whole numbers, got {kind} of mode {mode}; "
            "save ids or classes themselves, not colours or fractions, with 8 or 16 bits"
        )
    if mode == "L" and depth != 8:
        # Grey of few bits means a share of white: Pillow reads 1 of 15 as 17 of 255.
        raise ValueError(f"{path} is grey of {depth} bits, read differently by programs; use 8")
    labels = labels.astype(np.int64)
    if mode == "1":
        return labels
    void = _VOID_16_BIT if mode in _SIXTEEN_BITS else _VOID_8_BIT
    return np.where(labels == void, -1, labels)


def read_label_map(path: str) -> np.ndarray:
    """Returns the numbers of a label map, PNG or TIFF, [H, W] int64, void as −1.

    A TIFF of 32 bits, as `predict_main` writes it for more than 65,534 instances, has no void.

    Raises:
      ValueError: as `read_label_png`; of a TIFF, if it has other than one channel of whole numbers
        ≥ 0 of 8, 16 or 32 bits.
    """
    if not path.lower().endswith(TIFF_ENDS):
        return read_label_png(path)
    try:
        labels = tifffile.imread(path)
    except Exception as error:  # as above
        raise ValueError(f"{path} cannot be read as a label map ({error})") from error
    if labels.ndim != 2 or labels.dtype.kind not in "ui" or labels.dtype.itemsize > 4:
        raise ValueError(
            f"{path} must have one channel of whole numbers of 8, 16 or 32 bits, got "
            f"{labels.dtype} of shape {list(labels.shape)}"
        )
    void = {1: _VOID_8_BIT, 2: _VOID_16_BIT}.get(labels.dtype.itemsize)
    labels = labels.astype(np.int64)
    if labels.min(initial=0) < 0:
        raise ValueError(f"{path} has numbers below 0; 0 is background, 1, 2, … are instances")
    return labels if void is None else np.where(labels == void, -1, labels)
