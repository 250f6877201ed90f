"""The best and the worst pictures of an evaluation of boundaries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from rpe_tf.metrics import picture_sheets
from rpe_tf.metrics.boundary_evaluation import Protocol, read_item
from rpe_tf.metrics.boundary_files import Item
from rpe_tf.metrics.boundary_matching import match
from rpe_tf.metrics.edge_thinning import suppress_non_maxima, thin


def best_and_worst(
    items: Sequence[Item], result: dict[str, Any], num_pictures: int
) -> dict[str, Image.Image]:
    """Returns two contact sheets as `picture_sheets.best_and_worst`, ranked by a picture's own F.

    Columns: the truth, brighter the more annotators drew it; the prediction as it is; and the
    prediction at the threshold of ODS, cut, thinned and matched as it was scored: found true
    boundary grey, missed white, predicted without a partner red.

    Args:
      items: the pictures of the evaluation.
      result: of `boundary_evaluation.evaluate_folder`.
      num_pictures: >= 1.
    """
    protocol = Protocol(**result["protocol"])
    by_name = {item.name: item for item in items}

    def draw(row: dict) -> list[np.ndarray]:
        prediction, truth = read_item(by_name[row["name"]], protocol)
        difference = _difference(prediction, truth.annotators, result["ods_threshold"], protocol)
        return [_grey(truth.annotators.mean(axis=0)), _grey(prediction), difference]

    return picture_sheets.best_and_worst(result["images"], "f", num_pictures, draw)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.uint8(np.rint(255 * values))[..., np.newaxis], 3, axis=-1)


def _difference(
    prediction: np.ndarray, annotators: np.ndarray, threshold: float, protocol: Protocol
) -> np.ndarray:
    if protocol.is_suppressed:
        prediction = suppress_non_maxima(prediction)
    binary = prediction >= threshold
    binary = thin(binary) if protocol.is_thinned else binary
    max_distance_px = protocol.max_dist * np.hypot(*prediction.shape)
    pairs = [match(binary, drawn, max_distance_px) for drawn in annotators]
    has_partner = np.any([own for own, _ in pairs], axis=0)
    found = np.any([true for _, true in pairs], axis=0)
    return picture_sheets.paint_difference(annotators.any(axis=0), found, binary & ~has_partner)
