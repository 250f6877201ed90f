"""Counts by hand, and that they add up however pictures are put together."""

import itertools

import numpy as np

from data_pipeline.label_statistics import (
    class_counts,
    count_labels,
    describe_statistics,
    find_segments,
    merge_statistics,
)


def test_count_labels_counts_a_picture():
    instance = np.array([[1, 1, 1, 0], [-1, 5, 0, 0]])
    semantic = np.array([[2, 2, -1, 0], [-1, 3, 0, 4]])
    assert count_labels(instance, semantic) == {
        "num_examples": 1,
        "num_instances": 2,
        "max_instances": 2,
        "num_empty_pictures": 0,
        "num_one_pixel_instances": 1,
        **{"min_height": 2, "max_height": 2, "min_width": 4, "max_width": 4},
        **{"num_pixels": 8, "num_void_pixels": 1, "num_background_pixels": 3},
        "instance_area_log2": {"0": 1, "1": 1},  # areas 1 and 3
        **{"min_instance_area": 1, "max_instance_area": 3},
        "class_pixels": {"0": 2, "2": 2, "3": 1, "4": 1},
        "class_instances": {"2": 1, "3": 1},
    }


def test_count_labels_of_no_instance_and_of_void_classes():
    empty = count_labels(np.array([[0, -1]]), np.array([[0, -1]]))
    assert empty["num_empty_pictures"] == 1 and empty["num_instances"] == 0
    assert "min_instance_area" not in empty and empty["instance_area_log2"] == {}
    void = count_labels(np.array([[3, 0]]), np.array([[-1, -1]]))
    assert void["class_pixels"] == {} and void["class_instances"] == {}
    assert "class_pixels" not in count_labels(np.array([[3, 0]]))


def test_merge_statistics_adds_up_in_any_order():
    rng = np.random.default_rng(0)
    pictures = [
        count_labels(*(rng.integers(-1, 4, (2, height, 5)))) for height in rng.integers(1, 6, 4)
    ]
    pictures.append(count_labels(np.zeros((3, 3), int)))
    total = merge_statistics(pictures)
    for order in itertools.permutations(pictures):
        assert merge_statistics(order) == total
    assert merge_statistics([merge_statistics(pictures[:2]), merge_statistics(pictures[2:])]) == (
        total
    )
    assert total["num_examples"] == 5
    assert total["num_pixels"] == sum(p["num_pixels"] for p in pictures)
    assert total["max_instances"] == max(p["max_instances"] for p in pictures)
    assert total["min_height"] == min(p["min_height"] for p in pictures)
    assert sum(total["class_pixels"].values()) == sum(
        sum(p.get("class_pixels", {}).values()) for p in pictures
    )
    assert merge_statistics([]) == {}


def test_class_counts_against_a_loop():
    rng = np.random.default_rng(1)
    position, semantic = rng.integers(0, 4, 60), rng.integers(-1, 3, 60)
    expected = np.zeros((5, 3), int)
    for p, s in zip(position, semantic, strict=True):
        if s >= 0:
            expected[p, s] += 1
    np.testing.assert_array_equal(class_counts(position, semantic, 5), expected)
    assert class_counts(position, np.full(60, -1), 5).shape == (5, 0)


def test_describe_statistics_says_all_in_words():
    instance = np.array([[1, 1, 0, -1]])
    text = describe_statistics(count_labels(instance, np.array([[1, 1, 0, -1]])), ["ground", "cat"])
    assert "1 pictures, 1 instances" in text
    assert "background 25.0%, void 25.0%" in text
    assert "cat: 50.00% of the pixels, 1 instances" in text
    assert "2 px and more: 1" in text
    assert "instance area" not in describe_statistics(count_labels(np.zeros((1, 1), int)))


def test_find_segments_equals_np_unique():
    rng = np.random.default_rng(2)
    # Small numbers are counted, a large one among them is sorted.
    for largest in (4, 1 << 30):
        labels = rng.integers(-1, 4, (6, 7)).astype(np.int32)
        labels[2, 3] = largest
        expected = np.unique(labels, return_inverse=True, return_counts=True)
        found = find_segments(labels)
        for values, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(values, wanted.reshape(-1))
    assert [len(values) for values in find_segments(np.full((2, 2), 7, np.uint8))] == [1, 4, 1]
