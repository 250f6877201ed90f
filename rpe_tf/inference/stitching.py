"""Instances of overlapping tiles to instances of the whole picture, in NumPy, on the file side.

Two instances of neighbouring tiles are one if, where both tiles look, they cover the same pixels,
and if their mean embeddings agree. What a border of a tile cut off is matched by what is left of
it: an object that holds together only beyond the border is two pieces on this side of it. An
instance without a partner counts where its tile holds most of it, whole; elsewhere it is a
fragment, or a doubt that the tile which sees more does not share, and goes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

# Of the pixels of two instances in a shared strip, the share that both must have.
OVERLAP = 0.5
# From this IoU on two instances are the same pixels, whatever their embeddings say.
SURE_OVERLAP = 0.75
# Of the mean embeddings of one object seen in two tiles, the least cosine.
AGREEMENT = 0.5


class View(NamedTuple):
    """What a tile says about a strip that another looks at too; K instances, row k of id k + 1."""

    instance: np.ndarray  # [h, w] int32, 0 background, of the strip
    embedding: np.ndarray  # [K, D] float32, mean direction in one frame for all tiles; D may be 0
    is_cut: np.ndarray  # [K] bool, whether it touches a border of its window that is no picture's
    is_seen: np.ndarray  # [K] bool, whether it has pixels in the core of its tile


def match(first: View, second: View) -> np.ndarray:
    """Returns which instances of two tiles are one, [P, 2] int64 ids.

    Two are one if both have pixels in the core of their tile; in the strip their IoU, or the share
    that the other has of one that is cut off, is at least OVERLAP; and the cosine of their
    embeddings is at least AGREEMENT, or their IoU at least SURE_OVERLAP.

    Args:
      first: of one tile.
      second: of the other, the same strip.
    """
    num_first, num_second = len(first.is_cut), len(second.is_cut)
    is_both = (first.instance > 0) & (second.instance > 0)
    # From 0, as rows.
    a, b = first.instance[is_both] - 1, second.instance[is_both] - 1
    codes, common = np.unique(a.astype(np.int64) * num_second + b, return_counts=True)
    a, b = codes // max(num_second, 1), codes % max(num_second, 1)
    area_a, area_b = _areas(first.instance, num_first)[a], _areas(second.instance, num_second)[b]
    iou = common / (area_a + area_b - common)
    share = np.maximum(iou, np.where(first.is_cut[a], common / area_a, 0.0))
    share = np.maximum(share, np.where(second.is_cut[b], common / area_b, 0.0))
    is_one = (share >= OVERLAP) & first.is_seen[a] & second.is_seen[b]
    if first.embedding.shape[1]:
        cosine = np.sum(first.embedding[a] * second.embedding[b], axis=1)
        is_one &= (cosine >= AGREEMENT) | (iou >= SURE_OVERLAP)
    return np.stack([a, b], axis=1)[is_one] + 1


def mean_directions(instance: np.ndarray, embedding: np.ndarray, num: int) -> np.ndarray:
    """Returns the direction of the mean embedding of each instance, [num, D] float32.

    Args:
      instance: [h, w] ids 0..num.
      embedding: [h, w, D].
      num: K.
    """
    is_inside = instance > 0
    ids, rows = instance[is_inside] - 1, embedding[is_inside]
    sums = [np.bincount(ids, weights=column, minlength=num) for column in rows.T]
    means = np.stack(sums, axis=1)
    return (means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)).astype("f4")


def turn(embedding: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Returns embeddings [K, D] turned by the phases [D / 2] of a position, as the net does it.

    A tile's embeddings are turned by positions in the tile: turning them further by its own brings
    them to those of the picture, as the phase of a sum is the sum of phases.
    """
    first, second = np.split(embedding, 2, axis=1)
    sine, cosine = np.sin(phases), np.cos(phases)
    turned = [first * cosine - second * sine, first * sine + second * cosine]
    return np.concatenate(turned, axis=1).astype(np.float32)


def touches(instance: np.ndarray, num: int, sides: Sequence[bool]) -> np.ndarray:
    """Returns which of the instances 1..num [num] bool touch sides of their window.

    sides: of top, left, bottom and right, which count.
    """
    edges = (instance[0], instance[:, 0], instance[-1], instance[:, -1])
    found = np.zeros(num + 1, bool)
    for edge, counts in zip(edges, sides, strict=True):
        found[edge] |= counts
    return found[1:]


def roots(pairs: np.ndarray, num: int) -> np.ndarray:
    """Returns the object, from 0, of each of num instances, [num] int32, of which pairs are one.

    pairs: [P, 2] instances from 0.
    """
    ones = np.ones(len(pairs), np.int8)
    graph = sparse.coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(num, num))
    return sparse.csgraph.connected_components(graph, directed=False)[1]


def paint(
    canvas: np.ndarray, ids: np.ndarray, is_core: np.ndarray, is_whole: np.ndarray
) -> np.ndarray:
    """Returns where a tile's instances were written over what others left in its window.

    In the core its instances come first. Beyond it those that count whole get the pixels that no
    other has: the tile there, where it differs, comes first whichever is painted first.

    Args:
      canvas: [h, w] ids from 1, 0 nothing yet; changed.
      ids: [h, w] the tile's, likewise.
      is_core: [h, w] bool.
      is_whole: [h, w] bool, where ids are of instances that count beyond the core.

    Returns:
      [h, w] bool.
    """
    takes = (ids > 0) & (is_core | (is_whole & (canvas == 0)))
    canvas[takes] = ids[takes]
    return takes


def _areas(instance: np.ndarray, num: int) -> np.ndarray:
    return np.bincount(instance.ravel(), minlength=num + 1)[1:]
