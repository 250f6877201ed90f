"""Augmentation of an example: what is drawn, from what, and what becomes of the maps."""

import math

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import augment, warp
from data_pipeline.augment import Augmentation

# Draws nothing: every range is one value.
_NONE = Augmentation(
    scale=(1.0, 1.0),
    rotation_degrees=0.0,
    flip=False,
    crop_margin_px=0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue_degrees=0.0,
)
_CROP = (40, 56)


def _example(height=48, width=64, seed=(1, 2), **more):
    rng = np.random.default_rng(height * width)
    arrays = {
        "image": rng.integers(0, 256, (height, width, 3), np.uint8),
        "instance": rng.integers(-1, 65535, (height, width)).astype(np.int32),
        "semantic": rng.integers(-1, 21, (height, width)).astype(np.int32),
        "name": "a.jpg",
        "seed": np.array(seed, np.int32),
        **more,
    }
    return {name: tf.constant(value) for name, value in arrays.items()}


def _augment(example, augmentation=None, crop_size=_CROP, stride=8):
    augmented = augment.augment(
        example, augmentation or Augmentation(), crop_size=crop_size, stride=stride
    )
    return {name: value.numpy() for name, value in augmented.items()}


def _assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def _drawn(monkeypatch, augmentation, count=400, source=(50, 70), crop_size=(30, 90)):
    """Geometry [N, 3, 3], colour [N, 3, 4] and output size [N, 2] of many draws, no pictures."""

    def instead(image, maps, matrix, color, output_size):
        del image, maps
        return matrix, {"color": color, "size": tf.stack(output_size)}

    monkeypatch.setattr(warp, "resample", instead)
    image = tf.zeros([*source, 3], tf.uint8)
    dataset = tf.data.Dataset.range(count).map(
        lambda number: augment.augment(
            {"image": image, "seed": tf.stack([7, tf.cast(number, tf.int32)])},
            augmentation,
            crop_size=crop_size,
            stride=8,
        )
    )
    found = next(iter(dataset.batch(count).as_numpy_iterator()))
    return found["image"].astype(np.float64), found["color"].astype(np.float64), found["size"]


def _read_geometry(matrices, source, crop_size):
    """What was drawn, from M = flip · scaling · (turn about the centre) · (start of the crop)."""
    determinants = np.linalg.det(matrices[:, :2, :2])
    scale = np.abs(determinants) ** -0.5
    # The centre of the source is seen at the centre of the scaled picture, less the crop's start.
    centre = np.array([source[1] / 2, source[0] / 2, 1.0])
    start = scale[:, np.newaxis] * centre[:2] - (np.linalg.inv(matrices) @ centre)[:, :2]
    gap = scale[:, np.newaxis] * source[::-1] - crop_size[::-1]
    return {
        "flip": determinants < 0,
        "scale": scale,
        # Down the columns of the output the source is the same whether flipped or not.
        "degrees": np.degrees(np.arctan2(-matrices[:, 1, 0], matrices[:, 1, 1])),
        "left": start[:, 0] / gap[:, 0],
        "top": start[:, 1] / gap[:, 1],
    }


def _read_colors(colors):
    """What was drawn, from M = hue · saturation · contrast · brightness."""
    linear = colors[:, :, :3]
    # Hue and saturation leave grey alone, so contrast is what becomes of it.
    contrast = linear.sum(axis=2).mean(axis=1)
    brightness = (colors[:, :, 3].mean(axis=1) - (1 - contrast) * 127.5) / (255 * contrast)
    # Across the grey axis saturation is a factor and hue a turn.
    across = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    plane = across @ linear @ across.T / contrast[:, np.newaxis, np.newaxis]
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": np.linalg.det(plane) ** 0.5,
        "hue": np.degrees(np.arctan2(plane[:, 1, 0], plane[:, 0, 0])),
    }


@pytest.mark.parametrize("crop_size", [None, (48, 64)])
def test_augment_of_no_ranges_changes_nothing(crop_size):
    example = _example()
    _assert_same(
        _augment(example, _NONE, crop_size),
        {name: value.numpy() for name, value in example.items()},
    )


def test_augment_has_the_stated_types_and_static_shapes():
    for crop_size, shape in ((_CROP, list(_CROP)), (None, [None, None])):
        dataset = tf.data.Dataset.from_tensors(_example()).map(
            lambda example, size=crop_size: augment.augment(
                example, Augmentation(), crop_size=size, stride=8
            )
        )
        spec = dataset.element_spec
        assert spec["image"] == tf.TensorSpec([*shape, 3], tf.uint8)
        assert spec["instance"] == spec["semantic"] == tf.TensorSpec(shape, tf.int32)


def test_augment_passes_on_what_is_no_label_map():
    example = _example(boxes=np.zeros((3, 4), np.float32), masks=np.zeros((2, 48, 64), bool))
    augmented = _augment(example)
    for name in ("boxes", "masks", "name", "seed"):
        np.testing.assert_array_equal(augmented[name], example[name])


def test_augment_warps_every_label_map_alike():
    example = _example()
    example["again"] = example["instance"]
    augmented = _augment(example)
    np.testing.assert_array_equal(augmented["again"], augmented["instance"])
    assert len(np.unique(augmented["again"])) > 100


def test_augment_only_ever_shows_ids_of_the_picture():
    example = _example(instance=np.full((48, 64), 65534, np.int32))
    seen = set()
    for number in range(8):
        example["seed"] = tf.constant([5, number])
        seen |= set(np.unique(_augment(example)["instance"]))
    assert seen == {-1, 65534}


def test_augment_moves_image_and_labels_together():
    labels = np.zeros((48, 64), np.int32)
    labels[10:30, 20:50] = 1
    image = np.repeat((255 * labels).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    geometry_alone = _NONE._replace(scale=(0.7, 1.4), rotation_degrees=10.0, flip=True)
    for number in range(10):
        example = _example(image=image, instance=labels, seed=(3, number))
        found = _augment(example, geometry_alone)
        covered = found["instance"] >= 0
        differ = covered & ((found["image"][..., 0] > 127) != (found["instance"] == 1))
        # Along 100 px of boundary pixels may fall to either side, but none away from it.
        eroded = np.zeros_like(differ)
        eroded[1:-1, 1:-1] = differ[:-2, 1:-1] & differ[2:, 1:-1] & differ[1:-1, :-2]
        assert not eroded.any()
        assert differ.sum() < 60
        shift = (found["image"][..., 0][covered] / 255).sum() - (found["instance"] == 1).sum()
        assert abs(shift) < 0.15 * 100 * 1.4


def test_augment_is_made_of_the_examples_seed_alone():
    first = _augment(_example())
    tf.random.set_seed(5)
    np.random.seed(6)
    _assert_same(_augment(_example()), first)
    others = [_augment(_example(seed=seed)) for seed in ((1, 3), (2, 2))]
    for other in others:
        assert (other["image"] != first["image"]).mean() > 0.5


@pytest.mark.parametrize("crop_size", [_CROP, None])
def test_augment_in_parallel_pipelines_is_the_eager_one(crop_size):
    examples = [_example(seed=(1, number)) for number in range(6)]
    dataset = tf.data.Dataset.from_tensor_slices(
        {name: tf.stack([example[name] for example in examples]) for name in examples[0]}
    )
    dataset = dataset.repeat(4).map(
        lambda example: augment.augment(example, Augmentation(), crop_size=crop_size, stride=8),
        num_parallel_calls=2,
        deterministic=True,
    )
    eager = [_augment(example, crop_size=crop_size) for example in examples]
    for number, found in enumerate(dataset.as_numpy_iterator()):
        expected = eager[number % 6]
        # The same operations, but an optimised graph may add in another order.
        np.testing.assert_allclose(found["image"].astype(int), expected["image"], atol=1)
        for name in ("instance", "semantic"):
            assert (found[name] != expected[name]).mean() < 1e-3


def test_augment_draws_evenly_and_independently(monkeypatch):
    source, crop_size = (500, 700), (200, 1200)
    augmentation = Augmentation(contrast=0.2, saturation=0.4, hue_degrees=30.0)
    matrices, colors, _ = _drawn(
        monkeypatch, augmentation, count=1000, source=source, crop_size=crop_size
    )
    drawn = _read_geometry(matrices, source, crop_size) | _read_colors(colors)
    ranges = {
        "scale": (0.5, 1.5),
        "degrees": (-10, 10),
        "left": (0, 1),
        "top": (0, 1),
        "brightness": (-0.125, 0.125),
        "contrast": (0.8, 1.2),
        "saturation": (0.6, 1.4),
        "hue": (-30, 30),
    }
    for name, (low, high) in ranges.items():
        slack = 0.01 * (high - low)
        assert drawn[name].min() > low - slack and drawn[name].max() < high + slack, name
        counts, _ = np.histogram(drawn[name], 10, (low - slack, high + slack))
        # A tenth of the draws in each tenth of the range, give or take 4.5 standard deviations.
        assert 57 < counts.min() and counts.max() < 143, (name, counts)
    assert 430 < drawn["flip"].sum() < 570
    correlations = np.corrcoef(list(drawn.values()))
    assert np.abs(correlations - np.eye(len(drawn))).max() < 0.15


def test_augment_places_crops_evenly(monkeypatch):
    # 50 rows, of which 30 are shown: they start at 0 to 20. 70 columns in 90: so does the picture.
    matrices, _, _ = _drawn(monkeypatch, _NONE)
    assert set(matrices[:, 1, 2]) == set(range(21))
    assert set(matrices[:, 0, 2]) == set(range(-20, 1))
    # Scaled by 1.5 there are 45 rows too many and 15 columns.
    matrices, _, _ = _drawn(monkeypatch, _NONE._replace(scale=(1.5, 1.5)))
    np.testing.assert_allclose([matrices[:, 1, 2].min(), matrices[:, 1, 2].max()], [0, 45 / 1.5])
    np.testing.assert_allclose([matrices[:, 0, 2].min(), matrices[:, 0, 2].max()], [0, 15 / 1.5])


def test_augment_without_crop_size_leaves_the_margin(monkeypatch):
    augmentation = _NONE._replace(scale=(0.5, 1.5), crop_margin_px=20)
    matrices, _, sizes = _drawn(monkeypatch, augmentation, source=(90, 120), crop_size=None)
    scale = 1 / matrices[:, 0, 0]
    scaled = np.stack([90 * scale, 120 * scale], axis=1)
    assert (sizes % 8 == 0).all()
    assert (scaled - sizes >= 20 - 1e-4).all() and (scaled - sizes < 20 + 8 + 1).all()
    starts = matrices[:, [1, 0], 2] * scale[:, np.newaxis]
    assert (starts > -1e-4).all() and (starts + sizes < scaled + 1e-3).all()
    assert starts.max() > 24


def test_augment_without_crop_size_is_never_below_the_stride():
    found = _augment(_example(9, 25), _NONE._replace(crop_margin_px=20), None, stride=16)
    assert found["image"].shape == (16, 16, 3)
    # 9 rows within 16, the rest void.
    assert (found["instance"] == -1).all(axis=1).sum() == 7


def test_augment_places_a_picture_of_one_pixel():
    found = _augment(_example(1, 1, instance=[[9]]), _NONE, (4, 5))
    assert (found["instance"] == 9).sum() == 1 and (found["instance"] == -1).sum() == 19
    assert (found["image"] == _example(1, 1)["image"].numpy()).all()


def test_augment_of_all_void_is_all_void():
    found = _augment(_example(instance=np.full((48, 64), -1, np.int32)))
    assert (found["instance"] == -1).all()


@pytest.mark.parametrize(
    "stride, size", [(8, (48, 64)), (20, (60, 80)), (1, (45, 63)), (100, (100, 100))]
)
def test_pad_to_multiple_pads_right_and_below(stride, size):
    example = _example(45, 63)
    padded = augment.pad_to_multiple(example, stride)
    assert padded["image"].shape == (*size, 3)
    more = [(0, size[0] - 45), (0, size[1] - 63)]
    expected = np.pad(example["image"], [*more, (0, 0)], mode="edge")
    np.testing.assert_array_equal(padded["image"], expected)
    for name in ("instance", "semantic"):
        np.testing.assert_array_equal(padded[name], np.pad(example[name], more, constant_values=-1))
    for name in ("name", "seed"):
        assert padded[name] is example[name]


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"scale": (0.0, 1.0)},
            r"scale must be \(low, high\) .* 0 < low <= high, got \(0.0, 1.0\)",
        ),
        ({"scale": (1.5, 0.5)}, "scale must be"),
        ({"scale": (1.0, math.inf)}, "scale must be"),
        ({"rotation_degrees": -1.0}, r"rotation_degrees must lie in \[0, 180\], got -1.0"),
        ({"rotation_degrees": 181.0}, "rotation_degrees must lie"),
        ({"hue_degrees": 200.0}, "hue_degrees must lie"),
        ({"brightness": 1.5}, r"brightness must lie in \[0, 1\]"),
        ({"contrast": -0.1}, r"contrast must lie in \[0, 1\]"),
        ({"saturation": math.nan}, r"saturation must lie in \[0, 1\]"),
        ({"crop_margin_px": -1}, "crop_margin_px must be at least 0, got -1"),
    ],
)
def test_augment_refuses_impossible_ranges(changes, message):
    with pytest.raises(ValueError, match=message):
        augment.check_augmentation(Augmentation(**changes))
    with pytest.raises(ValueError, match=message):
        _augment(_example(), Augmentation(**changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"crop_size": (0, 5)}, r"crop_size must be .*, at least 1 each, got \(0, 5\)"),
        ({"crop_size": (5,)}, "crop_size must be"),
        ({"crop_size": None, "stride": 0}, "stride must be at least 1, got 0"),
    ],
)
def test_augment_refuses_impossible_sizes(changes, message):
    with pytest.raises(ValueError, match=message):
        _augment(_example(), **changes)


@pytest.mark.parametrize(
    "name, other, message",
    [
        ("image", tf.zeros([4, 4, 3]), r"image must be uint8 .*, got float32 of shape \(4, 4, 3\)"),
        ("image", tf.zeros([4, 4], tf.uint8), "image must be uint8 of rank 3"),
        ("seed", tf.zeros([2]), "seed must be int32 of rank 1"),
    ],
)
def test_augment_refuses_other_types(name, other, message):
    example = _example()
    with pytest.raises(ValueError, match=message):
        _augment(example | {name: other})
    del example[name]
    with pytest.raises(ValueError, match=f"an example needs {name}, got"):
        _augment(example)


def test_pad_to_multiple_refuses_what_augment_refuses():
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        augment.pad_to_multiple(_example(), 0)
    with pytest.raises(ValueError, match="an example needs image"):
        augment.pad_to_multiple({}, 8)
