"""One-to-one matching of predicted with true boundary pixels (Martin, Fowlkes & Malik 2004).

Of all matchings within the distance, the largest; of these, one of least total distance. The
BSDS benchmark asks the same by charging an unmatched pixel 100 times the distance allowed.

Candidate pairs fall into connected components, each solved alone. Tried and left, on soft maps
of BSDS500's size: one assignment for the whole picture (up to 5 times slower: every search scans
all columns), a square problem with dummies on both sides (up to 6 times slower), Hopcroft-Karp
without costs (scipy's takes seconds in some cases, and it overshoots precision by 0.002), a cache
of components across thresholds (1 in 20 recurs).
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

# Pixels of small components that go into one call: a call costs about 0.2 ms, its searches grow
# with the square of its pixels.
_BATCH_PIXELS = 160


class TruthPixels(NamedTuple):
    """True boundary pixels and where their partners may lie; of one annotator, for many maps.

    Attributes:
      shape: (H, W) of the map.
      margin_px: frame of `near`.
      position: [T] flat index of each true pixel.
      near: [T, M] flat indices in the framed map, of the pixels within the distance.
      distance: [M] in pixels, one a column of `near`.
    """

    shape: tuple[int, int]
    margin_px: int
    position: np.ndarray
    near: np.ndarray
    distance: np.ndarray


class Pairs(NamedTuple):
    """Candidate pairs of a predicted and a true pixel: two indices and their distance, [E] each."""

    predicted: np.ndarray
    truth: np.ndarray
    distance: np.ndarray


def match(
    predicted: np.ndarray, truth: np.ndarray, max_distance_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixels of two boundary maps have a partner in the other.

    Two pixels may be partners if their distance <= max_distance_px; nobody has two partners. The
    number of pairs is the largest possible, their total distance the least for that number.

    Args:
      predicted: [H, W], non-zero is boundary.
      truth: [H, W], likewise.
      max_distance_px: Euclidean, >= 0; the BSDS benchmark takes 0.0075 of the diagonal.

    Returns:
      matched_predicted, matched_truth: [H, W] bool each, with equally many True.

    Raises:
      ValueError: if the shapes differ or are not [H, W], or the distance is negative or no number.
    """
    return match_prepared(predicted, prepare_truth(truth, max_distance_px))


def prepare_truth(truth: np.ndarray, max_distance_px: float) -> TruthPixels:
    """Returns what `match_prepared` needs of a truth, so that many maps can share it.

    Args:
      truth: [H, W], non-zero is boundary.
      max_distance_px: as for `match`.

    Returns:
      `TruthPixels`; memory 4 bytes for each true pixel and each of its M neighbours, where M is
      about pi times the squared distance: 1 MB for a picture of BSDS500.

    Raises:
      ValueError: as `match`.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2:
        raise ValueError(f"truth must be [H, W], got shape {truth.shape}.")
    if not 0 <= max_distance_px < np.inf:
        raise ValueError(f"max_distance_px must be a number >= 0, got {max_distance_px}.")
    # Farther than the picture's sides nothing lies.
    margin = min(int(max_distance_px), max(truth.shape, default=0))
    steps = np.mgrid[-margin : margin + 1, -margin : margin + 1].reshape(2, -1)
    squared = (steps**2).sum(axis=0)
    is_within = squared <= max_distance_px**2
    stride = truth.shape[1] + 2 * margin
    offsets = (steps[0] * stride + steps[1])[is_within]
    rows, columns = np.nonzero(truth)
    framed = (rows + margin) * stride + columns + margin
    near = (framed[:, np.newaxis] + offsets).astype(np.int32)
    position = rows * truth.shape[1] + columns
    return TruthPixels(truth.shape, margin, position, near, np.sqrt(squared[is_within]))


def match_prepared(predicted: np.ndarray, truth: TruthPixels) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `match` does, for a truth prepared by `prepare_truth`.

    Time grows with the square of the pixels of the largest components of candidate pairs; about
    8 ms for a picture of BSDS500 (tests/benchmarks/bench_boundary.py).

    Args:
      predicted: [H, W], non-zero is boundary.
      truth: of the same size.

    Raises:
      ValueError: if the shapes differ.
    """
    predicted = np.asarray(predicted)
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted and truth must have one shape, got {predicted.shape} and {truth.shape}."
        )
    position = np.flatnonzero(predicted)
    pairs = _candidate_pairs(position, truth)
    predicted_index, truth_index = match_pairs(pairs, position.size, truth.position.size)
    found = np.zeros((2, predicted.size), bool)
    found[0, position[predicted_index]] = True
    found[1, truth.position[truth_index]] = True
    return found[0].reshape(truth.shape), found[1].reshape(truth.shape)


def _candidate_pairs(position: np.ndarray, truth: TruthPixels) -> Pairs:
    """Returns all pairs within the distance; `position`: [P] flat indices of predicted pixels."""
    height, width = truth.shape
    margin = truth.margin_px
    index = np.full((height + 2 * margin, width + 2 * margin), -1, np.int32)
    index[position // width + margin, position % width + margin] = np.arange(position.size)
    beside = index.reshape(-1)[truth.near]
    truth_index, step = np.nonzero(beside >= 0)
    return Pairs(beside[truth_index, step], truth_index, truth.distance[step])


def match_pairs(pairs: Pairs, num_predicted: int, num_truth: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of a largest matching of least total distance.

    Args:
      pairs: the candidates, none twice.
      num_predicted: P; indices of predicted pixels are below it.
      num_truth: T, likewise.

    Returns:
      predicted, truth: [M] indices, the k-th of one belongs to the k-th of the other.
    """
    num_nodes = num_predicted + num_truth
    first, second = pairs.predicted, pairs.truth + num_predicted
    links = csr_matrix((np.ones(first.size, np.int8), (first, second)), (num_nodes, num_nodes))
    component = connected_components(links, directed=False)[1]
    # Rows are a component's smaller side: an unmatched row costs a search of all the component.
    balance = np.bincount(component[:num_predicted], minlength=num_nodes)
    balance = balance - np.bincount(component[num_predicted:], minlength=num_nodes)
    is_swapped = balance[component[first]] > 0
    row, column = np.where(is_swapped, (second, first), (first, second))
    rows, columns = _match_rows(row, column, pairs.distance, component)
    truth_is_row = rows >= num_predicted
    predicted = np.where(truth_is_row, columns, rows)
    return predicted, np.where(truth_is_row, rows, columns) - num_predicted


def _match_rows(
    row: np.ndarray, column: np.ndarray, distance: np.ndarray, component: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns matched row and column nodes; the edges [E] may be in any order."""
    order = np.lexsort((distance, row, component[row]))
    row, column, distance = row[order], column[order], distance[order]
    edge_component = component[row]
    is_first = np.diff(edge_component, prepend=-1) != 0
    starts = np.append(np.flatnonzero(is_first), row.size)
    # A component of one row takes its nearest column, which the order puts first.
    is_single = row[starts[:-1]] == row[starts[1:] - 1]
    nearest = starts[:-1][is_single]
    matched = [(row[nearest], column[nearest])]
    sizes = np.bincount(component, minlength=component.size)[edge_component[starts[:-1]]]
    for edges in _batches(starts, sizes, is_single):
        matched.append(_match_batch(row[edges], column[edges], distance[edges]))
    rows, columns = zip(*matched, strict=True)
    return np.concatenate(rows), np.concatenate(columns)


def _batches(starts: np.ndarray, sizes: np.ndarray, is_single: np.ndarray) -> list[np.ndarray]:
    """Returns the edges of each call: one large component, or several small ones.

    Args:
      starts: [C + 1] first edge of each component, then the number of edges.
      sizes: [C] pixels of each.
      is_single: [C] bool; these are left out.
    """
    batches, pixels = [], _BATCH_PIXELS
    for k in np.flatnonzero(~is_single):
        edges = np.arange(starts[k], starts[k + 1])
        if pixels + sizes[k] > _BATCH_PIXELS:
            batches.append([])
            pixels = 0
        batches[-1].append(edges)
        pixels += sizes[k]
    return [np.concatenate(batch) for batch in batches]


def _match_batch(
    row: np.ndarray, column: np.ndarray, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns matched row and column nodes of some components."""
    row_nodes, row = np.unique(row, return_inverse=True)
    column_nodes, column = np.unique(column, return_inverse=True)
    num_rows, num_columns = row_nodes.size, column_nodes.size
    # Each row has a dummy of its own, dearer than any chain of pairs; so a full matching exists,
    # and the cheapest leaves as few rows as possible to their dummies. A weight of 0 would be no
    # edge to scipy, hence 1 more for each row, whatever it takes.
    own = np.arange(num_rows)
    dummy = np.full(num_rows, 1 + 2 * (1 + distance.max()) * num_rows)
    weights = csr_matrix(
        (
            np.concatenate((1 + distance, dummy)),
            (np.concatenate((row, own)), np.concatenate((column, num_columns + own))),
        ),
        (num_rows, num_columns + num_rows),
    )
    rows, columns = min_weight_full_bipartite_matching(weights)
    is_real = columns < num_columns
    return row_nodes[rows[is_real]], column_nodes[columns[is_real]]
