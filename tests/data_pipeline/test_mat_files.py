"""What a .mat file may hold, and what is said of one that does not."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from data_pipeline.mat_files import label_map, mat_field, read_mat


def test_read_mat_gives_a_field_of_a_struct(tmp_path):
    path = str(tmp_path / "a.mat")
    scipy.io.savemat(path, {"GTinst": {"Segmentation": np.array([[1, 2]], np.uint8)}, "other": 1})
    struct = read_mat(path, "GTinst")
    np.testing.assert_array_equal(mat_field(path, struct, "Segmentation"), [[1, 2]])
    for name, variable in (("None", "Segmentation"), ("Segmentation", "nothing")):
        with pytest.raises(ValueError, match=r"a\.mat (must hold a struct|has no variable)"):
            mat_field(path, read_mat(path, variable), name)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda content: b"no mat file", r"a\.mat cannot be read as a \.mat file"),
        (lambda content: content[: len(content) // 2], r"a\.mat cannot be read as a \.mat file"),
        (lambda content: b"", r"a\.mat cannot be read as a \.mat file"),
        (lambda content: b"MATLAB 7.3 MAT-file" + content, r"a\.mat is .* 7\.3 .*; save it .*-v7"),
        (lambda content: b"\x89HDF\r\n\x1a\n" + content, r"a\.mat is .* \(HDF5\); save it .*-v7"),
        (None, r"a\.mat cannot be read \("),
    ],
)
def test_read_mat_names_a_bad_file(tmp_path, damage, message):
    path = tmp_path / "a.mat"
    if damage is not None:
        scipy.io.savemat(path, {"x": np.arange(1000)})
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        read_mat(str(path), "x")


def test_read_mat_looks_at_checksums_before_scipy_does(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"x": np.arange(50), "y": 1}, do_compression=True)
    whole = path.read_bytes()
    first_bytes = int.from_bytes(whole[132:136], "little")  # Of the first variable's tag.
    assert read_mat(str(path), "x").size == 50
    # scipy's reader ended the process on some such files, so it must not see any.
    monkeypatch.setattr(scipy.io, "loadmat", lambda *_, **__: pytest.fail("scipy saw it"))
    # In the first variable; in the second, which is not even asked for; and cut off.
    second = 136 + first_bytes + 8
    spoilt = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(138, 170)]
    spoilt += [whole[:150] + bytes(16) + whole[166:], whole[: second + 9] + b"?" * 9, whole[:-3]]
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.mat cannot be read as a \.mat file"):
            read_mat(str(path), "x")


@pytest.mark.filterwarnings("ignore:The default value for `spmatrix`")  # No array either way.
def test_read_mat_refuses_a_sparse_matrix(tmp_path):
    path = str(tmp_path / "a.mat")
    sparse = scipy.sparse.csc_matrix(np.eye(3))
    scipy.io.savemat(path, {"x": sparse, "GTinst": {"Segmentation": sparse}})
    with pytest.raises(ValueError, match=r"a\.mat: variable 'x' must be an array or struct"):
        read_mat(path, "x")
    with pytest.raises(ValueError, match=r"a\.mat: a label map must be a full array"):
        label_map(path, mat_field(path, read_mat(path, "GTinst"), "Segmentation"))


def test_label_map_takes_whole_numbers_of_any_type():
    for dtype in (bool, np.uint8, np.uint16, np.int32, np.float64):
        found = label_map("a.mat", np.array([[0, 1]], dtype))
        assert found.dtype == np.int32 and found.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.array([[0.5]]), "must hold whole numbers, got fractions or NaN"),
        (np.array([[np.nan]]), "must hold whole numbers, got fractions or NaN"),
        (np.array([1, 2]), r"must be .* \[H, W\] of numbers, got ndarray int64 \(2,\)"),
        (np.zeros((0, 3)), r"must be .* \[H, W\] of numbers"),
        (np.array([["a"]]), r"must be .* \[H, W\] of numbers"),
        (np.array([[None]]), r"must be .* \[H, W\] of numbers, got ndarray object"),
    ],
)
def test_label_map_refuses_by_name(labels, message):
    with pytest.raises(ValueError, match=rf"a\.mat: a label map {message}"):
        label_map("a.mat", labels)
