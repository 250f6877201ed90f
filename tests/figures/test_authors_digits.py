"""The comparison with the authors' published outputs."""

import pathlib

import numpy as np
import pytest

from rpe_tf.figures import authors_digits
from rpe_tf.metrics.instance_scores import score_image, summarize

_RESULTS = (
    pathlib.Path(__file__).parents[3] / "shared/data/reference/author_toy/main001_results.mat"
)


def test_greedy_instances_by_hand():
    # cos 10° = 0.985 joins, cos 40° = 0.766 does not; three pixels of 0° are the background.
    degrees = np.radians([[0, 10, 0], [40, 42, 0]])
    points = np.stack([np.cos(degrees), np.sin(degrees)], axis=-1)
    np.testing.assert_array_equal(
        authors_digits.greedy_instances(points) > 0, [[False, False, False], [True, True, False]]
    )


def test_greedy_instances_ignores_length():
    points = np.array([[[1.0, 0.0], [5.0, 0.0], [0.0, 0.1]]])
    found = authors_digits.greedy_instances(points)
    assert found[0, 0] == found[0, 1] == 0 and found[0, 2] > 0


@pytest.mark.skipif(not _RESULTS.exists(), reason=f"{_RESULTS} is not here")
def test_authors_scores_are_reproduced():
    # Known of this file with this read-out: 0.906, 0.927, 0.845.
    published = authors_digits.read_published(str(_RESULTS))
    found = [authors_digits.greedy_instances(x) for x in published.embedding]
    pairs = zip(published.instance, found, strict=True)
    scores = summarize([score_image(*pair) for pair in pairs])
    assert scores["ari_foreground"] == pytest.approx(0.906, abs=5e-4)
    assert scores["recall_50"] == pytest.approx(0.927, abs=5e-4)
    assert scores["recall_75"] == pytest.approx(0.845, abs=6e-4)
    assert scores["num_instances_true"] == 110


@pytest.mark.skipif(not _RESULTS.exists(), reason=f"{_RESULTS} is not here")
def test_grouped_goes_on_where_the_authors_loops_stop():
    # After their fifth loop most points have met; one loop more hardly moves them.
    embedding = authors_digits.read_published(str(_RESULTS)).embedding[2]
    moved = authors_digits.grouped(embedding, 25.0, 1)
    assert np.median(np.linalg.norm(moved - embedding, axis=-1)) < 1e-3
