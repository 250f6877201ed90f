"""Figures of segmented nuclei: fluorescence and tissue apart, touching and concave ones apart.

A prediction is a label PNG a picture, from whatever program: `<id>.png` or `<id>_instances.png`.
"""

import csv
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from skimage.measure import regionprops

from rpe_tf.metrics import matching, proposal_recall
from rpe_tf.metrics.label_png import read_label_png
from rpe_tf.metrics.mask_overlap import overlap

# Column `kind` of index.csv: what we call it.
KINDS = {"fluo": "fluorescence", "colour": "tissue"}
TOUCHING_PX = 2
CONCAVE_SOLIDITY = 0.9


class Nuclei(NamedTuple):
    """A picture of the set."""

    name: str  # file name without suffix
    kind: str  # one of the values of KINDS


class Record(NamedTuple):
    """What the figures need of one picture; T true nuclei."""

    kind: str
    matching: matching.MatchingRecord
    proposals: proposal_recall.ProposalRecord
    best_iou: np.ndarray  # [T] float64, with the prediction that fits best
    is_touching: np.ndarray  # [T] bool
    is_concave: np.ndarray  # [T] bool


def read_index(data: str, split: str) -> list[Nuclei]:
    """Returns the pictures of a split, by the columns id, kind and split of index.csv.

    Raises:
      ValueError: if there is none, or one is of another kind than those of KINDS.
    """
    path = os.path.join(data, "index.csv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    unknown = {row["kind"] for row in rows} - KINDS.keys()
    if not rows or unknown:
        raise ValueError(
            f"{path} must list pictures of split {split!r}, of kinds {sorted(KINDS)}; it has "
            f"{len(rows)}, and the kinds {sorted(unknown)} besides"
        )
    return [Nuclei(row["id"], KINDS[row["kind"]]) for row in rows]


def find_touching(instance: np.ndarray, distance_px: int = TOUCHING_PX) -> np.ndarray:
    """Returns which instances have a pixel within a distance of another instance's.

    Args:
      instance: [H, W] integer ids, 0 background.
      distance_px: ≥ 1, between pixels' centres; 2 still sees over a gap of one pixel.

    Returns:
      [T] bool, by ascending id.
    """
    reach = range(-distance_px, distance_px + 1)
    near = [(y, x) for y in reach for x in reach if 0 < y * y + x * x <= distance_px**2]
    padded = np.pad(instance, distance_px)
    touching = set()
    for y, x in near:
        other = np.roll(padded, (y, x), axis=(0, 1))
        is_pair = (padded > 0) & (other > 0) & (padded != other)
        touching.update(np.unique(padded[is_pair]).tolist())
    return np.isin(ids_of(instance), list(touching))


def find_concave(instance: np.ndarray, solidity: float = CONCAVE_SOLIDITY) -> np.ndarray:
    """Returns which instances fill less than a share of the pixels in their convex hull.

    Args:
      instance: [H, W] integer ids, 0 background.
      solidity: area / area of the convex hull, in (0, 1].

    Returns:
      [T] bool, by ascending id.
    """
    # regionprops goes by ascending id.
    return np.array([x.solidity < solidity for x in regionprops(np.maximum(instance, 0))], bool)


def ids_of(instance: np.ndarray) -> np.ndarray:
    """Returns the ids [T] above 0 of a label map, ascending."""
    ids = np.unique(instance)
    return ids[ids > 0]


def score_picture(kind: str, truth: np.ndarray, predicted: np.ndarray) -> Record:
    """Returns the record of one picture from two label maps [H, W]."""
    found = overlap(truth, predicted)
    best = found.iou.max(axis=1, initial=0.0)
    return Record(
        kind,
        matching.score_overlap(found),
        proposal_recall.score_overlap(found),
        best,
        find_touching(truth),
        find_concave(truth),
    )


def score_folder(data: str, nuclei: Sequence[Nuclei], predictions: str) -> list[Record]:
    """Returns a record a picture; predictions is a folder of label PNGs.

    Raises:
      ValueError: if a prediction is missing or of another size; names it.
    """
    records = []
    for name, kind in nuclei:
        truth = read_label_png(os.path.join(data, "labels", f"{name}.png"))
        predicted = read_label_png(_prediction_path(predictions, name))
        if truth.shape != predicted.shape:
            raise ValueError(
                f"{predictions} has {name} of {predicted.shape} pixels, the truth {truth.shape}"
            )
        records.append(score_picture(kind, truth, predicted))
    return records


def summarize(records: Sequence[Record]) -> dict[str, dict]:
    """Returns the figures of all pictures and of each kind, see `_figures`."""
    kinds = {"all": records}
    kinds.update({kind: [x for x in records if x.kind == kind] for kind in KINDS.values()})
    return {kind: _figures(chosen) for kind, chosen in kinds.items() if chosen}


def format_table(summaries: dict[str, dict]) -> str:
    """Returns the figures as text, a row a folder and kind, then a row a group of true nuclei.

    Args:
      summaries: of `summarize`, by a name of the predictions.
    """
    at = " ".join(f"{threshold:>6}" for threshold in matching.THRESHOLDS)
    width = max(len(name) for name in summaries) + 2
    lines = [f"{'TP/(TP+FP+FN) at IoU':{width + 14}}  true {at}     pq ar_100"]
    for name, summary in summaries.items():
        for kind, figures in summary.items():
            values = [*figures["matching"], figures["pq"], figures["ar_100"]]
            lines.append(_row(f"{name:{width}}{kind:14}", figures["num_true"], values))
    lines += ["", f"{'recall at IoU':{width + 14}}  true {at}"]
    for name, summary in summaries.items():
        for kind, figures in summary.items():
            for group, (num_true, recall) in figures["recall"].items():
                label = f"{name:{width}}{kind:14}{group}"
                lines.append(_row(f"{label:{width + 14}}", num_true, recall))
    return "\n".join(lines)


def _figures(records: Sequence[Record]) -> dict:
    """Returns `matching` and `recall` at `matching.THRESHOLDS`, `pq`, `ar_100` and counts.

    `recall` is (number, shares found) of four groups of true nuclei: all, touching, concave, and
    neither. Found means IoU ≥ threshold with some prediction; of label maps at most one can be.
    A prediction without score is ranked by its area, for `ar_100`.
    """
    pooled = matching.summarize(x.matching for x in records)
    keys = [f"matching_{round(100 * x)}" for x in matching.THRESHOLDS]
    iou, touching, concave = (
        np.concatenate([getattr(x, name) for x in records])
        for name in ("best_iou", "is_touching", "is_concave")
    )
    groups = {
        "all": np.ones(len(iou), bool),
        "touching": touching,
        "concave": concave,
        "neither": ~(touching | concave),
    }
    return {
        "matching": [pooled[key] for key in keys],
        "pq": pooled["pq"],
        "ar_100": proposal_recall.summarize(x.proposals for x in records)["ar_100"],
        "num_true": pooled["num_true"],
        "num_predicted": pooled["num_predicted"],
        "recall": {group: _recall(iou[chosen]) for group, chosen in groups.items()},
    }


def _recall(best_iou: np.ndarray) -> tuple[int, list[float]]:
    shares = [
        float(np.mean(best_iou >= threshold)) if len(best_iou) else float("nan")
        for threshold in matching.THRESHOLDS
    ]
    return len(best_iou), shares


def _prediction_path(folder: str, name: str) -> str:
    paths = [os.path.join(folder, name + end) for end in ("_instances.png", ".png")]
    for path in paths:
        if os.path.isfile(path):
            return path
    raise ValueError(
        f"{folder} lacks the prediction {name}.png; predict every picture of the split"
    )


def _row(label: str, number: int, values: Sequence[float]) -> str:
    return f"{label} {number:6} " + " ".join(f"{value:6.3f}" for value in values)
