"""What an embedding tells of the boundary nearby, as a number (App. C, Fig. 14).

The paper sees that after logistic fine-tuning the embedding near a boundary encodes the boundary's
orientation and the signed distance to it. Here a linear map with intercept predicts, from the
embedding of a pixel within 6 pixels of a boundary,
  * the directed unit normal (cos φ, sin φ) of the nearest boundary, φ from the columns' axis
    towards the rows', and
  * the signed distance to it in pixels,
and R² says how well. It is fitted on some pictures and scored on others, since on the pictures
fitted R² would never be below 0: of a set of pictures the even ones, from 0, are fitted and the odd
ones scored; of discs two radii are fitted and two others scored. Pixels of several pictures are
pooled. Discs dark on light and light on dark are fitted apart and their two R² averaged: the
outward normal goes from dark to bright on the former, from bright to dark on the latter.

To read it: a map of the side alone, of distances spread evenly, has R² = 3/4 of the signed
distance, since the mean of (d − 3·sign d)² over [−6, 6] is 3 and that of d² is 12. The picture's
own colours are scored too, as what a linear map has without any embedding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

WITHIN_PX = 6.0
NUM_TARGETS = 3

# Smoothing before the gradient is taken, in pixels: as that of the thinning.
_GRADIENT_SIGMA_PX = 2.0
# Grey levels a pixel; below, a picture is flat and a boundary in it has no direction.
_FLAT_GRADIENT = 1e-6
# ITU-R BT.601, of red, green and blue.
_LUMINANCE = (0.299, 0.587, 0.114)

_DISC_SIDE_PX = 160
_DISC_GREY, _DISC_NOISE = 128.0, 4.0
# Two to fit and two to score on, radii in between one another.
_DISC_RADII_PX = ((24.0, 40.0), (32.0, 48.0))
_DISC_CONTRASTS = (60.0, 120.0)  # grey levels between disc and ground


class Targets(NamedTuple):
    """What is to be predicted, at the pixels of a picture where it is defined.

    Attributes:
      is_used: [H, W] bool, N of them True.
      values: [N, 3] float64: cos φ, sin φ, signed distance in pixels; rows in the pixels' order.
    """

    is_used: np.ndarray
    values: np.ndarray


def picture_targets(image: np.ndarray, boundary: np.ndarray) -> Targets:
    """Returns the targets of a picture with a boundary drawn in it.

    A pixel takes the normal of its nearest boundary pixel: the direction of the gradient of the
    Gaussian-smoothed luminance there, from dark to bright. Its distance to that boundary pixel is
    positive on the brighter side, by the sign of (pixel − boundary pixel) · normal. Left out are
    pixels beyond 6 pixels, those whose boundary pixel has no gradient, and those whose offset is
    square to the normal, as straight on from a line's end: they are on neither side.

    Args:
      image: [H, W, 3] uint8.
      boundary: [H, W] bool; none of it True: no pixel is used.

    Raises:
      ValueError: if the shapes do not match.
    """
    image, boundary = np.asarray(image), np.asarray(boundary, bool)
    if image.shape != (*boundary.shape, 3) or boundary.ndim != 2:
        raise ValueError(
            f"image and boundary must be [H, W, 3] and [H, W], got {image.shape} and "
            f"{boundary.shape}."
        )
    if not boundary.any():
        return Targets(boundary, np.zeros([0, NUM_TARGETS]))
    luminance = image @ np.array(_LUMINANCE)
    gradient = np.stack(
        [
            ndimage.gaussian_filter(luminance, _GRADIENT_SIGMA_PX, order=order, mode="nearest")
            for order in ((0, 1), (1, 0))
        ],
        axis=-1,
    )
    distance, (rows, columns) = ndimage.distance_transform_edt(~boundary, return_indices=True)
    steepness = np.linalg.norm(gradient, axis=-1)
    normal = (gradient / np.maximum(steepness, _FLAT_GRADIENT)[..., np.newaxis])[rows, columns]
    all_rows, all_columns = np.indices(boundary.shape)
    offset = np.stack([all_columns - columns, all_rows - rows], axis=-1)
    # Rounded, so that what is square but for the last digit is square.
    side = np.sign(np.round((offset * normal).sum(axis=-1), 9))
    is_used = (distance <= WITHIN_PX) & (steepness > _FLAT_GRADIENT)[rows, columns]
    is_used &= (side != 0) | boundary
    values = np.concatenate([normal, (side * distance)[..., np.newaxis]], axis=-1)
    return Targets(is_used, values[is_used])


def disc_picture(
    radius_px: float, contrast: float, centre_px: tuple[float, float], seed: int = 0
) -> np.ndarray:
    """Returns a picture of a disc: antialiased, grey on grey, with mild noise.

    Args:
      radius_px: > 0.
      contrast: grey levels from ground to disc, in [−240, 240]; negative: dark on light.
      centre_px: row and column of its centre, 0 the centre of the first pixel.
      seed: of the noise.

    Returns:
      [160, 160, 3] uint8.
    """
    offset = _disc_offset(centre_px)
    # Of the pixel's area, as if the edge were square to the line from the centre.
    covered = np.clip(radius_px - np.linalg.norm(offset, axis=-1) + 0.5, 0, 1)
    grey = _DISC_GREY + contrast * (covered - 0.5)
    noise = np.random.default_rng(seed).normal(scale=_DISC_NOISE, size=[*grey.shape, 3])
    return np.clip(np.rint(grey[..., np.newaxis] + noise), 0, 255).astype(np.uint8)


def disc_targets(radius_px: float, centre_px: tuple[float, float]) -> Targets:
    """Returns the targets of a disc: the normal points outward, distances are positive outside.

    Args:
      radius_px: > 6, since all normals meet in the centre.
      centre_px: as `disc_picture`.

    Raises:
      ValueError: if the radius is too small.
    """
    if radius_px <= WITHIN_PX:
        raise ValueError(f"radius_px must be above {WITHIN_PX:g}, got {radius_px}.")
    offset = _disc_offset(centre_px)
    from_centre = np.linalg.norm(offset, axis=-1)
    distance = from_centre - radius_px
    is_used = np.abs(distance) <= WITHIN_PX
    normal = offset[is_used] / from_centre[is_used][:, np.newaxis]
    return Targets(is_used, np.concatenate([normal, distance[is_used][:, np.newaxis]], axis=-1))


def discs(is_light: bool, is_scored: bool) -> list[tuple[np.ndarray, Targets]]:
    """Returns discs of one polarity, to fit on or to score on: two radii by two contrasts.

    Radii are 24 and 40 pixels to fit, 32 and 48 to score; contrasts 60 and 120 grey levels. The
    centres are up to 8 pixels off the picture's, so that none lies in step with a model's strides.
    """
    found = []
    sizes = itertools.product(_DISC_RADII_PX[is_scored], _DISC_CONTRASTS)
    for k, (radius_px, contrast) in enumerate(sizes):
        seed = 4 * (2 * is_light + is_scored) + k
        shift = np.random.default_rng([seed, 1]).uniform(-8, 8, 2)
        centre_px = tuple((_DISC_SIDE_PX - 1) / 2 + shift)
        signed = contrast if is_light else -contrast
        picture = disc_picture(radius_px, signed, centre_px, seed)
        found.append((picture, disc_targets(radius_px, centre_px)))
    return found


def moments(embedding: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns ZᵀZ of the rows z = (1, embedding, targets): all a linear fit needs to know.

    The moments of several pictures together are the sum of theirs.

    Args:
      embedding: [N, F] of any numbers, N ≥ 0.
      targets: [N, 3].

    Returns:
      [1 + F + 3, 1 + F + 3] float64.
    """
    ones = np.ones([len(embedding), 1])
    z = np.concatenate([ones, embedding, targets], axis=-1).astype(np.float64)
    return z.T @ z


def r_squared(fitted: np.ndarray, scored: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Returns R² of each target: 1 − squared error / squared deviation from the scored mean.

    The weights are those of least squares on the pixels of `fitted`, error and deviation those of
    the pixels of `scored`; R² ≤ 1, and below 0 if the scored mean alone predicts better.

    Args:
      fitted: moments of the pixels to fit on.
      scored: moments of the others.
      columns: which of the embedding's columns may be used, from 0.

    Returns:
      [3] float64; nan where it is undefined: no pixels, or a target that does not vary.
    """
    size = len(scored) - NUM_TARGETS
    x, y = [0, *(1 + column for column in columns)], np.arange(size, size + NUM_TARGETS)
    if min(fitted[0, 0], scored[0, 0]) == 0:
        return np.full(NUM_TARGETS, np.nan)
    weights = np.linalg.lstsq(fitted[np.ix_(x, x)], fitted[np.ix_(x, y)], rcond=None)[0]
    square = scored[y, y]
    error = square - 2 * (weights * scored[np.ix_(x, y)]).sum(axis=0)
    error += (weights * (scored[np.ix_(x, x)] @ weights)).sum(axis=0)
    deviation = square - scored[0, y] ** 2 / scored[0, 0]
    varies = deviation > 1e-9 * square
    return np.where(varies, 1 - error / np.where(varies, deviation, 1), np.nan)


def table(code: dict) -> str:
    """Returns the R² of code.json as lines, a column a target and a set; "-" is undefined."""
    sets = ("discs", "pictures")
    lines = [f"{'R² within 6 px':24}" + "".join(f"{name:>24}" for name in sets)]
    lines.append(f"{'':24}" + f"{'orientation':>12}{'distance':>12}" * len(sets))
    for stage in ("before", "after", "without_model"):
        for source in code["discs"][stage] or ():
            found = [code[name][stage][source] for name in sets]
            cells = [s[key] for s in found for key in ("orientation_r2", "signed_distance_r2")]
            shown = ("-" if x is None else f"{x:.3f}" for x in cells)
            title = f"{source} {stage}".replace("_", " ")
            lines.append(f"{title:24}" + "".join(f"{x:>12}" for x in shown))
    return "\n".join(lines)


def _disc_offset(centre_px: tuple[float, float]) -> np.ndarray:
    """Returns [160, 160, 2]: columns and rows from the centre."""
    rows, columns = np.indices([_DISC_SIDE_PX, _DISC_SIDE_PX])
    return np.stack([columns - centre_px[1], rows - centre_px[0]], axis=-1)
