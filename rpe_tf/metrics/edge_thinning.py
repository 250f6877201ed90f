"""Boundaries one pixel wide: thinning of a binary map, non-maximum suppression of a soft one."""

import numpy as np
from scipy import ndimage

# Row and column steps to the neighbours x1..x8 of the published definition: from the east,
# counter-clockwise. x_k is bit k - 1 of a neighbourhood's code.
_STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))

# Smoothing before the orientation is estimated, in pixels.
_ORIENTATION_SIGMA_PX = 2.0
# Side of the frame in which responses are damped: filters see mirrored pixels there.
_DAMPED_PX = 5


def _deletable(is_second: bool) -> np.ndarray:
    """Returns [256] bool: may a pixel with this neighbourhood go, in a subiteration.

    Guo and Hall's conditions as given by Lam, Lee and Suen (1992, A1): the pixel joins nothing
    (G1), is neither an end nor inside (G2), and lies on this subiteration's side (G3).
    """
    code = np.arange(256)
    x = [None, *((code >> k) & 1 == 1 for k in range(8))]
    x.append(x[1])  # x9 is x1 again.
    quarters = range(1, 5)
    crossings = sum((~x[2 * i - 1] & (x[2 * i] | x[2 * i + 1])).astype(int) for i in quarters)
    pairs = sum((x[2 * i - 1] | x[2 * i]).astype(int) for i in quarters)
    shifted_pairs = sum((x[2 * i] | x[2 * i + 1]).astype(int) for i in quarters)
    fewest = np.minimum(pairs, shifted_pairs)
    if is_second:
        on_side = ~((x[6] | x[7] | ~x[4]) & x[5])
    else:
        on_side = ~((x[2] | x[3] | ~x[8]) & x[1])
    return (crossings == 1) & (fewest >= 2) & (fewest <= 3) & on_side


_DELETABLE = (_deletable(False), _deletable(True))


def thin(boundary: np.ndarray) -> np.ndarray:
    """Returns a boundary thinned to lines, as Matlab's `bwmorph(boundary, 'thin', Inf)`.

    Two subiterations take turns until neither deletes a pixel; each decides on all pixels at once
    from the 3×3 neighbourhood. What is connected (8 neighbours) stays so, ends stay. Pixels
    outside the picture count as 0.

    Args:
      boundary: [H, W], non-zero is boundary.

    Returns:
      [H, W] bool, a subset of the input. Time linear in pixels, and in the width of what is
      thinned.

    Raises:
      ValueError: if it is not [H, W].
    """
    boundary = np.asarray(boundary)
    if boundary.ndim != 2:
        raise ValueError(f"boundary must be [H, W], got shape {boundary.shape}.")
    height, width = boundary.shape
    is_on = np.zeros((height + 2, width + 2), bool)
    is_on[1:-1, 1:-1] = boundary != 0
    code = np.zeros(is_on.shape, np.uint8)
    for k, (row, column) in enumerate(_STEPS):
        moved = is_on[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        code[1:-1, 1:-1] |= moved.view(np.uint8) << np.uint8(k)
    _delete_all(is_on.reshape(-1), code.reshape(-1), width + 2)
    return is_on[1:-1, 1:-1].copy()


def _delete_all(is_on: np.ndarray, code: np.ndarray, stride: int) -> None:
    """Runs the subiterations in place, on flat maps with a frame of zeros."""
    steps = [row * stride + column for row, column in _STEPS]
    is_near = np.zeros(is_on.size, bool)
    # A pixel's answer can change only when a neighbour went since it was asked last, that is in
    # the two subiterations before: only these pixels are looked at again.
    candidates = np.flatnonzero(is_on)
    gone = [candidates, candidates]
    for subiteration in range(2 * is_on.size):
        if subiteration >= 2:
            candidates = _neighbours(np.concatenate(gone), steps, is_near)
            candidates = candidates[is_on[candidates]]
        deleted = candidates[_DELETABLE[subiteration % 2][code[candidates]]]
        is_on[deleted] = False
        for k, step in enumerate(steps):
            # Seen from the neighbour at `step`, the deleted pixel is in the opposite direction.
            code[deleted + step] &= np.uint8(255 - (1 << (k + 4) % 8))
        gone = [gone[1], deleted]
        if subiteration >= 1 and not gone[0].size and not gone[1].size:
            return


def _neighbours(pixels: np.ndarray, steps: list[int], is_near: np.ndarray) -> np.ndarray:
    """Returns the neighbours of some pixels, each once; `is_near` is scratch, False before."""
    for step in steps:
        is_near[pixels + step] = True
    found = np.flatnonzero(is_near)
    is_near[found] = False
    return found


def suppress_non_maxima(
    boundary_map: np.ndarray, radius_px: int = 1, tolerance: float = 1.01
) -> np.ndarray:
    """Returns the map with 0 where a pixel is weaker than its neighbours across the boundary.

    The direction across is that of the strongest curvature of the smoothed map: the eigenvector
    of its Hessian with the eigenvalue farthest from 0. A pixel stays if tolerance·value is at least
    the map, interpolated linearly, at distances 1..radius on both sides. Values within 5 pixels
    of the frame are damped in proportion to their distance from it.

    Args:
      boundary_map: [H, W] float in [0, 1].
      radius_px: distance in pixels up to which neighbours are compared, >= 1.
      tolerance: factor >= 1; above 1, ridges with a flat top do not break up.

    Returns:
      [H, W] float64 in [0, 1].

    Raises:
      ValueError: if the map is not [H, W] or an argument is out of range.
    """
    boundary_map = np.asarray(boundary_map, np.float64)
    if boundary_map.ndim != 2:
        raise ValueError(f"boundary_map must be [H, W], got shape {boundary_map.shape}.")
    if radius_px < 1 or tolerance < 1:
        raise ValueError(f"radius_px and tolerance must be >= 1, got {radius_px} and {tolerance}.")
    across = _angle_across(boundary_map)
    rows, columns = np.indices(boundary_map.shape)
    is_kept = np.ones(boundary_map.shape, bool)
    for distance in (d for r in range(1, radius_px + 1) for d in (-r, r)):
        at = (rows + distance * np.sin(across), columns + distance * np.cos(across))
        beside = ndimage.map_coordinates(boundary_map, at, order=1, mode="nearest")
        is_kept &= tolerance * boundary_map >= beside
    return np.where(is_kept, boundary_map, 0.0) * _frame_weight(boundary_map.shape)


def _angle_across(boundary_map: np.ndarray) -> np.ndarray:
    """Returns [H, W] radians, from the columns' axis towards the rows', across the boundary."""
    sigma = _ORIENTATION_SIGMA_PX
    rr, rc, cc = (
        ndimage.gaussian_filter(boundary_map, sigma, order=order)
        for order in ((2, 0), (1, 1), (0, 2))
    )
    # Half the angle at which the Hessian's quadratic form is largest; the smallest is a quarter
    # turn on. On a crest it bends down across, on the foot of the slopes up: across is where it
    # bends more. With the smallest alone, the foot of a straight ridge would be searched along it.
    upwards = 0.5 * np.arctan2(2 * rc, cc - rr)
    return np.where(rr + cc < 0, upwards + np.pi / 2, upwards)


def _frame_weight(shape: tuple[int, int]) -> np.ndarray:
    """Returns [H, W] in (0, 1]: the share of a value that stays, by distance to the frame."""
    weights = []
    for side in shape:
        distance = np.minimum(np.arange(side), np.arange(side)[::-1])
        weights.append(np.minimum(1.0, (distance + 1) / (_DAMPED_PX + 1)))
    return np.minimum.outer(weights[0], weights[1])
