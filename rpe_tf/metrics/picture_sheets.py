"""Contact sheets of the best and the worst pictures of an evaluation, for a person to judge."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from rpe_tf.drawing import contact_sheet

_WORDS_PX, _MAX_LETTERS = 190, 28
# Larger pictures are drawn at every second, third … pixel.
_MAX_SIDE_PX = 400

_WHITE, _RED, _GREY = (255, 255, 255), (220, 40, 40), (90, 90, 90)


def best_and_worst(
    rows: Sequence[dict],
    figure: str,
    num_pictures: int,
    draw: Callable[[dict], list[np.ndarray]],
) -> dict[str, Image.Image]:
    """Returns two contact sheets, `best` and `worst`, of up to num_pictures pictures each.

    Columns: name and figure, the truth, the prediction, their difference.

    Args:
      rows: of pictures, each with `name` and the figure; nan: left out.
      figure: by which they are ranked; where it is equal, by `pq` if they have it.
      num_pictures: >= 1.
      draw: row → truth, prediction and difference, [H, W, 3] uint8 each.

    Returns:
      A dict of Pillow images; empty if no picture has a defined figure.
    """
    rows = [row for row in rows if not np.isnan(row[figure])]
    # PQ tells apart what the counts of matches do not.
    rows.sort(key=lambda row: (row[figure], np.nan_to_num(row.get("pq", 0.0)), row["name"]))
    if not rows:
        return {}
    chosen = {"worst": rows[:num_pictures], "best": rows[::-1][:num_pictures]}
    return {name: _sheet(pictures, figure, draw) for name, pictures in chosen.items()}


def paint_difference(true: np.ndarray, predicted: np.ndarray, is_wrong: np.ndarray) -> np.ndarray:
    """Returns [H, W, 3] uint8: true and predicted grey, only true white, what is wrong red.

    Args:
      true: [H, W] bool.
      predicted: [H, W] bool.
      is_wrong: [H, W] bool, predicted where it is not true, or as something else.
    """
    picture = np.zeros((*true.shape, 3), np.uint8)
    picture[true & predicted] = _GREY
    picture[true & ~predicted] = _WHITE
    picture[is_wrong] = _RED
    return picture


def _sheet(
    rows: Sequence[dict], figure: str, draw: Callable[[dict], list[np.ndarray]]
) -> Image.Image:
    drawn = []
    for row in rows:
        cells = draw(row)
        step = -(-max(cells[0].shape) // _MAX_SIDE_PX)
        words = _written([row["name"][-_MAX_LETTERS:], f"{figure} {row[figure]:.3f}"])
        drawn.append([words, *(cell[::step, ::step] for cell in cells)])
    return contact_sheet(drawn, ["picture", "truth", "prediction", "difference"])


def _written(lines: Sequence[str]) -> np.ndarray:
    sheet = Image.new("RGB", (_WORDS_PX, 14 * len(lines)), "white")
    ImageDraw.Draw(sheet).text((0, 0), "\n".join(lines), fill="black")
    return np.asarray(sheet)
