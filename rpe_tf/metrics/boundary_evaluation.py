"""A folder of predicted boundary maps against its ground truth, on several processes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rpe_tf.metrics import boundary_pr
from rpe_tf.metrics.boundary_files import Item, Truth, list_items, read_prediction, read_truth
from rpe_tf.metrics.boundary_pr import BoundaryCounts
from rpe_tf.metrics.edge_thinning import suppress_non_maxima
from rpe_tf.metrics.picture_pool import map_pictures

# A map with more pixels than this on its upper half shows background, if truth has few.
_MOST_BRIGHT, _FEW_TRUE = 0.5, 0.25


class Protocol(NamedTuple):
    """What the figures depend on beside the files.

    Attributes:
      num_thresholds: N; they are k / (N + 1).
      max_dist: largest distance of partners, as a fraction of the picture's diagonal.
      is_thinned: whether the map is thinned at each threshold.
      is_suppressed: whether non-maxima are suppressed before.
      is_inverted: whether predictions are dark on white.
      category: of SBD's ground truth; None for others.
    """

    num_thresholds: int = boundary_pr.NUM_THRESHOLDS
    max_dist: float = boundary_pr.MAX_DIST
    is_thinned: bool = True
    is_suppressed: bool = False
    is_inverted: bool = False
    category: int | None = None


class ImageScore(NamedTuple):
    """Counts of one picture: of its prediction, and of its annotators among themselves.

    `humans` is None with one annotator, who has nobody to be compared with.
    """

    name: str
    num_annotators: int
    counts: BoundaryCounts
    humans: BoundaryCounts | None


def evaluate_folder(
    predictions: str,
    ground_truth: str,
    protocol: Protocol,
    num_processes: int = 1,
    with_humans: bool = True,
) -> dict[str, Any]:
    """Returns all figures of a folder; they do not depend on the number of processes.

    Every file is read once before the work begins, so that a wrong one ends it at once.

    Args:
      predictions: folder of `<name>.png`, 8 or 16 bits of grey.
      ground_truth: folder of `<name>.mat` (BSDS500, SBD) or `<name>.png`.
      protocol: see there.
      num_processes: >= 1.
      with_humans: whether annotators are scored against each other too.

    Returns:
      A dict for JSON: the keys of `boundary_pr.summarize`, and `protocol`, `num_images`,
      `num_annotators`, `human` (precision, recall, f; or None), `thresholds` and `images`.

    Raises:
      ValueError: if a file is missing or wrong, or predictions seem inverted.
    """
    items = list_items(predictions, ground_truth)
    read = partial(_shares, protocol=protocol)
    shares = list(map_pictures(read, items, 1, "reading"))
    _check_polarity(predictions, protocol, *np.mean(shares, axis=0))
    score = partial(score_item, protocol=protocol, with_humans=with_humans)
    scores = list(map_pictures(score, items, num_processes, "matching"))
    return _result(scores, protocol)


def score_item(item: Item, protocol: Protocol, with_humans: bool = True) -> ImageScore:
    """Returns the counts of one picture.

    Raises:
      ValueError: naming the file that is wrong.
    """
    prediction, truth = read_item(item, protocol)
    if protocol.is_suppressed:
        prediction = suppress_non_maxima(prediction)
    ignored = None
    if truth.interior is not None:
        drawn = truth.annotators.any(axis=0)
        ignored = boundary_pr.far_inside(truth.interior, drawn, protocol.max_dist)
    counts = boundary_pr.score_image(
        prediction,
        truth.annotators,
        boundary_pr.spread_thresholds(protocol.num_thresholds),
        protocol.max_dist,
        protocol.is_thinned,
        ignored,
    )
    humans = boundary_pr.score_humans(truth.annotators, protocol.max_dist) if with_humans else None
    return ImageScore(item.name, len(truth.annotators), counts, humans)


def read_item(item: Item, protocol: Protocol) -> tuple[np.ndarray, Truth]:
    """Returns the predicted map [H, W], boundaries bright, and the truth of a picture.

    Raises:
      ValueError: naming the file that is wrong.
    """
    prediction, truth = read_prediction(item.prediction), read_truth(item.truth, protocol.category)
    if prediction.shape != truth.annotators.shape[1:]:
        (height, width), true_size = prediction.shape, truth.annotators.shape[1:]
        raise ValueError(
            f"{item.prediction} must have the size of {item.truth}, "
            f"{true_size[0]}x{true_size[1]} (HxW), got {height}x{width}; "
            "predict at the picture's own size"
        )
    return (1 - prediction if protocol.is_inverted else prediction), truth


def _shares(item: Item, protocol: Protocol) -> tuple[float, float]:
    """Returns which shares of a picture are bright in the prediction, and true."""
    prediction, truth = read_item(item, protocol)
    return float(np.mean(prediction >= 0.5)), float(truth.annotators.any(axis=0).mean())


def _check_polarity(folder: str, protocol: Protocol, bright: float, true: float) -> None:
    if bright > _MOST_BRIGHT and true < _FEW_TRUE:
        cure = "leave out --inverted" if protocol.is_inverted else "give --inverted"
        raise ValueError(
            f"{folder}: {bright:.0%} of the pixels are predicted with 0.5 or more, but "
            f"{true:.1%} are true. Boundaries must be bright on black; if they are dark on white, "
            f"{cure}"
        )


def _result(scores: Sequence[ImageScore], protocol: Protocol) -> dict[str, Any]:
    thresholds = boundary_pr.spread_thresholds(protocol.num_thresholds)
    counts = [score.counts for score in scores]
    humans = [score.humans for score in scores if score.humans is not None]
    per_image = [
        {
            "name": score.name,
            "num_annotators": score.num_annotators,
            **boundary_pr.best_point(thresholds, score.counts),
            "counts": _columns(score.counts),
        }
        for score in scores
    ]
    return {
        **boundary_pr.summarize(counts, thresholds),
        "protocol": protocol._asdict(),
        "num_images": len(scores),
        "num_annotators": sum(score.num_annotators for score in scores),
        "human": _human_point(humans),
        "thresholds": _curve(thresholds, boundary_pr.add_counts(counts)),
        "images": per_image,
    }


def _human_point(humans: Sequence[BoundaryCounts]) -> dict[str, float] | None:
    if not humans:
        return None
    values = boundary_pr.precision_recall_f(boundary_pr.add_counts(humans))
    return dict(zip(("precision", "recall", "f"), (float(v[0]) for v in values), strict=True))


def _curve(thresholds: np.ndarray, counts: BoundaryCounts) -> dict[str, list]:
    precision, recall, f = boundary_pr.precision_recall_f(counts)
    curve = {"threshold": thresholds, "precision": precision, "recall": recall, "f": f}
    return {**{name: values.tolist() for name, values in curve.items()}, **_columns(counts)}


def _columns(counts: BoundaryCounts) -> dict[str, list[int]]:
    return {name: values.tolist() for name, values in counts._asdict().items()}
