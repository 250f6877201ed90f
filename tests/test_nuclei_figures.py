"""Which nuclei count as touching or concave, and the table, by hand."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks import nuclei_figures as figures


def drawn(*boxes, size=(20, 30)):
    """A label map of boxes (y, x, y end, x end), numbered from 1."""
    instance = np.zeros(size, np.int64)
    for k, (y, x, y_end, x_end) in enumerate(boxes, 1):
        instance[y:y_end, x:x_end] = k
    return instance


# Columns 0 to 3 hold the first, so that its neighbour's first column is 3 + distance.
@pytest.mark.parametrize("first_column, expected", [(4, True), (5, True), (6, False)])
def test_find_touching_sees_over_a_gap_of_one_pixel(first_column, expected):
    instance = drawn((5, 0, 9, 4), (5, first_column, 9, 12), (15, 20, 18, 24))
    assert figures.find_touching(instance).tolist() == [expected, expected, False]
    assert figures.find_touching(instance.T).tolist() == [expected, expected, False]


def test_find_touching_measures_between_pixels_centres():
    # Corners (3, 3) and (4, 4): √2. Corners (3, 3) and (4, 5): √5 > 2.
    assert figures.find_touching(drawn((0, 0, 4, 4), (4, 4, 8, 8))).tolist() == [True, True]
    assert figures.find_touching(drawn((0, 0, 4, 4), (4, 5, 8, 9))).tolist() == [False, False]


def test_find_touching_does_not_reach_around_the_picture():
    instance = drawn((5, 0, 9, 4), (5, 26, 9, 30))
    assert figures.find_touching(instance).tolist() == [False, False]


def test_find_touching_and_find_concave_go_by_ascending_id():
    # An L of 8·8 − 6·6 = 28 pixels; its hull is far larger. Ids need not be 1, 2, 3.
    instance = np.zeros([20, 30], np.int64)
    instance[2:10, 2:10] = 70
    instance[2:8, 4:10] = 0
    instance[2:6, 20:24] = 9
    instance[2:6, 24:28] = 500
    instance[15, 15] = -1  # void
    assert figures.ids_of(instance).tolist() == [9, 70, 500]
    assert figures.find_touching(instance).tolist() == [True, False, True]
    assert figures.find_concave(instance).tolist() == [False, True, False]


def test_find_concave_compares_with_the_hull():
    # A square of 10·10 with a notch of n·n in the middle of a side fills (100 − n²) / 100.
    notched = {}
    for n in (2, 4):
        instance = drawn((5, 5, 15, 15))
        instance[5 : 5 + n, 8 : 8 + n] = 0
        notched[n] = figures.find_concave(instance).tolist()
    assert notched == {2: [False], 4: [True]}  # 0.96 and 0.84


def test_find_concave_takes_a_slanted_shape_for_convex():
    # A triangle of 20·21 / 2 pixels: half of its box, all of its hull.
    rows, columns = np.indices([20, 20])
    assert figures.find_concave((columns <= rows).astype(np.int64)).tolist() == [False]


def test_find_touching_and_find_concave_of_nothing_are_empty():
    for find in (figures.find_touching, figures.find_concave):
        assert find(np.zeros([4, 5], np.int64)).shape == (0,)


def test_summarize_keeps_kinds_and_groups_apart():
    # Fluorescence: two touching squares of 16 pixels; one is found whole, of the other 3 of 4
    # columns: IoU 12/16 = 0.75. And a false one, far off.
    truth = drawn((0, 0, 4, 4), (0, 4, 4, 8))
    fluorescence = figures.score_picture(
        "fluorescence", truth, drawn((0, 0, 4, 4), (0, 4, 4, 7), (10, 10, 12, 12))
    )
    # Tissue: a square alone, and an L far off; neither is found.
    truth = drawn((0, 0, 4, 4), (8, 8, 16, 16))
    truth[8:14, 10:16] = 0
    tissue = figures.score_picture("tissue", truth, drawn())
    summary = figures.summarize([fluorescence, tissue])
    assert list(summary) == ["all", "fluorescence", "tissue"]
    found = summary["fluorescence"]
    # TP / (TP + FP + FN): 2 / (2 + 1 + 0) at 0.5 and 0.7, 1 / (1 + 2 + 1) at 0.9.
    assert found["matching"] == pytest.approx([2 / 3, 2 / 3, 1 / 4])
    # Σ IoU / (TP + FP/2 + FN/2) = (1 + 0.75) / (2 + 1/2)
    assert found["pq"] == pytest.approx(1.75 / 2.5)
    # Both at 0.5, 0.55 … 0.75, one alone at 0.8 … 0.95: (6 · 1 + 4 · 1/2) / 10.
    assert found["ar_100"] == pytest.approx(0.8)
    assert (found["num_true"], found["num_predicted"]) == (2, 3)
    assert found["recall"]["touching"] == (2, [1.0, 1.0, 0.5])
    assert found["recall"]["concave"][0] == found["recall"]["neither"][0] == 0
    numbers = {group: number for group, (number, _) in summary["tissue"]["recall"].items()}
    assert numbers == {"all": 2, "touching": 0, "concave": 1, "neither": 1}
    assert summary["tissue"]["recall"]["neither"] == (1, [0.0, 0.0, 0.0])
    # 2 / (2 + 1 + 2), 2 / (2 + 1 + 2), 1 / (1 + 2 + 3)
    assert summary["all"]["matching"] == pytest.approx([2 / 5, 2 / 5, 1 / 6])
    table = figures.format_table({"mine": summary})
    assert re.search(r"^mine  tissue +2  0.000  0.000  0.000", table, re.MULTILINE)
    assert re.search(r"^mine  fluorescence  touching +2  1.000  1.000  0.500$", table, re.MULTILINE)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "labels").mkdir()
    rows = ["id,kind,split", "a,fluo,val", "b,colour,val", "c,fluo,train"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    for name in "abc":
        write(tmp_path / "labels" / f"{name}.png", drawn((0, 0, 4, 4)))
    return tmp_path


def write(path, instance):
    Image.fromarray(instance.astype(np.uint16)).save(path)


def test_score_folder_reads_a_split_of_label_files(data):
    nuclei = figures.read_index(str(data), "val")
    assert nuclei == [("a", "fluorescence"), ("b", "tissue")]
    (data / "out").mkdir()
    write(data / "out" / "a_instances.png", drawn((0, 0, 4, 4)))
    with pytest.raises(ValueError, match=r"out lacks the prediction b\.png"):
        figures.score_folder(str(data), nuclei, str(data / "out"))
    write(data / "out" / "b.png", drawn((0, 0, 4, 3)))
    records = figures.score_folder(str(data), nuclei, str(data / "out"))
    assert [x.best_iou.tolist() for x in records] == [[1.0], [0.75]]
    write(data / "out" / "b.png", drawn(size=(3, 3)))
    with pytest.raises(ValueError, match=r"has b of \(3, 3\) pixels, the truth \(20, 30\)"):
        figures.score_folder(str(data), nuclei, str(data / "out"))


def test_read_index_refuses_a_split_or_kind_that_is_not_there(data):
    with pytest.raises(ValueError, match=r"split 'test'.* it has 0"):
        figures.read_index(str(data), "test")
    (data / "index.csv").write_text("id,kind,split\na,phase,val")
    with pytest.raises(ValueError, match=r"the kinds \['phase'\] besides"):
        figures.read_index(str(data), "val")
