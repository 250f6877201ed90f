"""How a large picture is cut into tiles: windows that overlap, and cores that do not.

An answer near the border of a window is not that of the whole picture, where the net saw beyond.
So each pixel's answer is taken from the tile in whose core it lies; cores end in the middle of
overlaps, half an overlap away from the border of their windows.
"""

import math
from typing import NamedTuple

import keras
import numpy as np

from rpe_tf.models.receptive_field import receptive_field

# Windows begin at multiples of it, in pixels: of the strides of all models there are.
ALIGNMENT_PX = 64
# From 512 pixels on a pass costs the same a pixel, so a tile need not be larger for its time, while
# memory grows with it: about 0.7 GB a million pixels at D = 32.
TILE_PX = 1024
# Of exports that do not say how far their model sees.
OVERLAP_PX = 256


class Box(NamedTuple):
    """Rows y to y_end and columns x to x_end of a picture, the ends exclusive."""

    y: int
    x: int
    y_end: int
    x_end: int


class Tile(NamedTuple):
    """A piece of a picture."""

    row: int  # in the grid of tiles
    column: int
    window: Box  # what the model is shown
    core: Box  # what its answer counts for


def plan_tiles(size: tuple[int, int], tile_px: int, overlap_px: int) -> dict[tuple, Tile]:
    """Returns the tiles of a picture by row and column, row by row; cores cover it once.

    Args:
      size: of the picture, (H, W) in pixels.
      tile_px: sides of a window at the most; what is beyond a multiple of ALIGNMENT_PX is unused.
      overlap_px: of neighbouring windows, at the least.

    Raises:
      ValueError: if a tile is not at least twice its overlap, and ALIGNMENT_PX more.
    """
    tile_px = tile_px // ALIGNMENT_PX * ALIGNMENT_PX
    overlap_px = max(-(-overlap_px // ALIGNMENT_PX), 1) * ALIGNMENT_PX
    if tile_px < 2 * overlap_px + ALIGNMENT_PX:
        raise ValueError(
            f"tiles must have {2 * overlap_px + ALIGNMENT_PX} pixels a side or more with an "
            f"overlap of {overlap_px}, got {tile_px}; raise --tile_px, or lower --overlap_px"
        )
    rows, columns = (_spans(length, tile_px, overlap_px) for length in size)
    return {
        (i, j): Tile(
            i,
            j,
            Box(top[0], left[0], top[1], left[1]),
            Box(top[2], left[2], top[3], left[3]),
        )
        for i, top in enumerate(rows)
        for j, left in enumerate(columns)
    }


def describe_sight(model: keras.Model, read_out: dict) -> dict:
    """Returns what an answer at one pixel depends on, ready for JSON.

    Args:
      model: of a run.
      read_out: its read-out arguments; with `scales` below 1 it sees further.

    Returns:
      `radius_px`, to each side, and `beyond`, what else there is, in words.
    """
    seen = receptive_field(model)
    # A pixel of a picture made smaller or larger is made of those within twice its size.
    radii = [
        seen.radius_px if scale == 1 else math.ceil((seen.radius_px + 2) / scale)
        for scale in (1, *read_out.get("scales", []))
    ]
    return {"radius_px": max(radii), "beyond": list(seen.beyond)}


def default_overlap(info: dict) -> int:
    """Returns the overlap of tiles in pixels: what the model sees to both sides of a pixel.

    info: model_info.json of an export; of one that does not say it OVERLAP_PX.
    """
    if "receptive_field" not in info:
        return OVERLAP_PX
    return -(-2 * info["receptive_field"]["radius_px"] // ALIGNMENT_PX) * ALIGNMENT_PX


def crop(values: np.ndarray, box: Box, origin: Box) -> np.ndarray:
    """Returns the view of values [h, w, …], the first of which is that of origin, on a box."""
    return values[box.y - origin.y : box.y_end - origin.y, box.x - origin.x : box.x_end - origin.x]


def shared(first: Box, second: Box) -> Box:
    """Returns the box that both hold; with an end before its beginning if there is none."""
    return Box(
        max(first.y, second.y),
        max(first.x, second.x),
        min(first.y_end, second.y_end),
        min(first.x_end, second.x_end),
    )


def _spans(length: int, tile_px: int, overlap_px: int) -> list[tuple[int, int, int, int]]:
    """Returns begin and end of each window, and of its core, along one side of a picture."""
    most = tile_px - overlap_px
    num = max(-(-(length - overlap_px) // most), 1)
    # No further apart than is needed, so that windows are about equally large.
    step = -(-max(length - tile_px, 1) // max(num - 1, 1))
    step = -(-step // ALIGNMENT_PX) * ALIGNMENT_PX
    num = -(-max(length - tile_px, 0) // step) + 1
    begins = [k * step for k in range(num)]
    ends = [min(begin + tile_px, length) for begin in begins]
    cuts = [(begin + end) // 2 for begin, end in zip(begins[1:], ends[:-1], strict=True)]
    return list(zip(begins, ends, [0, *cuts], [*cuts, length], strict=True))
