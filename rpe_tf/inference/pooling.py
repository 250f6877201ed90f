"""Proposals of several concentrations pooled: candidates of all maps, ranked, duplicates removed.

A higher concentration, a narrower kernel, parts what a lower one leaves together (§5.3). Which of
the two is an object the embedding cannot say, so both are proposed. Masks of different maps
overlap; each is named by its map and its id there, and none is stored a second time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from rpe_tf.inference.instance_tables import count
from rpe_tf.inference.label_map import read_out

# Mask IoU from which the worse of two candidates is a duplicate: a lower one costs average recall
# with 60 proposals (0.8: −0.01), a higher one with 10 (0.95: −0.1).
OVERLAP = 0.9
# Proposals of a picture, and candidates of a map, at the most.
MAX_PROPOSALS = 1000


class Proposals(NamedTuple):
    """The proposals of one picture, best first; C distinct concentrations, P proposals."""

    maps: tf.Tensor  # [C, H, W] int32, the instance map of each concentration, rising
    source: tf.Tensor  # [P, 2] int32, row of maps and id there: the mask is maps[row] == id
    boxes: tf.Tensor  # [P, 4] int32: y_min, x_min, y_max, x_max in pixels, the last two exclusive
    areas: tf.Tensor  # [P] int32, pixels
    scores: tf.Tensor  # [P] float32 in [0, 1], falling


class _Candidates(NamedTuple):
    """The instances of all maps; M of the map with the most, rows without one have area 0."""

    maps: tf.Tensor  # [C, H, W] int32
    boxes: tf.Tensor  # [C, M, 4] int32
    areas: tf.Tensor  # [C, M] int32
    cosines: tf.Tensor  # [C, M] float32, mean cosine of the pixels to their mode


def pooling_arguments(settings: dict) -> dict:
    """Returns the keyword arguments of `pool_proposals` among those of a run's read-out.

    Args:
      settings: keyword arguments of `label_map.read_out`, `concentrations` and `scales`; without
        any concentrations, as in older runs, the one of the read-out.
    """
    arguments = single_arguments(settings)
    arguments["concentrations"] = settings.get("concentrations") or [settings["concentration"]]
    del arguments["concentration"]
    return arguments


def single_arguments(settings: dict) -> dict:
    """Returns those of a run's read-out that `read_out` or `read_out_classed` takes."""
    others = ("concentrations", "scales")
    return {name: value for name, value in settings.items() if name not in others}


def pool_proposals(
    embedding: tf.Tensor,
    *,
    concentrations: Sequence[float],
    overlap: float = OVERLAP,
    max_proposals: int = MAX_PROPOSALS,
    **read_out_arguments: object,
) -> Proposals:
    """Returns the instances found at several concentrations, best first, each once.

    Of each map the max_proposals largest instances are candidates, ranked by their score; one that
    has an IoU of at least overlap with a better one that stays is left out. With cosine the mean
    cosine of the pixels to their mode, at least 0, area as a fraction of the picture, and
    persistence the fraction of maps that hold an instance of at least that IoU,

        score = persistence · cosine⁸ · area^¼

    Args:
      embedding: [H, W, D] float32, unit vectors.
      concentrations: κ > 0 each; order does not matter, nor how often one stands there.
      overlap: IoU in (0, 1]; at 1 only equal masks are duplicates.
      max_proposals: P at the most.
      **read_out_arguments: the others of `read_out`.

    Returns:
      Proposals. Memory that of one read-out, and linear in C·H·W and in the square of C·M, M the
      candidates of the map that has most.

    Raises:
      ValueError: if there is no concentration or one is not positive, overlap is outside (0, 1] or
        max_proposals < 1, or as `read_out`.
    """
    distinct = sorted({float(concentration) for concentration in concentrations})
    if not distinct or not all(concentration > 0 for concentration in distinct):
        raise ValueError(f"concentrations must be at least one number, all above 0, got {distinct}")
    if not 0 < overlap <= 1:
        raise ValueError(f"overlap must be an IoU in (0, 1], got {overlap}; 0.9 is the default")
    if max_proposals < 1:
        raise ValueError(f"max_proposals must be 1 or more, got {max_proposals}")
    found = _find_candidates(embedding, distinct, max_proposals, read_out_arguments)
    iou = _iou_table(found.maps, found.areas)
    scores = _scores(found, iou, overlap)
    chosen = _choose(iou, scores, found.areas, overlap)[:max_proposals]
    per_map = tf.maximum(tf.shape(found.areas)[1], 1)

    def of_chosen(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.reshape(values, [-1, *values.shape[2:]]), chosen)

    return Proposals(
        found.maps,
        # The remainder of positive numbers is the same in every runtime.
        source=tf.stack([chosen // per_map, chosen % per_map + 1], axis=-1),
        boxes=of_chosen(found.boxes),
        areas=of_chosen(found.areas),
        scores=of_chosen(scores),
    )


def _find_candidates(
    embedding: tf.Tensor, concentrations: list[float], most: int, read_out_arguments: dict
) -> _Candidates:
    """Returns the instances at each concentration, of each map the largest up to their number."""

    def one(concentration: tf.Tensor) -> _Candidates:
        found = read_out(embedding, concentration=concentration, **read_out_arguments)
        padding = [[0, tf.maximum(most - tf.shape(found.areas)[0], 0)]]
        return _Candidates(
            found.instance,
            tf.ensure_shape(tf.pad(found.boxes[:most], padding + [[0, 0]]), [most, 4]),
            tf.ensure_shape(tf.pad(found.areas[:most], padding), [most]),
            tf.ensure_shape(tf.pad(found.scores[:most], padding), [most]),
        )

    found = tf.map_fn(
        one,
        tf.constant(concentrations, tf.float32),
        fn_output_signature=_Candidates(
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([most, 4], tf.int32),
            tf.TensorSpec([most], tf.int32),
            tf.TensorSpec([most], tf.float32),
        ),
        parallel_iterations=1,  # the memory of one grouping at a time
    )
    # Largest first, so the rows that hold an instance are the first ones of each map.
    num = tf.reduce_max(tf.reduce_sum(tf.cast(found.areas > 0, tf.int32), axis=1))
    return _Candidates(
        found.maps, found.boxes[:, :num], found.areas[:, :num], found.cosines[:, :num]
    )


def _iou_table(maps: tf.Tensor, areas: tf.Tensor) -> tf.Tensor:
    """Returns the IoU of every candidate with every other, [C, M, C, M] float32.

    Pixels of each pair of ids are counted, an instance beyond the candidates as background.
    """
    num_maps, num = tf.shape(maps)[0], tf.shape(areas)[1]
    ids = tf.reshape(maps, [num_maps, -1])
    ids = tf.where(ids <= num, ids, 0)
    side = num + 1
    first_code = tf.range(num_maps)[:, tf.newaxis] * (side * side)

    def with_all(row: tf.Tensor) -> tf.Tensor:
        codes = tf.reshape(first_code + row[tf.newaxis] * side + ids, [-1])
        counts = count(codes, num_maps * side * side)
        return tf.reshape(counts, [num_maps, side, side])[:, 1:, 1:]

    shared = tf.map_fn(
        with_all,
        ids,
        fn_output_signature=tf.TensorSpec([None] * 3, tf.int32),
        parallel_iterations=1,
    )
    shared = tf.cast(tf.transpose(shared, [0, 2, 1, 3]), tf.float32)
    area = tf.cast(areas, tf.float32)
    union = area[:, :, tf.newaxis, tf.newaxis] + area - shared
    return shared / tf.maximum(union, 1.0)


def _scores(found: _Candidates, iou: tf.Tensor, overlap: float) -> tf.Tensor:
    """Returns the score [C, M] of each candidate; 0 of a row without an instance.

    Found by measurement on digits after 300 steps of training and on the authors' published
    embedding, three to five concentrations: average recall with 10 proposals 0.73; by persistence
    with the cosine to break ties 0.72, by cosine alone 0.69, by area alone 0.67.
    """
    persistence = tf.reduce_mean(tf.cast(tf.reduce_max(iou, axis=3) >= overlap, tf.float32), axis=2)
    num_pixels = tf.cast(tf.size(found.maps[0]), tf.float32)
    area = tf.cast(found.areas, tf.float32) / num_pixels
    return persistence * tf.maximum(found.cosines, 0.0) ** 8 * area**0.25


def _choose(iou: tf.Tensor, scores: tf.Tensor, areas: tf.Tensor, overlap: float) -> tf.Tensor:
    """Returns the rows [P] int32 of the flat candidates that stay, best first.

    In rounds: of the candidates not yet decided those stay that no better undecided one nearly
    equals, and what they nearly equal goes. That is what a walk in rank order would keep.
    """
    areas = tf.reshape(areas, [-1])
    rank = tf.argsort(tf.reshape(scores, [-1]), direction="DESCENDING", stable=True)
    # Rows without an instance go first of all.
    rank = tf.boolean_mask(rank, tf.gather(areas, rank) > 0)
    size = tf.size(areas)
    table = tf.gather(tf.gather(tf.reshape(iou, [size, size]), rank), rank, axis=1)
    place = tf.range(tf.size(rank))
    is_better = place[tf.newaxis, :] < place[:, tf.newaxis]
    is_copy_of = (table >= overlap) & is_better

    def one_round(stays: tf.Tensor, is_open: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        new = is_open & ~tf.reduce_any(is_copy_of & is_open, axis=1)
        gone = tf.reduce_any(is_copy_of & new, axis=1)
        return stays | new, is_open & ~new & ~gone

    stays, _ = tf.while_loop(
        lambda stays, is_open: tf.reduce_any(is_open),
        one_round,
        (tf.zeros_like(rank, tf.bool), tf.ones_like(rank, tf.bool)),
    )
    return tf.boolean_mask(rank, stays)
