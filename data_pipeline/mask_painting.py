"""One instance map from the masks of instances that may overlap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def paint_masks(masks: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Returns the instance map of some masks, the smaller painted over the larger.

    Where two masks claim a pixel, the smaller instance is nearly always the one in front: a cup on
    a table, a bag on a person. Of masks of equal area the later one wins. An instance that others
    cover completely has no pixel in the map.

    Args:
      masks: [H, W] bool each; taken one at a time, so a generator needs memory for one.
      size: (H, W) in pixels.

    Returns:
      [H, W] int32; 0 where no mask is, k + 1 for mask k. Memory is linear in the masks' pixels.

    Raises:
      ValueError: a mask has another size.
    """
    pixels = []
    for k, mask in enumerate(masks):
        if mask.shape != tuple(size):
            raise ValueError(f"mask {k} must have the size {tuple(size)}, got {mask.shape}")
        pixels.append(np.flatnonzero(mask))
    instance = np.zeros(size, np.int32)
    # Stable, so that the order of equal areas is that of the masks.
    for k in np.argsort([-len(found) for found in pixels], kind="stable"):
        instance.flat[pixels[k]] = k + 1
    return instance
