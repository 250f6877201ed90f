"""Each kind of file read and each fault named."""

import numpy as np
import pytest
import scipy.io
from bit_flips import check_flips, small_png
from PIL import Image
from scipy.sparse import csc_matrix

from rpe_tf.metrics.boundary_files import Item, list_items, read_prediction, read_truth


def _save(path, pixels):
    Image.fromarray(pixels).save(path)
    return str(path)


def _cell(*values):
    cell = np.empty((len(values), 1), object)
    for k, value in enumerate(values):
        cell[k, 0] = value
    return cell


def _write_mat(path, **variables):
    scipy.io.savemat(path, variables)
    return str(path)


def _sbd(**own):
    """A 3 x 4 picture: instance 1 left, instance 2 right, each with a boundary of one column."""
    segmentation = np.array([[1, 1, 0, 2]] * 3, np.uint8)
    boundaries = [csc_matrix(np.array([[0, 1, 0, 0]] * 3)), csc_matrix([[0, 0, 0, 1]] * 3)]
    return {"Segmentation": segmentation, "Boundaries": _cell(*boundaries), **own}


def test_list_items_pairs_files_by_name(tmp_path):
    for folder in ("maps", "truth"):
        (tmp_path / folder).mkdir()
    for file in ("maps/b.png", "maps/a.bmp", "maps/c.png", "truth/b.mat", "truth/a.png"):
        (tmp_path / file).touch()
    (tmp_path / "truth" / "Thumbs.db").touch()
    found = list_items(str(tmp_path / "maps"), str(tmp_path / "truth"))
    assert found == [
        Item("a", str(tmp_path / "maps/a.bmp"), str(tmp_path / "truth/a.png")),
        Item("b", str(tmp_path / "maps/b.png"), str(tmp_path / "truth/b.mat")),
    ]


def test_list_items_takes_the_first_suffix_of_two(tmp_path):
    for folder in ("maps", "truth"):
        (tmp_path / folder).mkdir()
    for file in ("maps/a.png", "maps/a.bmp", "truth/a.png", "truth/a.mat"):
        (tmp_path / file).touch()
    (found,) = list_items(str(tmp_path / "maps"), str(tmp_path / "truth"))
    assert found == Item("a", str(tmp_path / "maps/a.png"), str(tmp_path / "truth/a.mat"))


def test_list_items_names_what_is_missing(tmp_path):
    maps, truth = tmp_path / "maps", tmp_path / "truth"
    with pytest.raises(ValueError, match="maps is no folder"):
        list_items(str(maps), str(truth))
    maps.mkdir()
    (truth / "test").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"maps has no \.png or \.bmp files$"):
        list_items(str(maps), str(truth))
    (maps / "a.png").touch()
    with pytest.raises(ValueError, match=r"truth has no \.mat or .* did you mean its folder test"):
        list_items(str(maps), str(truth))
    for name in "abc":
        (truth / f"{name}.mat").touch()
    with pytest.raises(ValueError, match=r"maps lacks b\.png and 1 more; every picture of"):
        list_items(str(maps), str(truth))


_GREY = np.array([[0, 51, 255]], np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [_GREY, np.repeat(_GREY[..., None], 3, 2), np.dstack([_GREY] * 3 + [_GREY * 0 + 255])],
    ids=["grey", "grey repeated", "grey repeated with alpha"],
)
def test_read_prediction_of_8_bits(tmp_path, pixels):
    found = read_prediction(_save(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(found, [[0.0, 51 / 255, 1.0]])


def test_read_prediction_of_16_bits(tmp_path):
    path = _save(tmp_path / "a.png", np.array([[0, 300, 65535]], np.uint16))
    np.testing.assert_array_equal(read_prediction(path), [[0.0, 300 / 65535, 1.0]])


def test_read_prediction_of_1_bit_and_of_a_palette(tmp_path):
    drawn = np.array([[False, True]])
    np.testing.assert_array_equal(read_prediction(_save(tmp_path / "a.png", drawn)), drawn)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 51, 51, 51])
    palette.putdata([0, 1])
    palette.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_prediction(str(tmp_path / "b.png")), [[0, 0.2]])


def test_read_prediction_names_a_wrong_file(tmp_path):
    colored = _save(tmp_path / "colored.png", np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    with pytest.raises(ValueError, match=r"colored\.png must be a grey picture .* colours differ"):
        read_prediction(colored)
    spoilt = tmp_path / "spoilt.png"
    spoilt.write_bytes(open(colored, "rb").read()[:-30])
    with pytest.raises(ValueError, match=r"spoilt\.png cannot be read as a picture"):
        read_prediction(str(spoilt))
    spoilt.write_text("no picture")
    with pytest.raises(ValueError, match=r"spoilt\.png cannot be read as a picture"):
        read_prediction(str(spoilt))
    with pytest.raises(ValueError, match=r"missing\.png cannot be read"):
        read_prediction(str(tmp_path / "missing.png"))


def test_read_truth_of_bsds(tmp_path):
    drawn = np.array([[[0, 1, 0]], [[0, 0, 1]]], np.uint8)
    cell = np.empty((1, 2), object)
    for k in range(2):
        cell[0, k] = {"Segmentation": drawn[k] + 1, "Boundaries": drawn[k]}
    truth = read_truth(_write_mat(tmp_path / "a.mat", groundTruth=cell))
    np.testing.assert_array_equal(truth.annotators, drawn > 0)
    assert truth.annotators.dtype == bool and truth.interior is None


def test_read_truth_of_a_picture(tmp_path):
    truth = read_truth(_save(tmp_path / "a.png", np.array([[0, 1, 255]], np.uint8)))
    np.testing.assert_array_equal(truth.annotators, [[[False, True, True]]])


def test_read_truth_of_sbd_classes(tmp_path):
    path = _write_mat(tmp_path / "a.mat", GTcls=_sbd())
    truth = read_truth(path, category=2)
    np.testing.assert_array_equal(truth.annotators, [[[0, 0, 0, 1]] * 3])
    np.testing.assert_array_equal(truth.interior, [[0, 0, 0, 1]] * 3)
    with pytest.raises(ValueError, match=r"a\.mat has categories 1\.\.2, got 3"):
        read_truth(path, category=3)
    with pytest.raises(ValueError, match=r"a\.mat is of SBD, .* choose one"):
        read_truth(path)


def test_read_truth_of_sbd_instances(tmp_path):
    path = _write_mat(tmp_path / "a.mat", GTinst=_sbd(Categories=np.array([[15], [15]])))
    truth = read_truth(path, category=15)
    np.testing.assert_array_equal(truth.annotators, [[[0, 1, 0, 1]] * 3])
    np.testing.assert_array_equal(truth.interior, [[1, 1, 0, 1]] * 3)
    # A class that the picture lacks has no boundary there.
    assert not read_truth(path, category=3).annotators.any()


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"gt": np.ones((2, 2))}, "has none of the variables groundTruth"),
        ({"groundTruth": np.ones((2, 2))}, "is not laid out as BSDS500 or SBD"),
        ({"groundTruth": np.empty((1, 0), object)}, "has no annotator"),
        ({"groundTruth": _cell({"Boundaries": np.ones(3)}, {"Segmentation": 1})}, "is not laid"),
        (
            {"groundTruth": _cell(*({"Boundaries": np.ones((2, k))} for k in (2, 3)))},
            r"all of one size HxW, got \[\(2, 2\), \(2, 3\)\]",
        ),
        ({"groundTruth": _cell({"Boundaries": "text"})}, "must be arrays of numbers"),
    ],
)
def test_read_truth_names_a_wrong_file(tmp_path, variables, message):
    path = _write_mat(tmp_path / "a.mat", **variables)
    with pytest.raises(ValueError, match=rf"a\.mat.*{message}"):
        read_truth(path)


def test_read_truth_of_no_mat_file(tmp_path):
    (tmp_path / "a.mat").write_text("nothing of the kind")
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a \.mat file"):
        read_truth(str(tmp_path / "a.mat"))


def test_read_truth_has_no_category_but_in_sbd(tmp_path):
    path = _save(tmp_path / "a.png", np.array([[0, 1]], np.uint8))
    with pytest.raises(ValueError, match=r"a\.png has no categories, so category 3 cannot"):
        read_truth(path, category=3)


def test_read_prediction_finds_every_flipped_bit(tmp_path):
    check_flips(tmp_path / "a.png", small_png(), read_prediction)


def test_read_truth_refuses_a_sparse_map_whose_indices_leave_it(tmp_path):
    variables = {"GTcls": _sbd()}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, variables)
    content = path.read_bytes()
    rows = np.arange(3, dtype=np.int32).tobytes()  # Of the only column with a boundary.
    assert content.count(rows) >= 2
    path.write_bytes(content.replace(rows, np.int32([0, 1, 10**8]).tobytes()))
    with pytest.raises(ValueError, match=r"a\.mat"):
        read_truth(str(path), 1)


def test_read_truth_refuses_a_spoilt_mat_file_before_scipy_reads_it(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"GTcls": _sbd()})
    path.write_bytes(path.read_bytes().replace(b"\x0e\x00\x00\x00", b"\x0e\x01\x00\x00"))
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a \.mat file \(a variable of"):
        read_truth(str(path), 1)
