"""Contingency tables against a plain loop over pixels."""

import collections
import tracemalloc

import numpy as np
import pytest

from rpe_tf.metrics.contingency import contingency


def test_contingency_equals_pixel_loop():
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 4, (9, 7))
    predicted = rng.integers(-2, 3, (9, 7))
    expected = collections.Counter(
        (t, p) for t, p in zip(truth.ravel(), predicted.ravel(), strict=True) if t >= 0
    )
    table = contingency(truth, predicted)
    cells = zip(
        table.truth_ids[table.rows], table.predicted_ids[table.columns], table.pixels, strict=True
    )
    assert {(t, p): n for t, p, n in cells} == expected


def test_contingency_region_equals_slicing():
    truth, predicted = np.arange(12) % 3, np.arange(12) % 4
    region = np.arange(12) < 5
    masked = contingency(truth, predicted, region)
    sliced = contingency(truth[:5], predicted[:5])
    for one, other in zip(masked, sliced, strict=True):
        np.testing.assert_array_equal(one, other)


def test_contingency_all_void_is_empty():
    table = contingency(np.full((2, 2), -1), np.ones((2, 2), int))
    assert [len(field) for field in table] == [0, 0, 0, 0, 0]


def test_contingency_stays_sparse_when_every_pixel_is_alone():
    ids = np.arange(20_000)
    tracemalloc.start()
    num_cells = len(contingency(ids, ids[::-1]).pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_cells == 20_000
    # A dense table would take 20,000 squared bytes at the least.
    assert peak < 20 * ids.nbytes


@pytest.mark.parametrize(
    "truth, predicted, region, message",
    [
        (np.zeros((2, 2)), np.zeros((2, 2), int), None, "truth must hold integer"),
        (np.zeros((2, 2), int), np.zeros((2, 2), bool), None, "predicted must hold integer"),
        (np.zeros((2, 2), int), np.zeros((2, 3), int), None, "one shape"),
        (np.zeros(4, int), np.zeros(4, int), np.ones(4, int), "region must be bool"),
        (np.zeros(4, int), np.zeros(4, int), np.ones(3, bool), "region must be bool"),
    ],
)
def test_contingency_rejects(truth, predicted, region, message):
    with pytest.raises(ValueError, match=message):
        contingency(truth, predicted, region)
