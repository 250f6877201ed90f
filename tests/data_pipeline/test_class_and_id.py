"""Class and instance in one number: ids kept, groups and classes without index void."""

import numpy as np

from data_pipeline.class_and_id import CITYSCAPES_CLASSES, CITYSCAPES_THINGS, split_class_and_id

INDEX = {number: k for k, number in enumerate(CITYSCAPES_CLASSES, 1)}


def _split(numbers, index=INDEX, things=CITYSCAPES_THINGS):
    instance, semantic = split_class_and_id(np.array([numbers], np.int32), index, things)
    assert instance.dtype == semantic.dtype == np.int32
    return instance[0].tolist(), semantic[0].tolist()


def test_split_class_and_id_of_every_kind_of_cityscapes_number():
    cases = {
        7: (0, 1),  # road, the first class
        11: (0, 3),  # building
        26003: (26003, 14),  # the car number 3
        33000: (33000, 19),  # a bicycle numbered 0, of the last class
        26: (-1, 14),  # a group of cars
        0: (-1, -1),  # unlabeled
        4: (-1, -1),  # static
        29001: (-1, -1),  # a caravan: not trained on
        29: (-1, -1),
        34: (-1, -1),  # beyond the last class
        99001: (-1, -1),
        -1: (-1, -1),  # void already
    }
    instance, semantic = _split(list(cases))
    assert dict(zip(cases, zip(instance, semantic, strict=True), strict=True)) == cases


def test_split_class_and_id_with_classes_of_ones_own():
    index = {0: 0, 1: 1, 2: 2}
    assert _split([0, 1, 2, 2001, 1000, 3, 3001], index, (2,)) == (
        [0, 0, -1, 2001, 1000, -1, -1],
        [0, 1, 2, 2, 1, -1, -1],
    )


def test_cityscapes_things_are_classes():
    assert set(CITYSCAPES_THINGS) < set(CITYSCAPES_CLASSES)
    assert len(CITYSCAPES_CLASSES) == 19
