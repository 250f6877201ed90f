"""Digit scenes: where digits go, who covers whom, what colour they have; and reading idx files."""

import gzip
import struct

import numpy as np
import pytest

from data_pipeline import digits

_FULL = np.ones((digits.SCAN_SIZE, digits.SCAN_SIZE), np.float32)
_CORNER = np.zeros_like(_FULL)
_CORNER[-1, -1] = 1


def _compose(seed, scans, classes, **settings):
    return digits.compose_scene(
        np.random.default_rng(seed), np.asarray(scans), np.asarray(classes), **settings
    )


def _random_scans(count=40):
    scans = np.random.default_rng(5).random((count, 28, 28)).astype(np.float32)
    return np.where(scans < 0.6, 0, scans), np.arange(count) % 10


@pytest.mark.parametrize("size, count", [(64, 3), (128, 7), (512, 29)])
def test_anchors_keep_their_density(size, count):
    # (size - 28 - 1) / 17.5 steps: 35 / 17.5 = 2; 99 / 17.5 = 5.7, so 6; 483 / 17.5 = 27.6, so 28.
    found = digits.anchors(size)
    assert len(found) == count and found[0] == 1 and found[-1] == size - 28
    assert set(np.diff(found)) <= {16, 17, 18}


def test_anchors_of_64_are_the_authors():
    assert digits.anchors(64).tolist() == [1, 18, 36]


@pytest.mark.parametrize("size, most", [(64, 9), (128, 49), (512, 841)])
def test_digit_range_scales_with_the_anchors(size, most):
    assert digits.digit_range(size, 2, 9) == (2, most)
    assert digits.digit_range(64, 1, 4) == (1, 4)


@pytest.mark.parametrize("size", [64, 128, 512])
def test_compose_scene_has_contiguous_ids_and_one_class_each(size):
    scans, classes = _random_scans()
    for seed in range(5):
        image, instance, semantic = _compose(seed, scans, classes, scene_size=size)
        assert image.shape == (size, size, 3) and instance.shape == semantic.shape == (size, size)
        assert (image.dtype, instance.dtype, semantic.dtype) == (np.uint8, np.int32, np.int32)
        ids = np.unique(instance)
        np.testing.assert_array_equal(ids, np.arange(len(ids)))
        for identity in ids:
            owned = np.unique(semantic[instance == identity])
            assert len(owned) == 1 and (owned[0] == 0) == (identity == 0)
        assert not image[instance == 0].any()


def test_compose_scene_colours_by_class_and_intensity():
    for digit in range(10):
        image, instance, semantic = _compose(digit, [_FULL * 0.5], [digit], max_digits=1)
        expected = [round(255 * 0.5 * float(part)) for part in digits.CLASS_COLOURS[digit]]
        assert set(semantic[instance > 0]) == {digit + 1}
        np.testing.assert_allclose(np.unique(image[instance > 0], axis=0), [expected], atol=1)


def test_compose_scene_keeps_the_scan_at_its_place():
    scans, classes = _random_scans(1)
    places = set()
    for seed in range(60):
        _, instance, _ = _compose(seed, scans, classes, max_digits=1)
        rows, columns = np.nonzero(instance)
        scan_rows, scan_columns = np.nonzero(scans[0])
        top, left = rows[0] - scan_rows[0], columns[0] - scan_columns[0]
        np.testing.assert_array_equal(rows - top, scan_rows)
        np.testing.assert_array_equal(columns - left, scan_columns)
        places |= {int(top), int(left)}
    # Anchors 1, 18, 36 and up to 2 pixels, cut at 0 and at 64 - 28 = 36.
    assert places == {0, 1, 2, 3, 16, 17, 18, 19, 20, 34, 35, 36}


def test_compose_scene_paints_later_digits_on_top():
    for seed in range(5):
        _, instance, _ = _compose(seed, [_FULL], [3], min_digits=9)
        assert instance.max() == 9
        # Squares of 28 at steps of about 18: the last one is whole, some earlier one is not.
        areas = np.bincount(instance.ravel())[1:]
        assert areas[-1] == 28 * 28
        assert areas.min() < 28 * 28
        rows, columns = np.nonzero(instance == 9)
        assert np.ptp(rows) == np.ptp(columns) == 27


def test_compose_scene_drops_covered_digits():
    # One pixel in the lower right corner of its window lies in the next window, if that is painted
    # later.
    counts = []
    for seed in range(30):
        _, instance, _ = _compose(seed, [_FULL, _CORNER], [1, 2], min_digits=9)
        ids = np.unique(instance[instance > 0])
        np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))
        counts.append(len(ids))
    assert min(counts) < 9


def test_compose_scene_number_of_digits_is_in_range():
    counts = {
        int(_compose(seed, [_FULL], [0], min_digits=2, max_digits=5)[1].max()) for seed in range(40)
    }
    assert counts == {2, 3, 4, 5}


def test_compose_scene_same_class_has_one_class():
    scans, classes = _random_scans()
    seen = set()
    for seed in range(30):
        semantic = _compose(seed, scans, classes, same_class=True, min_digits=5)[2]
        found = set(semantic[semantic > 0])
        assert len(found) == 1
        seen |= found
    assert len(seen) > 5
    mixed = _compose(0, scans, classes, min_digits=5)[2]
    assert len(set(mixed[mixed > 0])) > 1


def test_compose_scene_depends_on_the_generator_alone():
    scans, classes = _random_scans()
    for first, second in zip(*(_compose(1, scans, classes) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (_compose(1, scans, classes)[0] != _compose(2, scans, classes)[0]).any()


def test_compose_scene_refuses_bad_numbers():
    for settings, message in [
        ({"scene_size": 63}, "scene_size must be at least 64"),
        ({"max_digits": 10}, "max_digits must lie in"),
        ({"min_digits": 0}, "min_digits must lie in"),
        ({"min_digits": 4, "max_digits": 3}, r"min_digits must lie in \[1, 3\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            _compose(0, [_FULL], [0], **settings)
    with pytest.raises(ValueError, match="equally many, not none"):
        _compose(0, np.zeros((0, 28, 28)), [])


def test_load_scans_sklearn_has_crisp_scans_and_keeps_a_fifth():
    scans, classes, is_test = digits.load_scans("sklearn")
    assert scans.shape == (1797, 28, 28) and scans.dtype == np.float32 and classes.dtype == np.int32
    assert scans.max() <= 1 and scans[scans > 0].min() >= 0.25
    assert is_test.sum() == 1797 // 5 and is_test[-359:].all()
    assert set(classes[is_test]) == set(classes[~is_test]) == set(range(10))
    assert (scans.reshape(len(scans), -1).max(axis=1) > 0.5).all()


def _idx_bytes(array):
    magic = 2051 if array.ndim == 3 else 2049
    return (
        struct.pack(f">{1 + array.ndim}i", magic, *array.shape) + array.astype(np.uint8).tobytes()
    )


def _write_mnist(folder):
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (4, 28, 28)),
        "train-labels-idx1-ubyte": np.array([3, 1, 4, 1]),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (2, 28, 28)),
        "t10k-labels-idx1-ubyte": np.array([5, 9]),
    }
    for name, array in arrays.items():
        (folder / name).write_bytes(_idx_bytes(array))
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
def test_load_scans_mnist_reads_plain_and_zipped_files(tmp_path, zipped):
    arrays = _write_mnist(tmp_path)
    if zipped:
        for name in arrays:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
            (tmp_path / name).unlink()
    scans, classes, is_test = digits.load_scans("mnist", str(tmp_path))
    np.testing.assert_allclose(scans[:4] * 255, arrays["train-images-idx3-ubyte"], atol=1e-4)
    assert classes.tolist() == [3, 1, 4, 1, 5, 9]
    assert is_test.tolist() == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("t10k-labels-idx1-ubyte", None, r"t10k-labels-idx1-ubyte\[.gz\]: no such file"),
        (
            "train-images-idx3-ubyte",
            lambda content: b"\0\0\0\1" + content[4:],
            "train-images.*must start with the number",
        ),
        (
            "train-images-idx3-ubyte",
            lambda content: b"",
            "train-images.*must start with the number",
        ),
        (
            "train-images-idx3-ubyte",
            lambda content: content[:-1],
            "train-images.*must hold 3152 bytes, got 3151",
        ),
        ("train-images-idx3-ubyte", lambda content: content[:9], "train-images.*got 9"),
        (
            "train-images-idx3-ubyte",
            lambda content: _idx_bytes(np.zeros((4, 2, 2))),
            "train-images.*must hold images",
        ),
        (
            "train-labels-idx1-ubyte",
            lambda content: _idx_bytes(np.zeros(3)),
            "train-labels.*one digit 0..9",
        ),
        (
            "train-labels-idx1-ubyte",
            lambda content: _idx_bytes(np.full(4, 10)),
            "train-labels.*largest 10",
        ),
    ],
)
def test_load_scans_names_the_bad_mnist_file(tmp_path, name, damage, message):
    _write_mnist(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage:
        (tmp_path / name).write_bytes(damage(content))
    with pytest.raises(ValueError, match=message):
        digits.load_scans("mnist", str(tmp_path))


@pytest.mark.parametrize(
    "damage", [lambda zipped: zipped[:-20], lambda zipped: b"no gzip" + zipped]
)
def test_read_idx_names_a_damaged_gzip_file(tmp_path, damage):
    (tmp_path / "x.gz").write_bytes(damage(gzip.compress(_idx_bytes(np.arange(200)))))
    with pytest.raises(ValueError, match=r"x\.gz: damaged or cut-off"):
        digits.read_idx(str(tmp_path / "x"))


def test_load_scans_refuses_unknown_sources():
    with pytest.raises(ValueError, match="'sklearn' or 'mnist', got 'svhn'"):
        digits.load_scans("svhn")
    with pytest.raises(ValueError, match="needs mnist_dir"):
        digits.load_scans("mnist")
