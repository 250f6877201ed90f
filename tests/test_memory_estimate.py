"""The estimate of a training's memory, and its refusals."""

import keras
import pytest

from rpe_tf.memory_estimate import available_bytes, check_memory, check_training, estimate_bytes


def one_convolution():
    """8 channels at full resolution: 8 numbers a pixel, and 3 · 9 · 8 + 8 weights."""
    image = keras.Input([None, None, 3], dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    return keras.Model(image, keras.layers.Conv2D(8, 3, padding="same")(x))


def test_estimate_bytes_by_hand():
    needed = estimate_bytes(one_convolution(), (10, 20), 2, num_pixels=50, num_loops=3)
    features = 0.87 * 4 * (3 + 8) * 10 * 20 * 2
    weights = 4 * 4 * (3 * 9 * 8 + 8)
    points = 2 * (3 + 1) * 50 * 8 * 4 * 2
    assert needed == pytest.approx(256 * 2**20 + features + weights + points, abs=1)


def test_estimate_bytes_takes_less_for_half_precision_and_takes_all_pixels():
    model = one_convolution()

    def needed(**changes):
        arguments = {"num_pixels": 10, "num_loops": 0, "precision": "float32", **changes}
        return estimate_bytes(model, (16, 16), 1, **arguments)

    features = 0.87 * 4 * 11 * 256
    assert needed() - needed(precision="mixed_bfloat16") == pytest.approx(features / 4, abs=1)
    assert needed(num_pixels=0) - needed() == pytest.approx(2 * (256 - 10) * 8 * 4, abs=1)


def test_check_memory_refuses_what_cannot_fit_and_says_what_to_lower():
    gib = 2**30
    check_memory(gib, 2 * gib, is_forced=False)
    check_memory(3 * gib, None, is_forced=False)
    check_memory(3 * gib, 2 * gib, is_forced=True)
    with pytest.raises(ValueError, match=r"3,072 MiB .*2,048 MiB .*--batch_size.*--nocheck_memory"):
        check_memory(3 * gib, 2 * gib, is_forced=False)


def test_check_training_counts_a_replica_s_part_of_a_batch():
    settings = {
        "data": {"crop_size": None},
        "training": {"batch_size": 10**7, "num_parts": 1, "precision": "float32"},
        "loss": {"num_pixels": 10, "num_loops": 0},
    }
    model, size = one_convolution(), {"largest_size": (100, 100), "is_forced": False}
    with pytest.raises(ValueError, match="would take"):
        check_training(model, settings, 1, **size)
    settings["training"]["num_parts"] = 10**6
    check_training(model, settings, 10, **size)
    check_training(model, settings, 1, largest_size=None, is_forced=False)  # unknown


def test_available_bytes_of_this_machine_is_plausible():
    assert 2**26 < available_bytes() < 2**50
