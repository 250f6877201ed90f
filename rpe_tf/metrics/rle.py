"""COCO's compressed run lengths: a binary mask as a short ASCII string, and back.

Pixels are read column by column. Runs alternate, zeros first (a mask that starts with a one
has a first run of length 0). From the fourth run on, the difference to the run two before
is stored. Each number becomes groups of 5 bits, lowest first, in two's complement; a group
carries bit 32 when another follows, and 48 is added to make it a printable character.
"""

from collections.abc import Mapping

import numpy as np

_BITS = 5
_LOW = 31  # The five bits of a group.
_SIGN = 16  # The highest of them: the sign, in a number's last group.
_MORE = 32
_FIRST_CHARACTER = 48
# 12 groups are 60 bits: they fit int64 with room for the sign.
_MAX_GROUPS = 12


def rle_encode(mask: np.ndarray) -> dict[str, list[int] | str]:
    """Returns the COCO compressed run lengths of a mask.

    Args:
      mask: [H, W] bool.

    Returns:
      A dict ready for JSON: `size` is [H, W], `counts` the string.

    Raises:
      ValueError: if `mask` is not a bool matrix.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"mask must be bool [H, W], got {mask.dtype} of shape {mask.shape}.")
    return rle_encode_box(mask, 0, 0, mask.shape)


def rle_encode_box(mask: np.ndarray, y: int, x: int, size: tuple[int, int]) -> dict:
    """Returns the run lengths of a mask in a picture that is empty elsewhere, as `rle_encode`.

    Time and memory are linear in the box, whatever the size of the picture.

    Args:
      mask: [h, w] bool, a box of the picture.
      y: row of its first pixel in the picture.
      x: column likewise.
      size: of the picture, (H, W) in pixels; the box lies within.
    """
    column, row = np.nonzero(mask.T)
    position = (column + x) * size[0] + row + y
    is_first = np.diff(position, prepend=-2) != 1
    is_last = np.diff(position, append=-2) != 1
    ends = np.stack([position[is_first], position[is_last] + 1], axis=1).ravel()
    runs = np.diff(ends, prepend=0)
    rest = size[0] * size[1] - ends[-1:].sum()
    if rest or not len(runs):
        runs = np.append(runs, rest)
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    return {"size": [int(side) for side in size], "counts": _to_string(numbers)}


def rle_decode(rle: Mapping[str, object]) -> np.ndarray:
    """Returns the mask of COCO compressed run lengths.

    Args:
      rle: `size` [H, W] and `counts`, a str (as in JSON files) or bytes (as in COCO's own API).

    Returns:
      [H, W] bool.

    Raises:
      ValueError: if a key is missing, `counts` is not such a string (a list of numbers is the
        uncompressed form), or its runs do not fill H x W pixels.
    """
    if "size" not in rle or "counts" not in rle:
        raise ValueError(f"an RLE must have the keys size and counts, got {sorted(rle)}.")
    height, width = rle["size"]
    numbers = _from_string(rle["counts"])
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    # The third run is stored as it is, so the even chain starts there and not at the first.
    runs[2::2] = np.cumsum(numbers[2::2])
    # A sum of too large runs may come out right, past the end of int64.
    if np.any((runs < 0) | (runs > height * width)) or runs.sum() != height * width:
        raise ValueError(
            f"counts must hold runs >= 0 that fill size {height} x {width}, got {len(runs)} runs"
            f" of {runs.sum()} pixels in all; size and counts belong to different masks."
        )
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return pixels.reshape((height, width), order="F")


def _to_string(numbers: np.ndarray) -> str:
    # The sign takes one bit beyond those of the magnitude.
    position = np.arange(int(np.abs(numbers).max()).bit_length() // _BITS + 1)
    # A number ends with the group after which only copies of its sign bit remain.
    beyond = numbers[:, None] >> (_BITS * position[1:] - 1)
    num_groups = 1 + np.count_nonzero((beyond != 0) & (beyond != -1), axis=1)[:, None]
    groups = (numbers[:, None] >> (_BITS * position)) & _LOW
    groups += np.where(position < num_groups - 1, _MORE, 0) + _FIRST_CHARACTER
    return groups[position < num_groups].astype(np.uint8).tobytes().decode("ascii")


def _from_string(counts: object) -> np.ndarray:
    if isinstance(counts, str):
        counts = counts.encode("utf-8")
    if not isinstance(counts, bytes):
        raise ValueError(f"counts must be a compressed string, got {type(counts).__name__}.")
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if np.any((groups < 0) | (groups > _LOW + _MORE)):
        raise ValueError(f"counts must use the characters '0' to 'o' only, got {counts[:40]!r}.")
    is_last = (groups & _MORE) == 0
    if not groups.size or not is_last[-1]:
        raise ValueError(f"counts must end with a complete number, got ...{counts[-40:]!r}.")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    num_groups = ends - starts + 1
    if num_groups.max() > _MAX_GROUPS:
        raise ValueError(
            f"a number in counts must have at most {_MAX_GROUPS} groups, got {num_groups.max()}."
        )
    position = np.arange(groups.size) - np.repeat(starts, num_groups)
    numbers = np.add.reduceat((groups & _LOW) << (_BITS * position), starts)
    is_negative = (groups[ends] & _SIGN) != 0
    return numbers - np.where(is_negative, np.int64(1) << (_BITS * num_groups), 0)
