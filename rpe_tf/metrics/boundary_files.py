"""Files of the boundary evaluation: predicted maps as pictures, truth of BSDS500, SBD or as PNG."""

import io
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.io
from scipy.sparse import issparse

from data_pipeline.mat_structure import require_sound
from rpe_tf.metrics.label_png import open_sound

_PREDICTION_SUFFIXES = (".png", ".bmp")
_TRUTH_SUFFIXES = (".mat", ".png")
_MAX_8_BIT, _MAX_16_BIT = 255, 65535
_MAX_PIXELS = 178_956_970  # What Pillow reads of a picture file, too.


class Item(NamedTuple):
    """A picture to score: its name, the file of its prediction, the file of its truth."""

    name: str
    prediction: str
    truth: str


class Truth(NamedTuple):
    """What people drew on a picture.

    Attributes:
      annotators: [K, H, W] bool, K >= 1.
      interior: [H, W] bool, the pixels of the class; None but for SBD.
    """

    annotators: np.ndarray
    interior: np.ndarray | None


def list_items(predictions: str, ground_truth: str) -> list[Item]:
    """Returns the pictures of the ground truth in order of their names, with their predictions.

    Files belong together that differ in their suffix only. Predictions without truth are left
    out.

    Args:
      predictions: folder of `<name>.png` or `<name>.bmp`; `.png` counts where both are.
      ground_truth: folder of `<name>.mat` or `<name>.png`; `.mat` counts where both are.

    Raises:
      ValueError: if a folder is missing or has no such files, or a prediction is missing.
    """
    predicted = _files_by_name(predictions, _PREDICTION_SUFFIXES)
    truth = _files_by_name(ground_truth, _TRUTH_SUFFIXES)
    missing = [name for name in truth if name not in predicted]
    if missing:
        raise ValueError(
            f"{predictions} lacks {missing[0]}.png"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + f"; every picture of {ground_truth} needs a prediction of its name"
        )
    return [Item(name, predicted[name], truth[name]) for name in sorted(truth)]


def _files_by_name(folder: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    if not os.path.isdir(folder):
        raise ValueError(f"{folder} is no folder")
    found = {}
    for suffix in reversed(suffixes):  # So that the first suffix is what stays.
        for file in os.listdir(folder):
            if file.lower().endswith(suffix):
                found[file[: -len(suffix)]] = os.path.join(folder, file)
    if not found:
        message = f"{folder} has no {' or '.join(suffixes)} files"
        inner = sorted(x for x in os.listdir(folder) if os.path.isdir(os.path.join(folder, x)))
        raise ValueError(message + (f"; did you mean its folder {inner[0]}?" if inner else ""))
    return found


def read_prediction(path: str) -> np.ndarray:
    """Returns a predicted map, [H, W] float64 in [0, 1]: 8 bits over 255, 16 bits over 65535.

    Raises:
      ValueError: naming the file, if it cannot be read or its colours differ.
    """
    pixels, largest = _read_grey(path)
    return pixels / largest


def _read_grey(path: str) -> tuple[np.ndarray, int]:
    """Returns the grey values [H, W] of a picture and the largest its depth allows."""
    try:
        with open_sound(path) as picture:
            if picture.mode.startswith("I"):  # How Pillow names 16 bits of grey.
                return np.asarray(picture), _MAX_16_BIT
            colors = np.asarray(picture.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise many kinds on spoilt files.
        raise ValueError(f"{path} cannot be read as a picture ({error})") from error
    if (colors != colors[..., :1]).any():
        raise ValueError(
            f"{path} must be a grey picture of boundary strength, but its colours differ; "
            "save the map itself, not a coloured drawing of it"
        )
    return colors[..., 0], _MAX_8_BIT


def read_truth(path: str, category: int | None = None) -> Truth:
    """Returns what people drew.

    * `.mat` of BSDS500: `groundTruth`, a cell of structs with `Boundaries`, one an annotator.
    * `.mat` of SBD: `GTcls` or `GTinst`, of which the boundaries of one category are taken, those
      of its instances together.
    * `.png`: one annotator, non-zero is boundary.

    Args:
      path: the file.
      category: of SBD, from 1; None for the other two.

    Raises:
      ValueError: naming the file, if it cannot be read, holds none of these, or the category is
        missing, unknown or of no use.
    """
    if not path.lower().endswith(".mat"):
        return _of_no_category(path, category, _read_grey(path)[0][np.newaxis] > 0)
    try:
        with open(path, "rb") as file:
            content = file.read()
        require_sound(content)
        variables = scipy.io.loadmat(
            io.BytesIO(content), variable_names=["groundTruth", "GTcls", "GTinst"]
        )
    except Exception as error:  # scipy's reader raises many kinds on spoilt files.
        raise ValueError(f"{path} cannot be read as a .mat file ({error})") from error
    if "groundTruth" in variables:
        cells = variables["groundTruth"].flat
        drawn = _stack(path, [_field(path, cell, "Boundaries") for cell in cells])
        return _of_no_category(path, category, drawn > 0)
    for name in ("GTcls", "GTinst"):
        if name in variables:
            return _read_sbd(path, variables[name], category)
    raise ValueError(
        f"{path} has none of the variables groundTruth (BSDS500), GTcls, GTinst (SBD); "
        "is it of another data set?"
    )


def _field(path: str, struct: np.ndarray, name: str) -> np.ndarray:
    """Returns a field of a 1x1 struct of a .mat file."""
    try:
        return struct[0, 0][name]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not laid out as BSDS500 or SBD: it must hold structs with a field {name}"
        ) from error


def _stack(path: str, drawn: Sequence[np.ndarray]) -> np.ndarray:
    """Returns maps of one size as [K, H, W], K >= 1."""
    if not drawn:
        raise ValueError(f"{path} has no annotator")
    drawn = [_full(path, one) for one in drawn]
    sizes = sorted({one.shape for one in drawn})
    if len(sizes) > 1 or len(sizes[0]) != 2 or any(one.dtype.kind not in "biuf" for one in drawn):
        raise ValueError(
            f"{path}: its boundaries must be arrays of numbers, all of one size HxW, got {sizes}"
        )
    return np.stack(drawn)


def _full(path: str, drawn: np.ndarray) -> np.ndarray:
    """Returns a map, of a sparse one all its values."""
    if not issparse(drawn):
        return drawn
    if math.prod(drawn.shape) > _MAX_PIXELS:
        raise ValueError(f"{path}: a sparse map of {drawn.shape} is too large")
    try:
        drawn.check_format(full_check=True)  # Else a spoilt index writes outside of the array.
    except ValueError as error:
        raise ValueError(f"{path}: a sparse map is spoilt ({error})") from error
    return drawn.toarray()


def _of_no_category(path: str, category: int | None, annotators: np.ndarray) -> Truth:
    if category is not None:
        raise ValueError(f"{path} has no categories, so category {category} cannot be chosen")
    return Truth(annotators, None)


def _read_sbd(path: str, struct: np.ndarray, category: int | None) -> Truth:
    """Returns the boundaries of a category: a cell of sparse maps, one a class or an instance."""
    if category is None:
        raise ValueError(f"{path} is of SBD, with a boundary for each category: choose one")
    boundaries = _stack(path, list(_field(path, struct, "Boundaries").flat))
    segmentation = _stack(path, [_field(path, struct, "Segmentation")])[0]
    if "Categories" in struct.dtype.names:
        chosen = np.flatnonzero(_field(path, struct, "Categories").reshape(-1) == category)
    elif 1 <= category <= len(boundaries):
        chosen = np.array([category - 1])
    else:
        raise ValueError(f"{path} has categories 1..{len(boundaries)}, got {category}")
    drawn = (boundaries[chosen] > 0).any(axis=0)
    return Truth(drawn[np.newaxis], np.isin(segmentation, chosen + 1))
