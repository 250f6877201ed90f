"""Instance maps and embeddings as pictures, with NumPy and Pillow alone."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Successive multiples of the golden ratio stay far apart on the circle of hues.
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_VOID_COLOR = (128, 128, 128)
_GAP_PX = 4


def instance_colors(n: int) -> np.ndarray:
    """Returns n saturated colours, neighbours in the list far apart in hue.

    The first colours do not depend on n: an instance keeps its colour when others are added.

    Args:
      n: number of colours, >= 0.

    Returns:
      [n, 3] uint8, none of them black or grey.

    Raises:
      ValueError: if n is negative.
    """
    if n < 0:
        raise ValueError(f"the number of colours must be >= 0, got {n}.")
    return _golden_hues(np.arange(n))


def paint_instances(instance: np.ndarray) -> np.ndarray:
    """Returns an instance map in colours: background black, void grey.

    Id k has colour k - 1 of `instance_colors`, so one id has one colour in all pictures.

    Args:
      instance: [H, W] integer ids; 0 background, < 0 void.

    Returns:
      [H, W, 3] uint8.

    Raises:
      ValueError: if `instance` is not a matrix of integers.
    """
    instance = np.asarray(instance)
    if instance.ndim != 2 or not np.issubdtype(instance.dtype, np.integer):
        raise ValueError(
            f"instance must be [H, W] integers, got {instance.dtype} of shape {instance.shape}."
        )
    # Colours of the ids present only: a table up to the largest id could be huge.
    ids, index = np.unique(instance.ravel(), return_inverse=True)
    palette = _golden_hues(ids.astype(np.float64) - 1)
    palette[ids == 0] = 0
    palette[ids < 0] = _VOID_COLOR
    return palette[index].reshape(*instance.shape, 3)


def overlay(image: np.ndarray, instance: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Returns the image with its instances tinted and outlined.

    Instances are tinted by their colour, void by grey; the background shows the image unchanged. An
    instance's own pixels next to another id, in 4-neighbourhood, take its full colour:
    an outline of one pixel. The frame of the image is no outline.

    Args:
      image: [H, W, 3] uint8.
      instance: [H, W] integer ids; 0 background, < 0 void.
      opacity: weight of the tint, in [0, 1]; 0 leaves the outlines alone.

    Returns:
      [H, W, 3] uint8.

    Raises:
      ValueError: if the shapes do not match, a type is wrong or opacity is outside [0, 1].
    """
    image, instance = np.asarray(image), np.asarray(instance)
    _require_rgb("image", image)
    paint = paint_instances(instance)
    if paint.shape != image.shape:
        raise ValueError(
            "image and instance must have one height and width, got"
            f" {image.shape} and {instance.shape}."
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}.")
    blended = np.rint((1 - opacity) * image + opacity * paint).astype(np.uint8)
    picture = np.where((instance != 0)[..., None], blended, image)
    return np.where(_outline(instance)[..., None], paint, picture)


def embedding_to_rgb(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns an embedding as colours: directly for D ≤ 3, through three projections for D > 3.

    D = 2 is drawn as D = 3 with a third coordinate of 0. D = 3: each coordinate x in [-1, 1]
    becomes (x + 1) / 2, comparable between pictures.
    D > 3: coordinates along three random orthonormal directions, divided by the largest magnitude
    in this picture, since coordinates shrink as D grows. Colours of two such pictures are
    comparable only if both are drawn in one call, one above the other.

    Args:
      embedding: [H, W, D] float, D >= 2, unit vectors.
      seed: >= 0; the same seed and D give the same directions.

    Returns:
      [H, W, 3] uint8; 0 is drawn as the middle of the range.

    Raises:
      ValueError: if `embedding` is not [H, W, D >= 2], not finite, or for D ≤ 3 leaves [-1, 1].
    """
    embedding = np.asarray(embedding, dtype=np.float64)
    if embedding.ndim != 3 or embedding.shape[-1] < 2:
        raise ValueError(f"embedding must be [H, W, D] with D >= 2, got shape {embedding.shape}.")
    if not np.isfinite(embedding).all():
        raise ValueError("embedding must be finite, got nan or infinity; the model has diverged.")
    if embedding.shape[-1] == 2:
        embedding = np.pad(embedding, [(0, 0), (0, 0), (0, 1)])
    if embedding.shape[-1] == 3:
        # float16 unit vectors may exceed 1 by their rounding, 2^-10.
        if np.abs(embedding).max(initial=0) > 1 + 2**-10:
            raise ValueError(
                "embedding must be within [-1, 1] when D = 3, got magnitude"
                f" {np.abs(embedding).max()}; normalise it to unit vectors."
            )
        coordinates = embedding
    else:
        coordinates = embedding @ _random_directions(embedding.shape[-1], seed)
        largest = np.abs(coordinates).max(initial=0)
        coordinates = coordinates / largest if largest > 0 else coordinates
    return np.rint((coordinates + 1) / 2 * 255).astype(np.uint8)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], column_titles: Sequence[str], scale: int = 1
) -> Image.Image:
    """Returns pictures in a grid, a title above each column, white in between.

    Args:
      rows: for each row, one [h, w, 3] uint8 picture a column; sizes may differ.
      column_titles: one title a column; a column is at least as wide as its title.
      scale: screen pixels a picture pixel, >= 1; nearest neighbour, so pixels stay visible.

    Returns:
      An RGB Pillow image.

    Raises:
      ValueError: if there is no row or column, a row's length is not that of the titles, a
        picture is not uint8 [h, w, 3] or scale is not an integer >= 1.
    """
    _require_grid(rows, column_titles, scale)
    font = ImageFont.load_default()
    boxes = [font.getbbox(title) for title in column_titles]
    widths = [
        max([int(np.ceil(box[2]))] + [row[column].shape[1] * scale for row in rows])
        for column, box in enumerate(boxes)
    ]
    heights = [max(picture.shape[0] for picture in row) * scale for row in rows]
    lefts = _offsets(_GAP_PX, widths)
    tops = _offsets(2 * _GAP_PX + int(np.ceil(max(box[3] for box in boxes))), heights)
    sheet = Image.new("RGB", (lefts[-1], tops[-1]), "white")
    draw = ImageDraw.Draw(sheet)
    for left, title in zip(lefts[:-1], column_titles, strict=True):
        draw.text((left, _GAP_PX), title, fill="black", font=font)
    for top, row in zip(tops[:-1], rows, strict=True):
        for left, picture in zip(lefts[:-1], row, strict=True):
            enlarged = picture.repeat(scale, axis=0).repeat(scale, axis=1)
            sheet.paste(Image.fromarray(enlarged), (left, top))
    return sheet


def _golden_hues(index: np.ndarray) -> np.ndarray:
    """RGB of hue = index x golden ratio; saturation and value cycle, so equal hues still differ."""
    hue = np.mod(index * _GOLDEN_RATIO, 1.0)[:, None]
    saturation = (1 - 0.2 * np.mod(index, 3))[:, None]
    value = (1 - 0.15 * np.mod(index, 2))[:, None]
    # Red, green and blue see the hue circle (six sextants) from three starting points.
    sextant = np.mod(np.array([5.0, 3.0, 1.0]) + 6 * hue, 6)
    ramp = np.clip(np.minimum(sextant, 4 - sextant), 0, 1)
    return np.rint(255 * value * (1 - saturation * ramp)).astype(np.uint8)


def _outline(instance: np.ndarray) -> np.ndarray:
    padded = np.pad(instance, 1, mode="edge")
    height, width = instance.shape
    differs = np.zeros(instance.shape, dtype=bool)
    for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
        differs |= padded[row : row + height, column : column + width] != instance
    return differs & (instance > 0)


def _random_directions(dim: int, seed: int) -> np.ndarray:
    normal = np.random.default_rng(seed).standard_normal((dim, 3))
    directions, triangle = np.linalg.qr(normal)
    # QR leaves each column's sign to the linear algebra library; a positive diagonal fixes it.
    return directions * np.sign(np.diag(triangle))


def _offsets(start: int, sizes: Sequence[int]) -> list[int]:
    return [int(offset) for offset in start + np.cumsum([0] + [size + _GAP_PX for size in sizes])]


def _require_grid(rows: Sequence, column_titles: Sequence[str], scale: int) -> None:
    if not len(rows) or not len(column_titles):
        raise ValueError(f"need a row and a column, got {len(rows)} and {len(column_titles)}.")
    if not isinstance(scale, (int, np.integer)) or scale < 1:
        raise ValueError(f"scale must be an integer >= 1, got {scale!r}.")
    for number, row in enumerate(rows):
        if len(row) != len(column_titles):
            raise ValueError(
                f"row {number} must have {len(column_titles)} pictures, got {len(row)}."
            )
        for column, picture in enumerate(row):
            _require_rgb(f"picture {column} of row {number}", picture)


def _require_rgb(name: str, picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(
            f"{name} must be uint8 [H, W, 3], got {picture.dtype} of shape {picture.shape}."
        )
