"""Semantic maps: confusion matrix, mean IoU, and both within a band round true class boundaries."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

# Of the trimap curve (Fig. 9), in pixels.
TRIMAP_WIDTHS_PX = (1, 2, 3, 5, 8, 12, 16, 20, 25, 30, 35, 40)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many pixels of each true class were predicted as each class.

    Matrices of several pictures may be added.

    Args:
      truth: [H, W] integers in 0..num_classes − 1; < 0 is void, which is not counted.
      predicted: integers of the same shape, in 0..num_classes − 1 wherever truth is not void.
      num_classes: C, background included.

    Returns:
      [C, C] int64, rows the truth.

    Raises:
      ValueError: if shapes differ, a map is not of integers, or a class is outside 0..C − 1.
    """
    truth, predicted = _checked(truth, predicted, num_classes)
    counted = truth >= 0
    cells = truth[counted].astype(np.int64) * num_classes + predicted[counted]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Returns intersection over union of each class.

    Args:
      confusion: [..., C, C], rows the truth.

    Returns:
      [..., C] float64 in [0, 1]; nan for classes absent from truth and prediction alike.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    shared = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - shared
    return np.divide(shared, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(confusion: np.ndarray) -> float:
    """Returns the mean of `class_iou` over the classes where it is defined; nan if none is.

    Args:
      confusion: [C, C], rows the truth.
    """
    iou = class_iou(confusion)
    defined = iou[~np.isnan(iou)]
    return float(defined.mean()) if defined.size else float("nan")


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Returns the fraction of pixels predicted right, in [0, 1]; nan if there is no pixel.

    Args:
      confusion: [C, C], rows the truth.
    """
    total = np.sum(confusion)
    return float(np.trace(confusion) / total) if total else float("nan")


def trimap_confusion(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int, widths: Sequence[float]
) -> np.ndarray:
    """Returns the confusion matrix within each band round the true class boundaries (Fig. 9).

    Args:
      truth: as `confusion_matrix`.
      predicted: as `confusion_matrix`.
      num_classes: C.
      widths: W band widths in pixels, > 0 and rising; see `trimap_band`.

    Returns:
      [W, C, C] int64, rows the truth.

    Raises:
      ValueError: as `confusion_matrix`, or if widths are not positive and rising.
    """
    truth, predicted = _checked(truth, predicted, num_classes)
    widths = np.asarray(widths, dtype=np.float64)
    if widths.ndim != 1 or np.any(np.diff(widths, prepend=0) <= 0):
        raise ValueError(f"widths must be > 0 and rising, got {widths.tolist()}.")
    narrowest = np.searchsorted(widths, boundary_distance(truth))
    counted = (truth >= 0) & (narrowest < len(widths))
    cells = truth[counted].astype(np.int64) * num_classes + predicted[counted]
    cells += narrowest[counted] * num_classes**2
    shape = (len(widths), num_classes, num_classes)
    # A pixel belongs to the narrowest band that holds it and to all wider ones.
    return np.bincount(cells, minlength=np.prod(shape)).reshape(shape).cumsum(axis=0)


def trimap_band(truth: np.ndarray, width: float) -> np.ndarray:
    """Returns which pixels are within `width` pixels of a true class boundary.

    Args:
      truth: [H, W] integers; < 0 void.
      width: > 0, in pixels.

    Returns:
      [H, W] bool; False in void.

    Raises:
      ValueError: if width is not > 0.
    """
    if not width > 0:
        raise ValueError(f"width must be > 0 pixels, got {width}.")
    return (boundary_distance(truth) <= width) & (np.asarray(truth) >= 0)


def boundary_distance(truth: np.ndarray) -> np.ndarray:
    """Returns each pixel's distance to the nearest pixel of another label.

    Void is one label: PASCAL VOC draws it along the objects' outlines, so that the bands begin
    beside it. The frame of the picture is no boundary.

    Args:
      truth: [H, W] integers; < 0 void.

    Returns:
      [H, W] float64, pixels, >= 1; inf where there is no other label.
    """
    truth = np.maximum(np.asarray(truth), -1)
    distance = np.full(truth.shape, np.inf)
    ids, index = np.unique(truth, return_inverse=True)
    # NumPy 2.0.0 flattens the index of a matrix, others do not.
    labels = index.reshape(truth.shape) + 1
    if len(ids) < 2:
        return distance
    for label, box in enumerate(find_objects(labels), start=1):
        # One pixel beyond the box holds the nearest other label of whatever lies outside it.
        box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        is_label = labels[box] == label
        distance[box][is_label] = distance_transform_edt(is_label)[is_label]
    return distance


def _checked(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or truth.ndim != 2:
        raise ValueError(
            "truth and predicted must be [H, W] of one shape, got"
            f" {truth.shape} and {predicted.shape}."
        )
    for name, classes in (("truth", truth), ("predicted", predicted)):
        if not np.issubdtype(classes.dtype, np.integer):
            raise ValueError(f"{name} must hold integer classes, got {classes.dtype}.")
        known = classes[truth >= 0]
        if known.size and not 0 <= known.min() <= known.max() < num_classes:
            raise ValueError(
                f"{name} must hold classes 0..{num_classes - 1} outside void, got"
                f" {known.min()}..{known.max()}; give more classes or code void as −1 in the truth."
            )
    return truth, predicted
