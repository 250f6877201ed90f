"""Counts and figures by hand, relations, and the BSDS and SBD benchmarks' own examples."""

import pathlib

import numpy as np
import pytest
import scipy.io

from rpe_tf.metrics import boundary_pr
from rpe_tf.metrics.boundary_evaluation import Protocol, score_item
from rpe_tf.metrics.boundary_files import list_items, read_truth
from rpe_tf.metrics.boundary_pr import BoundaryCounts, score_image, summarize

_REFERENCE = pathlib.Path(__file__).parents[3] / "shared" / "data" / "reference"
_VOC = _REFERENCE.parent / "voc"
_needs_data = pytest.mark.skipif(not _REFERENCE.exists(), reason="needs ../shared/data")


def _counts(*rows):
    """From (matched truth, truth, matched predicted, predicted) at each threshold."""
    return BoundaryCounts(*np.array(rows, np.int64).T)


def _lines(shape, *columns):
    drawn = np.zeros(shape, bool)
    drawn[:, list(columns)] = True
    return drawn


def _close(found, expected):
    assert found == pytest.approx(expected, rel=1e-12)


def test_spread_thresholds():
    np.testing.assert_allclose(boundary_pr.spread_thresholds(3), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(boundary_pr.spread_thresholds(), np.arange(1, 100) / 100)
    np.testing.assert_allclose(boundary_pr.spread_thresholds(1), [0.5])
    with pytest.raises(ValueError, match="at least one threshold, got 0"):
        boundary_pr.spread_thresholds(0)


def test_score_image_of_the_truth_is_perfect():
    truth = _lines((20, 30), 4, 15)
    counts = score_image(truth.astype(float), truth[np.newaxis])
    for values in counts:
        np.testing.assert_array_equal(values, np.full(99, 40))
    _close(
        summarize([counts, counts]),
        {
            **dict.fromkeys(("ods", "ods_precision", "ods_recall"), 1.0),
            **dict.fromkeys(("ois", "ois_precision", "ois_recall"), 1.0),
            "ods_threshold": 0.01,
            "ap": 0.0,  # One recall alone spans no area.
        },
    )


def test_score_image_by_hand():
    # Columns 5 (0.9), 12 (0.6), 20 (0.3), of 10 pixels each. The diagonal of 10 x 30 is 31.6 px,
    # of which 0.04 is 1.26: partners are in the same or the next column.
    prediction = np.zeros((10, 30))
    prediction[:, [5, 12, 20]] = 0.9, 0.6, 0.3
    annotators = np.stack([_lines((10, 30), 6, 25), _lines((10, 30), 5, 12)])
    counts = score_image(prediction, annotators, [0.2, 0.5, 0.8, 1.0], max_dist=0.04)
    # Column 5 finds one partner with each annotator, 12 with the second, 20 nowhere.
    np.testing.assert_array_equal(counts.predicted, [30, 20, 10, 0])
    np.testing.assert_array_equal(counts.matched_predicted, [20, 20, 10, 0])
    np.testing.assert_array_equal(counts.truth, [40, 40, 40, 40])
    np.testing.assert_array_equal(counts.matched_truth, [30, 30, 20, 0])


def test_score_image_takes_the_threshold_itself():
    truth = _lines((5, 5), 2)
    counts = score_image(0.5 * truth, truth[np.newaxis], [0.5, 0.5000001])
    np.testing.assert_array_equal(counts.predicted, [5, 0])


def test_score_image_thins_if_told():
    truth = _lines((20, 30), 10)
    thick = _lines((20, 30), 9, 10, 11).astype(float)
    assert score_image(thick, truth[np.newaxis], [0.5], is_thinned=False).predicted == 60
    assert score_image(thick, truth[np.newaxis], [0.5]).predicted <= 20


def test_score_image_ignores_after_thinning():
    truth = _lines((10, 30), 5)
    prediction = _lines((10, 30), 5, 20).astype(float)
    counts = score_image(prediction, truth[np.newaxis], [0.5], ignored=_lines((10, 30), 20, 21))
    assert (counts.predicted[0], counts.matched_predicted[0]) == (10, 10)


def test_far_inside_by_hand():
    # An object in columns 2..7 with its boundary in column 2. The diagonal of 6 x 8 is 10 px, a
    # tenth of it 1 px: from column 4 on the boundary is farther than that.
    interior = np.zeros((6, 8), bool)
    interior[:, 2:] = True
    found = boundary_pr.far_inside(interior, _lines((6, 8), 2), 0.1)
    np.testing.assert_array_equal(found, _lines((6, 8), 4, 5, 6, 7))
    nothing = np.zeros((6, 8), bool)
    np.testing.assert_array_equal(boundary_pr.far_inside(interior, nothing, 0.1), interior)


def test_score_image_of_a_turned_picture():
    rng = np.random.default_rng(0)
    prediction = rng.random((25, 31)) ** 4
    truth = rng.random((1, 25, 31)) < 0.1
    counts = score_image(prediction, truth, [0.3, 0.6], 0.05, is_thinned=False)
    for turn in (
        lambda x: np.swapaxes(x, -1, -2),
        lambda x: x[..., ::-1],
        lambda x: x[..., ::-1, :],
    ):
        turned = score_image(turn(prediction), turn(truth), [0.3, 0.6], 0.05, is_thinned=False)
        for values, expected in zip(turned, counts, strict=True):
            np.testing.assert_array_equal(values, expected)


def test_score_image_shares_equal_maps_without_a_change():
    # Values between thresholds: each threshold alone gives what all together give.
    rng = np.random.default_rng(1)
    prediction = rng.choice([0.0, 0.2, 0.7], (20, 20), p=[0.8, 0.1, 0.1])
    truth = rng.random((2, 20, 20)) < 0.1
    thresholds = [0.1, 0.2, 0.3, 0.5, 0.7, 0.9]
    together = score_image(prediction, truth, thresholds)
    for k, threshold in enumerate(thresholds):
        alone = score_image(prediction, truth, [threshold])
        assert [values[0] for values in alone] == [values[k] for values in together]


@pytest.mark.parametrize(
    "predicted, true, expected",
    [
        ((), (), {"ods": 0, "ods_precision": 0, "ods_recall": 0}),
        ((), (3,), {"ods": 0, "ods_precision": 0, "ods_recall": 0}),
        ((3,), (), {"ods": 0, "ods_precision": 0, "ods_recall": 0}),
    ],
)
def test_summarize_of_empty_maps(predicted, true, expected):
    counts = score_image(_lines((9, 9), *predicted).astype(float), _lines((9, 9), *true)[None])
    figures = summarize([counts])
    assert {name: figures[name] for name in expected} == expected
    assert figures["ois"] == figures["ap"] == 0


def test_summarize_adds_an_empty_picture_to_the_others():
    truth = _lines((10, 10), 3)
    good = score_image(truth.astype(float), truth[None], [0.5])
    false_alarm = score_image(truth.astype(float), np.zeros((1, 10, 10)), [0.5])
    figures = summarize([good, false_alarm], [0.5])
    _close(figures["ods_precision"], 10 / 20)
    _close(figures["ods_recall"], 10 / 10)


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (12, 1)])
def test_score_image_of_a_narrow_picture(shape):
    counts = score_image(np.ones(shape), np.ones((2, *shape)), [0.5])
    assert counts.matched_truth[0] > 0


def test_summarize_by_hand():
    # Two pictures, thresholds 0.25, 0.5, 0.75.
    first = _counts((8, 10, 8, 16), (6, 10, 6, 8), (2, 10, 2, 2))
    second = _counts((9, 10, 9, 10), (5, 10, 5, 5), (1, 10, 1, 1))
    figures = summarize([first, second], [0.25, 0.5, 0.75])
    # Together: R = 17/20, 11/20, 3/20; P = 17/26, 11/13, 3/3. F = 34/46, 22/33, 6/23.
    # The best lies between the first two: at a share d of the way R = .85 - .3d and
    # P = 17/26 + 5/26 d; maximal of d = 0/99, 1/99, ...
    share = np.arange(100) / 99
    recall, precision = 0.85 - 0.3 * share, (17 + 5 * share) / 26
    f = 2 * precision * recall / (precision + recall)
    best = f.argmax()
    assert f[best] >= 34 / 46
    _close(figures["ods"], f[best])
    _close(figures["ods_threshold"], 0.25 + 0.25 * share[best])
    # OIS: the first is best at 0.5 (F = 12/18 > 16/26), the second at 0.25 (18/20).
    _close(figures["ois_precision"], (6 + 9) / (8 + 10))
    _close(figures["ois_recall"], (6 + 9) / (10 + 10))
    _close(figures["ois"], 2 * 15 / (18 + 20))


def test_summarize_interpolates_between_thresholds():
    # R = 1, 0 and P = 0.5, 1 at 0.2 and 0.6: at half way P = 0.75, R = 0.5.
    counts = _counts((10, 10, 10, 20), (0, 10, 10, 10))
    point = boundary_pr.best_point(np.array([0.2, 0.6]), counts)
    share = np.arange(100) / 99
    precision, recall = 0.5 + 0.5 * share, 1 - share
    f = 2 * precision * recall / (precision + recall)
    _close(point["f"], f.max())
    _close(point["threshold"], 0.2 + 0.4 * share[f.argmax()])


def test_average_precision_by_hand():
    # P falls linearly from 1 at R = 0.2 to 0.5 at R = 0.7; outside nothing is known.
    counts = _counts((70, 100, 5, 10), (20, 100, 10, 10))
    recall = np.arange(20, 71) / 100
    expected = 0.01 * (1 - (recall - 0.2)).sum()
    # Whether the sample 0.7 falls inside is a matter of rounding; it would add 0.01 x 0.5.
    assert boundary_pr.average_precision(counts) == pytest.approx(expected, abs=0.0051)
    assert boundary_pr.average_precision(_counts((5, 10, 5, 5), (5, 10, 5, 6))) == 0.0


def test_ois_can_be_below_ods():
    # The second picture has nothing true: its F is 0 throughout, so its own best is the first
    # threshold, with 100 false pixels. ODS takes 0.6, where there are none.
    first = _counts((100, 100, 100, 100), (99, 100, 99, 99))
    second = _counts((0, 0, 0, 100), (0, 0, 0, 0))
    figures = summarize([first, second], [0.3, 0.6])
    _close(figures["ois"], 2 * 100 / (100 + 200))
    _close(figures["ods"], 2 * 99 / (100 + 99))


def test_score_humans_by_hand():
    # Three annotators: columns 2, 2 and 8. The first two agree; the third has nobody.
    annotators = np.stack([_lines((10, 12), column) for column in (2, 2, 8)])
    counts = boundary_pr.score_humans(annotators, max_dist=0.0)
    # First against {2, 8}: 10 of 20 true, 10 of 10 own; the second alike; third 0 of 20, 0 of 10.
    assert [int(values[0]) for values in counts] == [20, 60, 20, 30]
    assert boundary_pr.score_humans(annotators[:1]) is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"prediction": np.zeros((4, 5))}, "of the same size"),
        ({"annotators": np.zeros((0, 4, 4))}, "K >= 1"),
        ({"annotators": np.zeros((4, 4))}, r"\[K, H, W\]"),
        ({"prediction": np.full((4, 4), 255)}, "divide an 8-bit map by 255"),
        ({"prediction": np.full((4, 4), np.nan)}, r"in \[0, 1\]"),
        ({"thresholds": [0.5, 0.4]}, "ascend"),
        ({"thresholds": []}, "ascend"),
        ({"thresholds": [0.5, 1.5]}, "ascend within"),
        ({"max_dist": -1}, "a number >= 0"),
        ({"ignored": np.zeros((3, 3), bool)}, "ignored must have the shape"),
    ],
)
def test_score_image_raises(change, message):
    good = {"prediction": np.zeros((4, 4)), "annotators": np.zeros((1, 4, 4)), "thresholds": [0.5]}
    score_image(**good)
    with pytest.raises(ValueError, match=message):
        score_image(**{**good, **change})


def test_summarize_raises():
    with pytest.raises(ValueError, match="at least one picture at 99 thresholds"):
        summarize([])
    with pytest.raises(ValueError, match="at 2 thresholds"):
        summarize([_counts((1, 1, 1, 1))], [0.3, 0.6])


def _benchmark(test):
    folder = _REFERENCE / "bsds_bench5" / test
    return {name: np.loadtxt(folder / f"eval_bdry{name}.txt") for name in ("", "_thr", "_img")}


def _assert_benchmark(counts, test):
    """Within what the original's random outlier edges leave open."""
    thresholds = boundary_pr.spread_thresholds(5)
    expected = _benchmark(test)
    figures = summarize(counts, thresholds)
    names = ("ods_threshold", "ods_recall", "ods_precision", "ods")
    names += ("ois_recall", "ois_precision", "ois", "ap")
    np.testing.assert_allclose([figures[name] for name in names], expected[""], atol=1e-3)
    assert [figures[x] for x in ("ods", "ois", "ap")] == pytest.approx(
        expected[""][[3, 6, 7]], abs=2e-4
    )
    precision, recall, f = boundary_pr.precision_recall_f(boundary_pr.add_counts(counts))
    found = np.stack([thresholds, recall, precision, f], axis=1)
    np.testing.assert_allclose(found, expected["_thr"], atol=1e-3)
    for own, row in zip(counts, expected["_img"], strict=True):
        point = boundary_pr.best_point(thresholds, own)
        found = [point[name] for name in ("threshold", "recall", "precision", "f")]
        np.testing.assert_allclose(found, row[1:], atol=2e-3)


@_needs_data
def test_benchmark_of_bsds_on_pictures():
    folder = _REFERENCE / "bsds_bench5"
    items = list_items(str(folder / "png"), str(folder / "groundTruth"))
    protocol = Protocol(num_thresholds=5)
    counts = [score_item(item, protocol, with_humans=False).counts for item in items]
    _assert_benchmark(counts, "test_2")


@_needs_data
def test_benchmark_of_bsds_on_contour_maps():
    folder, counts = _REFERENCE / "bsds_bench5", []
    for path in sorted((folder / "ucm2").glob("*.mat")):
        # The map is of double size; its odd rows and columns, from the third on, are the picture.
        prediction = scipy.io.loadmat(path)["ucm2"][2::2, 2::2]
        annotators = read_truth(str(folder / "groundTruth" / path.name)).annotators
        thresholds = boundary_pr.spread_thresholds(5)
        counts.append(score_image(prediction, annotators, thresholds))
    _assert_benchmark(counts, "test_1")


@_needs_data
def test_benchmark_of_sbd():
    folder = _REFERENCE / "sbd_bench2"
    items = list_items(str(folder / "indir" / "class_015"), str(_VOC / "sbd2" / "cls"))
    protocol = Protocol(max_dist=0.02, category=15)
    counts = [score_item(item, protocol).counts for item in items]
    for item, own in zip(items, counts, strict=True):
        expected = np.loadtxt(folder / "outdir" / f"{item.name}_ev1.txt")
        # Threshold, then the four counts in this order; truth and predictions to the pixel.
        np.testing.assert_array_equal(own.truth, expected[:, 2])
        np.testing.assert_array_equal(own.predicted, expected[:, 4])
        np.testing.assert_allclose(own.matched_truth, expected[:, 1], atol=1)
        np.testing.assert_allclose(own.matched_predicted, expected[:, 3], atol=1)
    figures = summarize(counts)
    expected = np.loadtxt(folder / "outdir" / "eval_bdry.txt")
    names = ("ods_threshold", "ods_recall", "ods_precision", "ods")
    names += ("ois_recall", "ois_precision", "ois")
    np.testing.assert_allclose([figures[name] for name in names], expected[:7], atol=1e-5)
