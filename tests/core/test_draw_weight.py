"""How likely each pixel is drawn: evenly over instances, more near borders."""

import numpy as np
import pytest
import tensorflow as tf

from rpe_tf.core.draw_weight import draw_weight, near_other_instance
from rpe_tf.core.pair_sampling import draw_pixels

# Background 0, instances 1 and 300, a void pixel.
_MAP = np.array(
    [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, -1, 1, 1],
        [0, 0, 0, 300, 300, 300],
    ]
)


def _random_maps(batch=3, height=9, width=11):
    rng = np.random.default_rng(7)
    coarse = rng.integers(-1, 5, [batch, height // 3 + 1, width // 3 + 1])
    return coarse.repeat(3, axis=1).repeat(3, axis=2)[:, :height, :width]


def _near_oracle(instance, reach):
    """The window of each pixel, pixel by pixel."""
    near = np.zeros(instance.shape, bool)
    for (row, column), own in np.ndenumerate(instance):
        top, left = max(row - reach, 0), max(column - reach, 0)
        window = instance[top : row + reach + 1, left : column + reach + 1]
        near[row, column] = own >= 0 and any(x >= 0 and x != own for x in window.ravel())
    return near


def test_near_other_instance_preset():
    expected = [
        [0, 0, 1, 1, 0, 0],  # 0 beside 1
        [0, 0, 1, 1, 0, 0],  # the 1 above the void touches 0 by the column before
        [0, 0, 1, 0, 1, 1],  # void: neither near, nor does it make others near
        [0, 0, 1, 1, 1, 1],  # 300 beside 0 and under 1
    ]
    found = near_other_instance(_MAP[np.newaxis], 1)
    np.testing.assert_array_equal(found[0], np.array(expected, bool))


@pytest.mark.parametrize("reach", [1, 2, 5, 40])
def test_near_other_instance_equals_the_oracle(reach):
    maps = _random_maps()
    found = near_other_instance(tf.constant(maps, tf.int32), reach)
    for k in range(len(maps)):
        np.testing.assert_array_equal(found[k], _near_oracle(maps[k], reach))


@pytest.mark.parametrize("fill", [-1, 0, 7])
def test_near_other_instance_of_one_id_is_nowhere(fill):
    assert not near_other_instance(np.full([1, 4, 5], fill), 2).numpy().any()
    assert not near_other_instance(np.full([1, 1, 1], fill), 2).numpy().any()


def test_near_other_instance_knows_large_ids_apart():
    maps = np.full([1, 1, 2], 2**24 - 1)
    maps[0, 0, 1] -= 1
    assert near_other_instance(maps, 1).numpy().all()


def test_draw_weight_preset():
    # 23 pixels are not void; 12 of id 0, 8 of id 1, 3 of id 300.
    uniform = np.where(_MAP >= 0, 1 / 23, 0)
    np.testing.assert_allclose(draw_weight(_MAP[np.newaxis])[0], uniform, rtol=1e-6)
    size = np.where(_MAP == 0, 12, np.where(_MAP == 1, 8, 3))
    equal = np.where(_MAP >= 0, 1 / size / 3, 0)
    found = draw_weight(_MAP[np.newaxis], equal_draw=True)[0]
    np.testing.assert_allclose(found, equal, rtol=1e-6)
    # The band of test_near_other_instance_preset: 4 pixels of id 0, 4 of id 1, 3 of id 300.
    band = near_other_instance(_MAP[np.newaxis], 1).numpy()[0]
    found = draw_weight(_MAP[np.newaxis], border_fraction=0.25, border_px=1)[0]
    np.testing.assert_allclose(found, 0.25 * band / 11 + 0.75 * uniform, rtol=1e-6)
    # By instance: 1/12 for each of id 0, 1/8 for each of id 1, 1/3 for each of id 300.
    found = draw_weight(_MAP[np.newaxis], equal_draw=True, border_fraction=0.25, border_px=1)[0]
    in_band = np.where(band, 1 / size, 0) / (4 / 12 + 4 / 8 + 3 / 3)
    np.testing.assert_allclose(found, 0.25 * in_band + 0.75 * equal, rtol=1e-6)


def test_draw_weight_of_all_void_is_zero_and_without_a_band_is_uniform():
    maps = np.stack([np.full([2, 2], -1), np.full([2, 2], 3)])
    found = draw_weight(maps, border_fraction=1.0)
    np.testing.assert_array_equal(found, [np.zeros([2, 2]), np.full([2, 2], 0.25)])


def test_draw_weight_batch_is_singles():
    maps = _random_maps()
    options = {"equal_draw": True, "border_fraction": 0.5, "border_px": 1}
    together = draw_weight(maps, **options)
    for k in range(len(maps)):
        np.testing.assert_allclose(together[k], draw_weight(maps[k : k + 1], **options)[0])


def test_draw_weight_of_300_instances_draws_each():
    # 300 instances of 4 pixels in a background of 8,800. Of 900 pixels drawn uniformly, each drawn
    # at 9 %, about 300 · (1 − 0.91⁴) = 94 instances are met; at equal shares nearly all.
    maps = np.zeros([1, 100, 100], np.int32)
    maps[0, :40, :30] = np.arange(300).reshape(20, 15).repeat(2, axis=0).repeat(2, axis=1) + 1
    instance = maps.reshape(1, -1)

    def met(weights):
        drawn = draw_pixels(instance, 900, [[1, 2]], weights).numpy()[0]
        return len(np.unique(instance[0, drawn]))

    weights = tf.reshape(draw_weight(maps, equal_draw=True), [1, -1])
    assert met(None) < 150
    assert met(weights) > 280


def test_border_fraction_is_the_share_of_a_small_draw():
    # Two halves of a 40×100 picture: the band of 1 px is 80 of 4,000 pixels, 2 %.
    maps = np.repeat(np.arange(2), 50)[np.newaxis, np.newaxis].repeat(40, axis=1)
    maps = maps.repeat(500, axis=0)
    band = near_other_instance(maps, 1).numpy().reshape(500, -1)
    weights = tf.reshape(draw_weight(maps, border_fraction=0.5, border_px=1), [500, -1])
    seeds = tf.stack([tf.range(500)] * 2, axis=1)
    drawn = draw_pixels(maps.reshape(500, -1), 10, seeds, weights).numpy()
    share = np.take_along_axis(band, drawn, axis=1).mean()
    # 0.5 + 0.5 · 0.02 = 0.51; deviation √(0.25 / 5,000) = 0.007; a tenth of the band is used up.
    assert 0.45 < share < 0.55


@pytest.mark.parametrize(
    "options, message",
    [
        ({"border_fraction": -0.1}, "border_fraction must be in .* got -0.1"),
        ({"border_fraction": 1.5}, "border_fraction must be in .* got 1.5"),
        ({"border_fraction": float("nan")}, "border_fraction must be in"),
        ({"border_fraction": 0.5, "border_px": 0}, "border_px must be at least 1 pixel, got 0"),
    ],
)
def test_draw_weight_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        draw_weight(_MAP[np.newaxis], **options)
    if "border_px" in options:
        with pytest.raises(ValueError, match=message):
            near_other_instance(_MAP[np.newaxis], options["border_px"])
