"""A picture being looked at: embedded once, then grouped anew at every change of the parameters.

All that the page of `demo_page` shows, without the page.
"""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib import colormaps
from PIL import Image, ImageDraw

import rpe_tf
from data_pipeline.picture_files import read_picture
from export.large_pictures import MAX_PIXELS, read_info
from export.pixel_path import draw_path, follow, similarity_map
from export.prediction_files import coco_results, write_instances, write_json
from export.raw_picture import picture_size
from export.tile_instances import plan_read_out
from rpe_tf.saved_model import Prediction, Segmenter

# Smaller pictures are shown enlarged, a whole number of times: their pixels can be hit then.
_SHOWN_PX = 512
# The map of similarities: dark 0, bright 1, and readable without colour.
_COLORMAP = colormaps["viridis"]
_MARK_PX = 7


class Explored(NamedTuple):
    """A picture, what the net gives for it, and how it is grouped."""

    name: str  # of its file
    image: np.ndarray  # [H, W, 3] uint8
    embedded: dict[str, tf.Tensor]  # of the signature `embedding`
    parameters: dict  # of the signature `group`
    prediction: Prediction


def open_segmenter(model_dir: str) -> Segmenter:
    """Returns the exported model, which can group a picture anew.

    Raises:
      FileNotFoundError, ValueError: as `rpe_tf.load`.
      ValueError: if the model finds no instances, or lacks the signatures.
    """
    model = rpe_tf.load(model_dir)
    if not isinstance(model, Segmenter):
        raise ValueError(
            f"{model_dir} groups no pixels into instances, which is what the page shows; for "
            "boundaries and classes alone use `python -m export.predict_main`"
        )
    if not model.can_group:
        raise ValueError(
            f"{model_dir} lacks the signatures embedding and group; export its run again with this "
            "version"
        )
    return model


def warm_up(segmenter: Segmenter, parameters: dict) -> None:
    """Returns nothing; runs the net and the grouping once: the first run takes seconds."""
    image = np.zeros([64, 64, 3], np.uint8)
    segmenter.group(segmenter.embed(image), parameters)


def own_parameters(model_dir: str) -> dict:
    """Returns the parameters of the signature `group` that an export has as its defaults.

    Raises:
      ValueError: as `read_info`.
    """
    # No tile has a margin so wide: the least area is the picture's own.
    read_out = plan_read_out(read_info(model_dir), margin_px=MAX_PIXELS)
    own = {**read_out.parameters, "min_score": read_out.min_score}
    if read_out.background is not None:
        own["background"] = read_out.background
    return own


def explore(segmenter: Segmenter, path: str, parameters: dict, max_pixels: int) -> Explored:
    """Returns a picture file embedded and grouped.

    Args:
      segmenter: of `open_segmenter`.
      path: of the picture.
      parameters: of the signature `group`.
      max_pixels: of the picture, at the most.

    Raises:
      ValueError: naming the file without its folder, if it is no picture, damaged or too large.
    """
    name = os.path.basename(path)
    try:
        picture_size(path, max_pixels)
        image = read_picture(path)
    except ValueError as error:
        raise ValueError(str(error).replace(path, name)) from error
    embedded = segmenter.embed(image)
    prediction, _ = segmenter.group(embedded, parameters)
    return Explored(name, image, embedded, parameters, prediction)


def regroup(segmenter: Segmenter, explored: Explored, parameters: dict) -> Explored:
    """Returns the picture grouped with other parameters; the net does not run.

    Raises:
      tf.errors.InvalidArgumentError: if one of them is outside its range.
    """
    prediction, _ = segmenter.group(explored.embedded, parameters)
    return explored._replace(parameters=parameters, prediction=prediction)


def zoom(image: np.ndarray) -> int:
    """Returns how many screen pixels a side a pixel of a picture [H, W, 3] is shown as."""
    return max(1, _SHOWN_PX // max(image.shape[:2]))


def enlarge(picture: np.ndarray) -> np.ndarray:
    """Returns a picture [H, W, 3] uint8 as it is shown, each pixel `zoom` times a side."""
    factor = zoom(picture)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def clicked_pixel(explored: Explored, x: int, y: int) -> tuple[int, int]:
    """Returns the pixel (y, x) of the picture at a place of the picture as it is shown."""
    factor = zoom(explored.image)
    height, width = explored.image.shape[:2]
    return min(max(y // factor, 0), height - 1), min(max(x // factor, 0), width - 1)


def draw_similarity(explored: Explored, pixel: tuple[int, int]) -> Image.Image:
    """Returns the map of `similarity_map` in colours, as it is shown, with a ring at the pixel."""
    found = similarity_map(explored.embedded["embedding"][0], pixel)
    picture = Image.fromarray(enlarge(_COLORMAP(found, bytes=True)[..., :3]))
    factor = zoom(explored.image)
    y, x = (factor * (side + 0.5) for side in pixel)
    draw = ImageDraw.Draw(picture)
    for radius, color in ((_MARK_PX + 1, "black"), (_MARK_PX, "white"), (_MARK_PX - 2, "black")):
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=color, width=2)
    return picture


def draw_pixel_path(explored: Explored, pixel: tuple[int, int]) -> Image.Image | None:
    """Returns the picture of `draw_path`; None for a pixel that takes no part in the grouping.

    A model with classes groups the pixels alone that these say are foreground.
    """
    is_grouped = np.ones(explored.image.shape[:2], bool)
    if "logit" in explored.embedded:
        is_grouped = tf.argmax(explored.embedded["logit"][0], axis=-1).numpy() > 0
    if not is_grouped[pixel]:
        return None
    found = follow(
        *(explored.embedded["embedding"][0], is_grouped, pixel),
        explored.parameters["concentration"],
        explored.parameters["max_loops"],
    )
    return draw_path(found, explored.prediction.instance)


def write_results(explored: Explored, output_dir: str) -> tuple[str, str]:
    """Returns the paths of the label PNG and of the json, written as `predict_main` writes them."""
    stem = os.path.splitext(explored.name)[0]
    write_instances(output_dir, stem, explored.prediction.instance)
    label_file = f"{stem}_instances.png"
    json_path = os.path.join(output_dir, f"{stem}_predictions.json")
    write_json(json_path, coco_results(explored.name, label_file, explored.prediction))
    return os.path.join(output_dir, label_file), json_path
